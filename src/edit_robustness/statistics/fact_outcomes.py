"""Outcomes of edits: each score beside the features of its fact, and one value per fact and outcome.

`probe_outcomes` has a row per score and is for models of single probes. `fact_outcomes` has a row per fact, method,
protocol and outcome and is for correlations and paired comparisons. A fact without a value keeps its row and the
reason, so nothing is left out without a count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from edit_robustness.labels import KINDS, in_order
from edit_robustness.metrics.scores import SCORE_COLUMNS
from edit_robustness.statistics.intervals import refuse_mixed

ABOUT_FACT = ["subject", "relation", "dataset", "weight"]
"""Columns that describe a fact in both tables."""

FACT_OUTCOME_COLUMNS = [
    *("model", "method", "protocol", "outcome", "fact_id", *ABOUT_FACT, "value", "n_probes", "n_cut", "reason")
]

STATEMENT = "statement"
"""Kind of the prompt that the edit was made on; for data sets of questions it is the question."""

EFFICACY, GENERALIZATION, ROBUSTNESS = "efficacy", "generalization", "robustness"
REVERSION, PORTABILITY, SPECIFICITY = "reversion", "portability", "specificity"

_METRICS = ("success", "reversion", "specificity", "portability")
_CELL = ["model", "method", "protocol"]
_FACT = [*_CELL, "fact_id"]

NO_PROBE = "no prompt of this kind"
UNKNOWN_PROMPTS = "the unedited model knows no prompt of this kind"
CUT_OFF = "the token limit cut every answer"
NOT_SCORED = "no answer could be scored"
NOT_MEASURED = "the edit or its answers failed"
NO_EFFICACY = "the edit does not hold on the statement"
UNKNOWN_EFFICACY = "unknown whether the edit holds on the statement"
NOT_RECALLED = "not recalled before the edit"
UNKNOWN_RECALL = "unknown whether it was recalled before the edit"


def probe_outcomes(
    scores: pd.DataFrame, facts: pd.DataFrame, features: pd.DataFrame, feature_summary: pd.DataFrame
) -> pd.DataFrame:
    """Join each score with its fact and the features of its fact.

    Args:
        scores: The long table of scores.
        facts: The edited facts: model, id, subject, relation, and if known dataset and weight.
        features: The features of all facts: model, fact_id, and a column per feature.
        feature_summary: model and feature: which columns are features.

    Returns:
        `SCORE_COLUMNS`, `ABOUT_FACT`, and every feature of `feature_summary` in its order; NaN if missing. The mean
        weight of each model's facts is 1.

    Raises:
        ValueError: If a score is of a fact that is not in `facts`, or a fact stands there twice.
    """
    names = list(dict.fromkeys(feature_summary["feature"]))
    table = scores[SCORE_COLUMNS].merge(
        describe_facts(facts), on=["model", "fact_id"], how="left", validate="many_to_one", indicator=True
    )
    unknown_ids = table.loc[table["_merge"] == "left_only", "fact_id"].unique()
    if len(unknown_ids):
        raise ValueError(
            f"scores contain facts that were not edited in this run: {', '.join(map(str, unknown_ids[:5]))}"
        )
    values = features[["model", "fact_id", *names]]
    return table.drop(columns="_merge").merge(values, on=["model", "fact_id"], how="left", validate="many_to_one")


def describe_facts(facts: pd.DataFrame) -> pd.DataFrame:
    """Return model, fact_id and `ABOUT_FACT` of each fact, with a mean weight of 1 per model."""
    table = facts.rename(columns={"id": "fact_id"})
    weights = table["weight"].astype(float) if "weight" in table else pd.Series(1.0, table.index)
    table = table.assign(
        weight=weights / weights.groupby(table["model"]).transform("mean"),
        dataset=table["dataset"].fillna("") if "dataset" in table else "",
    )
    return table[["model", "fact_id", *ABOUT_FACT]]


def fact_outcomes(outcomes: pd.DataFrame, facts: pd.DataFrame, recall: pd.DataFrame) -> pd.DataFrame:
    """Compute one value per model, method, protocol, outcome and edited fact.

    The outcomes are

    - ``efficacy``: success on the statement, on which the edit was made,
    - ``generalization:<kind>``: success on another kind of prompt; ``generalization``: over all of these kinds,
    - ``robustness``: generalization of the facts whose efficacy is 1,
    - ``reversion``: the old object over all kinds, of the facts that the unedited model recalled,
    - ``specificity:<kind>``: unchanged answers, of the prompts that the unedited model knows; by teacher forcing of all
      prompts,
    - ``portability``: success on what follows from the edit, over its kinds.

    The value of a kind is the mean over the fact's probes, and the kinds of a fact have equal weights. An answer that
    the token limit cut before it named an object is no success and no reversion; specificity leaves it out.

    Args:
        outcomes: Output of `probe_outcomes`.
        facts: The edited facts, as for `probe_outcomes`.
        recall: model, fact_id, recalled, and if known recall_cut, of all facts.

    Returns:
        `FACT_OUTCOME_COLUMNS`: a row for each edited fact, also if it has no value: then `value` is NaN, and `reason`
        is why. `value` is in [0, 1]; `n_probes` counts the probes behind it, `n_cut` the answers that were cut, whether
        they count in the value or not. Non-edits have rows, too.

    Raises:
        ValueError: If a method's scores mix several decodings.
    """
    scores = outcomes[outcomes["metric"].isin(_METRICS) & (outcomes["protocol"] != "next_token")]
    refuse_mixed(scores, [*_CELL, "metric", "unit"])
    by_kind = _by_kind(scores, outcomes)
    about, prior = describe_facts(facts), _prior_knowledge(recall)
    is_known = outcomes["metric"] == "specificity_all"
    prompts = outcomes.loc[is_known, [*_FACT, "kind"]].drop_duplicates()
    parts = [
        _outcome_rows(
            cell_rows, about[about["model"] == cell[0]], prior, prompts, dict(zip(_CELL, map(str, cell), strict=True))
        )
        for cell, cell_rows in by_kind.groupby(_CELL, sort=False, observed=True)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=FACT_OUTCOME_COLUMNS)


def _by_kind(scores: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Compute value, n_probes, n_cut and n_asked of each fact and kind under each metric."""
    answer = [*_CELL, "probe_id"]
    cut_answers = outcomes.loc[(outcomes["metric"] == "cut") & (outcomes["value"] == 1), answer].drop_duplicates()
    table = scores.merge(cut_answers.assign(cut=1), on=answer, how="left", validate="many_to_one")
    groups = table.assign(cut=table["cut"].fillna(0)).groupby([*_FACT, "metric", "family", "kind"], sort=False)
    return groups.agg(
        value=("value", "mean"), n_probes=("value", "count"), n_cut=("cut", "sum"), n_asked=("value", "size")
    ).reset_index()


def _prior_knowledge(recall: pd.DataFrame) -> pd.DataFrame:
    """Return whether each fact was recalled; NaN if the token limit cut the answer."""
    is_recalled = recall["recalled"].astype("boolean").astype("Float64").astype(float)
    if "recall_cut" in recall:
        is_recalled = is_recalled.mask(recall["recall_cut"].astype("boolean").fillna(False).astype(bool))
    return recall[["model", "fact_id"]].assign(recalled=is_recalled)


@dataclass(frozen=True)
class _Selection:
    """The rows of one outcome: which metric, which kinds, and the reason if a fact has none of them."""

    outcome: str
    metric: str
    kinds: Sequence[str]
    absence: str = NO_PROBE


def _select(rows: pd.DataFrame, specificity_kinds: set[str]) -> Iterator[_Selection]:
    """Yield the outcomes that a method's rows allow, in the order of the report.

    Kinds of specificity that were asked have rows also if the unedited model knows no prompt of them.
    """
    kinds = {metric: in_order(rows.loc[rows["metric"] == metric, "kind"].astype(str), KINDS) for metric in _METRICS}
    kinds["specificity"] = in_order({*kinds["specificity"], *specificity_kinds}, KINDS)
    other_kinds = [kind for kind in kinds["success"] if kind != STATEMENT]
    if STATEMENT in kinds["success"]:
        yield _Selection(EFFICACY, "success", [STATEMENT])
    if other_kinds:
        yield _Selection(GENERALIZATION, "success", other_kinds)
        yield from (_Selection(f"{GENERALIZATION}:{kind}", "success", [kind]) for kind in other_kinds)
        yield _Selection(ROBUSTNESS, "success", other_kinds)
    if kinds["reversion"]:
        yield _Selection(REVERSION, "reversion", kinds["reversion"])
    yield from (_Selection(f"{SPECIFICITY}:{kind}", "specificity", [kind]) for kind in kinds["specificity"])
    if kinds["portability"]:
        yield _Selection(PORTABILITY, "portability", kinds["portability"])


def _outcome_rows(
    rows: pd.DataFrame, facts: pd.DataFrame, prior: pd.DataFrame, prompts: pd.DataFrame, cell: dict[str, str]
) -> pd.DataFrame:
    """Return the rows of all outcomes of one model, method and protocol."""
    about = facts.merge(prior, on=["model", "fact_id"], how="left", validate="one_to_one").set_index("fact_id")
    is_measured = about.index.isin(rows["fact_id"])
    tables: dict[str, pd.DataFrame] = {}
    is_cell = np.logical_and.reduce([prompts[name] == value for name, value in cell.items()])
    cell_prompts = prompts[is_cell]
    for selection in _select(rows, set(cell_prompts["kind"].astype(str))):
        is_kind = cell_prompts["kind"].isin(selection.kinds) & (selection.metric == "specificity")
        table = _values(rows, selection, about.index)
        table["reason"] = _reasons(table, selection, set(cell_prompts.loc[is_kind, "fact_id"]), is_measured)
        tables[selection.outcome] = table
    if ROBUSTNESS in tables:
        efficacy = tables[EFFICACY]["value"] if EFFICACY in tables else pd.Series(np.nan, about.index)
        tables[ROBUSTNESS] = _restrict(tables[ROBUSTNESS], efficacy, UNKNOWN_EFFICACY, NO_EFFICACY)
    if REVERSION in tables:
        tables[REVERSION] = _restrict(tables[REVERSION], about["recalled"], UNKNOWN_RECALL, NOT_RECALLED)
    table = pd.concat(tables, names=["outcome", "fact_id"]).reset_index()
    table = table.merge(about[ABOUT_FACT], left_on="fact_id", right_index=True, how="left", validate="many_to_one")
    return table.assign(**{name: str(value) for name, value in cell.items()})[FACT_OUTCOME_COLUMNS]


def _values(rows: pd.DataFrame, selection: _Selection, fact_ids: pd.Index) -> pd.DataFrame:
    """Compute value, n_probes, n_cut and n_asked of each fact: the mean over its kinds, 0 probes if it has none."""
    selection_rows = rows[(rows["metric"] == selection.metric) & rows["kind"].isin(selection.kinds)]
    groups = selection_rows.groupby("fact_id", sort=False)
    counts = groups[["n_probes", "n_cut", "n_asked"]].sum().reindex(fact_ids, fill_value=0).astype("int64")
    return counts.assign(value=groups["value"].mean().reindex(fact_ids))


def _reasons(table: pd.DataFrame, selection: _Selection, asked_ids: set[str], is_measured: np.ndarray) -> pd.Series:
    """Return why a fact has no value; empty if it has one."""
    without_probe = np.where(table.index.isin(asked_ids), UNKNOWN_PROMPTS, selection.absence)
    reasons = np.select(
        [table["value"].notna(), ~is_measured, table["n_asked"] == 0, table["n_cut"] > 0],
        ["", NOT_MEASURED, without_probe, CUT_OFF],
        NOT_SCORED,
    )
    return pd.Series(reasons, table.index, dtype="str")


def _restrict(table: pd.DataFrame, condition: pd.Series, unknown: str, unmet: str) -> pd.DataFrame:
    """Remove the values of facts whose condition is not 1, with the reason; the first reason of a fact stays."""
    is_met = condition == 1
    reasons = pd.Series(np.where(condition.isna(), unknown, unmet), table.index, dtype="str")
    return table.assign(
        value=table["value"].where(is_met),
        n_probes=table["n_probes"].where(is_met, 0),
        reason=table["reason"].mask(~is_met & (table["reason"] == ""), reasons),
    )
