"""Nodes of edit. Each fills a folder of fingerprinted files, and makes only what is not there yet.

What cannot be prepared or edited lands with the reason: a method that cannot be prepared loses all its edits, a fact
whose edit fails only its own.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from edit_robustness.datasets.corpus import CorpusSource
from edit_robustness.datasets.failures import attempts, lose_all, reason_of, report_failure
from edit_robustness.datasets.folders import Landing, Manifest, Stored, from_stale
from edit_robustness.datasets.run_record import figures_of, prepared_name
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT, refuse_not_finite
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.fitting import TextNeed
from edit_robustness.editing.key_statistics import count_tokens, second_moments
from edit_robustness.editing.method import Corpus, Method, Trained, Unsolvable
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.prepared import Prepared
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.writing import written_texts
from edit_robustness.progress import track
from edit_robustness.prompts.relations import read_relations
from edit_robustness.tables import facts_from_table

logger = logging.getLogger(__name__)

_KEY = "corpus"
_ROUNDS = 16
"""How often more texts are written at most: a model may end each of them at once."""
_NO_NUMBERS = "the unedited model's numbers are not finite"


def write_corpus_with(need: TextNeed) -> Callable[..., Landing]:
    """The node that brings the corpus of a model: the catalog's texts, or texts that the model writes.

    Args:
        need: How much text the methods of the run read. Of a corpus that the catalog makes smaller, more is written.
    """

    def write_corpus(
        lm: LanguageModel, corpus_source: CorpusSource, stored: Mapping[str, str], facts: pd.DataFrame | None = None
    ) -> Landing:
        """Write what is missing; with `facts`, once it is known that some can be used."""
        source = _large_enough(lm.name, corpus_source, need)
        name = fingerprint(FORMAT, source, None if source.texts else lm.fingerprint)
        yield Manifest({_KEY: name})
        if stored.get(_KEY) == name:
            return

        def write(_: Sequence[str]) -> Iterator[list[str]]:
            yield list(source.texts) or (_written(lm, source) if lm.finite else [])

        for one in attempts([_KEY], write, f"{lm.name}: writing a corpus"):
            yield one.stored(name, stage="write corpus")

    return write_corpus


def _large_enough(model: str, source: CorpusSource, need: TextNeed) -> CorpusSource:
    """Return how the corpus is written: with as many texts as the catalog says, or as many as the methods read."""
    number = max(-(-need.tokens // source.tokens) if source.tokens else 0, need.texts)
    if source.texts or number <= source.number:
        return source
    logger.info(
        "%s: its corpus has %d texts of %d tokens instead of %d (corpus_source.number): %s reads %d tokens",
        *(model, number, source.tokens, source.number, need.who, need.tokens),
    )
    return replace(source, number=number)


def _written(lm: LanguageModel, source: CorpusSource) -> list[str]:
    """Texts that the model writes; where some end early, more of them, until all tokens are there."""
    texts: list[str] = []
    wanted, missing = source.number * source.tokens, source.number
    for more in range(_ROUNDS):
        texts += written_texts(
            lm,
            texts=missing,
            tokens=source.tokens,
            seed=source.seed + more,
            progress=lambda batches: track(batches, f"{lm.name}: writing a corpus", len(batches)),
        )
        lacking = wanted - count_tokens(lm, texts, wanted)
        if lacking <= 0:
            break
        missing = -(-lacking // source.tokens) + 1
    return texts


def prepare_with(name: str, purpose: str = "") -> Callable[..., Landing]:
    """The node that prepares one method; kedro validates its hyperparameters by the annotation.

    What learns from facts depends on which facts are edited: under a `purpose` it has a file of its own, so that
    neither purpose makes the other's anew.
    """
    method_class = METHODS[name]
    key = f"{name}.{purpose}" if purpose and "facts" in method_class.learns_from else name

    def prepare(
        lm: LanguageModel,
        stored: Mapping[str, str],
        method: method_class,  # type: ignore[valid-type]
        moments: Mapping[str, Stored[Prepared]] | None = None,
        unfinished: Mapping[str, Stored[Prepared]] | None = None,
        **sources: Any,
    ) -> Landing:
        # kedro streams only functions that are generators themselves
        yield from _prepared(lm, stored, method, key, sources, moments or {}, unfinished or {})

    return prepare


def take_moments(
    lm: LanguageModel, stored: Mapping[str, str], corpus: Mapping[str, Stored[list[str]]], *methods: Method
) -> Landing:
    """The second moments of the keys that these methods need: one pass over the corpus for all sites, a file a site.

    Where they cannot be taken they land with the reason, which fails the methods that need them.
    """
    texts = tuple(corpus[_KEY].read() or ())
    asked = sorted({one for method in methods for one in _moments_of(method)}) if lm.finite else []
    common = (FORMAT, lm.fingerprint, texts)
    wanted = Manifest({one.key: fingerprint(*common, one.key) for one in asked})
    yield wanted
    due = {one.key: one for one in asked if stored.get(one.key) != wanted[one.key]}
    what = f"{lm.name}: second moments of keys"

    def take(keys: Sequence[str]) -> Iterator[Prepared]:
        _require_made(corpus[_KEY])
        own = [due[key].site for key in keys]
        taken = second_moments(
            lm, texts, own, tokens=due[keys[0]].tokens, progress=lambda batches: track(batches, what, len(batches))
        )
        yield from (Prepared({_KEY: taken[site]}) for site in own)

    for tokens in sorted({one.tokens for one in due.values()}):
        for attempt in attempts([key for key, one in due.items() if one.tokens == tokens], take, what):
            yield attempt.stored(wanted[attempt.key], stage="take moments")


@dataclass(frozen=True, order=True)
class _Moments:
    """The second moments of the keys at one site, over so many tokens."""

    site: Site
    tokens: int

    @property
    def key(self) -> str:
        """The name of their file."""
        return f"{self.site}.{self.tokens}"


def _moments_of(method: Method) -> list[_Moments]:
    """The moments that a method reads."""
    return [_Moments(site, method.settings()["mom2_tokens"]) for site in method.key_sites]


def edit_with(name: str) -> Callable[..., Landing]:
    """The node that edits with one method; kedro validates its hyperparameters by the annotation."""
    method_class = METHODS[name]

    def edit(
        lm: LanguageModel,
        sampled_facts: pd.DataFrame,
        stored: Mapping[str, str],
        method: method_class,  # type: ignore[valid-type]
        prepared: Mapping[str, Stored[Prepared]] | None = None,
    ) -> Landing:
        yield from _edits(lm, sampled_facts, stored, method, (prepared or {}).get(name, Stored.of("", Prepared())))

    return edit


def _prepared(
    lm: LanguageModel,
    stored: Mapping[str, str],
    method: Method,
    key: str,
    sources: Mapping[str, Any],
    moments: Mapping[str, Stored[Prepared]],
    unfinished: Mapping[str, Stored[Prepared]],
) -> Landing:
    corpus = _corpus(**sources)
    # the moments follow from the texts, the model and the hyperparameters
    learnt = (corpus.texts, corpus.facts, corpus.relations)
    wanted = fingerprint(FORMAT, method.name, method.settings(), lm.fingerprint, learnt)
    yield Manifest({key: wanted})
    if stored.get(key) == wanted:
        return
    try:
        yield from _pieces(lm, method, key, corpus, wanted, sources, moments, unfinished)
    except Exception as error:  # noqa: BLE001 - whatever a method raises must lose its own cell alone
        report_failure(f"{lm.name}: {method.name}", "preparing", error)
        yield {key: Stored.lost(wanted, reason_of(error), stage="prepare")}


def _pieces(
    lm: LanguageModel,
    method: Method,
    key: str,
    corpus: Corpus,
    wanted: str,
    sources: Mapping[str, Any],
    moments: Mapping[str, Stored[Prepared]],
    unfinished: Mapping[str, Stored[Prepared]],
) -> Landing:
    if not lm.finite:
        raise Unsolvable(_NO_NUMBERS)
    _require_made(*(sources.get("corpus") or {}).values())
    own = {one.site: moments[one.key] for one in _moments_of(method) if moments}
    _require_made(*own.values())
    corpus = replace(corpus, moments={site: item.read().tensors[_KEY] for site, item in own.items()})
    begun = unfinished.get(_begun(key))
    about = {"environment": lm.environment, **from_stale(*own.values(), *([begun] if begun else []))}
    if isinstance(method, Trained):
        yield from _trained(lm, method, key, corpus, wanted, begun, about)
    else:
        yield {key: Stored.of(wanted, method.prepare(lm, corpus), **about)}


def _begun(key: str) -> str:
    """The name of the file of a training that is not finished."""
    return f"{key}.unfinished"


def _require_made(*items: Stored[Any]) -> None:
    """Refuse to go on from what could not be made."""
    for item in items:
        if item.failed:
            raise Unsolvable(item.failed)


def _trained(
    lm: LanguageModel,
    method: Trained,
    key: str,
    corpus: Corpus,
    wanted: str,
    begun: Stored[Prepared] | None,
    about: Mapping[str, Any],
) -> Landing:
    """Each state of the training replaces the one before; the last is the artefact."""
    started = begun.read() if begun is not None and begun.fingerprint == wanted else None
    states = method.train(lm, corpus, start=started)
    state = next(states)
    for later in states:
        yield {_begun(key): Stored.of(wanted, state, **about)}
        state = later
    yield {key: Stored.of(wanted, state, **about)}
    yield {_begun(key): None}


def _edits(
    lm: LanguageModel,
    sampled_facts: pd.DataFrame,
    stored: Mapping[str, str],
    method: Method,
    prepared: Stored[Prepared],
) -> Landing:
    facts = facts_from_table(sampled_facts)
    common = (FORMAT, method.name, method.settings(), lm.fingerprint, prepared_name(method, prepared))
    wanted = Manifest({fact.id: fingerprint(*common, fact) for fact in facts})
    yield wanted
    missing = [fact for fact in facts if stored.get(fact.id) != wanted[fact.id]]
    if not missing:
        return
    if prepared.failed:
        yield from lose_all({fact.id: wanted[fact.id] for fact in missing}, prepared)
        return
    by_id, artefact = {fact.id: fact for fact in missing}, prepared.read()

    def make(keys: Sequence[str]) -> Iterator[Edit]:
        return method.edit_each(lm, [by_id[key] for key in keys], prepared=artefact)

    what = f"{lm.name}: {method.name} edits"
    for one in track(attempts(list(by_id), make, what, check=refuse_not_finite), what, len(missing)):
        about = {
            "seconds": round(one.seconds, 3),
            "environment": lm.environment,
            **figures_of(prepared),
            **from_stale(prepared),
        }
        yield one.stored(wanted[one.key], about, fact_id=one.key)


def _corpus(
    corpus: Mapping[str, Stored[list[str]]] | None = None,
    facts: pd.DataFrame | None = None,
    sampled_facts: pd.DataFrame | None = None,
    raw_relations: dict | None = None,
) -> Corpus:
    """The parts of a corpus that a method asked for; no fact in it shares a subject with the facts of this run."""
    texts = tuple(corpus[_KEY].read() or ()) if corpus else ()
    if facts is None or sampled_facts is None:
        return Corpus(texts)
    edited = set(sampled_facts["subject"])
    pool = tuple(fact for fact in facts_from_table(facts) if fact.subject not in edited)
    return Corpus(texts, pool, read_relations(raw_relations or {}).relations)
