"""Nodes of evaluate. Answers land one file an edit, so that a killed run goes on after the last one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from edit_robustness.asking.ask import Decoding
from edit_robustness.datasets.answers import answers_under
from edit_robustness.datasets.failures import PATIENCE, attempts, failed_table
from edit_robustness.datasets.folders import Landing, Manifest, Stored, made
from edit_robustness.datasets.run_record import run_record
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.prepared import NOTHING, Prepared
from edit_robustness.metrics.judge import conversations, is_judged, judgements_table
from edit_robustness.metrics.scores import score_answers
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.records import Answer, Probe
from edit_robustness.speakers.speaker import Speaker
from edit_robustness.tables import answers_to_table, check_answers, probes_from_table

_PACKAGES = ("edit_robustness", "kedro", "torch", "transformers", "scikit-learn", "statsmodels")


def evaluate(
    lm: LanguageModel,
    edits: Mapping[str, Stored[Edit]],
    probes: pd.DataFrame,
    stored: Mapping[str, str],
    decoding: Decoding,
    prepared: Mapping[str, Stored[Prepared]] | None = None,
    checked: Any = None,
) -> Landing:
    """Ask every probe under its edit; answers that are there already are not asked again.

    Facts whose edit could not be made are not asked.

    `prepared` holds what the method prepared, where its edits cannot be applied without it; `checked` says that all
    prompts fit into the context.
    """
    own: dict[str, list[Probe]] = {key: [] for key in made(edits)}
    for probe in probes_from_table(probes):
        if probe.fact_id in own or probe.fact_id not in edits:
            own[probe.fact_id].append(probe)
    artefact = next((item.read() for item in (prepared or {}).values()), NOTHING)
    yield from answers_under(lm, edits, own, stored, decoding, f"{lm.name}: asking", artefact)


def gather_with(methods: Sequence[str]) -> Callable[..., pd.DataFrame]:
    """The node that makes one table of the answers of these methods."""

    def gather(lm: LanguageModel, decoding: Decoding, *answers: Mapping[str, Stored[list[Answer]]]) -> pd.DataFrame:
        how = decoding.described(lm)
        tables = [
            answers_to_table(
                [a for item in made(items).values() for a in item.read()], model=lm.name, method=method, decoding=how
            )
            for method, items in zip(methods, answers, strict=True)
        ]
        return pd.concat(tables, ignore_index=True)

    return gather


def judge_each(answers: pd.DataFrame, judge: Speaker, stored: Mapping[str, str]) -> Landing:
    """Ask the judge about the answers under each edit; what it was asked before is not asked again."""
    together = _judged_together(answers)
    shown = {key: conversations(rows) for key, rows in together.items()}
    wanted = Manifest({key: fingerprint(FORMAT, judge.fingerprint, turns) for key, turns in shown.items()})
    yield wanted
    missing, what = wanted.missing(stored), f"{judge.name}: judging"

    def make(keys: Sequence[str]) -> Iterator[list[str]]:
        return (judge.replies(shown[key]) for key in keys)

    for one in track(attempts(missing, make, what, batched=False, patience=PATIENCE), what, len(missing)):
        owner = {name: str(together[one.key][name].iloc[0]) for name in _OWNER}
        yield one.stored(wanted[one.key], {"judge": judge.name, **owner}, **owner)


def read_judgements(answers: pd.DataFrame, judged: Mapping[str, Stored[list[str]]]) -> pd.DataFrame:
    """The verdicts in the judge's replies; an answer that the judge could not be asked about has an empty reply."""
    name = next((item.header["judge"] for item in made(judged).values()), "")
    tables = [
        judgements_table(rows, [""] * len(rows) if judged[key].failed else judged[key].read(), name)
        for key, rows in _judged_together(answers).items()
    ]
    return pd.concat([judgements_table(answers.head(0), [], ""), *tables], ignore_index=True)


_OWNER = ["method", "fact_id"]
"""Answers that a judge is asked about together share these."""


def _judged_together(answers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    asked = answers[is_judged(answers)]
    return {f"{method}/{fact}": rows for (method, fact), rows in asked.groupby(_OWNER, sort=False)}


def score(answers: pd.DataFrame, judgements: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every metric of every answer; what lacks the unedited model's answer to compare with has missing values."""
    check_answers(answers)
    return score_answers(answers, judgements=judgements, unedited_required=False)


def describe_with(methods: Sequence[str]) -> Callable[..., tuple[dict[str, Any], pd.DataFrame]]:
    """The node that says what was run (model, methods with hyperparameters and costs, versions), and what failed."""

    def describe(
        lm: LanguageModel, sampled_facts: pd.DataFrame, used_defaults: Mapping[str, Any] | None = None, **cells: Any
    ) -> tuple[dict[str, Any], pd.DataFrame]:
        edits, answers, settings = (
            {method: cells[f"{method}_{what}"] for method in methods} for what in ("edits", "answers", "settings")
        )
        used = {name: own.settings() for name, own in settings.items()}
        record = {
            **run_record(lm, used, edits, _PACKAGES, answers.values()),
            "probes_per_second": {lm.name: {name: _speed(own) for name, own in answers.items()}},
            "used_defaults": {lm.name: (used_defaults or {}).get(lm.name, {})},
            "n_facts": len(sampled_facts),
        }
        shared = [("", stage, cells.get(folder)) for folder, stage in SHARED.items()]
        own = [(name, stage, folder[name]) for name in methods for stage, folder in (("edit", edits), ("ask", answers))]
        return record, failed_table(lm.name, [*shared, *own])

    return describe


SHARED = {
    "corpus": "write corpus",
    "said": "ask for old objects",
    "recalled": "recall",
    "recalled_in_context": "recall in context",
    "written": "write wordings",
    "judged": "judge",
}
"""Folders of a model that belong to no method, and what fills them."""


def _speed(answers: Mapping[str, Stored[list[Answer]]]) -> float | None:
    """Probes a second, both protocols, of those answers whose time was taken."""
    timed = [item.header for item in answers.values() if "seconds" in item.header]
    seconds = sum(header["seconds"] for header in timed)
    return sum(header["probes"] for header in timed) / seconds if seconds else None
