"""Nodes of evaluate. Answers are stored one file per edit, so an interrupted run resumes after the last one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from edit_robustness.asking.ask import Decoding
from edit_robustness.datasets.failures import PATIENCE, failed_table, run_attempts
from edit_robustness.datasets.folders import Landing, Manifest, StoredItem, successful_items
from edit_robustness.datasets.run_record import probes_per_second, run_record
from edit_robustness.editing.artefacts import NO_ARTEFACT, Artefact
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.metrics.judge import conversations, is_judged, judgements_table
from edit_robustness.metrics.scores import score_answers
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.records import Answer, Probe
from edit_robustness.speakers.speaker import Speaker
from edit_robustness.tables import answers_to_table, check_answers, probes_from_table
from edit_robustness.workers.answers import answers_under

_PACKAGES = ("edit_robustness", "kedro", "torch", "transformers", "scikit-learn", "statsmodels")


def evaluate(
    lm: LanguageModel,
    edits: Mapping[str, StoredItem[Edit]],
    probes: pd.DataFrame,
    inventory: Mapping[str, str],
    decoding: Decoding,
    artefacts: Mapping[str, StoredItem[Artefact]] | None = None,
    check_record: Any = None,
) -> Landing:
    """Ask every probe under its edit. Existing answers are not recomputed, and facts whose edit failed are not asked.

    `artefacts` contains the method's artefact if its edits need it. `check_record` is the result of the check that all
    prompts fit into the context.
    """
    fact_probes: dict[str, list[Probe]] = {key: [] for key in successful_items(edits)}
    for probe in probes_from_table(probes):
        if probe.fact_id in fact_probes or probe.fact_id not in edits:
            fact_probes[probe.fact_id].append(probe)
    artefact = next((item.read() for item in (artefacts or {}).values()), NO_ARTEFACT)
    yield from answers_under(lm, edits, fact_probes, inventory, decoding, f"{lm.name}: asking", artefact)


def gather_with(methods: Sequence[str]) -> Callable[..., pd.DataFrame]:
    """Return the node that joins the answers of these methods into one table."""

    def gather(lm: LanguageModel, decoding: Decoding, *answers: Mapping[str, StoredItem[list[Answer]]]) -> pd.DataFrame:
        decoding_label = decoding.describe(lm)
        tables = [
            answers_to_table(
                [answer for item in successful_items(items).values() for answer in item.read()],
                model=lm.name,
                method=method,
                decoding=decoding_label,
            )
            for method, items in zip(methods, answers, strict=True)
        ]
        return pd.concat(tables, ignore_index=True)

    return gather


def judge_each(answers: pd.DataFrame, judge: Speaker, inventory: Mapping[str, str]) -> Landing:
    """Ask the judge about the answers under each edit. Existing replies are not recomputed."""
    groups = _group_judged(answers)
    questions = {key: conversations(rows) for key, rows in groups.items()}
    manifest = Manifest({key: fingerprint(FORMAT, judge.fingerprint, turns) for key, turns in questions.items()})
    yield manifest
    missing_keys, label = manifest.missing_keys(inventory), f"{judge.name}: judging"

    def make(keys: Sequence[str]) -> Iterator[list[str]]:
        return (judge.replies(questions[key]) for key in keys)

    for attempt in track(
        run_attempts(missing_keys, make, label, in_batches=False, patience=PATIENCE), label, len(missing_keys)
    ):
        owner = {name: str(groups[attempt.key][name].iloc[0]) for name in _OWNER}
        yield attempt.to_items(manifest[attempt.key], {"judge": judge.name, **owner}, **owner)


def read_judgements(answers: pd.DataFrame, replies: Mapping[str, StoredItem[list[str]]]) -> pd.DataFrame:
    """Read the verdicts from the judge's replies.

    An answer that the judge could not be asked about has an empty reply.
    """
    name = next((item.header["judge"] for item in successful_items(replies).values()), "")
    tables = [
        judgements_table(rows, [""] * len(rows) if replies[key].failure else replies[key].read(), name)
        for key, rows in _group_judged(answers).items()
    ]
    return pd.concat([judgements_table(answers.head(0), [], ""), *tables], ignore_index=True)


_OWNER = ["method", "fact_id"]
"""Columns that group the answers of one request to the judge."""


def _group_judged(answers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    judged_rows = answers[is_judged(answers)]
    return {f"{method}/{fact}": rows for (method, fact), rows in judged_rows.groupby(_OWNER, sort=False)}


def score(answers: pd.DataFrame, judgements: pd.DataFrame | None = None) -> pd.DataFrame:
    """Compute every metric of every answer.

    Metrics that need a missing answer of the unedited model are missing values.
    """
    check_answers(answers)
    return score_answers(answers, judgements=judgements, unedited_required=False)


def describe_with(methods: Sequence[str]) -> Callable[..., tuple[dict[str, Any], pd.DataFrame]]:
    """Return the node that records the run (model, hyperparameters, costs, versions) and lists what failed."""

    def describe(
        lm: LanguageModel, sampled_facts: pd.DataFrame, used_defaults: Mapping[str, Any] | None = None, **cells: Any
    ) -> tuple[dict[str, Any], pd.DataFrame]:
        edits, answers, settings = (
            {method: cells[f"{method}_{suffix}"] for method in methods} for suffix in ("edits", "answers", "settings")
        )
        settings_used = {name: method_items.settings() for name, method_items in settings.items()}
        record = {
            **run_record(lm, settings_used, edits, _PACKAGES, answers.values()),
            "probes_per_second": {
                lm.name: {name: probes_per_second(method_items) for name, method_items in answers.items()}
            },
            "used_defaults": {lm.name: (used_defaults or {}).get(lm.name, {})},
            "n_facts": len(sampled_facts),
        }
        shared_folders = [("", stage, cells.get(folder)) for folder, stage in SHARED.items()]
        method_items = [
            (name, stage, folder[name]) for name in methods for stage, folder in (("edit", edits), ("ask", answers))
        ]
        return record, failed_table(lm.name, [*shared_folders, *method_items])

    return describe


SHARED = {
    "corpus": "write corpus",
    "old_object_answers": "ask for old objects",
    "recall_answers": "recall",
    "recall_answers_in_context": "recall in context",
    "writer_wordings": "write wordings",
    "judge_replies": "judge",
}
"""Folders of a model that belong to no method, and the stage that fills each."""
