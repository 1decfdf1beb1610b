"""Nodes that refuse what cannot work: before a model is asked anything, and before edits are asked."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from edit_robustness.abilities.built import built
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.requests import RequestTooLong, planned
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.abilities.tasks import Benchmark
from edit_robustness.asking.ask import Decoding
from edit_robustness.asking.converse import Conversing
from edit_robustness.asking.lengths import Need, TooLong, check_fit, longest
from edit_robustness.asking.topics import topic
from edit_robustness.datasets.corpus import CorpusSource
from edit_robustness.editing.fitting import TextNeed, misfits, refuse_short_corpus
from edit_robustness.editing.fold import SequenceParameters
from edit_robustness.editing.method import Method
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.words import words_before
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.pipelines.check.samples import around, longest_facts, shortest_facts, with_old_objects
from edit_robustness.prompts.kinds import SPECIFICITY
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import Templates, read_relations
from edit_robustness.records import Fact, Probe
from edit_robustness.tables import facts_from_table, probes_from_table

logger = logging.getLogger(__name__)

Checked = dict[str, Any]
"""What was checked, as plain values: it is kept, so that a part of a run can start after a check."""

_UNEDITED = "none"
"""Whose prompts have no words before them: the unedited model, and all edits of weights."""

SHORTER = {
    "probes": "leave these kinds out of probes.kinds, or lower decoding.max_new_tokens",
    "sequence": "lower sequence.checkpoints or decoding.max_new_tokens",
    "conversation": "lower conversation.max_new_tokens",
}
"""What makes prompts or answers shorter, by what the settings of a pipeline are called."""


def check_model_with(model: str, names: Sequence[str], need: TextNeed, cells: str) -> Callable[..., Checked]:
    """The node that checks a loaded model before it is asked anything.

    Args:
        model: Its name in the catalog and in settings.
        names: Rows of METHODS, in the order of the last inputs.
        need: How much text the methods of the run read.
        cells: The grid that the methods stand in, ``grid`` or ``sequential_grid``.
    """

    def check_model(
        lm: LanguageModel,
        facts: pd.DataFrame,
        lessons: pd.DataFrame,
        raw_relations: dict,
        corpus_source: CorpusSource,
        decoding: Decoding,
        settings: Any,
        *hyperparameters: Any,
    ) -> Checked:
        """Refuse settings that do not fit the model, a corpus that is too short, and prompts that are too long.

        Prompts are too long here if they are for the facts with the shortest texts. If only those with the longest
        are, that is logged; `check_lengths` decides once the facts of the run are drawn.
        """
        shape, methods = lm.shape, _methods(names, hyperparameters)
        problems = [line for one in methods for line in misfits(f"methods.{one.name}.{model}", one, model, shape)]
        if problems:
            raise ValueError("\n".join(problems))
        if corpus_source.texts:
            refuse_short_corpus(lm, corpus_source.texts, need)
        records, templates = with_old_objects(facts_from_table(facts)), read_relations(raw_relations)
        recalled = _recalled(records)
        needed = {_UNEDITED: longest(lm, [("", one) for one in recalled], decoding)}
        check_fit(lm, needed, shorten="lower decoding.max_new_tokens or take these facts out")
        pool = facts_from_table(lessons)
        talking = _answering(decoding, settings)
        needs: dict[str, dict[str, Need]] = {}
        for chosen, certain in ((shortest_facts(records), True), (longest_facts(records), False)):
            probes = _built(chosen, around(chosen, records), templates, settings)
            together = isinstance(settings, SequenceParameters)
            edited = shortest_facts(records, settings.length) if together else chosen
            words = _words(lm, methods, edited, pool, templates, probes if together else None)
            needs = _needs(lm, probes, words, talking)
            _refuse_or_warn(lm, needs, settings, f"{cells}.{model}", certain=certain)
        return {"model": lm.name, **asdict(shape), "corpus": asdict(need), "longest": _plain(needs)}

    return check_model


def check_lengths_with(model: str, names: Sequence[str]) -> Callable[..., Checked]:
    """The node that checks all prompts of single edits, each with the words of each method before it."""

    def check_lengths(
        lm: LanguageModel,
        probes: pd.DataFrame,
        sampled_facts: pd.DataFrame,
        lessons: pd.DataFrame,
        raw_relations: dict,
        decoding: Decoding,
        *hyperparameters: Any,
    ) -> Checked:
        """Refuse prompts that do not fit, before any edit is asked."""
        facts, templates = facts_from_table(sampled_facts), read_relations(raw_relations)
        words = _words(lm, _methods(names, hyperparameters), facts, _lessons(lessons, facts), templates)
        needs = _needs(lm, probes_from_table(probes), words, decoding)
        check_fit(lm, needs, shorten=SHORTER["probes"], cells=f"grid.{model}")
        return {"model": lm.name, "context": lm.max_length, "longest": _plain(needs)}

    return check_lengths


def check_sequences_with(model: str, names: Sequence[str]) -> Callable[..., Checked]:
    """The node that checks all prompts and benchmarks of sequences after the last of their edits."""

    def check_sequences(
        lm: LanguageModel,
        probes: pd.DataFrame,
        parameters: AbilityParameters,
        benchmark_files: LocalFiles,
        sampled_facts: pd.DataFrame,
        lessons: pd.DataFrame,
        raw_relations: dict,
        decoding: Decoding,
        settings: SequenceParameters,
        *hyperparameters: Any,
    ) -> Checked:
        """Refuse prompts that do not fit after the words of all edits, before any edit is asked."""
        cells, templates = f"sequential_grid.{model}", read_relations(raw_relations)
        edited = facts_from_table(sampled_facts[sampled_facts["asked"] == "edited"])
        asked, methods = probes_from_table(probes), _methods(names, hyperparameters)
        words = _words(lm, methods, edited, _lessons(lessons, edited), templates, asked)
        needs = _needs(lm, asked, words, decoding)
        check_fit(lm, needs, shorten=SHORTER["sequence"], cells=cells)
        benchmarks = built(lm, parameters, benchmark_files)
        for method, own in words.items():
            _check_benchmarks(lm, benchmarks, next(iter(own.values()), ""), f"{cells}.{method}: false")
        return {"model": lm.name, "context": lm.max_length, "longest": _plain(needs)}

    return check_sequences


def _methods(names: Sequence[str], hyperparameters: Sequence[Any]) -> list[Method]:
    """Return the methods; kedro reads hyperparameters only of those that a node of the pipeline names the type of."""
    pairs = zip(names, hyperparameters, strict=True)
    return [own if isinstance(own, Method) else METHODS[name](**(own or {})) for name, own in pairs]


def _check_benchmarks(lm: LanguageModel, benchmarks: Iterable[Benchmark], prefix: str, off: str) -> None:
    for benchmark in benchmarks if prefix else ():
        try:
            planned(lm, benchmark.work.instances, prefix)
        except RequestTooLong as error:
            raise RequestTooLong(
                f"{benchmark.name} cannot be asked after all edits, whose words take {len(lm.encode(prefix))} tokens "
                f"before every request: lower sequence.checkpoints, or set {off}. {error}"
            ) from error


def _needs(
    lm: LanguageModel, probes: Sequence[Probe], words: Mapping[str, Mapping[str, str]], decoding: Decoding
) -> dict[str, dict[str, Need]]:
    """Return the longest need of each kind of prompt without words, and with those of each method."""
    needs = {_UNEDITED: longest(lm, [("", probe) for probe in probes], decoding)}
    for method, own in words.items():
        needs[method] = longest(lm, [(own[p.fact_id], p) for p in probes if p.fact_id in own], decoding)
    return needs


def _words(
    lm: LanguageModel,
    methods: Sequence[Method],
    facts: Sequence[Fact],
    lessons: Sequence[Fact],
    templates: Templates,
    asked: Sequence[Probe] | None = None,
) -> dict[str, dict[str, str]]:
    """Return for each method that edits by words what stands before the prompts of each fact.

    With `asked`, the prompts of a sequence, that is the words of all edits, also before prompts of retained facts.
    """
    words: dict[str, dict[str, str]] = {}
    for method in methods:
        if method.in_words:
            own = words_before(lm, method, facts, lessons, templates.relations)
            apart = dict(zip((fact.id for fact in facts), own, strict=True))
            words[method.name] = apart if asked is None else dict.fromkeys((p.fact_id for p in asked), "".join(own))
    return words


def _lessons(lessons: pd.DataFrame, edited: Sequence[Fact]) -> list[Fact]:
    """Return the lessons of a run: those whose subjects it does not edit."""
    subjects = {fact.subject for fact in edited}
    return [fact for fact in facts_from_table(lessons) if fact.subject not in subjects]


def _recalled(facts: Sequence[Fact]) -> list[Probe]:
    return build_probes(facts, Templates({}, ()), [], kinds=["statement"], neighbours=0, seed=0, log_counts=False)


def _built(facts: Sequence[Fact], pool: Sequence[Fact], templates: Templates, settings: Any) -> list[Probe]:
    """Return what a pipeline with these settings asks about some facts."""
    if isinstance(settings, Conversing):
        return [_opening(fact, templates) for fact in facts]
    if isinstance(settings, SequenceParameters):
        kinds: Sequence[str] = ("statement", "paraphrase", *SPECIFICITY)
        numbers = (settings.neighbours, settings.relation_specificity, settings.unrelated)
        paraphrases = settings.paraphrases
    else:
        kinds = settings.kinds
        numbers = (settings.neighbours_per_fact, settings.relation_specificity_per_fact, settings.unrelated_per_fact)
        paraphrases = settings.paraphrases_per_fact
    return build_probes(
        facts,
        templates,
        pool,
        kinds=kinds,
        neighbours=numbers[0],
        relation_specificity=numbers[1],
        unrelated=numbers[2],
        seed=settings.seed,
        paraphrases=paraphrases,
        log_counts=False,
    )


def _opening(fact: Fact, templates: Templates) -> Probe:
    """Return the first question of a conversation."""
    (statement,) = _recalled([fact])
    question = topic(fact, templates.relations.get(fact.relation)).question
    return replace(statement, kind="conversation", conversation=True, text=question)


def _answering(decoding: Decoding, settings: Any) -> Decoding:
    """Return the limits of answers; those of a turn in conversations."""
    if not isinstance(settings, Conversing):
        return decoding
    return Decoding(max_new_tokens=settings.max_new_tokens, max_thinking_tokens=settings.max_thinking_tokens)


def _refuse_or_warn(
    lm: LanguageModel, needs: Mapping[str, Mapping[str, Need]], settings: Any, cells: str, *, certain: bool
) -> None:
    name = {Conversing: "conversation", SequenceParameters: "sequence"}.get(type(settings), "probes")
    try:
        check_fit(lm, needs, shorten=SHORTER[name], cells=cells)
    except TooLong as reason:
        if certain:
            raise
        logger.warning("the longest facts of the table would be too long, if they are drawn: %s", reason)


def _plain(needs: Mapping[str, Mapping[str, Need]]) -> dict[str, dict[str, int]]:
    return {who: {kind: need.total for kind, need in own.items()} for who, own in needs.items()}
