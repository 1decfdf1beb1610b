"""One form of p-values and other numbers: a digit stands before every point."""

import re
from pathlib import Path

import pandas as pd
import pytest
from fabricated_page import make_findings

from edit_robustness.notation import format_p, write_p
from edit_robustness.plots.popularity import relation_figure
from edit_robustness.report import render

ROOT = Path(__file__).parents[1]
WITHOUT_A_DIGIT = re.compile(r"(?<![\w./])-?\.\d")
P_WITHOUT_A_DIGIT = re.compile(r"\bp ?[<=>] ?\.\d")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize(
    ("value", "sentence", "cell"),
    [
        (0.0251, "p = 0.025", "0.025"),
        (0.051, "p = 0.051", "0.051"),
        (0.0004, "p < 0.001", "< 0.001"),
        (1.0, "p = 1.000", "1.000"),
        (float("nan"), "p unknown", "–"),
    ],
)
def test_a_p_value_has_one_form(value, sentence, cell):
    assert (write_p(value), format_p(value)) == (sentence, cell)


def test_marks_of_a_figure_have_p_values_in_that_form():
    row = {"model": "m", "outcome": "recalled", "relation": "P1", "rho": 0.5, "low": 0.2, "high": 0.7, "n_facts": 40}
    figure = relation_figure(pd.DataFrame([{**row, "p_holm": 1e-5}]), outcome="recalled")
    assert figure.data[0].customdata[0][2] == "p < 0.001"
    assert "Holm %{customdata[2]}" in figure.data[0].hovertemplate


def test_no_number_of_the_report_begins_with_a_point():
    page = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", render(make_findings()), flags=re.DOTALL)
    assert WITHOUT_A_DIGIT.findall(page) == []


def test_no_number_of_the_study_begins_with_a_point():
    text = re.sub(r"^ {4}.*$", "", (ROOT / "docs" / "study.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert WITHOUT_A_DIGIT.findall(text) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_p_value_of_the_documentation_begins_with_a_point(path):
    assert P_WITHOUT_A_DIGIT.findall(path.read_text(encoding="utf-8")) == []
