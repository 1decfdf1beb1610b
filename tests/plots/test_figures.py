import numpy as np
import pandas as pd
import pytest
from fabricated_tables import fabricate

from edit_robustness.labels import METHODS
from edit_robustness.plots import theme
from edit_robustness.plots.popularity import correlation_figure, popularity_figure, success_figure
from edit_robustness.plots.robustness import protocol_figure, robustness_figure

RATE = ["model", "method", "kind", "protocol", "metric", "value", "low", "high", "n_probes", "n_facts"]


def rate(method, kind, protocol, value, model="m"):
    return (model, method, kind, protocol, "success", value, value - 0.1, value + 0.1, 24, 24)


@pytest.fixture
def rates():
    rows = [
        rate("rome", "statement", "free", 0.9),
        rate("rome", "statement", "teacher_forced", 0.95),
        rate("rome", "cloze", "free", 0.4),
        rate("rome", "cloze", "teacher_forced", 0.8),
        rate("none", "statement", "free", 0.1),
        rate("none", "statement", "teacher_forced", 0.1),
        rate("a_new_method", "cloze", "free", 0.3),
    ]
    return pd.DataFrame(rows, columns=RATE)


@pytest.fixture
def correlations():
    return pd.DataFrame(
        {
            "model": "m", "family": ["edit", "recall", "edit"], "method": ["rome", "none", "ft"],
            "protocol": "free", "feature": "log_views", "primary": True,
            "outcome": ["generalization:cloze", "recalled", "efficacy"], "rho": [0.2, 0.3, np.nan],
            "low": [-0.1, 0.2, np.nan],
            "high": [0.5, 0.4, np.nan], "n_facts": [24, 450, 24], "detectable": [0.55, 0.13, 0.55],
            "p_holm": [0.4, 0.001, np.nan],
        }
    )  # fmt: skip


def test_dots_and_their_intervals_are_the_tables(rates):
    figure = robustness_figure(rates)
    rome = next(trace for trace in figure.data if trace.name == "ROME")
    assert list(rome.x) == [0.9, 0.4]
    assert rome.error_x.array == pytest.approx([0.1, 0.1])
    assert [trace.name for trace in figure.data] == ["No edit", "ROME", "a new method"]
    assert list(figure.layout.yaxis.ticktext) == ["Statement", "Cloze"]


def test_methods_differ_in_colour_and_in_marker():
    methods = ["none", "context", "ft", "rome", "ike", "memit", "mend"]
    assert len(set(theme.colours(methods).values())) == len(methods)
    assert len(set(theme.symbols(methods).values())) == len(methods)
    assert len(set(theme.symbols(list(METHODS)).values())) == len(METHODS)


def test_one_panel_for_each_model(rates):
    figure = robustness_figure(pd.concat([rates, rates.assign(model="other")]))
    assert [note.text for note in figure.layout.annotations] == ["m", "other"]
    assert len([trace for trace in figure.data if trace.showlegend]) == 3


def test_the_gap_joins_both_protocols(rates):
    figure = protocol_figure(rates)
    line = next(trace for trace in figure.data if trace.mode == "lines")
    assert list(line.x) == [0.9, 0.95, None, 0.4, 0.8, None]
    assert [note.text for note in figure.layout.annotations] == ["ROME", "a new method"]


@pytest.fixture
def curves():
    return pd.DataFrame(
        {
            "model": "smollm2", "method": "none", "outcome": "recalled", "feature": "log_views", "x": [2.5, 4.0, 6.5],
            "value": [0.1, 0.3, 0.5], "low": [0, 0.2, 0.3], "high": [0.3, 0.4, 0.7], "n_facts": 30,
        }
    )  # fmt: skip


TREND = pd.DataFrame(columns=["model", "target", "log_views", "log_perplexity"])


def test_recall_is_a_curve_with_a_band(curves):
    features = fabricate(n_known=60).features.assign(log_views=3.0)
    figure = popularity_figure(features, curves, TREND)
    band, line, points, *_ = figure.data
    assert list(line.y) == [0.1, 0.3, 0.5]
    assert list(band.y) == [0.3, 0.4, 0.7, 0.3, 0.2, 0]
    assert len(points.x) == 60


def test_only_classes_with_facts_are_drawn_if_there_are_any(curves):
    features = fabricate(n_known=60).features.assign(log_views=3.0)
    classes = curves.rename(columns={"x": "centre"}).iloc[[0, 2]]
    assert len(popularity_figure(features, curves, TREND, classes.head(0)).data) == 6
    marks = popularity_figure(features, curves, TREND, classes).data[2]
    assert list(marks.x) == [2.5, 6.5]
    assert list(marks.error_y.array) == pytest.approx([0.2, 0.2])


def test_success_has_a_panel_per_outcome_and_a_curve_per_method(curves):
    edits = pd.concat(
        curves.assign(method=method, outcome=outcome)
        for method in ("rome", "ft")
        for outcome in ("efficacy", "generalization", "reversion")
    )
    figure = success_figure(edits)
    assert [note.text for note in figure.layout.annotations] == ["Efficacy (new object)", "Generalization"]
    assert len(figure.data) == 8
    assert [trace.name for trace in figure.data if trace.showlegend] == ["FT", "ROME"]


def test_the_forest_has_primary_correlations_with_page_views_by_free_generation(correlations):
    column_sets = [{"feature": "margin"}, {"primary": False}, {"protocol": "teacher_forced"}]
    edit = correlations.head(1)
    table = pd.concat([correlations, *(edit.assign(**columns) for columns in column_sets)], ignore_index=True)
    assert len(correlation_figure(table).layout.yaxis.ticktext) == 2


def test_the_forest_shows_what_n_cannot(correlations):
    figure = correlation_figure(correlations)
    band, recall_trace, edit_trace = figure.data
    assert list(band.x) == pytest.approx([0.26, 1.1])
    assert (list(recall_trace.x), list(edit_trace.x)) == ([0.3], [0.2])
    assert list(recall_trace.marker.symbol) == ["circle"]
    assert list(edit_trace.marker.symbol) == ["circle-open"]
    assert list(figure.layout.yaxis.ticktext) == ["Recalled, free generation", "ROME: generalization: cloze"]


def test_nothing_to_draw_is_said(rates, correlations, curves):
    empty = [
        robustness_figure(rates.head(0)),
        protocol_figure(rates.head(0)),
        correlation_figure(correlations.tail(1)),
        correlation_figure(pd.DataFrame()),
        popularity_figure(fabricate(n_known=30).features.assign(log_views=np.nan), curves, TREND),
        success_figure(curves),
        success_figure(pd.DataFrame()),
    ]
    assert all(len(figure.data) == 0 and figure.layout.annotations[0].text for figure in empty)
