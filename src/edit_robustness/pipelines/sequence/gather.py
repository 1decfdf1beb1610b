"""Nodes that join the results of the sequences of all methods of a model into one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.asking.ask import Decoding
from edit_robustness.datasets.failures import failed_table
from edit_robustness.datasets.folders import StoredItem, successful_items
from edit_robustness.datasets.run_record import mean_of, probes_per_second, run_record
from edit_robustness.datasets.sequences import checkpoints, edits_of, order_of
from edit_robustness.editing.edit_sequence import SequenceParameters
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.methods.none import Unedited
from edit_robustness.metrics.scores import SCORE_COLUMNS, score_answers
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.pipelines.sequence.nodes import DRIFT_COLUMNS
from edit_robustness.records import Answer, Document
from edit_robustness.tables import DOCUMENT_COLUMNS, answers_to_table, collect, documents_to_table

_POINT = ["method", "order", "edits"]
"""Columns that identify a checkpoint of a model."""
_ADDED = ["order", "edits", "fact_role", "position"]
_PACKAGES = ("edit_robustness", "kedro", "torch", "transformers", "lm_eval")

Answers = Mapping[str, StoredItem[list[Answer]]]
Documents = Mapping[str, StoredItem[list[Document]]]


def gather_answers_with(methods: Sequence[str]) -> Callable[..., pd.DataFrame]:
    """Return the node that joins the answers at all checkpoints of these methods into one table."""

    def gather_answers(lm: LanguageModel, decoding: Decoding, orders: pd.DataFrame, *answers: Answers) -> pd.DataFrame:
        decoding_label = decoding.describe(lm)
        positions = orders.set_index(["order", "fact_id"])["position"]
        tables = []
        for method, folder in zip(methods, answers, strict=True):
            for item in successful_items(folder).values():
                order, edits = order_of(item), edits_of(item)
                table = answers_to_table(item.read(), model=lm.name, method=method, decoding=decoding_label)
                fact_positions = table["fact_id"].map(positions[order]).fillna(0).astype("int64")
                roles = fact_positions.map(lambda position: "edited" if position else "retained").astype("str")
                tables.append(table.assign(order=order, edits=edits, fact_role=roles, position=fact_positions))
        if not tables:
            raise ValueError(f"{lm.name}: no checkpoint of any method could be asked; the log names the reasons")
        return pd.concat(tables, ignore_index=True)

    return gather_answers


def score_sequences(answers: pd.DataFrame) -> pd.DataFrame:
    """Compute every metric of every answer at every checkpoint, each compared with the unedited model."""
    scores = score_answers(answers, by=_POINT, unedited_required=False)
    locations = answers[["probe_id", *_POINT, "fact_role", "position"]]
    return scores.merge(locations, on=[*_POINT, "probe_id"], validate="many_to_one")[[*SCORE_COLUMNS, *_ADDED]]


def gather_documents_with(methods: Sequence[str]) -> Callable[..., pd.DataFrame]:
    """Return the node that joins the benchmark documents at these methods' checkpoints into one table."""

    def gather_documents(lm: LanguageModel, *documents: Documents) -> pd.DataFrame:
        tables = []
        for method, folder in zip(methods, documents, strict=True):
            for item in successful_items(folder).values():
                order, edits = order_of(item), edits_of(item)
                tables.append(documents_to_table(item.read(), model=lm.name, method=method, order=order, edits=edits))
        return collect(*tables, pd.DataFrame(columns=list(DOCUMENT_COLUMNS))).astype(DOCUMENT_COLUMNS)

    return gather_documents


def gather_drift(*drifts: pd.DataFrame) -> pd.DataFrame:
    """Join the weight drift of all methods that change weights into one table."""
    return collect(*drifts, pd.DataFrame(columns=list(DRIFT_COLUMNS))).astype(DRIFT_COLUMNS)


def describe_with(methods: Sequence[str]) -> Callable[..., tuple[dict[str, Any], pd.DataFrame]]:
    """Return the node that records the run (model, methods, sequences and costs) and lists what failed."""

    def describe(
        lm: LanguageModel,
        settings: SequenceParameters,
        abilities: AbilityParameters,
        sampled_facts: pd.DataFrame,
        used_defaults: Mapping[str, Any] | None = None,
        **cells: Any,
    ) -> tuple[dict[str, Any], pd.DataFrame]:
        edit_methods = [method for method in methods if method != Unedited.name]
        folders = {method: cells[f"{method}_sequence"] for method in edit_methods}
        settings_used = {
            Unedited.name: {},
            **{method: cells[f"{method}_settings"].settings() for method in edit_methods},
        }
        document_folders = [cells[f"{m}_documents"] for m in methods]
        method_records = {m: _summarise_sequence(folders.get(m), cells[f"{m}_documents"], settings) for m in methods}
        record = {
            **run_record(lm, settings_used, folders, _PACKAGES, document_folders),
            "probes_per_second": {lm.name: {m: probes_per_second(cells[f"{m}_sequence_answers"]) for m in methods}},
            "used_defaults": {lm.name: (used_defaults or {}).get(lm.name, {})},
            "n_facts": settings.length,
            "n_retained": int((sampled_facts["fact_role"] == "retained").sum()),
            "sequence": asdict(settings),  # type: ignore[call-overload]
            "abilities": {name: value for name, value in asdict(abilities).items() if name != "presets"},
            "sequences": {lm.name: method_records},
        }
        stages = {"edit": "sequence", "ask": "sequence_answers", "measure": "documents"}
        method_folders = [(m, stage, cells.get(f"{m}_{suffix}")) for m in methods for stage, suffix in stages.items()]
        shared_folders = [("", stage, cells.get(suffix)) for suffix, stage in SHARED.items()]
        return record, failed_table(lm.name, [*shared_folders, *method_folders])

    return describe


SHARED = {"corpus": "write corpus", "old_object_answers": "ask for old objects", "recall_answers": "recall"}
"""Folders of a model that belong to no method, and the stage that fills each."""


def _summarise_sequence(
    edits: Mapping[str, StoredItem[Edit]] | None, documents: Documents, settings: SequenceParameters
) -> dict[str, Any]:
    """Return the failures and costs of one method's sequences; costs at checkpoints are means over orders."""
    points = checkpoints(edits, settings)
    prefixes: dict[str, list[int]] = {}
    seconds: dict[str, dict[str, list[float]]] = {}
    for point in points:
        prefixes.setdefault(str(point.edits), []).append(point.prefix_tokens)
    for item in successful_items(documents).values():
        of_number = seconds.setdefault(str(edits_of(item)), {})
        of_number.setdefault(item.header["benchmark"], []).append(item.header["seconds"])
    return {
        "failed": [_describe_failure(item) for item in (edits or {}).values() if item.failure],
        "seconds_per_edit": mean_of(edits, "seconds") if edits else None,
        "prefix_tokens": {number: sum(values) / len(values) for number, values in prefixes.items()},
        "seconds_per_benchmark": {
            number: {name: round(sum(values) / len(values), 3) for name, values in benchmark_seconds.items()}
            for number, benchmark_seconds in seconds.items()
        },
    }


def _describe_failure(item: StoredItem[Edit]) -> dict[str, Any]:
    return {"order": order_of(item), "position": edits_of(item), "reason": item.failure}
