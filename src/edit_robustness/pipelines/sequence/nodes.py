"""Nodes of sequence. Increments and answers are stored in files, so an interrupted run resumes after the last one."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import pandas as pd
from torch import Tensor

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets.failures import reason_of, report_failure, run_attempts
from edit_robustness.datasets.folders import Landing, Manifest, StoredItem, stale_mark
from edit_robustness.datasets.run_record import figures_of, prepared_name
from edit_robustness.datasets.sequences import Checkpoint, after, checkpoints, edit_key, place, replays
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edit_sequence import SequenceParameters, Step, edit_sequence
from edit_robustness.editing.edits import Appliable, Edit, PromptPrefix
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.method import Method, Unsolvable
from edit_robustness.editing.methods import METHODS
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids
from edit_robustness.progress import track
from edit_robustness.prompts.kinds import SPECIFICITY
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Answer, Fact, Probe
from edit_robustness.tables import facts_from_table, probes_from_table, probes_to_table

logger = logging.getLogger(__name__)

_NOTHING: StoredItem[Artefact] = StoredItem.of("", Artefact())

DRIFT_COLUMNS = {
    **dict.fromkeys(("model", "method"), "str"),
    **dict.fromkeys(("order", "edits", "layer"), "int64"),
    "part": "str",
    **dict.fromkeys(("norm", "relative"), "float64"),
}
"""Columns of a table of weights' drift, and their types."""


def make_probes(
    sampled_facts: pd.DataFrame, facts: pd.DataFrame, raw_relations: dict[str, Any], settings: SequenceParameters
) -> pd.DataFrame:
    """Build the probes of the checkpoints.

    Edited facts are asked by their statement, paraphrases and the three kinds of specificity, retained facts by their
    statement. No neighbour and no unrelated prompt is about a subject that the sequence edits, and no other relation is
    asked that the sequence edits too.
    """
    templates = read_relations(raw_relations)
    edited_facts, retained_facts = (
        facts_from_table(_select_role(sampled_facts, role)) for role in ("edited", "retained")
    )
    kinds = ["statement", *["paraphrase"] * bool(settings.paraphrases), *SPECIFICITY]
    probes = build_probes(
        edited_facts,
        templates,
        facts_from_table(facts),
        kinds=kinds,
        neighbours=settings.neighbours,
        relation_specificity=settings.relation_specificity,
        unrelated=settings.unrelated,
        edited_together=edited_facts,
        seed=settings.seed,
        paraphrases=settings.paraphrases,
    )
    retained_probes = build_probes(retained_facts, templates, [], kinds=["statement"], neighbours=0, seed=settings.seed)
    return probes_to_table([*probes, *retained_probes])


def _select_role(sampled_facts: pd.DataFrame, role: str) -> pd.DataFrame:
    return sampled_facts[sampled_facts["fact_role"] == role]


def edit_with(name: str) -> Callable[..., Landing]:
    """Return the node that edits in sequence with one method; Kedro validates its hyperparameters by the annotation."""
    method_class = METHODS[name]

    def edit_in_sequence(
        lm: LanguageModel,
        sampled_facts: pd.DataFrame,
        orders: pd.DataFrame,
        inventory: Mapping[str, StoredItem[Edit]],
        method: method_class,  # type: ignore[valid-type]
        settings: SequenceParameters,
        artefacts: Mapping[str, StoredItem[Artefact]] | None = None,
    ) -> Landing:
        artefact = next(iter((artefacts or {}).values()), _NOTHING)
        yield from _make_edits(lm, _order_facts(sampled_facts, orders), inventory, method, settings, artefact)

    return edit_in_sequence


def _order_facts(sampled_facts: pd.DataFrame, orders: pd.DataFrame) -> dict[int, list[Fact]]:
    facts = {fact.id: fact for fact in facts_from_table(_select_role(sampled_facts, "edited"))}
    sequences: dict[int, list[Fact]] = {}
    rows = orders.sort_values(["order", "position"])
    for order, name in zip(rows["order"].tolist(), rows["fact_id"], strict=True):
        sequences.setdefault(order, []).append(facts[name])
    return sequences


def _make_edits(
    lm: LanguageModel,
    sequences: Mapping[int, Sequence[Fact]],
    inventory: Mapping[str, StoredItem[Edit]],
    method: Method,
    settings: SequenceParameters,
    preparation: StoredItem[Artefact],
) -> Landing:
    """Yield the increments of all orders. Increments that failed before are retried.

    An increment's fingerprint follows from which increments before it failed. So one that fails now or succeeds now,
    unlike before, changes the fingerprints of all after it, which are then made anew.
    """
    common = fingerprint(FORMAT, method.name, method.settings(), lm.fingerprint, prepared_name(method, preparation))
    groups = {order: settings.group(facts, method) for order, facts in sequences.items()}
    folder_items = {order: _select_order(inventory, order, order_groups) for order, order_groups in groups.items()}
    names = {
        order: _compute_names(common, order_groups, folder_items[order], {}) for order, order_groups in groups.items()
    }
    yield _build_manifest(names)
    for order, order_groups in groups.items():
        readers = _select_readers(names[order], folder_items[order])
        if len(readers) == len(order_groups):
            continue
        if preparation.failure:
            logger.warning(
                "%s: %d edits by %s failed, the first: %s", lm.name, len(order_groups), method.name, preparation.failure
            )
        outcomes: dict[int, bool] = {}
        label = f"{lm.name}: {method.name} in sequence, order {order}"
        steps = track(_make_steps(lm, method, order_groups, preparation, readers), label, len(order_groups))
        for (step, seconds), facts in zip(_time_steps(steps), order_groups, strict=True):
            number, item = step.number, folder_items[order].get(step.number)
            if step.error is not None and not preparation.failure:
                report_failure(label, f"edit {number}", step.error)
            if not step.is_stored:
                header = {
                    **place(order, number),
                    "seconds": seconds,
                    "environment": lm.environment,
                    **_describe_step(lm, step),
                    **figures_of(preparation),
                    **stale_mark(preparation, *folder_items[order].values()),
                }
                yield {edit_key(order, number): _to_item(names[order][number], step, facts, preparation, header)}
            outcomes[number] = step.error is not None
            if outcomes[number] != _is_failure(item, names[order][number]):
                names[order] = _compute_names(common, order_groups, folder_items[order], outcomes)
                yield _build_manifest(names)
                readers.clear()
                readers.update(_select_readers(names[order], folder_items[order]))


def _select_order(
    inventory: Mapping[str, StoredItem[Edit]], order: int, groups: Sequence[Sequence[Fact]]
) -> dict[int, StoredItem[Edit]]:
    """Return the increments of one order by the number of facts after each. The folder may contain other files."""
    keys = {number: edit_key(order, number) for number in accumulate(map(len, groups))}
    return {number: inventory[key] for number, key in keys.items() if key in inventory}


def _compute_names(
    common: str,
    groups: Sequence[Sequence[Fact]],
    folder_items: Mapping[int, StoredItem[Edit]],
    outcomes: Mapping[int, bool],
) -> dict[int, str]:
    """Return a fingerprint of everything that each edit depends on, by the number of facts after it.

    Args:
        common: Fingerprint of model and method.
        groups: The facts of each edit.
        folder_items: The increments in the folder.
        outcomes: Which edits failed in this run, as far as it has come; the others are as they are in the folder.
    """
    number, name, names = 0, common, {}
    for group in groups:
        number, name = number + len(group), fingerprint(name, list(group))
        names[number] = name
        is_failed = outcomes[number] if number in outcomes else _is_failure(folder_items.get(number), name)
        name = after(name, is_failed=is_failed)
    return names


def _is_failure(item: StoredItem[Edit] | None, name: str) -> bool:
    return item is not None and item.fingerprint == name and bool(item.failure)


def _select_readers(
    names: Mapping[int, str], folder_items: Mapping[int, StoredItem[Edit]]
) -> dict[int, Callable[[], Edit]]:
    """Return the readers of the increments that need not be recomputed."""
    items = {number: folder_items.get(number) for number in names}
    return {n: item.read for n, item in items.items() if item and item.fingerprint == names[n] and not item.failure}


def _build_manifest(names: Mapping[int, Mapping[int, str]]) -> Manifest:
    return Manifest(
        {edit_key(order, number): name for order, order_names in names.items() for number, name in order_names.items()}
    )


def _time_steps(steps: Iterable[Step]) -> Iterator[tuple[Step, float]]:
    start = time.perf_counter()
    for step in steps:
        yield step, round(time.perf_counter() - start, 3)
        start = time.perf_counter()


def _make_steps(
    lm: LanguageModel,
    method: Method,
    groups: Sequence[Sequence[Fact]],
    preparation: StoredItem[Artefact],
    readers: Mapping[int, Callable[[], Edit]],
) -> Iterator[Step]:
    if preparation.failure:
        number = 0
        for group in groups:
            number += len(group)
            yield Step(number, PromptPrefix(), EditHistory(), error=Unsolvable(preparation.failure))
        return
    yield from edit_sequence(lm, method, groups, artefact=preparation.read(), stored_edits=readers)


def _to_item(
    name: str, step: Step, facts: Sequence[Fact], preparation: StoredItem[Artefact], header: Mapping[str, Any]
) -> StoredItem[Edit]:
    if step.error is None:
        return StoredItem.of(name, step.edit, **header)
    stage = {"stage": "prepare"} if preparation.failure else {}
    return StoredItem.failed_item(
        name, reason_of(step.error), fact_id=", ".join(fact.id for fact in facts), **stage, **header
    )


def _describe_step(lm: LanguageModel, step: Step) -> dict[str, object]:
    """Return the header of an increment: the tokens of all in-context edits so far."""
    words = step.history.prefix
    return {"prefix_tokens": len(prompt_ids(lm, RenderedPrompt(words))) if words else 0}


def ask_with(method: str) -> Callable[..., Landing]:
    """Return the node that asks, at each checkpoint of one method, about all edits so far and about retained facts."""

    def ask_checkpoints(
        lm: LanguageModel,
        probes: pd.DataFrame,
        sampled_facts: pd.DataFrame,
        orders: pd.DataFrame,
        inventory: Mapping[str, str],
        decoding: Decoding,
        settings: SequenceParameters,
        edits: Mapping[str, StoredItem[Edit]] | None = None,
        artefacts: Mapping[str, StoredItem[Artefact]] | None = None,
        check_record: Any = None,
    ) -> Landing:
        """Ask missing probes. `check_record` is the result of the check that all prompts fit into the context."""
        list_probes = _probes_by_checkpoint(probes, sampled_facts, orders)
        points = {point.key: point for point in checkpoints(edits, settings)}
        point_probes = {key: list_probes(point) for key, point in points.items()}
        common = (FORMAT, decoding.describe(lm), lm.fingerprint)
        manifest = Manifest({key: fingerprint(*common, points[key].fingerprint, point_probes[key]) for key in points})
        yield manifest
        missing_keys = manifest.missing_keys(inventory)
        if not missing_keys:
            return
        label = f"{lm.name}: {method}, asking after edits"

        def make(keys: Sequence[str]) -> Iterator[list[Answer]]:
            for point, history in replays(edits, [points[key] for key in keys], artefacts):
                edit: Appliable = history if point.edits else PromptPrefix()
                yield from ask(lm, [(edit, point_probes[point.key])], decoding) if point_probes[point.key] else [[]]

        for attempt in track(run_attempts(missing_keys, make, label, in_batches=False), label, len(missing_keys)):
            header = {
                "seconds": attempt.seconds,
                "probes": len(point_probes[attempt.key]),
                "environment": lm.environment,
            }
            header |= stale_mark(*(edits or {}).values())
            location = points[attempt.key].place
            yield attempt.to_items(manifest[attempt.key], header | location, **location)

    return ask_checkpoints


def _probes_by_checkpoint(
    probes: pd.DataFrame, sampled_facts: pd.DataFrame, orders: pd.DataFrame
) -> Callable[[Checkpoint], list[Probe]]:
    """Return a function from a checkpoint to its probes.

    These are about the facts edited so far (for the unedited model all facts) and about the retained facts.
    """
    fact_probes: dict[str, list[Probe]] = {}
    for probe in probes_from_table(probes):
        fact_probes.setdefault(probe.fact_id, []).append(probe)
    sequences = {order: [fact.id for fact in facts] for order, facts in _order_facts(sampled_facts, orders).items()}
    retained_ids = list(_select_role(sampled_facts, "retained")["id"])

    def select_probes(point: Checkpoint) -> list[Probe]:
        facts = sequences[point.order]
        edited_ids = facts[: point.edits] if point.edits else facts
        return [probe for fact in [*edited_ids, *retained_ids] for probe in fact_probes.get(fact, [])]

    return select_probes


def drift_with(method: str) -> Callable[..., pd.DataFrame]:
    """Return the node that measures how far one method moves the weights."""

    def measure_drift(
        lm: LanguageModel, edits: Mapping[str, StoredItem[Edit]], settings: SequenceParameters
    ) -> pd.DataFrame:
        rows = [
            [lm.name, method, point.order, point.edits, site.layer, site.part, *_measure_drift(lm, site, change)]
            for point, history in replays(edits, checkpoints(edits, settings))
            for site, change in history.changes.items()
        ]
        return pd.DataFrame(rows, columns=list(DRIFT_COLUMNS)).astype(DRIFT_COLUMNS)

    return measure_drift


def _measure_drift(lm: LanguageModel, site: Site, change: Tensor) -> tuple[float, float]:
    """Return the Frobenius norm of a change, and its ratio to the norm of the unedited weight."""
    norm, weight_norm = change.norm(), lm.weight(site).float().norm().cpu()
    return float(norm), float(norm / weight_norm)
