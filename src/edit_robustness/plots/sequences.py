"""Figures of sequential edits: the second paper's Figures 2 to 6 with this run's results, and further ones.

Every path of a method begins at the unedited model, at 0 edits. Published figures are dotted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from edit_robustness.labels import ABILITIES, BENCHMARKS, KINDS, METHODS, PROTOCOLS, in_order, label_of
from edit_robustness.plots import theme
from edit_robustness.plots.paths import SHARE_AXIS, Panel, path_figure
from edit_robustness.records import UNEDITED

SAFETY = "safety"
THEIR_COLUMNS = ["line", "edits", "value", "label"]
NOT_RUN = "not run here"


def abilities_figure(
    paths: pd.DataFrame, paper: pd.DataFrame, base: Mapping[str, str], *, safety: bool = False
) -> go.Figure:
    """Draw each general benchmark (or each safety benchmark) against the number of edits; a panel per benchmark.

    Args:
        paths: Output of `statistics.abilities.ability_paths`.
        paper: The published figures to draw in the same panels: model (a model of this run, or empty for any),
            benchmark, method, edits, value, label.
        base: Instruction-tuned models and the base model of each; both are marked, and their panels are adjacent.
        safety: Whether to draw the safety benchmarks instead of the general ones.
    """
    best = paths[paths["quantity"] == "score"]
    if safety:
        balanced_rows = paths[(paths["quantity"] == "balanced") & paths["benchmark"].str.contains("toxi")]
        best = pd.concat([best[~best["benchmark"].isin(set(balanced_rows["benchmark"]))], balanced_rows])
    scores = best[(best["ability"] == SAFETY) == safety]
    if scores.empty:
        return theme.empty_figure("No safety benchmark was run." if safety else "No benchmark was run.")
    panels = []
    for model in _models(scores, base):
        for about, rows in scores[scores["model"] == model].groupby(["benchmark", "metric", "filter"], sort=False):
            benchmark, metric, filter_name = map(str, about)
            title = f"{_model(model, scores, base)}{_benchmark(benchmark, filter_name, scores)}"
            reference = _select_published(paper, model, benchmark)
            share = rows["value"].dropna().le(1).all() and "perplexity" not in metric
            mean = "balanced accuracy" if (rows["quantity"] == "balanced").any() else metric
            panels.append(
                Panel(
                    f"{title} ({mean})",
                    _prepend_unedited(rows),
                    levels=_levels(rows),
                    references=reference[reference["edits"] <= rows["edits"].max()],
                    axis=SHARE_AXIS if share else {"type": "log", "nticks": 5},
                )
            )
    return path_figure(panels, _lines(scores), METHODS, columns=_columns(scores))


def gold_figure(paths: pd.DataFrame) -> go.Figure:
    """Draw the change of the right answer's log-probability, which shows damage before accuracy changes."""
    changes = paths[paths["quantity"] == "gold_change"]
    if changes.empty:
        return theme.empty_figure("No benchmark has a single right answer whose log-probability could be compared.")
    several = changes["model"].nunique() > 1
    panels = [
        Panel(
            f"{model}<br>{_benchmark(str(benchmark), '', changes)}"
            if several
            else _benchmark(str(benchmark), "", changes),
            _prepend_value(rows, 0.0),
            axis={"tickformat": ".2f"},
        )
        for (model, benchmark), rows in changes.groupby(["model", "benchmark"], sort=False)
    ]
    return path_figure(panels, _lines(changes), METHODS, columns=_columns(changes))


def kinds_figure(ability_retention: pd.DataFrame) -> go.Figure:
    """Draw ability retention by kind of ability; a panel per model and method.

    Args:
        ability_retention: model, method, edits, ability and `statistics.orders.PATH_COLUMNS`.
    """
    if ability_retention.empty:
        return theme.empty_figure("The unedited model is above chance on no benchmark.")
    several = ability_retention["model"].nunique() > 1
    # a model below chance has lost all of an ability, and cannot lose more
    ability_retention = ability_retention.assign(**ability_retention[[*_VALUES]].clip(lower=0))
    panels = []
    for model in ability_retention["model"].unique():
        for method in in_order(ability_retention.loc[ability_retention["model"] == model, "method"], METHODS):
            rows = ability_retention[
                (ability_retention["model"] == model) & (ability_retention["method"] == method)
            ].assign(line=lambda table: table["ability"])
            first = rows.drop_duplicates("line").assign(edits=0, **dict.fromkeys(_VALUES, 1.0), n_orders=1)
            title = theme.method_label(method)
            panels.append(Panel(f"{model}<br>{title}" if several else title, pd.concat([first, rows])))
    lines = in_order(ability_retention["ability"], ABILITIES)
    return path_figure(panels, lines, {line: label_of(line, ABILITIES) for line in lines}, columns=3)


def edit_retention_figure(edit_retention: pd.DataFrame) -> go.Figure:
    """Draw success and specificity of all edits so far; a panel per kind and protocol.

    Args:
        edit_retention: model, method, edits, kind, protocol and `statistics.orders.PATH_COLUMNS`.
    """
    if edit_retention.empty:
        return theme.empty_figure("No edit was probed.")
    several = edit_retention["model"].nunique() > 1
    panels = [
        Panel(
            f"{f'{model}<br>' if several else ''}{label_of(kind, KINDS)}, {label_of(protocol, PROTOCOLS).lower()}",
            _prepend_unedited(
                edit_retention[
                    (edit_retention["model"] == model)
                    & (edit_retention["protocol"] == protocol)
                    & (edit_retention["kind"] == kind)
                ]
            ),
        )
        for model in edit_retention["model"].unique()
        for protocol in in_order(edit_retention["protocol"], PROTOCOLS)
        for kind in in_order(edit_retention["kind"], KINDS)
    ]
    return path_figure(panels, _lines(edit_retention), METHODS, columns=edit_retention["kind"].nunique())


def knowledge_retention_figure(knowledge_retention: pd.DataFrame) -> go.Figure:
    """Draw knowledge retention, the share of unedited facts still answered; a panel per model and protocol."""
    if knowledge_retention.empty:
        return theme.empty_figure("No fact that the model knows was left unedited.")
    several = knowledge_retention["model"].nunique() > 1
    panels = [
        Panel(
            f"{model}<br>{label_of(str(protocol), PROTOCOLS).lower()}"
            if several
            else label_of(str(protocol), PROTOCOLS),
            _prepend_unedited(rows),
        )
        for (model, protocol), rows in knowledge_retention.groupby(["model", "protocol"], sort=False)
    ]
    return path_figure(panels, _lines(knowledge_retention), METHODS)


def forgetting_figure(forgetting_rates: pd.DataFrame) -> go.Figure:
    """Draw success of an edit by the number of later edits, by free generation."""
    free = forgetting_rates[forgetting_rates["protocol"] == "free"]
    if free.empty:
        return theme.empty_figure("No edit was probed after later edits.")
    panels = [
        Panel(str(model), rows.assign(line=rows["method"], edits=rows["age"]))
        for model, rows in free.groupby("model", sort=False)
    ]
    return path_figure(panels, _lines(free), METHODS, along="Later edits, at least")


def paper_figure(paper: pd.DataFrame, run_models: Sequence[str]) -> go.Figure:
    """Draw the paper's curves of base and instruction-tuned models; titles mark models that were not run here.

    Args:
        paper: name, model, benchmark, method, edits, value.
        run_models: The models of this run.
    """
    panels = []
    for (name, model), curves in paper.groupby(["name", "model"], sort=False):
        for benchmark, rows in curves.groupby("benchmark", sort=False):
            mark = "" if model in run_models else f" ({NOT_RUN})"
            reference = rows.assign(line=rows["method"], label=rows["method"].map(theme.method_label))
            empty = pd.DataFrame(columns=["line", "edits", "value", "low", "high"])
            panels.append(Panel(f"{name}{mark}<br>{label_of(str(benchmark), BENCHMARKS)}", empty, references=reference))
    if not panels:
        return theme.empty_figure("The paper has no figures for these models.")
    return path_figure(panels, _lines(paper), METHODS, columns=paper["benchmark"].nunique())


_VALUES = ("value", "low", "high", "lowest", "highest")


def _columns(rows: pd.DataFrame) -> int:
    """Return the number of panels per row: a model's benchmarks, between 2 and 4."""
    return int(np.clip(rows.groupby("model")["benchmark"].nunique().max(), 2, 4))


def _lines(rows: pd.DataFrame) -> list[str]:
    """Return the methods, without the unedited model unless it is the only one."""
    methods = in_order(rows["method"], METHODS)
    return [method for method in methods if method != UNEDITED] or methods


def _prepend_unedited(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the unedited model's rows before the rows of each method."""
    unedited_rows = rows[rows["method"] == UNEDITED]
    edited_rows = rows[rows["method"] != UNEDITED]
    parts = [unedited_rows.assign(line=line) for line in edited_rows["method"].unique()] or [
        unedited_rows.assign(line=UNEDITED)
    ]
    return pd.concat([*parts, edited_rows.assign(line=edited_rows["method"])], ignore_index=True)


def _prepend_value(rows: pd.DataFrame, value: float) -> pd.DataFrame:
    """Add a row at 0 edits with this value, which is not an estimate, to each method."""
    first = rows.drop_duplicates("method").assign(edits=0, **dict.fromkeys(_VALUES, value), n_orders=1, flag="fine")
    return pd.concat([first, rows], ignore_index=True).assign(line=lambda table: table["method"])


def _levels(rows: pd.DataFrame) -> dict[str, float]:
    candidates = {"chance": rows["chance"].dropna(), "constant answer": rows["constant_answer"].dropna()}
    return {name: float(values.iloc[0]) for name, values in candidates.items() if len(values) and values.iloc[0] > 0}


def _select_published(paper: pd.DataFrame, model: str, benchmark: str) -> pd.DataFrame:
    """Select the paper's figures of the same model, or else of the reference model."""
    alike = paper[paper["benchmark"] == benchmark]
    model_rows = alike[alike["model"] == model]
    rows = model_rows if len(model_rows) else alike[alike["model"] == ""]
    return rows.assign(line=rows["method"])[THEIR_COLUMNS]


def _models(rows: pd.DataFrame, base: Mapping[str, str]) -> list[str]:
    """Return the models, with each instruction-tuned one after its base model."""
    models = list(dict.fromkeys(rows["model"]))
    return sorted(models, key=lambda model: (models.index(base[model]), 1) if base.get(model) in models else
                  (models.index(model), 0))  # fmt: skip


def _model(model: str, rows: pd.DataFrame, base: Mapping[str, str]) -> str:
    if rows["model"].nunique() == 1:
        return ""
    kind = ", instruction-tuned" if model in base else ", base" if model in base.values() else ""
    return f"{model}{kind}<br>"


def _benchmark(benchmark: str, filter_name: str, rows: pd.DataFrame) -> str:
    filters = set(rows.loc[rows["benchmark"] == benchmark, "filter"])
    name = label_of(benchmark, BENCHMARKS)
    return f"{name}, {filter_name}" if filter_name and len(filters) > 1 else name
