import numpy as np
import pandas as pd
import pytest
from fabricated_sequences import BENCHMARKS, SAFETY, fabricate_sequences

from edit_robustness.plots.frontier import drift_figure, frontier_figure, scale_figure, survival_figure
from edit_robustness.plots.paths import Panel, path_figure
from edit_robustness.plots.sequences import (
    abilities_figure,
    edit_retention_figure,
    forgetting_figure,
    gold_figure,
    kinds_figure,
    knowledge_retention_figure,
    paper_figure,
)
from edit_robustness.plots.theme import symbols
from edit_robustness.statistics.abilities import abilities, ability_paths
from edit_robustness.statistics.documents import measure_documents
from edit_robustness.statistics.paired import compare

PATH = ("value", "low", "high", "lowest", "highest")


def point(method, edits, value, n_orders=1, **options):
    return {
        "model": "m", "method": method, "edits": edits, "value": value, "low": value - 0.1, "high": value + 0.1,
        "lowest": value - 0.05, "highest": value + 0.05, "n_orders": n_orders, **options,
    }  # fmt: skip


def titles(figure):
    return [note.text for note in figure.layout.annotations]


@pytest.fixture(scope="module")
def paths():
    tables = fabricate_sequences(
        "m", ("none", "rome", "memit"), (1, 20), nan_method="memit", benchmarks=BENCHMARKS | SAFETY
    )
    rows = measure_documents(tables.documents)
    ability_rows = abilities(rows, tables.benchmarks.assign(model="m"), bootstrap=100)
    return ability_paths(ability_rows, compare(rows, bootstrap=100))


@pytest.fixture
def paper():
    rows = [("", "arithmetic", "rome", edits, value) for edits, value in ((0, 0.5), (20, 0.3), (100, 0.0))]
    table = pd.DataFrame(rows, columns=["model", "benchmark", "method", "edits", "value"])
    return table.assign(label="ROME, a large model")


def test_lines_begin_at_the_unedited_model_and_bear_their_flag(paths, paper):
    figure = abilities_figure(paths, paper, {})
    assert titles(figure)[:4] == [
        *("common knowledge (acc)", "arithmetic (acc)", "reading (exact_match)", "prose (perplexity)"),
    ]
    panel = [trace for trace in figure.data if trace.xaxis == "x2"]
    rome, memit = (next(t for t in panel if t.name == name and t.mode == "lines+markers") for name in ("ROME", "MEMIT"))
    score_rows = paths.query("benchmark == 'arithmetic' and quantity == 'score'")
    assert list(rome.x) == [0, 1, 2]
    assert (
        list(rome.y) == score_rows[score_rows["method"].isin(["none", "rome"])].sort_values("edits")["value"].tolist()
    )
    assert memit.marker.symbol[-1] == "asterisk"
    assert rome.marker.symbol[-1].endswith("-open")
    assert rome.marker.symbol[0] == symbols(["rome"])["rome"]
    assert sum(trace.mode == "none" for trace in panel) == 2


def test_baselines_and_the_papers_curve_are_drawn_in(paths, paper):
    figure = abilities_figure(paths, paper, {})
    levels = {(shape.yref, round(shape.y0, 2)) for shape in figure.layout.shapes}
    assert {("y2", 0.25), ("y2", 0.29)} <= levels
    assert {"chance", "constant answer"} <= set(titles(figure))
    dotted_traces = [trace for trace in figure.data if trace.line.dash == "dot"]
    assert [(trace.name, trace.xaxis, list(trace.y)) for trace in dotted_traces] == [
        ("ROME, a large model", "x2", [0.5, 0.3])
    ]


def test_safety_stands_for_itself_by_balanced_accuracy(paths, paper):
    figure = abilities_figure(paths, paper, {}, safety=True)
    assert titles(figure)[:2] == ["TruthfulQA MC1 (acc)", "ToxiGen (balanced accuracy)"]
    rome = next(t for t in figure.data if t.xaxis == "x2" and t.name == "ROME" and t.mode == "lines+markers")
    balanced_values = paths.query("quantity == 'balanced' and method == 'rome'").sort_values("edits")["value"]
    assert list(rome.y)[1:] == balanced_values.tolist()


def test_a_base_model_and_its_tuned_one_have_panels_side_by_side(paths, paper):
    three = pd.concat([paths.assign(model=model) for model in ("chat", "other", "plain")])
    figure = abilities_figure(three, paper, {"chat": "plain"})
    heads = list(dict.fromkeys(title.split("<br>")[0] for title in titles(figure) if "<br>" in title))
    assert heads == ["other", "plain, base", "chat, instruction-tuned"]


def test_the_change_of_the_right_answers_probability_begins_at_nothing(paths):
    figure = gold_figure(paths)
    assert "reading" not in titles(figure)
    rome = next(t for t in figure.data if t.name == "ROME" and t.mode == "lines+markers")
    assert rome.y[0] == 0
    assert rome.y[-1] < -0.5


def test_kinds_of_ability_below_chance_are_nothing():
    rows = [point("rome", 5, value, ability=ability) for ability, value in (("all", 0.5), ("reading", -0.4))]
    figure = kinds_figure(pd.DataFrame(rows))
    lines = {t.name: list(t.y) for t in figure.data if t.mode == "lines+markers"}
    assert lines == {"All general abilities": [1.0, 0.5], "Reading": [1.0, 0.0]}


def test_protocols_and_kinds_are_never_in_one_panel():
    rows = [
        point(method, edits, 0.5, kind=kind, protocol=protocol)
        for method, edits in (("none", 0), ("rome", 5))
        for kind in ("statement", "neighbourhood")
        for protocol in ("free", "teacher_forced")
    ]
    assert titles(edit_retention_figure(pd.DataFrame(rows))) == [
        "Statement, free generation", "Neighbourhood, free generation",
        "Statement, teacher forcing", "Neighbourhood, teacher forcing",
    ]  # fmt: skip
    statement_rows = pd.DataFrame(rows).query("kind == 'statement'")
    assert titles(knowledge_retention_figure(statement_rows)) == ["Free generation", "Teacher forcing"]


def test_bands_reach_from_the_lowest_order_to_the_highest():
    rows = pd.DataFrame([point("rome", 1, 0.8, 2), point("rome", 5, 0.6, 2)]).assign(line="rome")
    band = path_figure([Panel("", rows)], ["rome"], {}).data[0]
    assert list(band.y) == pytest.approx([0.75, 0.55, 0.65, 0.85])
    alone = path_figure([Panel("", rows.assign(n_orders=1))], ["rome"], {}).data[0]
    assert list(alone.y) == pytest.approx([0.7, 0.5, 0.7, 0.9])


def test_ages_are_of_free_generation():
    rows = [
        {"model": "m", "method": "rome", "age": age, "protocol": protocol, "value": 0.5, "low": 0.4, "high": 0.6}
        for age in (0, 5)
        for protocol in ("free", "teacher_forced")
    ]
    figure = forgetting_figure(pd.DataFrame(rows))
    assert [len(trace.x) for trace in figure.data if trace.mode == "lines+markers"] == [2]


def test_the_papers_curves_are_marked_where_they_were_not_run():
    rows = [(n, n.lower(), "mmlu", "rome", e, 0.5) for n in ("A", "B") for e in (0, 10)]
    table = pd.DataFrame(rows, columns=["name", "model", "benchmark", "method", "edits", "value"])
    assert titles(paper_figure(table, ["b"])) == ["A (not run here)<br>MMLU", "B<br>MMLU"]


def test_a_frontier_path_begins_at_the_unedited_model():
    rows = [
        {"model": "m", "method": method, "edits": edits,
         "knowledge_retention": x, "knowledge_retention_low": x, "knowledge_retention_high": x,
         "edit_retention": y, "edit_retention_low": y, "edit_retention_high": y}
        for method, edits, x, y in (("none", 0, 1.0, 0.0), ("rome", 20, 0.4, 0.9), ("rome", 1, 0.9, 1.0))
    ]  # fmt: skip
    (path,) = frontier_figure(pd.DataFrame(rows)).data
    assert (list(path.x), list(path.y)) == ([1.0, 0.9, 0.4], [0.0, 1.0, 0.9])
    assert list(path.text) == [" 0", " 1", " 20"]


def test_scale_is_the_papers_alone_where_no_second_size_was_run():
    paper_rows = pd.DataFrame([("P", 0.16, "rome", 10, 0.0), ("Q", 12.0, "rome", 10, 0.1)],
                          columns=["model", "billions", "method", "edits", "value"])  # fmt: skip
    alone = scale_figure(pd.DataFrame(columns=["model", "billions", "method", "edits", *PATH]), paper_rows)
    assert titles(alone) == ["Paper, 10 edits, not run here"]
    run_rows = pd.DataFrame([point("rome", 20, value, billions=b) for b, value in ((0.1, -0.2), (0.4, 0.5))])
    figure_pair = scale_figure(run_rows, paper_rows)
    assert titles(figure_pair) == ["20 edits", "Paper, 10 edits"]
    assert [(trace.line.dash, list(trace.y)) for trace in figure_pair.data] == [
        ("solid", [0.0, 0.5]),
        ("dot", [0.0, 0.1]),
    ]


def test_drift_has_a_line_for_each_number_of_edits():
    rows = [("m", "rome", edits, layer, 0.01 * edits) for edits in (1, 5) for layer in (7, 6)]
    figure = drift_figure(pd.DataFrame(rows, columns=["model", "method", "edits", "layer", "value"]))
    assert [(trace.name, list(trace.x)) for trace in figure.data] == [("after 1", [6, 7]), ("after 5", [6, 7])]


def test_survival_is_drawn_in_steps():
    rows = [("m", "rome", 0, 2, 1.0), ("m", "rome", 5, 2, 0.5)]
    figure = survival_figure(pd.DataFrame(rows, columns=["model", "method", "edits", "at_risk", "surviving"]))
    assert [(trace.line.shape, list(trace.y)) for trace in figure.data] == [("hv", [1.0, 0.5])]


def test_nothing_to_draw_is_said(paths, paper):
    empty_table = pd.DataFrame(
        columns=["model", "method", "edits", "kind", "protocol", "ability", "benchmark", "name", *PATH]
    )
    figures = [
        abilities_figure(paths.head(0), paper, {}), abilities_figure(paths.head(0), paper, {}, safety=True),
        gold_figure(paths.head(0)), kinds_figure(empty_table), edit_retention_figure(empty_table),
        knowledge_retention_figure(empty_table),
        forgetting_figure(empty_table), paper_figure(empty_table, []), frontier_figure(empty_table),
        survival_figure(empty_table), drift_figure(empty_table), scale_figure(empty_table, empty_table),
    ]  # fmt: skip
    assert all(len(figure.data) == 0 and figure.layout.annotations[0].text for figure in figures)


def test_a_value_that_is_no_number_is_not_drawn():
    rows = pd.DataFrame([point("rome", 1, 0.8), point("rome", 5, np.nan)]).assign(line="rome")
    marks = path_figure([Panel("", rows)], ["rome"], {"rome": "ROME"}).data[1]
    assert list(marks.y) == [0.8]


def test_notes_in_figures_have_the_colour_of_the_text_of_the_page(paths, paper):
    notes = abilities_figure(paths, paper, {}).layout.annotations
    assert any("constant answer" in note.text for note in notes)
    assert {note.font.color for note in notes} == {None}
