"""Difficulty of facts: correlations of every feature with what the unedited model knows, and with outcomes of edits.

There are two kinds of tests. Recall needs no edit, so every fact of the table counts. Edit outcomes exist only for the
edited facts. `associations` corrects each for multiplicity. Each row has the smallest correlation that its number of
facts could detect after the correction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.labels import NON_EDITS
from edit_robustness.records import UNEDITED
from edit_robustness.statistics import fact_outcomes as reasons
from edit_robustness.statistics.associations import KEYS, RELATION_COLUMNS, Sample, associate, correct
from edit_robustness.statistics.correlation import detectable, n_to_detect
from edit_robustness.statistics.memory import log_probabilities
from edit_robustness.statistics.multiplicity import first_level
from edit_robustness.statistics.popularity import recall_known

RECALL_OUTCOMES = (
    "recalled",
    "recalled_teacher_forced",
    "log_probability_true",
    "log_probability_new",
    "preference_true",
)

MEMORY_FEATURES = frozenset(
    {
        *("recalled", "recalled_in_context", "log_perplexity_true", "log_perplexity_new", "log_rank_true"),
        *("log_rank_new", "margin", "log_probability_ratio"),
    }
)
"""Features that measure what the unedited model knows. They are no features in the family recall: there they would be
correlated with themselves."""

CONTROLS = ("recalled", "log_perplexity_true", "log_perplexity_new")
"""Features that partial correlations hold constant."""

_MOST_MISSING = 0.5
"""Share of facts without a control above which it is not held constant, because too few facts would remain."""

_UNMEASURED = (reasons.CUT_OFF, reasons.NOT_SCORED, reasons.NOT_MEASURED)
_UNKNOWN = (reasons.UNKNOWN_PROMPTS, reasons.UNKNOWN_RECALL, reasons.UNKNOWN_EFFICACY)


@dataclass(frozen=True)
class Primary:
    """The tests of Holm's families: the product of features and outcomes.

    Attributes:
        features: Names of features.
        outcomes: Names of outcomes of edits, or patterns (``specificity:*``). In the family recall all outcomes count.
    """

    features: Sequence[str] = ("log_views", "connection", "co_occurrence", *CONTROLS)
    outcomes: Sequence[str] = (
        *("efficacy", "generalization", "robustness", "reversion", "specificity:*", "portability", "edits_survived"),
    )

    def includes(self, family: str, outcome: str, feature: str) -> bool:
        """Return whether a test is primary."""
        is_outcome = family == "recall" or any(fnmatchcase(outcome, pattern) for pattern in self.outcomes)
        return is_outcome and feature in self.features


@dataclass(frozen=True)
class _Cell:
    """The facts of one outcome.

    Attributes:
        keys: model, family, method, protocol and outcome.
        facts: fact_id, subject, relation, weight and value of each fact.
        counts: Facts left out, by reason.
    """

    keys: Mapping[str, str]
    facts: pd.DataFrame
    counts: Mapping[str, int]


def correlations(
    fact_outcomes: pd.DataFrame,
    features: pd.DataFrame,
    feature_summary: pd.DataFrame,
    recall: pd.DataFrame,
    primary: Primary | None = None,
    *,
    confidence: float = 0.95,
    power: float = 0.8,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Correlate every feature with recall (all facts) and with every outcome of edits (edited facts).

    Args:
        fact_outcomes: Output of `fact_outcomes.fact_outcomes`; non-edits are left out.
        features: model, fact_id and a column per feature.
        feature_summary: model and feature: which columns are features.
        recall: model, fact_id, subject, relation, recalled, recalled_teacher_forced, perplexities of both objects, and
            if known recall_cut, of all facts.
        primary: The tests of Holm's families.
        confidence: Level of all intervals; tests are at 1 - confidence.
        power: Power of the reported detectable correlations.

    Returns:
        The correlations (`associations.CORRELATION_COLUMNS`), and the same within each relation
        (`associations.RELATION_COLUMNS`).
    """
    primary = primary or Primary()
    rows: list[dict[str, Any]] = []
    parts: dict[tuple[str, ...], pd.DataFrame] = {}
    for cell in (*_yield_recall(recall), *_yield_edits(fact_outcomes)):
        model, family = cell.keys["model"], cell.keys["family"]
        names = feature_summary.loc[feature_summary["model"] == model, "feature"]
        values = features[features["model"] == model].set_index("fact_id")[list(names)].astype(float)
        sample = Sample.of(cell.facts["value"], cell.facts)
        of_facts = values.reindex(cell.facts["fact_id"])
        controls = _controls(of_facts)
        for feature in names:
            if family == "recall" and feature in MEMORY_FEATURES:
                continue
            keys = {**cell.keys, "feature": feature}
            constants = [values for name, values in controls.items() if name != feature] if family == "edit" else []
            estimate, by_relation = associate(
                of_facts[feature].to_numpy(), sample, np.column_stack(constants) if constants else None, confidence
            )
            is_primary = primary.includes(family, cell.keys["outcome"], feature)
            rows.append({**keys, "primary": is_primary, **estimate, **cell.counts})
            parts[tuple(keys[name] for name in KEYS)] = by_relation
    # in a small run almost all are empty, and more than one adds nothing to the types of the columns
    for key in [key for key, part in parts.items() if part.empty][1:]:
        del parts[key]
    relations = pd.concat(parts, names=list(KEYS)).reset_index() if parts else pd.DataFrame()
    return correct(rows, confidence, power), relations.reindex(columns=RELATION_COLUMNS)


def popularity_cells(
    fact_outcomes: pd.DataFrame,
    features: pd.DataFrame,
    recall: pd.DataFrame,
    names: Sequence[str],
    primary: Primary | None = None,
) -> pd.DataFrame:
    """Return recall and the primary outcomes of edits by free generation beside some features, for `curves`.

    Args:
        fact_outcomes: As for `correlations`.
        features: As for `correlations`.
        recall: As for `correlations`.
        names: The features; those that no model has are left out.
        primary: Whose outcomes are taken.

    Returns:
        model, method, protocol, outcome, fact_id, subject, value and the features: a row per outcome and fact.
    """
    patterns = (primary or Primary()).outcomes
    parts = [
        cell.facts[["fact_id", "subject", "value"]].assign(**cell.keys)
        for cell in (*_yield_recall(recall), *_yield_edits(fact_outcomes))
        if cell.keys["protocol"] == "free"
        and (cell.keys["family"] == "recall" or any(fnmatchcase(cell.keys["outcome"], name) for name in patterns))
    ]
    columns = [name for name in names if name in features]
    keys = ["model", "method", "protocol", "outcome", "fact_id", "subject", "value"]
    table = pd.concat(parts, ignore_index=True)[keys] if parts else pd.DataFrame(columns=keys)
    return table.merge(features[["model", "fact_id", *columns]], on=["model", "fact_id"], how="left")


def _controls(values: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the features to hold constant, without those that are missing for too many facts."""
    return {
        name: values[name].to_numpy()
        for name in CONTROLS
        if name in values and values[name].isna().mean() <= _MOST_MISSING
    }


def _yield_recall(recall: pd.DataFrame) -> Iterator[_Cell]:
    table = recall.assign(**{str(name): values for name, values in log_probabilities(recall).items()})
    for model, rows in table.groupby("model", sort=False):
        for outcome in RECALL_OUTCOMES:
            protocol = "free" if outcome == "recalled" else "teacher_forced"
            # recall is unknown if the token limit cut the answer
            known_rows = recall_known(rows) if outcome == "recalled" else rows
            facts = known_rows[["fact_id", "subject", "relation"]].assign(value=known_rows[outcome].astype(float))
            keys = _keys(model, "recall", UNEDITED, protocol, outcome)
            yield _Cell(keys, facts, {"n_cut": len(rows) - len(known_rows)})


def _yield_edits(fact_outcomes: pd.DataFrame) -> Iterator[_Cell]:
    edits = fact_outcomes[~fact_outcomes["method"].isin(NON_EDITS)]
    for names, rows in edits.groupby(["model", "method", "protocol", "outcome"], sort=False, observed=True):
        model, method, protocol, outcome = names
        left_out = rows[rows["value"].isna()]
        counts = {
            "n_cut": int(left_out["reason"].isin(_UNMEASURED).sum()),
            "n_unknown": int(left_out["reason"].isin(_UNKNOWN).sum()),
        }
        counts["n_excluded"] = len(left_out) - sum(counts.values())
        facts = rows.loc[rows["value"].notna(), ["fact_id", "subject", "relation", "weight", "value"]]
        yield _Cell(_keys(model, "edit", method, protocol, outcome), facts, counts)


def _keys(model: Any, family: str, method: Any, protocol: Any, outcome: Any) -> dict[str, str]:
    return {
        "model": str(model), "family": family, "method": str(method), "protocol": str(protocol),
        "outcome": str(outcome),
    }  # fmt: skip


def power_table(
    facts: pd.DataFrame,
    features: pd.DataFrame,
    correlations: pd.DataFrame,
    confidence: float = 0.95,
    power: float = 0.8,
    rho: float = 0.1,
) -> pd.DataFrame:
    """Compute the correlations with page views that each model's edited facts can detect, after Holm's correction.

    Args:
        facts: model and id of the edited facts.
        features: model, fact_id and log_views of all facts.
        correlations: The table of `correlations`, whose primary tests of edits by free generation are the family.
        confidence: The level before the correction is 1 - confidence.
        power: Probability with which a correlation is found.
        rho: Correlation whose n_needed is reported.

    Returns:
        model, n_facts (with page views), n_tests (of the family), detectable (the smallest correlation at this power
        and level), rho, n_needed (facts to detect `rho`), power.
    """
    usable = features.loc[features["log_views"].notna(), ["model", "fact_id"]]
    usable = facts[["model", "id"]].merge(usable, left_on=["model", "id"], right_on=["model", "fact_id"])
    counts = usable.groupby("model", sort=False)["id"].nunique().reindex(facts["model"].unique(), fill_value=0)
    family = pd.Series(dtype=int)
    if len(correlations):
        is_test = (correlations["family"] == "edit") & (correlations["protocol"] == "free") & correlations["p"].notna()
        family = correlations[is_test & correlations["primary"].astype(bool)].groupby("model").size()
    n_tests = [max(int(family.get(model, 1)), 1) for model in counts.index]
    levels = [first_level(1 - confidence, n) for n in n_tests]
    return pd.DataFrame(
        {"model": counts.index, "n_facts": counts.to_numpy(), "n_tests": n_tests,
         "detectable": [detectable(n, level, power) for n, level in zip(counts, levels, strict=True)], "rho": rho,
         "n_needed": [n_to_detect(rho, level, power) for level in levels], "power": power}
    )  # fmt: skip
