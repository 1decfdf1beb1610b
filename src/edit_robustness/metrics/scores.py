"""Answers to scores, in long form: one row for each answer, protocol and metric, with the value 0 or 1.

Intervals and averages are not made here: every score can be traced to the answer that it came from.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from edit_robustness.metrics.mentions import verdict
from edit_robustness.models.sentences import first_sentence
from edit_robustness.tables import read_names

KEYS = ["model", "method", "fact_id", "probe_id", "kind", "family"]
SCORE_COLUMNS = [*KEYS, "protocol", "metric", "value"]
_CELL = ["model", "method", "probe_id"]


def score_answers(answers: pd.DataFrame, *, baseline: str = "none") -> pd.DataFrame:
    """The scores of a table of answers.

    For probes of the edit, the protocol ``free`` gives success, reversion and neither: which object the first
    sentence of the generated text names. ``teacher_forced`` gives the same three by whether every token of an
    object is the most probable one (success before reversion), and preference: whether the new object is the more
    probable, which is the efficacy and paraphrase score of CounterFact (Meng et al. 2022, "Locating and Editing
    Factual Associations in GPT").

    For locality probes, ``free`` gives locality: whether the answer is that of the unedited model (the same
    verdict, and where it names neither object, the same first sentence), so that the baseline's own is 1.
    ``teacher_forced`` gives CounterFact's neighbourhood score: whether the neighbour's true object is more
    probable than the edit's.

    Args:
        answers: Columns as `tables.answers_to_table` makes them; any number of models and methods.
        baseline: The method that leaves the model as it is.

    Returns:
        `SCORE_COLUMNS`; `value` is 0.0 or 1.0, or NaN for teacher-forced metrics where a log-probability is not
        finite.

    Raises:
        ValueError: Where a locality probe has no answer of the baseline, or a probe is answered twice.
    """
    _refuse_duplicates(answers)
    judged = answers.assign(
        verdict=[_verdict(row) for row in answers.to_dict(orient="records")],
        sentence=[first_sentence(text) for text in answers["text"]],
    )
    edit = judged[judged["family"] == "edit"]
    locality = judged[judged["family"] == "locality"]
    parts = [
        *_long(edit, "free", _free(edit)),
        *_long(edit, "teacher_forced", _teacher_forced(edit)),
        *_long(locality, "free", {"locality": _unchanged(locality, baseline)}),
        *_long(locality, "teacher_forced", {"locality": locality["logprob_true"] > locality["logprob_new"]}),
    ]
    return pd.concat(parts, ignore_index=True)[SCORE_COLUMNS]


def _verdict(row: dict) -> str:
    new = (row["target_new"], *read_names(row["target_new_aliases"]))
    true = (row["target_true"], *read_names(row["target_true_aliases"]))
    return verdict(row["text"], new, true)


def _free(answers: pd.DataFrame) -> dict[str, pd.Series]:
    named = answers["verdict"]
    return {"success": named == "new", "reversion": named == "old", "neither": named == "neither"}


def _teacher_forced(answers: pd.DataFrame) -> dict[str, pd.Series]:
    new, true = answers["match_new"].astype(bool), answers["match_true"].astype(bool)
    return {
        "success": new,
        "reversion": true & ~new,
        "neither": ~(new | true),
        "preference": answers["logprob_new"] > answers["logprob_true"],
    }


def _unchanged(answers: pd.DataFrame, baseline: str) -> pd.Series:
    """Whether each answer to a locality probe is that of the unedited model, in the order of `answers`."""
    unedited = answers.loc[answers["method"] == baseline, ["model", "probe_id", "verdict", "sentence"]]
    pairs = answers.merge(unedited, how="left", on=["model", "probe_id"], suffixes=("", "_before"))
    _require_baseline(pairs, baseline)
    same_verdict = pairs["verdict"] == pairs["verdict_before"]
    same_words = (pairs["verdict"] != "neither") | (pairs["sentence"] == pairs["sentence_before"])
    return (same_verdict & same_words).set_axis(answers.index)


def _require_baseline(pairs: pd.DataFrame, baseline: str) -> None:
    lacking = pairs[pairs["verdict_before"].isna()]
    if len(lacking):
        models = ", ".join(sorted(lacking["model"].unique()))
        probes = lacking["probe_id"].unique()
        raise ValueError(
            f"locality compares with the unedited model, but {len(probes)} locality probes of {models} have no answer "
            f"of the method {baseline!r} (the first: {probes[0]}): add `{baseline}: true` to each model in the grid"
        )


def _refuse_duplicates(answers: pd.DataFrame) -> None:
    twice = answers[answers.duplicated(_CELL)]
    if len(twice):
        model, method, probe = twice[_CELL].iloc[0]
        raise ValueError(f"{len(twice)} probes are answered twice, the first: {probe} by {model} with {method}")


def _long(answers: pd.DataFrame, protocol: str, metrics: dict[str, pd.Series]) -> list[pd.DataFrame]:
    """One table for each metric; what teacher forcing could not measure is NaN, and never a success."""
    measured = np.ones(len(answers), dtype=bool)
    if protocol == "teacher_forced":
        measured = np.isfinite(answers[["logprob_new", "logprob_true"]].to_numpy(dtype=float)).all(axis=1)
    return [
        answers[KEYS].assign(protocol=protocol, metric=metric, value=values.astype(float).where(measured))
        for metric, values in metrics.items()
    ]
