"""The index of runs, the table in the terminal, and what a page says of its run."""

import io

import pandas as pd
import pytest
from rich.console import Console

from edit_robustness.report.index import render_index
from edit_robustness.report.run_details import run_details
from edit_robustness.report.terminal import headline_lines, plain_lines, print_table

SCRIPT = "<script>alert(1)</script>"
RUN, NEWER = "20260102-030405-aaaaaaaa", "20260103-030405-bbbbbbbb"
RECORD = {
    "id": RUN,
    "started": "2026-01-02T03:04:05+00:00",
    "status": "finished",
    "pipeline": "edit_eval",
    "environment": "test",
    "command": "kedro run",
    "repeat": f"kedro run '--params=x_note={SCRIPT}'",
    "models": {SCRIPT: {}},
    "methods": {SCRIPT: {"rome": {}, "none": {}}},
    "n_facts": {SCRIPT: 5},
    "project": {"commit": "0123456789abcdef0123", "dirty": True, "changed_files": 1},
    "facts": {"source": "data/01_raw/facts.csv", "sha256": "f" * 64},
    "seeds": {"sample.seed": 0},
    "kinds": ["statement", "cloze"],
    "machine": {"processor": "a processor", "cores": 2, "threads": 1, "name": "a processor, 1 thread"},
    "versions": {"python": "3.11"},
    "source_runs": ["20260101-000000-cccccccc"],
    "headline": [
        {
            "model": SCRIPT,
            "method": "rome",
            "efficacy": {"value": 0.98, "low": 0.9, "high": 1.0},
            "generalization": {"value": 0.6, "low": 0.5, "high": 0.7},
            "specificity": None,
        }
    ],
}


def rows(model="tiny"):
    values = [
        ("rome", "statement", "success", 0.98),
        ("rome", "paraphrase", "success", 0.6),
        ("rome", "neighbourhood", "specificity", 0.75),
        ("rome", "neighbourhood", "specificity_all", 0.5),
        ("none", "statement", "success", 0.0),
        ("none", "paraphrase", "success", float("nan")),
    ]
    table = pd.DataFrame(values, columns=["method", "kind", "metric", "value"])
    forced_rows = table.assign(protocol="teacher_forced", value=0.11)
    table = pd.concat([forced_rows, table.assign(protocol="free")])
    return table.assign(model=model, low=table["value"] - 0.125, high=table["value"] + 0.02)


def printed(headline, *, terminal=False, width=80):
    file = io.StringIO()
    print_table(headline_lines(headline), 0.95, Console(file=file, force_terminal=terminal, width=width))
    return file.getvalue()


def test_the_table_has_three_shares_per_method_with_intervals():
    lines = printed(rows()).splitlines()
    assert lines[0].split("  ") != lines[0]
    assert [cell.strip() for cell in lines[0].split("  ") if cell] == [
        *("Method", "Efficacy [95%]", "Generalization (paraphrase) [95%]", "Specificity (neighbourhood) [95%]")
    ]
    cells = [[cell.strip() for cell in line.split("  ") if cell] for line in lines[1:]]
    # the unedited model first, and what was not measured is no zero
    assert cells == [
        ["No edit", "0% [-12%, 2%]", "–", "–"],
        ["ROME", "98% [86%, 100%]", "60% [48%, 62%]", "75% [62%, 77%]"],
    ]


def test_a_pipe_gets_whole_lines_and_a_terminal_gets_no_markup_of_a_model():
    name = "a_model_whose_name_[red]_is_longer_than_eighty_columns_" + "x" * 60
    table = pd.concat([rows(name), rows("other")])
    lines = printed(table).splitlines()
    assert len(lines) == 5
    assert sum(name in line for line in lines) == 2
    assert all("[" in line for line in lines)
    assert "[red]" in printed(table, terminal=True, width=300)


def test_a_table_of_other_metrics_has_no_figures():
    (line,) = headline_lines(rows().query("metric == 'specificity_all'"))
    assert plain_lines([line]) == [
        {"model": "tiny", "method": "rome", "efficacy": None, "generalization": None, "specificity": None}
    ]


@pytest.fixture(scope="module")
def index():
    newer = {"id": NEWER, "started": "2026-01-03T03:04:05+00:00", "status": "running", "pipeline": ["a", "b"]}
    return render_index([RECORD, newer], {RUN: ["report.html"]}, RUN)


def test_the_index_lists_all_runs_the_newest_first(index):
    assert index.index(NEWER) < index.index(RUN)
    assert f'href="{RUN}/report.html"' in index
    assert f'href="{RUN}/run.json"' in index
    assert "ROME: 98% / 60% / –" in index
    assert "from 20260101-000000-cccccccc" in index
    assert "running, or killed" in index
    assert index.count('class="tag"') == 1
    assert "No run yet" in render_index([], {}, None)


def test_the_index_escapes_what_it_shows(index):
    assert SCRIPT not in index
    assert "&lt;script&gt;" in index


def test_a_page_says_how_to_repeat_its_run():
    lines = dict(run_details([{"models": {}}, {"run": RECORD}]))
    assert lines["Run"] == RUN
    assert lines["Command that repeats it"] == RECORD["repeat"]
    assert lines["Command as typed"] == "kedro run"
    assert lines["Project"] == "commit 0123456789abcdef, with 1 changed file"
    assert lines["Facts"] == f"data/01_raw/facts.csv, SHA-256 {'f' * 16}"
    assert lines["Results of earlier runs"] == "20260101-000000-cccccccc"
    assert lines["Machine"] == "a processor, 1 thread"
    assert "Command as typed" not in dict(run_details([{"run": {**RECORD, "command": RECORD["repeat"]}}]))
    assert run_details([{"models": {}}]) == []


def test_a_run_that_reads_tables_is_listed_with_the_models_of_its_headline():
    record = {
        **{"id": "20260104-030405-1f2e3d4c", "started": "2026-01-04T03:04:05+00:00", "status": "finished"},
        **{"pipeline": ["study"], "headline": [{"model": "tiny", "method": "rome", "efficacy": {"value": 0.5}}]},
    }
    page = render_index([record], {}, None)
    assert "<td>2026-01-04 03:04</td>" in page
    assert "<td>tiny</td><td>ROME</td>" in page
