"""Rows of a regression: the edits' outcomes that a model explains, with factors and features."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.labels import KINDS, METHODS, NON_EDITS, in_order
from edit_robustness.statistics.regression.formulas import check_columns
from edit_robustness.statistics.regression.settings import COLUMNS_OF_PROBES, GRADED, RegressionModel

GRADES = {"old": 0.0, "neither": 1.0, "new": 2.0}
"""Values of the outcome `answer`."""

_ORDERS = {"kind": KINDS, "method": METHODS}
_IDS = ["model", "method", "fact_id", "probe_id"]


@dataclass(frozen=True)
class Rows:
    """Rows of one regression.

    Attributes:
        table: value, subject, relation, fact_id, if known weight, and the columns of the formula: factors as
            categories, features as floats.
        non_edits: Rows of `labels.NON_EDITS` that were left out, by method.
        n_cut: Rows without a value.
    """

    table: pd.DataFrame
    non_edits: Mapping[str, int] = field(default_factory=dict)
    n_cut: int = 0


def list_columns(outcomes: pd.DataFrame, features: Collection[str]) -> list[str]:
    """Return the names that a formula may use: factors, columns of `outcomes`, and features that it can lack."""
    return list(dict.fromkeys([*COLUMNS_OF_PROBES, *features, *outcomes.columns]))


def check_names(models: Mapping[str, RegressionModel | None], names: Collection[str]) -> None:
    """Refuse a formula with a name that no column has.

    Args:
        models: The regressions, by name; one that is None is left out.
        names: The names of factors and features.

    Raises:
        ValueError: Naming the regression, the column and the closest name.
    """
    for name, model in models.items():
        if model is None:
            continue
        try:
            check_columns(model.parsed, names)
        except ValueError as error:
            raise ValueError(f"analyze.models.{name}: {error}") from None


def select_rows(outcomes: pd.DataFrame, model: RegressionModel, fact_outcomes: pd.DataFrame | None = None) -> Rows:
    """Return the rows that a model explains.

    Args:
        outcomes: Scores joined with the features of their facts, of one language model.
        model: The regression.
        fact_outcomes: Outcomes of facts, of the same language model; only for a regression of these.

    Raises:
        ValueError: If the regression is of facts, and there is no such table.
    """
    if model.is_of_facts:
        if fact_outcomes is None:
            raise ValueError(f"`{model.metric}` is an outcome of facts, and there is no table `fact_outcomes`")
        table = _of_facts(fact_outcomes, outcomes, model)
    elif model.metric == GRADED:
        table = _graded(outcomes, model)
    else:
        table = _of_metric(outcomes, model, model.metric)
    is_non_edit = table["method"].isin(NON_EDITS)
    counts = table.loc[is_non_edit, "method"].value_counts()
    non_edits = {str(name): int(n) for name, n in counts.items()}
    edits = table[~is_non_edit]
    n_cut = int(edits["value"].isna().sum())
    return Rows(_typed(edits[edits["value"].notna()], model), non_edits, n_cut)


def _of_metric(outcomes: pd.DataFrame, model: RegressionModel, metric: str) -> pd.DataFrame:
    rows = outcomes[(outcomes["metric"] == metric) & (outcomes["protocol"] == model.protocol)]
    of_family = rows["family"] == model.prompts
    return rows[of_family] if of_family.any() else rows


def _graded(outcomes: pd.DataFrame, model: RegressionModel) -> pd.DataFrame:
    new = _of_metric(outcomes, model, "success")
    old = _of_metric(outcomes, model, "reversion").set_index(_IDS)["value"]
    old_values = old[~old.index.duplicated()].reindex(pd.MultiIndex.from_frame(new[_IDS])).to_numpy(dtype=float)
    new_values = new["value"].to_numpy(dtype=float)
    grades = np.where(new_values == 1, GRADES["new"], np.where(old_values == 1, GRADES["old"], GRADES["neither"]))
    return new.assign(value=np.where(np.isnan(new_values), np.nan, grades))


def _of_facts(fact_outcomes: pd.DataFrame, outcomes: pd.DataFrame, model: RegressionModel) -> pd.DataFrame:
    rows = fact_outcomes[(fact_outcomes["outcome"] == model.metric) & (fact_outcomes["protocol"] == model.protocol)]
    names = [name for name in model.parsed.variables if name in outcomes.columns and name not in rows.columns]
    features = outcomes.drop_duplicates(["model", "fact_id"])[["model", "fact_id", *names]]
    return rows.merge(features, on=["model", "fact_id"], how="left")


def _typed(rows: pd.DataFrame, model: RegressionModel) -> pd.DataFrame:
    names = dict.fromkeys(["subject", "relation", "fact_id", "method", model.groups, *model.parsed.variables])
    table = pd.DataFrame({"value": rows["value"].to_numpy(dtype=float)})
    if "weight" in rows:
        table["weight"] = rows["weight"].to_numpy(dtype=float)
    for name in names:
        table[name] = _typed_column(rows, name)
    return table


def _typed_column(rows: pd.DataFrame, name: str) -> Any:
    if name not in rows:
        # the only factor that a table may lack is the data set, if all facts are from one
        return pd.Categorical(["all"] * len(rows)) if name in COLUMNS_OF_PROBES else np.full(len(rows), np.nan)
    values = rows[name]
    if name in COLUMNS_OF_PROBES or not (
        pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)
    ):
        texts = values.astype(object).where(values.notna(), "unknown").astype(str)
        return pd.Categorical(texts.to_numpy(), categories=in_order(texts.unique(), _ORDERS.get(name, {})))
    numbers = values.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)
