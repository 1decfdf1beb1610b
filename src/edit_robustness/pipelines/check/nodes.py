"""Nodes that refuse settings that cannot work: before a model is asked anything, and before edits are evaluated."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from edit_robustness.abilities.benchmarks import get_benchmarks
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.requests import RequestTooLong, plan_requests
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.abilities.tasks import Benchmark
from edit_robustness.asking.ask import Decoding
from edit_robustness.asking.converse import ConversationSettings
from edit_robustness.asking.lengths import Need, TooLong, check_fit, longest
from edit_robustness.asking.queries import probe_query
from edit_robustness.asking.topics import topic
from edit_robustness.datasets.corpus import CorpusSource
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edit_sequence import SequenceParameters
from edit_robustness.editing.edits import Appliable
from edit_robustness.editing.method import Corpus, Method
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import TextNeed, misfits, refuse_short_corpus
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.pipelines.check.samples import around, longest_facts, shortest_facts, with_old_objects
from edit_robustness.prompts.kinds import SPECIFICITY
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import Templates, read_relations
from edit_robustness.records import UNEDITED, Fact, Probe
from edit_robustness.tables import facts_from_table, probes_from_table

logger = logging.getLogger(__name__)

CheckResult = dict[str, Any]
"""Result of a check, as plain values. It is stored, so that a part of a run can start after a check."""

SHORTER = {
    "probes": "leave these kinds out of probes.kinds, or lower decoding.max_new_tokens",
    "sequence": "lower sequence.checkpoints or decoding.max_new_tokens",
    "conversation": "lower conversation.max_new_tokens",
}
"""Ways to shorten prompts or answers, by the name of a pipeline's settings."""


def check_model_with(model: str, names: Sequence[str], need: TextNeed, cells: str) -> Callable[..., CheckResult]:
    """Return the node that checks a loaded model before it is asked anything.

    Args:
        model: Its name in the catalog and in settings.
        names: Rows of METHODS, in the order of the last inputs.
        need: How much text the methods of the run read.
        cells: The grid that the methods stand in, ``grid`` or ``sequential_grid``.
    """

    def check_model(
        lm: LanguageModel,
        facts: pd.DataFrame,
        training_facts: pd.DataFrame,
        raw_relations: dict[str, Any],
        corpus_source: CorpusSource,
        decoding: Decoding,
        settings: Any,
        *hyperparameters: Any,
    ) -> CheckResult:
        """Refuse settings that do not fit the model, a corpus that is too short, and prompts that are too long.

        Prompts are refused as too long only if those of the facts with the shortest texts are. If only those with the
        longest texts are, that is logged; `check_lengths` decides after the facts of the run are sampled.
        """
        shape, methods = lm.shape, _build_methods(names, hyperparameters)
        problems = [
            line for method in methods for line in misfits(f"methods.{method.name}.{model}", method, model, shape)
        ]
        if problems:
            raise ValueError("\n".join(problems))
        for method in methods:
            method.check()
        if corpus_source.texts:
            refuse_short_corpus(lm, corpus_source.texts, need)
        records, templates = with_old_objects(facts_from_table(facts)), read_relations(raw_relations)
        statements = _build_statements(records)
        statement_needs = {UNEDITED: longest(lm, [("", method) for method in statements], decoding)}
        check_fit(lm, statement_needs, shorten="lower decoding.max_new_tokens or take these facts out")
        pool = facts_from_table(training_facts)
        limits = _choose_limits(decoding, settings)
        needs: dict[str, dict[str, Need]] = {}
        for extremes, certain in ((shortest_facts(records), True), (longest_facts(records), False)):
            probes = _build_sample_probes(extremes, around(extremes, records), templates, settings)
            together = isinstance(settings, SequenceParameters)
            edited_facts = shortest_facts(records, settings.length) if together else extremes
            edits = _make_edits(lm, methods, edited_facts, pool, templates, probes if together else None)
            needs = _compute_needs(lm, probes, edits, limits)
            _refuse_or_warn(lm, needs, settings, f"{cells}.{model}", certain=certain)
        return {"model": lm.name, **asdict(shape), "corpus": asdict(need), "longest": _as_numbers(needs)}

    return check_model


def check_lengths_with(model: str, names: Sequence[str]) -> Callable[..., CheckResult]:
    """Return the node that checks all prompts of single edits, with the in-context edit of each method."""

    def check_lengths(
        lm: LanguageModel,
        probes: pd.DataFrame,
        sampled_facts: pd.DataFrame,
        training_facts: pd.DataFrame,
        raw_relations: dict[str, Any],
        decoding: Decoding,
        *hyperparameters: Any,
    ) -> CheckResult:
        """Refuse prompts that do not fit, before any edit is evaluated."""
        facts, templates = facts_from_table(sampled_facts), read_relations(raw_relations)
        edits = _make_edits(
            lm, _build_methods(names, hyperparameters), facts, _select_training_facts(training_facts, facts), templates
        )
        needs = _compute_needs(lm, probes_from_table(probes), edits, decoding)
        check_fit(lm, needs, shorten=SHORTER["probes"], cells=f"grid.{model}")
        return {"model": lm.name, "context": lm.max_length, "longest": _as_numbers(needs)}

    return check_lengths


def check_sequences_with(model: str, names: Sequence[str]) -> Callable[..., CheckResult]:
    """Return the node that checks all prompts and benchmarks of sequences after their last edit."""

    def check_sequences(
        lm: LanguageModel,
        probes: pd.DataFrame,
        parameters: AbilityParameters,
        benchmark_files: LocalFiles,
        sampled_facts: pd.DataFrame,
        training_facts: pd.DataFrame,
        raw_relations: dict[str, Any],
        decoding: Decoding,
        settings: SequenceParameters,
        *hyperparameters: Any,
    ) -> CheckResult:
        """Refuse prompts that do not fit after the in-context text of all edits, before any edit is evaluated."""
        cells, templates = f"sequential_grid.{model}", read_relations(raw_relations)
        edited_facts = facts_from_table(sampled_facts[sampled_facts["fact_role"] == "edited"])
        sequence_probes, methods = probes_from_table(probes), _build_methods(names, hyperparameters)
        edits = _make_edits(
            lm, methods, edited_facts, _select_training_facts(training_facts, edited_facts), templates, sequence_probes
        )
        needs = _compute_needs(lm, sequence_probes, edits, decoding)
        check_fit(lm, needs, shorten=SHORTER["sequence"], cells=cells)
        benchmarks = get_benchmarks(lm, parameters, benchmark_files)
        for method, by_fact in edits.items():
            for edit in list(by_fact.values())[:1]:  # the same one for all facts
                _check_benchmarks(lm, benchmarks, edit, f"{cells}.{method}: false")
        return {"model": lm.name, "context": lm.max_length, "longest": _as_numbers(needs)}

    return check_sequences


def _build_methods(names: Sequence[str], hyperparameters: Sequence[Any]) -> list[Method]:
    """Return the methods; kedro reads hyperparameters only of those that a node of the pipeline names the type of."""
    pairs = zip(names, hyperparameters, strict=True)
    return [
        hyperparameter if isinstance(hyperparameter, Method) else METHODS[name](**(hyperparameter or {}))
        for name, hyperparameter in pairs
    ]


def _check_benchmarks(lm: LanguageModel, benchmarks: Iterable[Benchmark], edit: Appliable, off: str) -> None:
    for benchmark in benchmarks:
        work = benchmark.work
        if tuple(map(edit.text_before, work.questions)) == work.texts:
            continue
        try:
            plan_requests(lm, work.instances, work.questions, edit)
        except RequestTooLong as error:
            raise RequestTooLong(
                f"{benchmark.name} cannot be asked after all edits, whose text stands before its requests: lower "
                f"sequence.checkpoints, or set {off}. {error}"
            ) from error


def _compute_needs(
    lm: LanguageModel, probes: Sequence[Probe], edits: Mapping[str, Mapping[str, Appliable]], decoding: Decoding
) -> dict[str, dict[str, Need]]:
    """Return the longest need of each kind of prompt without an edit, and with the text of each in-context method."""
    needs = {UNEDITED: longest(lm, [("", probe) for probe in probes], decoding)}
    for method, by_fact in edits.items():
        prompts = [(by_fact[p.fact_id].text_before(probe_query(p)), p) for p in probes if p.fact_id in by_fact]
        needs[method] = longest(lm, prompts, decoding)
    return needs


def _make_edits(
    lm: LanguageModel,
    methods: Sequence[Method],
    facts: Sequence[Fact],
    training_facts: Sequence[Fact],
    templates: Templates,
    sequence_probes: Sequence[Probe] | None = None,
) -> dict[str, dict[str, Appliable]]:
    """Return for each in-context method the edit under which the prompts of each fact are asked.

    With `sequence_probes` that is the state after all edits, also for the prompts of retention facts.
    """
    corpus = Corpus(facts=tuple(training_facts), relations=templates.relations)
    edits_by_method: dict[str, dict[str, Appliable]] = {}
    for method in methods:
        if method.is_in_context:
            edits = list(method.increments(lm, facts, artefact=method.prepare(lm, corpus)))
            history = EditHistory()
            for edit in edits:
                history = history + edit
            edits_by_method[method.name] = (
                dict(zip((fact.id for fact in facts), edits, strict=True))
                if sequence_probes is None
                else dict.fromkeys((probe.fact_id for probe in sequence_probes), history)
            )
    return edits_by_method


def _select_training_facts(training_facts: pd.DataFrame, edited_facts: Sequence[Fact]) -> list[Fact]:
    """Return the training facts of a run: those whose subjects it does not edit."""
    subjects = {fact.subject for fact in edited_facts}
    return [fact for fact in facts_from_table(training_facts) if fact.subject not in subjects]


def _build_statements(facts: Sequence[Fact]) -> list[Probe]:
    return build_probes(facts, Templates({}, ()), [], kinds=["statement"], neighbours=0, seed=0, log_counts=False)


def _build_sample_probes(
    facts: Sequence[Fact], pool: Sequence[Fact], templates: Templates, settings: Any
) -> list[Probe]:
    """Return the prompts that a pipeline with these settings builds for some facts."""
    if isinstance(settings, ConversationSettings):
        return [_build_opening(fact, templates) for fact in facts]
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


def _build_opening(fact: Fact, templates: Templates) -> Probe:
    """Return the first question of a conversation."""
    (statement,) = _build_statements([fact])
    question = topic(fact, templates.relations.get(fact.relation)).question
    return replace(statement, kind="conversation", conversation=True, text=question)


def _choose_limits(decoding: Decoding, settings: Any) -> Decoding:
    """Return the token limits of answers; for conversations those of one turn."""
    if not isinstance(settings, ConversationSettings):
        return decoding
    return Decoding(max_new_tokens=settings.max_new_tokens, max_thinking_tokens=settings.max_thinking_tokens)


def _refuse_or_warn(
    lm: LanguageModel, needs: Mapping[str, Mapping[str, Need]], settings: Any, cells: str, *, certain: bool
) -> None:
    name = {ConversationSettings: "conversation", SequenceParameters: "sequence"}.get(type(settings), "probes")
    try:
        check_fit(lm, needs, shorten=SHORTER[name], cells=cells)
    except TooLong as reason:
        if certain:
            raise
        logger.warning("the longest facts of the table would be too long, if they are drawn: %s", reason)


def _as_numbers(needs: Mapping[str, Mapping[str, Need]]) -> dict[str, dict[str, int]]:
    return {method: {kind: need.total for kind, need in kinds.items()} for method, kinds in needs.items()}
