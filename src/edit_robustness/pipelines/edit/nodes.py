"""Nodes of edit. Each fills a folder of fingerprinted files, and makes only those that are missing or outdated.

What fails is stored with the reason. If a method's artefact fails, all its edits fail; a failed edit affects only its
own fact.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from edit_robustness.datasets.corpus import CorpusSource
from edit_robustness.datasets.failures import lose_all, reason_of, report_failure
from edit_robustness.datasets.folders import Landing, Manifest, StoredItem, stale_mark
from edit_robustness.datasets.run_record import figures_of, prepared_name
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT, refuse_not_finite
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.method import Corpus, Method, TrainedMethod, Unsolvable
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import TextNeed
from edit_robustness.editing.second_moments import second_moments, write_texts
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.progress import track
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Fact
from edit_robustness.tables import facts_from_table
from edit_robustness.workers import NoWorkers, Task, Work, WorkerDied, current_workers

logger = logging.getLogger(__name__)

_KEY = "corpus"
_NO_NUMBERS = "the unedited model's numbers are not finite"


def write_corpus_with(need: TextNeed) -> Callable[..., Landing]:
    """Return the node that provides the corpus of a model: the catalog's texts, or texts that the model generates.

    Args:
        need: How much text the methods of the run read. Of a corpus that the catalog makes smaller, more is written.
    """

    def write_corpus(
        lm: LanguageModel, corpus_source: CorpusSource, inventory: Mapping[str, str], facts: pd.DataFrame | None = None
    ) -> Landing:
        """Write the corpus if it is missing.

        The input `facts` only makes the node run after the facts are validated.
        """
        source = _enlarge(lm.name, corpus_source, need)
        name = fingerprint(FORMAT, source, None if source.texts else lm.fingerprint)
        yield Manifest({_KEY: name})
        if inventory.get(_KEY) == name:
            return
        if source.texts:
            yield {_KEY: StoredItem.of(name, list(source.texts))}
            return
        task = Task(Work(_write_corpora, {_KEY: source}), [_KEY], f"{lm.name}: writing a corpus")
        for attempt in current_workers().attempts(lm, task):
            yield attempt.to_items(name, stage="write corpus")

    return write_corpus


def _enlarge(model: str, source: CorpusSource, need: TextNeed) -> CorpusSource:
    """Return the corpus source with at least as many texts as the methods read."""
    number = max(-(-need.tokens // source.tokens) if source.tokens else 0, need.texts)
    if source.texts or number <= source.number:
        return source
    logger.info(
        "%s: its corpus has %d texts of %d tokens instead of %d (corpus_source.number): %s reads %d tokens",
        *(model, number, source.tokens, source.number, need.setting, need.tokens),
    )
    return replace(source, number=number)


def _write_corpora(lm: LanguageModel, sources: Sequence[CorpusSource]) -> Iterator[list[str]]:
    """Yield the texts of each source; none of a model that is not finite."""
    for source in sources:
        yield _write_corpus(lm, source) if lm.finite else []


def _write_corpus(lm: LanguageModel, source: CorpusSource) -> list[str]:
    """Generate the texts of a source. If some end early, generate more until the number of tokens is reached."""
    return write_texts(
        lm,
        tokens=source.number * source.tokens,
        tokens_per_text=source.tokens,
        seed=source.seed,
        spare_texts=1,
        progress=lambda batches: track(batches, f"{lm.name}: writing a corpus", len(batches)),
    )


def prepare_with(name: str, purpose: str = "") -> Callable[..., Landing]:
    """Return the node that prepares one method; Kedro validates its hyperparameters by the annotation.

    An artefact that depends on facts depends on which facts are edited. With a `purpose` it has its own file, so that
    single and sequential editing do not overwrite each other's.
    """
    method_class = METHODS[name]
    key = f"{name}.{purpose}" if purpose and "facts" in method_class.learns_from else name

    def prepare(
        lm: LanguageModel,
        inventory: Mapping[str, str],
        method: method_class,  # type: ignore[valid-type]
        moments: Mapping[str, StoredItem[Artefact]] | None = None,
        training_states: Mapping[str, StoredItem[Artefact]] | None = None,
        **sources: Any,
    ) -> Landing:
        # Kedro streams only functions that are generators themselves
        yield from _prepare(lm, inventory, method, key, sources, moments or {}, training_states or {})

    return prepare


def take_moments(
    lm: LanguageModel, inventory: Mapping[str, str], corpus: Mapping[str, StoredItem[list[str]]], *methods: Method
) -> Landing:
    """Compute the second moments of keys that these methods need: one pass over the corpus, one file per site.

    If they cannot be computed, the reason is stored, and the methods that need them fail.
    """
    texts = tuple(corpus[_KEY].read() or ())
    needs = sorted({need for method in methods for need in _list_moments(method)}) if lm.finite else []
    common = (FORMAT, lm.fingerprint, texts)
    manifest = Manifest({need.key: fingerprint(*common, need.key) for need in needs})
    yield manifest
    pending_needs = {need.key: need for need in needs if inventory.get(need.key) != manifest[need.key]}
    # one pass over the texts gives the moments of all sites
    batches = [
        [key for key, need in pending_needs.items() if need.tokens == tokens]
        for tokens in sorted({need.tokens for need in pending_needs.values()})
    ]
    work = Work(_take_moments, pending_needs, (corpus[_KEY],))
    task = Task(work, list(pending_needs), _moments_label(lm), batches=batches)
    for attempt in current_workers().attempts(lm, task):
        yield attempt.to_items(manifest[attempt.key], stage="take moments")


@dataclass(frozen=True, order=True)
class _Moments:
    """Need for the second moments of keys at one site, over a number of tokens."""

    site: Site
    tokens: int

    @property
    def key(self) -> str:
        """Return the name of the file."""
        return f"{self.site}.{self.tokens}"


def _take_moments(lm: LanguageModel, needs: Sequence[_Moments], corpus: StoredItem[list[str]]) -> Iterator[Artefact]:
    """Yield the second moments of each need; all are over the same number of tokens."""
    _require_results(corpus)
    sites = [need.site for need in needs]
    matrices = second_moments(
        lm,
        tuple(corpus.read()),
        sites,
        tokens=needs[0].tokens,
        progress=lambda batches: track(batches, _moments_label(lm), len(batches)),
    )
    yield from (Artefact({_KEY: matrices[site]}) for site in sites)


def _moments_label(lm: LanguageModel) -> str:
    return f"{lm.name}: second moments of keys"


def _list_moments(method: Method) -> list[_Moments]:
    """Return the second moments that a method reads."""
    return [_Moments(site, method.settings()["mom2_tokens"]) for site in method.key_sites]


def edit_with(name: str) -> Callable[..., Landing]:
    """Return the node that edits with one method; Kedro validates its hyperparameters by the annotation."""
    method_class = METHODS[name]

    def edit(
        lm: LanguageModel,
        sampled_facts: pd.DataFrame,
        inventory: Mapping[str, str],
        method: method_class,  # type: ignore[valid-type]
        artefacts: Mapping[str, StoredItem[Artefact]] | None = None,
    ) -> Landing:
        yield from _make_edits(
            lm, sampled_facts, inventory, method, (artefacts or {}).get(name, StoredItem.of("", Artefact()))
        )

    return edit


def _prepare(
    lm: LanguageModel,
    inventory: Mapping[str, str],
    method: Method,
    key: str,
    sources: Mapping[str, Any],
    moments: Mapping[str, StoredItem[Artefact]],
    training_states: Mapping[str, StoredItem[Artefact]],
) -> Landing:
    corpus = _read_corpus(**sources)
    # the moments follow from the texts, the model and the hyperparameters
    sources_key = (corpus.texts, corpus.facts, corpus.relations)
    name = fingerprint(FORMAT, method.name, method.settings(), lm.fingerprint, sources_key)
    yield Manifest({key: name})
    if inventory.get(key) == name:
        return
    try:
        yield from _prepare_parts(lm, method, key, corpus, name, sources, moments, training_states)
    except NoWorkers:
        # no fault of the method
        raise
    except Exception as error:  # noqa: BLE001 - whatever a method raises must lose its own cell alone
        report_failure(f"{lm.name}: {method.name}", "preparing", error)
        yield {key: StoredItem.failed_item(name, reason_of(error), stage="prepare")}


def _prepare_parts(
    lm: LanguageModel,
    method: Method,
    key: str,
    corpus: Corpus,
    name: str,
    sources: Mapping[str, Any],
    moments: Mapping[str, StoredItem[Artefact]],
    training_states: Mapping[str, StoredItem[Artefact]],
) -> Landing:
    if not lm.finite:
        raise Unsolvable(_NO_NUMBERS)
    _require_results(*(sources.get("corpus") or {}).values())
    site_moments = {need.site: moments[need.key] for need in _list_moments(method) if moments}
    _require_results(*site_moments.values())
    corpus = replace(corpus, moments={site: item.read().tensors[_KEY] for site, item in site_moments.items()})
    saved_state = training_states.get(_state_key(key))
    mark = stale_mark(*site_moments.values(), *([saved_state] if saved_state else []))
    start = saved_state.read() if saved_state is not None and saved_state.fingerprint == name else None
    work = Work(_prepare_from, {key: start}, (method, corpus))
    task = Task(work, [key], f"{lm.name}: preparing {method.name}", advance=_go_on_from)
    item = None
    for attempt in current_workers().attempts(lm, task):
        if attempt.error is not None:
            raise attempt.error
        if item is not None:
            yield {_state_key(key): item}
        item = StoredItem.of(name, attempt.value, environment=attempt.environment, **mark)
    if item is None:
        raise Unsolvable(f"{method.name} prepared nothing")
    yield {key: item}
    if isinstance(method, TrainedMethod):
        yield {_state_key(key): None}


def _prepare_from(
    lm: LanguageModel, starts: Sequence[Artefact | None], method: Method, corpus: Corpus
) -> Iterator[Artefact]:
    """Yield the states of a training, each of which replaces the one before; the last is the artefact."""
    for start in starts:
        if isinstance(method, TrainedMethod):
            yield from method.train(lm, corpus, start=start)
        else:
            yield method.prepare(lm, corpus)


def _go_on_from(_: Artefact | None, state: Artefact | WorkerDied) -> Artefact | None:
    """Return the state from which a training goes on; None if it cannot go on."""
    return None if isinstance(state, WorkerDied) else state


def _state_key(key: str) -> str:
    """Return the name of the file with the last state of an interrupted training."""
    return f"{key}.unfinished"


def _require_results(*items: StoredItem[Any]) -> None:
    """Raise `Unsolvable` if an input failed."""
    for item in items:
        if item.failure:
            raise Unsolvable(item.failure)


def _make_edits(
    lm: LanguageModel,
    sampled_facts: pd.DataFrame,
    inventory: Mapping[str, str],
    method: Method,
    preparation: StoredItem[Artefact],
) -> Landing:
    facts = facts_from_table(sampled_facts)
    common = (FORMAT, method.name, method.settings(), lm.fingerprint, prepared_name(method, preparation))
    manifest = Manifest({fact.id: fingerprint(*common, fact) for fact in facts})
    yield manifest
    missing_facts = [fact for fact in facts if inventory.get(fact.id) != manifest[fact.id]]
    if not missing_facts:
        return
    if preparation.failure:
        yield from lose_all({fact.id: manifest[fact.id] for fact in missing_facts}, preparation)
        return
    work = Work(_edit_each, {fact.id: fact for fact in missing_facts}, (method, preparation.read()))
    label = f"{lm.name}: {method.name} edits"
    attempts = current_workers().attempts(lm, Task(work, list(work.inputs), label, check=refuse_not_finite))
    for attempt in track(attempts, label, len(missing_facts)):
        header = {
            "seconds": round(attempt.seconds, 3),
            "environment": attempt.environment,
            **figures_of(preparation),
            **stale_mark(preparation),
        }
        yield attempt.to_items(manifest[attempt.key], header, fact_id=attempt.key)


def _edit_each(lm: LanguageModel, facts: Sequence[Fact], method: Method, artefact: Artefact) -> Iterator[Edit]:
    return method.edit_each(lm, facts, artefact=artefact)


def _read_corpus(
    corpus: Mapping[str, StoredItem[list[str]]] | None = None,
    facts: pd.DataFrame | None = None,
    sampled_facts: pd.DataFrame | None = None,
    raw_relations: dict[str, Any] | None = None,
) -> Corpus:
    """Return the parts of a corpus that a method needs, without facts about subjects that this run edits."""
    texts = tuple(corpus[_KEY].read() or ()) if corpus else ()
    if facts is None or sampled_facts is None:
        return Corpus(texts)
    subjects = set(sampled_facts["subject"])
    pool = tuple(fact for fact in facts_from_table(facts) if fact.subject not in subjects)
    return Corpus(texts, pool, read_relations(raw_relations or {}).relations)
