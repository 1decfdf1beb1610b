"""The figures of many edits: the second paper's Figures 2 to 6 with ours, and what it did not draw.

Every path of a method begins at the unedited model, at 0 edits. Published figures are dotted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from edit_robustness.labels import ABILITIES, BENCHMARKS, KINDS, METHODS, PROTOCOLS, ability_of, in_order, spoken
from edit_robustness.plots import theme
from edit_robustness.plots.paths import SHARE_AXIS, Panel, path_figure

UNEDITED = "none"
SAFETY = "safety"
THEIR_COLUMNS = ["line", "edits", "value", "label"]
NOT_RUN = "not run here"


def abilities_figure(
    paths: pd.DataFrame, paper: pd.DataFrame, tuned: Mapping[str, str], *, safety: bool = False
) -> go.Figure:
    """Each general benchmark (or each of safety) against the number of edits; a panel a model and benchmark.

    Args:
        paths: What `statistics.abilities.ability_paths` gives.
        paper: The published figures to draw beside ours: model (ours, or empty for any), benchmark, method, edits,
            value, label.
        tuned: Instruction-tuned models and the base model of each; both are marked, and stand side by side.
        safety: Which benchmarks.
    """
    best = paths[paths["quantity"] == "score"]
    if safety:
        balanced = paths[(paths["quantity"] == "balanced") & paths["benchmark"].str.contains("toxi")]
        best = pd.concat([best[~best["benchmark"].isin(set(balanced["benchmark"]))], balanced])
    chosen = best[(best["benchmark"].map(ability_of) == SAFETY) == safety]
    if chosen.empty:
        return theme.nothing("No benchmark of safety was run." if safety else "No benchmark was run.")
    panels = []
    for model in _models(chosen, tuned):
        for about, rows in chosen[chosen["model"] == model].groupby(["benchmark", "metric", "filter"], sort=False):
            benchmark, metric, filtered = map(str, about)
            title = f"{_model(model, chosen, tuned)}{_benchmark(benchmark, filtered, chosen)}"
            theirs = _theirs(paper, model, benchmark)
            share = rows["value"].dropna().le(1).all() and "perplexity" not in metric
            mean = "balanced accuracy" if (rows["quantity"] == "balanced").any() else metric
            panels.append(
                Panel(
                    f"{title} ({mean})",
                    _from_unedited(rows),
                    levels=_levels(rows),
                    theirs=theirs[theirs["edits"] <= rows["edits"].max()],
                    axis=SHARE_AXIS if share else {"type": "log", "nticks": 5},
                )
            )
    return path_figure(panels, _lines(chosen), METHODS, columns=_columns(chosen))


def gold_figure(paths: pd.DataFrame) -> go.Figure:
    """The right answer's log-probability minus the unedited model's: damage before accuracy moves."""
    chosen = paths[paths["quantity"] == "gold_change"]
    if chosen.empty:
        return theme.nothing("No benchmark has one right answer whose probability could be compared.")
    several = chosen["model"].nunique() > 1
    panels = [
        Panel(
            f"{model}<br>{_benchmark(str(benchmark), '', chosen)}"
            if several
            else _benchmark(str(benchmark), "", chosen),
            _from(rows, 0.0),
            axis={"tickformat": ".2f"},
        )
        for (model, benchmark), rows in chosen.groupby(["model", "benchmark"], sort=False)
    ]
    return path_figure(panels, _lines(chosen), METHODS, columns=_columns(chosen))


def kinds_figure(kept: pd.DataFrame) -> go.Figure:
    """The share of each kind of ability that is left above chance; a panel a model and method.

    Args:
        kept: model, method, edits, ability and `statistics.orders.PATH_COLUMNS`.
    """
    if kept.empty:
        return theme.nothing("No benchmark on which the unedited model is above chance.")
    several = kept["model"].nunique() > 1
    # what lies below chance is nothing
    kept = kept.assign(**kept[[*_VALUES]].clip(lower=0))
    panels = []
    for model in kept["model"].unique():
        for method in in_order(kept.loc[kept["model"] == model, "method"], METHODS):
            rows = kept[(kept["model"] == model) & (kept["method"] == method)].assign(line=lambda own: own["ability"])
            first = rows.drop_duplicates("line").assign(edits=0, **dict.fromkeys(_VALUES, 1.0), n_orders=1)
            title = theme.method_label(method)
            panels.append(Panel(f"{model}<br>{title}" if several else title, pd.concat([first, rows])))
    lines = in_order(kept["ability"], ABILITIES)
    return path_figure(panels, lines, {line: spoken(line, ABILITIES) for line in lines}, columns=3)


def held_figure(held: pd.DataFrame) -> go.Figure:
    """Success and locality of all edits so far, each kind and protocol in a panel of its own.

    Args:
        held: model, method, edits, kind, protocol and `statistics.orders.PATH_COLUMNS`.
    """
    if held.empty:
        return theme.nothing("No edit was asked.")
    several = held["model"].nunique() > 1
    panels = [
        Panel(
            f"{f'{model}<br>' if several else ''}{spoken(kind, KINDS)}, {spoken(protocol, PROTOCOLS).lower()}",
            _from_unedited(held[(held["model"] == model) & (held["protocol"] == protocol) & (held["kind"] == kind)]),
        )
        for model in held["model"].unique()
        for protocol in in_order(held["protocol"], PROTOCOLS)
        for kind in in_order(held["kind"], KINDS)
    ]
    return path_figure(panels, _lines(held), METHODS, columns=held["kind"].nunique())


def retention_figure(retention: pd.DataFrame) -> go.Figure:
    """The share of facts that nobody edited and the model still answers; a panel a model and protocol."""
    if retention.empty:
        return theme.nothing("No fact that the model knew was left unedited.")
    several = retention["model"].nunique() > 1
    panels = [
        Panel(
            f"{model}<br>{spoken(str(protocol), PROTOCOLS).lower()}" if several else spoken(str(protocol), PROTOCOLS),
            _from_unedited(rows),
        )
        for (model, protocol), rows in retention.groupby(["model", "protocol"], sort=False)
    ]
    return path_figure(panels, _lines(retention), METHODS)


def forgetting_figure(forgetting: pd.DataFrame) -> go.Figure:
    """Success of an edit by how many came after it; free generation."""
    free = forgetting[forgetting["protocol"] == "free"]
    if free.empty:
        return theme.nothing("No edit was asked after others.")
    panels = [
        Panel(str(model), rows.assign(line=rows["method"], edits=rows["age"]))
        for model, rows in free.groupby("model", sort=False)
    ]
    return path_figure(panels, _lines(free), METHODS, along="Edits after this one, at least")


def paper_figure(paper: pd.DataFrame, ran: Sequence[str]) -> go.Figure:
    """The paper's own curves of its base and instruction-tuned models, marked where a model was not run here.

    Args:
        paper: name, model, benchmark, method, edits, value.
        ran: The models of this run.
    """
    panels = []
    for (name, model), own in paper.groupby(["name", "model"], sort=False):
        for benchmark, rows in own.groupby("benchmark", sort=False):
            mark = "" if model in ran else f" ({NOT_RUN})"
            theirs = rows.assign(line=rows["method"], label=rows["method"].map(theme.method_label))
            empty = pd.DataFrame(columns=["line", "edits", "value", "low", "high"])
            panels.append(Panel(f"{name}{mark}<br>{spoken(str(benchmark), BENCHMARKS)}", empty, theirs=theirs))
    if not panels:
        return theme.nothing("The paper gives no figures to draw.")
    return path_figure(panels, _lines(paper), METHODS, columns=paper["benchmark"].nunique())


_VALUES = ("value", "low", "high", "lowest", "highest")


def _columns(rows: pd.DataFrame) -> int:
    """A model's benchmarks side by side where they are few."""
    return int(np.clip(rows.groupby("model")["benchmark"].nunique().max(), 2, 4))


def _lines(rows: pd.DataFrame) -> list[str]:
    """The methods, and the unedited model only where there is nothing else."""
    methods = in_order(rows["method"], METHODS)
    return [method for method in methods if method != UNEDITED] or methods


def _from_unedited(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each method with the unedited model's in front."""
    unedited = rows[rows["method"] == UNEDITED]
    edited = rows[rows["method"] != UNEDITED]
    parts = [unedited.assign(line=line) for line in edited["method"].unique()] or [unedited.assign(line=UNEDITED)]
    return pd.concat([*parts, edited.assign(line=edited["method"])], ignore_index=True)


def _from(rows: pd.DataFrame, value: float) -> pd.DataFrame:
    """The rows of each method with this value, which is no estimate, at 0 edits."""
    first = rows.drop_duplicates("method").assign(edits=0, **dict.fromkeys(_VALUES, value), n_orders=1, verdict="fine")
    return pd.concat([first, rows], ignore_index=True).assign(line=lambda own: own["method"])


def _levels(rows: pd.DataFrame) -> dict[str, float]:
    found = {"chance": rows["chance"].dropna(), "constant answer": rows["constant_answer"].dropna()}
    return {name: float(values.iloc[0]) for name, values in found.items() if len(values) and values.iloc[0] > 0}


def _theirs(paper: pd.DataFrame, model: str, benchmark: str) -> pd.DataFrame:
    """The paper's figures of the same model, or else of the one that stands for any."""
    alike = paper[paper["benchmark"] == benchmark]
    own = alike[alike["model"] == model]
    rows = own if len(own) else alike[alike["model"] == ""]
    return rows.assign(line=rows["method"])[THEIR_COLUMNS]


def _models(rows: pd.DataFrame, tuned: Mapping[str, str]) -> list[str]:
    """Models, an instruction-tuned one right after its base."""
    models = list(dict.fromkeys(rows["model"]))
    return sorted(models, key=lambda model: (models.index(tuned[model]), 1) if tuned.get(model) in models else
                  (models.index(model), 0))  # fmt: skip


def _model(model: str, rows: pd.DataFrame, tuned: Mapping[str, str]) -> str:
    if rows["model"].nunique() == 1:
        return ""
    kind = ", instruction-tuned" if model in tuned else ", base" if model in tuned.values() else ""
    return f"{model}{kind}<br>"


def _benchmark(benchmark: str, filtered: str, rows: pd.DataFrame) -> str:
    filters = set(rows.loc[rows["benchmark"] == benchmark, "filter"])
    name = spoken(benchmark, BENCHMARKS)
    return f"{name}, {filtered}" if filtered and len(filters) > 1 else name
