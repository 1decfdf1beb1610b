"""Thin nodes: each takes tables, calls one room, and hands on a table, a figure or the page."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass

from edit_robustness.plots import frontier as drawn
from edit_robustness.plots import sequences as figures
from edit_robustness.report import paper2
from edit_robustness.report.sequences import ManyEdits, render
from edit_robustness.setting_types import STRICT
from edit_robustness.statistics import abilities, held, kept, paired, survival
from edit_robustness.statistics.documents import measured
from edit_robustness.statistics.orders import over_orders
from edit_robustness.tables import collect


@dataclass(frozen=True, config=STRICT)
class Damage:
    """How to sum up what many edits cost.

    Attributes:
        confidence: Level of all intervals.
        bootstrap: Resamples of documents, where an interval needs them.
        seed: Of the resampling.
        loss: The share of the general abilities above chance whose loss is the end of a model.
        base: Instruction-tuned models and the base model of each, where both are run: {llama2_7b_chat: llama2_7b}.
        sizes: Models and their billions of parameters: {pythia_160m: 0.16, pythia_1b: 1.0}.
    """

    confidence: float = Field(0.95, gt=0, lt=1)
    bootstrap: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0)
    loss: float = Field(0.1, gt=0, lt=1)
    base: dict[str, str] = Field(default_factory=dict)
    sizes: dict[str, PositiveFloat] = Field(default_factory=dict)

    @property
    def resampling(self) -> dict[str, Any]:
        """What estimates by resampling are given."""
        return {"confidence": self.confidence, "bootstrap": self.bootstrap, "seed": self.seed}


def collect_benchmarks(models: Sequence[str]) -> Callable[..., pd.DataFrame]:
    """A function that makes one table of what each model was asked, with the model's name in front."""

    def benchmarks_of(*tables: pd.DataFrame) -> pd.DataFrame:
        return collect(
            *(
                pd.concat([pd.Series(model, table.index, dtype="str", name="model"), table], axis=1)
                for model, table in zip(models, tables, strict=True)
            )
        )

    return benchmarks_of


def estimate_abilities(
    documents: pd.DataFrame, benchmarks: pd.DataFrame, settings: Damage
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Each benchmark at each checkpoint, its comparison with the unedited model, and both over orders."""
    rows = measured(documents)
    table = abilities.abilities(rows, benchmarks, **settings.resampling)
    changes = paired.compare(rows, **settings.resampling)
    return table, changes, abilities.ability_paths(table, changes, settings.confidence)


def estimate_loss(
    documents: pd.DataFrame, table: pd.DataFrame, settings: Damage
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """What is left of the abilities, by checkpoint and over orders, and how many edits were survived."""
    left = kept.kept(measured(documents), table, **settings.resampling)
    lives = survival.lifetimes(left, table, settings.loss)
    return left, kept.kept_paths(left, settings.confidence), lives, survival.survival(lives, settings.confidence)


def estimate_held(
    scores: pd.DataFrame, answers: pd.DataFrame, settings: Damage
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """What holds of all edits so far, what is still known, both together, and what is forgotten with age."""
    asked = held.asked_of(scores, answers)
    edits, known = held.held(asked, settings.confidence), held.retention(asked, settings.confidence)
    return (
        edits,
        known,
        held.frontier(edits, known, settings.confidence),
        held.forgetting(asked, settings.confidence),
    )


def average_orders(edits: pd.DataFrame, known: pd.DataFrame, settings: Damage) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What holds and what is still known, over orders."""
    common = ["model", "method", "edits"]
    paths = []
    for table, more in ((edits, ["kind", "protocol", "metric"]), (known, ["protocol", "metric"])):
        by = [*common, *more]
        counts = table.groupby(by, sort=False)
        most = {name: (name, "max") for name in ("n_facts", "n_probes", "n_asked")}
        facts = counts.agg(**most, cut=("cut", "mean")).reset_index()
        paths.append(over_orders(table, by, settings.confidence).merge(facts, on=by))
    return paths[0], paths[1]


def draw_abilities(paths: pd.DataFrame, settings: Damage) -> tuple[go.Figure, go.Figure, go.Figure, go.Figure]:
    """The paper's Figures 2, 3 and 6 with ours, its own curves, and the right answers' log-probabilities."""
    ran = list(dict.fromkeys(paths["model"]))
    theirs = paper2.beside(ran)
    return (
        figures.abilities_figure(paths, theirs, settings.base),
        figures.abilities_figure(paths, theirs, settings.base, safety=True),
        figures.paper_figure(paper2.curves(paper2.PAIRS, paper2.BENCHMARKS), ran),
        figures.gold_figure(paths),
    )


def draw_loss(paths: pd.DataFrame, curve: pd.DataFrame, settings: Damage) -> tuple[go.Figure, go.Figure, go.Figure]:
    """The paper's Figures 4 and 5 with ours, and survival."""
    whole = paths[paths["ability"] == kept.ALL].assign(billions=lambda rows: rows["model"].map(settings.sizes))
    sized = whole.dropna(subset=["billions"])
    last = sized[sized["edits"] == sized["edits"].max()] if sized["model"].nunique() > 1 else sized.head(0)
    return (
        figures.kinds_figure(paths),
        drawn.scale_figure(last, paper2.scale()),
        drawn.survival_figure(curve),
    )


def draw_held(
    edits: pd.DataFrame, known: pd.DataFrame, frontier: pd.DataFrame, forgetting: pd.DataFrame
) -> tuple[go.Figure, go.Figure, go.Figure, go.Figure]:
    """All edits so far, facts never edited, both together, and the age of an edit."""
    return (
        figures.held_figure(edits[~edits["metric"].isin(held.ON_ALL_PROMPTS.values())]),
        figures.retention_figure(known),
        drawn.frontier_figure(frontier),
        figures.forgetting_figure(forgetting),
    )


def draw_drift(drift: pd.DataFrame) -> go.Figure:
    """How far weights have moved: of each layer its most moved part, over orders."""
    by = ["model", "method", "edits", "layer"]
    most = drift.groupby([*by, "order"], sort=False)["relative"].max().reset_index()
    means = most.groupby(by, sort=False)["relative"].mean().reset_index()
    return drawn.drift_figure(means.rename(columns={"relative": "value"}))


def write_page(
    abilities: pd.DataFrame,
    comparisons: pd.DataFrame,
    kept: pd.DataFrame,
    lifetimes: pd.DataFrame,
    held: pd.DataFrame,
    retention: pd.DataFrame,
    benchmarks: pd.DataFrame,
    failed_items: pd.DataFrame,
    runs: list[dict[str, Any]],
    settings: Damage,
    **figures: go.Figure,
) -> str:
    """The page; figures come by the names of their data sets."""
    return render(
        ManyEdits(
            abilities=abilities,
            comparisons=comparisons,
            kept=kept,
            lifetimes=lifetimes,
            held=held,
            retention=retention,
            benchmarks=benchmarks,
            failed_items=failed_items,
            runs=runs,
            loss=settings.loss,
            base=settings.base,
            sizes=settings.sizes,
            figures={name.removesuffix("_figure"): figure for name, figure in figures.items()},
            confidence=settings.confidence,
        )
    )
