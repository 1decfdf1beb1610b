"""Nodes of sequence. Increments and answers are stored in files, so an interrupted run resumes after the last one."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import pandas as pd
from torch import Tensor

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets.failures import Attempt, reason_of, report_failure
from edit_robustness.datasets.folders import Landing, Manifest, StoredItem, stale_mark
from edit_robustness.datasets.run_record import figures_of, prepared_name
from edit_robustness.datasets.sequences import Checkpoint, after, checkpoints, edit_key, place, replays
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edit_sequence import SequenceParameters, edit_sequence
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
from edit_robustness.workers import Task, Work, WorkerDied, current_workers

logger = logging.getLogger(__name__)

_NOTHING: StoredItem[Artefact] = StoredItem.of("", Artefact())

_COUNTED_FACTS = 100
"""Maximum number of facts whose text is counted after each edit, so that long sequences do not slow down."""

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

    Edited facts are asked by their statement, paraphrases and the three kinds of specificity, retention facts by their
    statement. No neighbour and no unrelated prompt is about a subject that the sequence edits, and no other relation is
    asked that the sequence edits too.
    """
    templates = read_relations(raw_relations)
    edited_facts, retention_facts = (
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
    retention_probes = build_probes(
        retention_facts, templates, [], kinds=["statement"], neighbours=0, seed=settings.seed
    )
    return probes_to_table([*probes, *retention_probes])


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
    orders = {}
    for order, facts in sequences.items():
        groups = settings.group(facts, method)
        orders[order] = _Order(common, groups, _select_order(inventory, order, groups))
    states = {order: _State(parts) for order, parts in orders.items()}
    yield _build_manifest(states)
    open_orders = {str(order): orders[order] for order, state in states.items() if state.missing_numbers}
    label = f"{lm.name}: {method.name} in sequence"
    if preparation.failure:
        attempts = _lose_increments(lm, method, open_orders, preparation)
    else:
        work = Work(_edit_orders, open_orders, (method, preparation.read()))
        attempts = current_workers().attempts(lm, Task(work, list(open_orders), label, advance=_advance))
    missing = sum(len(states[int(key)].missing_numbers) for key in open_orders)
    for attempt in track(attempts, label, missing):
        order = int(attempt.key)
        state, items = states[order], orders[order].items
        increment = attempt.value
        if isinstance(attempt.error, WorkerDied):
            increment = state.lose_next(attempt.error)
        elif increment is None:
            raise attempt.error or RuntimeError(f"{label}: order {order} ended early")
        number = increment.number
        if increment.error is not None and not preparation.failure:
            report_failure(f"{label}, order {order}", f"edit {number}", increment.error)
        header = {
            **place(order, number),
            "seconds": round(attempt.seconds, 3),
            "environment": attempt.environment or lm.environment,
            "prefix_tokens": increment.prefix_tokens,
            **figures_of(preparation),
            **stale_mark(preparation, *items.values()),
        }
        yield {
            edit_key(order, number): _to_item(state.names[number], increment, state.facts[number], preparation, header)
        }
        if state.note(increment):
            yield _build_manifest(states)


@dataclass(frozen=True)
class _Order:
    """An order of facts to edit in sequence.

    Attributes:
        common: Fingerprint of model and method.
        groups: The facts of each edit.
        items: The increments that are there, by the number of facts after each.
        failures: The reasons of increments that failed in this run and are not tried again.
    """

    common: str
    groups: Sequence[Sequence[Fact]]
    items: Mapping[int, StoredItem[Edit]]
    failures: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Increment:
    """Increment: an edit of a sequence beside those before it.

    Attributes:
        number: Number of edited facts after it.
        item: The edit; an empty one if it failed. It is shared, so that nothing holds it once its file is written.
        error: Why it failed; None if it was made.
        prefix_tokens: Tokens that all edits so far put before the statement of an edited fact, on average.
    """

    number: int
    item: StoredItem[Edit]
    error: Exception | str | None = None
    prefix_tokens: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Return it with the text of its error: an exception may have no name in another process."""
        error = None if self.error is None else reason_of(self.error)
        return _Increment, (self.number, self.item, error, self.prefix_tokens)


class _State:
    """The increments of an order as far as a run has come.

    Attributes:
        names: The fingerprint of each increment, by the number of facts after it.
        facts: The facts of each.
        readers: Those that need not be made.
    """

    def __init__(self, order: _Order):
        self._order, self._outcomes = order, dict.fromkeys(order.failures, True)
        self._prefix_tokens = {number: item.header.get("prefix_tokens", 0) for number, item in order.items.items()}
        self.facts = dict(zip(accumulate(map(len, order.groups)), order.groups, strict=True))
        self.readers: dict[int, Callable[[], Edit]] = {}
        self._update()

    def note(self, increment: _Increment) -> bool:
        """Note an increment, and return whether its outcome changes the fingerprints of those after it."""
        number, is_failed = increment.number, increment.error is not None
        self._outcomes[number], self._prefix_tokens[number] = is_failed, increment.prefix_tokens
        if is_failed == _is_failure(self._order.items.get(number), self.names[number]):
            return False
        self._update()
        return True

    def lose_next(self, error: WorkerDied) -> _Increment:
        """Return the first increment that is still to be made as one that failed."""
        number = self.missing_numbers[0]
        prefix_tokens = max(
            (self._prefix_tokens.get(earlier, 0) for earlier in self.names if earlier < number), default=0
        )
        return _Increment(number, StoredItem.of(self.names[number], PromptPrefix()), error, prefix_tokens)

    @property
    def missing_numbers(self) -> list[int]:
        """Return the increments, in order, that are still to be made."""
        return [number for number in self.names if number not in self.readers and number not in self._outcomes]

    def _update(self) -> None:
        order = self._order
        self.names = _compute_names(order.common, order.groups, order.items, self._outcomes)
        self.readers.clear()
        self.readers.update(_select_readers(self.names, order.items))
        self.readers.update(dict.fromkeys(order.failures, PromptPrefix))


def _edit_orders(
    lm: LanguageModel, orders: Sequence[_Order], method: Method, artefact: Artefact
) -> Iterator[_Increment]:
    """Yield the increments of orders that are not there."""
    for order in orders:
        state, facts = _State(order), [fact for group in order.groups for fact in group]
        for step in edit_sequence(lm, method, order.groups, artefact=artefact, stored_edits=state.readers):
            number = step.number
            tokens = 0 if step.is_stored else _count_prefix_tokens(lm, step.history, facts[:number])
            error = order.failures.get(number, step.error)
            increment = _Increment(number, StoredItem.of(state.names[number], step.edit), error, tokens)
            if not step.is_stored:
                yield increment
            state.note(increment)


def _count_prefix_tokens(lm: LanguageModel, history: EditHistory, facts: Sequence[Fact]) -> int:
    """Return the mean number of tokens before the statements of these facts, at most of the last hundred."""
    texts = Counter(history.text_before(fact.statement) for fact in facts[-_COUNTED_FACTS:])
    tokens = {text: len(prompt_ids(lm, RenderedPrompt(text))) if text else 0 for text in texts}
    return round(sum(tokens[text] * count for text, count in texts.items()) / texts.total())


def _advance(order: _Order, increment: _Increment | WorkerDied) -> _Order:
    """Return an order with one more increment, made or failed."""
    if isinstance(increment, WorkerDied):
        increment = _State(order).lose_next(increment)
    number = increment.number
    if increment.error is None:
        return replace(order, items={**order.items, number: increment.item})
    reason = reason_of(increment.error)
    items = {**order.items, number: StoredItem.failed_item(increment.item.fingerprint, reason)}
    return replace(order, items=items, failures={**order.failures, number: reason})


def _lose_increments(
    lm: LanguageModel,
    method: Method,
    orders: Mapping[str, _Order],
    preparation: StoredItem[Artefact],
) -> Iterator[Attempt[_Increment]]:
    """Yield every increment as one that failed, because the preparation did."""
    for key, order in orders.items():
        logger.warning(
            "%s: %d edits by %s failed, the first: %s", lm.name, len(order.groups), method.name, preparation.failure
        )
        for number, name in _State(order).names.items():
            increment = _Increment(number, StoredItem.of(name, PromptPrefix()), Unsolvable(preparation.failure))
            yield Attempt(key, increment, 0.0)


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


def _build_manifest(states: Mapping[int, _State]) -> Manifest:
    return Manifest(
        {edit_key(order, number): name for order, state in states.items() for number, name in state.names.items()}
    )


def _to_item(
    name: str,
    increment: _Increment,
    facts: Sequence[Fact],
    preparation: StoredItem[Artefact],
    header: Mapping[str, Any],
) -> StoredItem[Edit]:
    if increment.error is None:
        return replace(increment.item, fingerprint=name, header=header)
    stage = {"stage": "prepare"} if preparation.failure else {}
    return StoredItem.failed_item(
        name, reason_of(increment.error), fact_id=", ".join(fact.id for fact in facts), **stage, **header
    )


def ask_with(method: str) -> Callable[..., Landing]:
    """Return the node that asks, at each checkpoint of one method, about all edits so far and about retention facts."""

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
        inputs = {key: (points[key], point_probes[key]) for key in missing_keys}
        work = Work(_ask_checkpoints, inputs, (edits, artefacts, decoding))
        attempts = current_workers().attempts(lm, Task(work, missing_keys, label, in_batches=False))
        for attempt in track(attempts, label, len(missing_keys)):
            header = {
                "seconds": attempt.seconds,
                "probes": len(point_probes[attempt.key]),
                "environment": attempt.environment,
            }
            header |= stale_mark(*(edits or {}).values())
            location = points[attempt.key].place
            yield attempt.to_items(manifest[attempt.key], header | location, **location)

    return ask_checkpoints


def _ask_checkpoints(
    lm: LanguageModel,
    inputs: Sequence[tuple[Checkpoint, Sequence[Probe]]],
    edits: Mapping[str, StoredItem[Edit]] | None,
    artefacts: Mapping[str, StoredItem[Artefact]] | None,
    decoding: Decoding,
) -> Iterator[list[Answer]]:
    """Yield the answers at each checkpoint."""
    probes = dict(inputs)
    for point, history in replays(edits, list(probes), artefacts):
        edit: Appliable = history if point.edits else PromptPrefix()
        yield from ask(lm, [(edit, probes[point])], decoding) if probes[point] else [[]]


def _probes_by_checkpoint(
    probes: pd.DataFrame, sampled_facts: pd.DataFrame, orders: pd.DataFrame
) -> Callable[[Checkpoint], list[Probe]]:
    """Return a function from a checkpoint to its probes.

    These are about the facts edited so far (for the unedited model all facts) and about the retention facts.
    """
    fact_probes: dict[str, list[Probe]] = {}
    for probe in probes_from_table(probes):
        fact_probes.setdefault(probe.fact_id, []).append(probe)
    sequences = {order: [fact.id for fact in facts] for order, facts in _order_facts(sampled_facts, orders).items()}
    retention_ids = list(_select_role(sampled_facts, "retained")["id"])

    def select_probes(point: Checkpoint) -> list[Probe]:
        facts = sequences[point.order]
        edited_ids = facts[: point.edits] if point.edits else facts
        return [probe for fact in [*edited_ids, *retention_ids] for probe in fact_probes.get(fact, [])]

    return select_probes


def drift_with(method: str) -> Callable[..., pd.DataFrame]:
    """Return the node that measures how far one method moves the weights."""

    def measure_drift(
        lm: LanguageModel, edits: Mapping[str, StoredItem[Edit]], settings: SequenceParameters
    ) -> pd.DataFrame:
        points = checkpoints(edits, settings)
        # one item, because each change follows from those before
        task = Task(Work(_measure_drifts, {"drift": points}, (edits,)), ["drift"], f"{lm.name}: {method}, drift")
        (attempt,) = current_workers().attempts(lm, task)
        if attempt.error is not None:
            raise attempt.error
        rows = [
            [lm.name, method, point.order, point.edits, site.layer, site.part, *norms]
            for point, site, *norms in attempt.value or ()
        ]
        return pd.DataFrame(rows, columns=list(DRIFT_COLUMNS)).astype(DRIFT_COLUMNS)

    return measure_drift


def _measure_drifts(
    lm: LanguageModel, inputs: Sequence[Sequence[Checkpoint]], edits: Mapping[str, StoredItem[Edit]]
) -> Iterator[list[tuple[Checkpoint, Site, float, float]]]:
    """Yield for each checkpoint and site the Frobenius norm of the change, and its ratio to that of the weight."""
    for points in inputs:
        yield [
            (point, site, *_measure_drift(lm, site, change))
            for point, history in replays(edits, points)
            for site, change in history.changes.items()
        ]


def _measure_drift(lm: LanguageModel, site: Site, change: Tensor) -> tuple[float, float]:
    """Return the Frobenius norm of a change, and its ratio to the norm of the unedited weight."""
    norm, weight_norm = change.norm(), lm.weight(site).float().norm().cpu()
    return float(norm), float(norm / weight_norm)
