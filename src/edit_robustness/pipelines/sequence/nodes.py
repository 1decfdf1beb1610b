"""Nodes of sequence. Increments and answers land file by file, so that a killed run goes on after the last one."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import pandas as pd
from torch import Tensor

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets.failures import attempts, reason_of, report_failure
from edit_robustness.datasets.folders import Landing, Manifest, Stored, from_stale
from edit_robustness.datasets.run_record import figures_of, prepared_name
from edit_robustness.datasets.sequences import Checkpoint, after, checkpoints, edit_key, place, replays
from edit_robustness.editing.edits import Appliable, Edit, Frame
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.fold import SequenceParameters, Step, fold
from edit_robustness.editing.method import Method, Unsolvable
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.past import Past
from edit_robustness.editing.prepared import Prepared
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import Rendered, prompt_ids
from edit_robustness.progress import track
from edit_robustness.prompts.kinds import SPECIFICITY
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Answer, Fact, Probe
from edit_robustness.tables import facts_from_table, probes_from_table, probes_to_table

logger = logging.getLogger(__name__)

_NOTHING: Stored[Prepared] = Stored.of("", Prepared())

DRIFT_COLUMNS = {
    **dict.fromkeys(("model", "method"), "str"),
    **dict.fromkeys(("order", "edits", "layer"), "int64"),
    "part": "str",
    **dict.fromkeys(("norm", "relative"), "float64"),
}
"""Columns of a table of weights' drift, and their types."""


def make_probes(
    sampled_facts: pd.DataFrame, facts: pd.DataFrame, raw_relations: dict, settings: SequenceParameters
) -> pd.DataFrame:
    """Build what is asked at the checkpoints.

    Edited facts are asked by their statement, paraphrases and the three kinds of specificity, retained facts by their
    statement. No neighbour and no unrelated prompt is about a subject that the sequence edits, and no other relation is
    asked that the sequence edits too.
    """
    templates = read_relations(raw_relations)
    edited, retained = (facts_from_table(_asked(sampled_facts, role)) for role in ("edited", "retained"))
    kinds = ["statement", *["paraphrase"] * bool(settings.paraphrases), *SPECIFICITY]
    probes = build_probes(
        edited,
        templates,
        facts_from_table(facts),
        kinds=kinds,
        neighbours=settings.neighbours,
        relation_specificity=settings.relation_specificity,
        unrelated=settings.unrelated,
        edited_together=edited,
        seed=settings.seed,
        paraphrases=settings.paraphrases,
    )
    stay = build_probes(retained, templates, [], kinds=["statement"], neighbours=0, seed=settings.seed)
    return probes_to_table([*probes, *stay])


def _asked(sampled_facts: pd.DataFrame, role: str) -> pd.DataFrame:
    return sampled_facts[sampled_facts["asked"] == role]


def edit_with(name: str) -> Callable[..., Landing]:
    """The node that edits in sequence with one method; kedro validates its hyperparameters by the annotation."""
    method_class = METHODS[name]

    def edit_in_sequence(
        lm: LanguageModel,
        sampled_facts: pd.DataFrame,
        orders: pd.DataFrame,
        stored: Mapping[str, Stored[Edit]],
        method: method_class,  # type: ignore[valid-type]
        settings: SequenceParameters,
        prepared: Mapping[str, Stored[Prepared]] | None = None,
    ) -> Landing:
        artefact = next(iter((prepared or {}).values()), _NOTHING)
        yield from _edits(lm, _in_order(sampled_facts, orders), stored, method, settings, artefact)

    return edit_in_sequence


def _in_order(sampled_facts: pd.DataFrame, orders: pd.DataFrame) -> dict[int, list[Fact]]:
    facts = {fact.id: fact for fact in facts_from_table(_asked(sampled_facts, "edited"))}
    sequences: dict[int, list[Fact]] = {}
    ordered = orders.sort_values(["order", "position"])
    for order, name in zip(ordered["order"].tolist(), ordered["fact_id"], strict=True):
        sequences.setdefault(order, []).append(facts[name])
    return sequences


def _edits(
    lm: LanguageModel,
    sequences: Mapping[int, Sequence[Fact]],
    stored: Mapping[str, Stored[Edit]],
    method: Method,
    settings: SequenceParameters,
    prepared: Stored[Prepared],
) -> Landing:
    """The increments of all orders; one that failed before is tried again.

    An increment's fingerprint follows from which increments before it failed. So one that fails now or succeeds now,
    unlike before, changes the fingerprints of all after it, which are then made anew.
    """
    common = fingerprint(FORMAT, method.name, method.settings(), lm.fingerprint, prepared_name(method, prepared))
    groups = {order: settings.grouped(facts, method) for order, facts in sequences.items()}
    there = {order: _of_order(stored, order, own) for order, own in groups.items()}
    names = {order: _names(common, own, there[order], {}) for order, own in groups.items()}
    yield _manifest(names)
    for order, own in groups.items():
        kept = _kept(names[order], there[order])
        if len(kept) == len(own):
            continue
        if prepared.failed:
            logger.warning("%s: %d edits by %s failed, the first: %s", lm.name, len(own), method.name, prepared.failed)
        outcomes: dict[int, bool] = {}
        what = f"{lm.name}: {method.name} in sequence, order {order}"
        steps = track(_steps(lm, method, own, prepared, kept), what, len(own))
        for (step, seconds), facts in zip(_timed(steps), own, strict=True):
            number, item = step.number, there[order].get(step.number)
            if step.failed is not None and not prepared.failed:
                report_failure(what, f"edit {number}", step.failed)
            if not step.kept:
                header = {
                    **place(order, number),
                    "seconds": seconds,
                    "environment": lm.environment,
                    **_header(lm, step),
                    **figures_of(prepared),
                    **from_stale(prepared, *there[order].values()),
                }
                yield {edit_key(order, number): _stored(names[order][number], step, facts, prepared, header)}
            outcomes[number] = step.failed is not None
            if outcomes[number] != _failed_before(item, names[order][number]):
                names[order] = _names(common, own, there[order], outcomes)
                yield _manifest(names)
                kept.clear()
                kept.update(_kept(names[order], there[order]))


def _of_order(
    stored: Mapping[str, Stored[Edit]], order: int, groups: Sequence[Sequence[Fact]]
) -> dict[int, Stored[Edit]]:
    """The increments of one order in a folder, by the number of facts after each; other files may lie there, too."""
    keys = {number: edit_key(order, number) for number in accumulate(map(len, groups))}
    return {number: stored[key] for number, key in keys.items() if key in stored}


def _names(
    common: str, groups: Sequence[Sequence[Fact]], there: Mapping[int, Stored[Edit]], outcomes: Mapping[int, bool]
) -> dict[int, str]:
    """For each edit the number of facts after it, and a fingerprint of all that it follows from.

    Args:
        common: Fingerprint of model and method.
        groups: The facts of each edit.
        there: The increments in the folder.
        outcomes: Which edits failed in this run, as far as it has come; the others are as they are in the folder.
    """
    number, name, names = 0, common, {}
    for group in groups:
        number, name = number + len(group), fingerprint(name, list(group))
        names[number] = name
        failed = outcomes[number] if number in outcomes else _failed_before(there.get(number), name)
        name = after(name, failed=failed)
    return names


def _failed_before(item: Stored[Edit] | None, name: str) -> bool:
    return item is not None and item.fingerprint == name and bool(item.failed)


def _kept(names: Mapping[int, str], there: Mapping[int, Stored[Edit]]) -> dict[int, Callable[[], Edit]]:
    """What reads the increments that need not be made."""
    items = {number: there.get(number) for number in names}
    return {n: item.read for n, item in items.items() if item and item.fingerprint == names[n] and not item.failed}


def _manifest(names: Mapping[int, Mapping[int, str]]) -> Manifest:
    return Manifest({edit_key(order, number): name for order, own in names.items() for number, name in own.items()})


def _timed(steps: Iterable[Step]) -> Iterator[tuple[Step, float]]:
    since = time.perf_counter()
    for step in steps:
        yield step, round(time.perf_counter() - since, 3)
        since = time.perf_counter()


def _steps(
    lm: LanguageModel,
    method: Method,
    groups: Sequence[Sequence[Fact]],
    prepared: Stored[Prepared],
    kept: Mapping[int, Callable[[], Edit]],
) -> Iterator[Step]:
    if prepared.failed:
        number = 0
        for group in groups:
            number += len(group)
            yield Step(number, Frame(), Past(), failed=Unsolvable(prepared.failed))
        return
    yield from fold(lm, method, groups, prepared=prepared.read(), stored_edits=kept)


def _stored(
    name: str, step: Step, facts: Sequence[Fact], prepared: Stored[Prepared], header: Mapping[str, Any]
) -> Stored[Edit]:
    if step.failed is None:
        return Stored.of(name, step.edit, **header)
    stage = {"stage": "prepare"} if prepared.failed else {}
    return Stored.lost(name, reason_of(step.failed), fact_id=", ".join(fact.id for fact in facts), **stage, **header)


def _header(lm: LanguageModel, step: Step) -> dict[str, object]:
    """What is kept beside an increment: the tokens of all words so far."""
    words = step.past.prefix
    return {"prefix_tokens": len(prompt_ids(lm, Rendered(words))) if words else 0}


def ask_with(method: str) -> Callable[..., Landing]:
    """The node that asks, at each checkpoint of one method, about all edits so far and about what stays."""

    def ask_checkpoints(
        lm: LanguageModel,
        probes: pd.DataFrame,
        sampled_facts: pd.DataFrame,
        orders: pd.DataFrame,
        stored: Mapping[str, str],
        decoding: Decoding,
        settings: SequenceParameters,
        edits: Mapping[str, Stored[Edit]] | None = None,
        prepared: Mapping[str, Stored[Prepared]] | None = None,
        checked: Any = None,
    ) -> Landing:
        """Ask what is missing; `checked` says that all prompts fit into the context."""
        asked = _probes_at(probes, sampled_facts, orders)
        points = {point.key: point for point in checkpoints(edits, settings)}
        own = {key: asked(point) for key, point in points.items()}
        common = (FORMAT, decoding.described(lm), lm.fingerprint)
        wanted = Manifest({key: fingerprint(*common, points[key].fingerprint, own[key]) for key in points})
        yield wanted
        missing = wanted.missing(stored)
        if not missing:
            return
        what = f"{lm.name}: {method}, asking after edits"

        def make(keys: Sequence[str]) -> Iterator[list[Answer]]:
            for point, past in replays(edits, [points[key] for key in keys], prepared):
                edit: Appliable = past if point.edits else Frame()
                yield from ask(lm, [(edit, own[point.key])], decoding) if own[point.key] else [[]]

        for one in track(attempts(missing, make, what, batched=False), what, len(missing)):
            about = {"seconds": one.seconds, "probes": len(own[one.key]), "environment": lm.environment}
            about |= from_stale(*(edits or {}).values())
            at = points[one.key].place
            yield one.stored(wanted[one.key], about | at, **at)

    return ask_checkpoints


def _probes_at(
    probes: pd.DataFrame, sampled_facts: pd.DataFrame, orders: pd.DataFrame
) -> Callable[[Checkpoint], list[Probe]]:
    """What is asked at a checkpoint: about the facts edited so far (all, of the unedited model), and about the rest."""
    own: dict[str, list[Probe]] = {}
    for probe in probes_from_table(probes):
        own.setdefault(probe.fact_id, []).append(probe)
    sequences = {order: [fact.id for fact in facts] for order, facts in _in_order(sampled_facts, orders).items()}
    stay = list(_asked(sampled_facts, "retained")["id"])

    def asked(point: Checkpoint) -> list[Probe]:
        facts = sequences[point.order]
        edited = facts[: point.edits] if point.edits else facts
        return [probe for fact in [*edited, *stay] for probe in own.get(fact, [])]

    return asked


def drift_with(method: str) -> Callable[..., pd.DataFrame]:
    """The node that measures how far one method moves the weights."""

    def measure_drift(
        lm: LanguageModel, edits: Mapping[str, Stored[Edit]], settings: SequenceParameters
    ) -> pd.DataFrame:
        rows = [
            [lm.name, method, point.order, point.edits, site.layer, site.part, *_drift(lm, site, change)]
            for point, past in replays(edits, checkpoints(edits, settings))
            for site, change in past.changes.items()
        ]
        return pd.DataFrame(rows, columns=list(DRIFT_COLUMNS)).astype(DRIFT_COLUMNS)

    return measure_drift


def _drift(lm: LanguageModel, site: Site, change: Tensor) -> tuple[float, float]:
    """The Frobenius norm of a change, and its share of the unedited weight's."""
    norm, unedited = change.norm(), lm.weight(site).float().norm().cpu()
    return float(norm), float(norm / unedited)
