"""The documents of answers and scores name every column and metric that there is, and no other protocol or unit."""

import re
from pathlib import Path

from edit_robustness.metrics.measures import METRICS
from edit_robustness.metrics.scores import SCORE_COLUMNS
from edit_robustness.tables import ANSWER_COLUMNS, ANSWER_SCHEMA

DOCS = Path(__file__).parents[1] / "docs" / "reference"
TYPES = {"str": "text", "bool": "truth", "boolean": "truth", "int64": "whole number", "float64": "real number"}


def rows(name, title):
    """The cells of the table under a heading."""
    text = (DOCS / name).read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def find_names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_column_of_answers_is_documented_with_its_type():
    sections = ("Which answer it is", "What was asked", "What the model said", "How it was asked")
    columns = {name: row[1] for title in sections for row in rows("answers.md", title) for name in find_names(row[0])}
    assert columns == {name: TYPES[kind] for name, kind in ANSWER_COLUMNS.items()}
    assert list(columns) == sorted(columns, key=list(ANSWER_COLUMNS).index)
    assert f"it is {ANSWER_SCHEMA}." in (DOCS / "answers.md").read_text(encoding="utf-8")


def test_every_column_of_scores_is_documented():
    text = (DOCS / "scores.md").read_text(encoding="utf-8").split("## The metrics")[0]
    columns = [name for line in text.splitlines() if line.startswith("| `") for name in find_names(line.split("|")[1])]
    assert columns == SCORE_COLUMNS


def test_every_metric_is_documented_with_protocol_families_and_unit():
    rows_by_metric = {
        (find_names(protocol)[0], name): (families, unit)
        for protocol, names, families, unit, _ in rows("scores.md", "The metrics")
        for name in find_names(names)
    }
    assert set(rows_by_metric) == {(metric.protocol, metric.name) for metric in METRICS}
    for metric in METRICS:
        families, unit = rows_by_metric[metric.protocol, metric.name]
        assert unit == metric.unit
        assert families == "all" or set(metric.families) <= set(families.split(", "))
