"""Formulas of regressions with features that the project does not declare: a column, or a function and a line."""

import numpy as np
import pandas as pd
import pytest
from regression_data import simulate

from edit_robustness.features import declared
from edit_robustness.features.declared import FEATURES, Feature
from edit_robustness.pipelines.analyze import nodes
from edit_robustness.pipelines.analyze.nodes import AnalysisParameters
from edit_robustness.tables import FACT_COLUMNS

FACTS = pd.DataFrame(columns=[*FACT_COLUMNS, "dataset"])


def settings_of(formula):
    return AnalysisParameters(models={"mine": {"formula": formula}})


def letters(data):
    return data.rows["subject"].str.len()


@pytest.mark.parametrize("name", ["log_visits", "margins", "school_years"])
def test_a_column_of_the_users_can_be_in_a_formula_whatever_its_name_is_like(name):
    settings = settings_of(f"success ~ kind + {name}")
    nodes.check_formulas(FACTS.assign(**{name: pd.Series(dtype=float)}), settings)
    outcomes = simulate(60, 6, seed=3).rename(columns={"margin": name})
    table, _ = nodes.explain(outcomes, settings)
    assert np.isfinite(table.set_index("term").loc[name, "effect"])


def test_a_function_of_the_users_can_be_in_a_formula(monkeypatch):
    settings = settings_of("success ~ kind + letters")
    with pytest.raises(ValueError, match=r"analyze\.models\.mine: .* no column `letters`"):
        nodes.check_formulas(FACTS, settings)
    toy = Feature("letters", "Letters of the subject", "counted", "linear", letters)
    monkeypatch.setattr(declared, "FEATURES", (*FEATURES, toy))
    nodes.check_formulas(FACTS, settings)
    # a table without the feature, from before it was declared
    table, _ = nodes.explain(simulate(60, 6, seed=3), settings)
    assert table.set_index("term").loc["letters", "note"] == "left out: unknown for every fact"


@pytest.mark.parametrize(
    ("formula", "closest"), [("success ~ log_veiws", "log_views"), ("success ~ bs(scool_years, 3)", "school_years")]
)
def test_a_misspelt_column_is_refused_once_the_facts_are_there(formula, closest):
    facts = FACTS.assign(school_years=pd.Series(dtype=float))
    with pytest.raises(ValueError, match=f"analyze.models.mine: .*did you mean `{closest}`"):
        nodes.check_formulas(facts, settings_of(formula))


def test_look_ups_can_be_in_a_formula_before_they_are_made():
    nodes.check_formulas(FACTS, settings_of("success ~ log_wikidata_links + C(relation)"))
