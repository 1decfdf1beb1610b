"""Nodes that analyze sequences of edits: each one computes a table, a figure or the page from tables."""

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
from edit_robustness.statistics import abilities, ability_retention, edit_retention, paired, survival
from edit_robustness.statistics.documents import measure_documents
from edit_robustness.statistics.edits_survived import edits_survived
from edit_robustness.statistics.orders import over_orders
from edit_robustness.tables import collect


@dataclass(frozen=True, config=STRICT)
class SequenceAnalysisParameters:
    """Parameters of the analysis of sequential editing.

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
        """Return the keyword arguments of estimates by resampling."""
        return {"confidence": self.confidence, "bootstrap": self.bootstrap, "seed": self.seed}


def collect_benchmarks(models: Sequence[str]) -> Callable[..., pd.DataFrame]:
    """Return a function that joins the models' tables of benchmarks into one, with the column `model` in front."""

    def benchmarks_of(*tables: pd.DataFrame) -> pd.DataFrame:
        return collect(
            *(
                pd.concat([pd.Series(model, table.index, dtype="str", name="model"), table], axis=1)
                for model, table in zip(models, tables, strict=True)
            )
        )

    return benchmarks_of


def estimate_abilities(
    documents: pd.DataFrame, benchmarks: pd.DataFrame, settings: SequenceAnalysisParameters
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Estimate each benchmark at each checkpoint, its difference from the unedited model, and both over orders."""
    if "ability" not in benchmarks:
        raise ValueError(
            "the tables of benchmarks (<model>_benchmarks) have no column `ability`, because an earlier version of the "
            "project wrote them: run --pipeline=sequential_eval without --tags"
        )
    rows = measure_documents(documents)
    table = abilities.abilities(rows, benchmarks, **settings.resampling)
    changes = paired.compare(rows, **settings.resampling)
    return table, changes, abilities.ability_paths(table, changes, settings.confidence)


def estimate_loss(
    documents: pd.DataFrame, table: pd.DataFrame, settings: SequenceAnalysisParameters
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Estimate ability retention by checkpoint and over orders, the lifetimes in edits, and their survival curve."""
    shares = ability_retention.ability_retention(measure_documents(documents), table, **settings.resampling)
    lifetimes = survival.lifetimes(shares, table, settings.loss)
    return (
        shares,
        ability_retention.ability_retention_paths(shares, settings.confidence),
        lifetimes,
        survival.survival(lifetimes, settings.confidence),
    )


def collect_facts(models: Sequence[str]) -> Callable[..., pd.DataFrame]:
    """Return a function that joins the models' facts of sequences into one table with the column `model`."""

    def facts_of(*tables: pd.DataFrame) -> pd.DataFrame:
        return collect(*(table.assign(model=model) for model, table in zip(models, tables, strict=True)))

    return facts_of


def estimate_edit_retention(
    scores: pd.DataFrame, answers: pd.DataFrame, facts: pd.DataFrame, settings: SequenceAnalysisParameters
) -> tuple[pd.DataFrame, ...]:
    """Estimate edit retention, knowledge retention, the frontier of both, forgetting by age, and edits survived."""
    rows = edit_retention.select_shares(scores, answers)
    edits, knowledge = (
        edit_retention.edit_retention(rows, settings.confidence),
        edit_retention.knowledge_retention(rows, settings.confidence),
    )
    return (
        edits,
        knowledge,
        edit_retention.frontier(edits, knowledge, settings.confidence),
        edit_retention.forgetting(rows, settings.confidence),
        edits_survived(rows, facts),
    )


def average_orders(
    edits: pd.DataFrame, knowledge: pd.DataFrame, settings: SequenceAnalysisParameters
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average edit retention and knowledge retention over orders."""
    common = ["model", "method", "edits"]
    paths = []
    for table, keys in ((edits, ["kind", "protocol", "metric"]), (knowledge, ["protocol", "metric"])):
        by = [*common, *keys]
        counts = table.groupby(by, sort=False)
        largest = {name: (name, "max") for name in ("n_facts", "n_probes", "n_asked")}
        facts = counts.agg(**largest, cut=("cut", "mean")).reset_index()
        paths.append(over_orders(table, by, settings.confidence).merge(facts, on=by))
    return paths[0], paths[1]


def draw_abilities(
    paths: pd.DataFrame, settings: SequenceAnalysisParameters
) -> tuple[go.Figure, go.Figure, go.Figure, go.Figure]:
    """Draw the paper's Figures 2, 3 and 6 with this run's results, its own curves, and gold log-probabilities."""
    model_names = list(dict.fromkeys(paths["model"]))
    paper_table = paper2.beside(model_names)
    return (
        figures.abilities_figure(paths, paper_table, settings.base),
        figures.abilities_figure(paths, paper_table, settings.base, safety=True),
        figures.paper_figure(paper2.curves(paper2.PAIRS, paper2.BENCHMARKS), model_names),
        figures.gold_figure(paths),
    )


def draw_loss(
    paths: pd.DataFrame, curve: pd.DataFrame, settings: SequenceAnalysisParameters
) -> tuple[go.Figure, go.Figure, go.Figure]:
    """Draw the paper's Figures 4 and 5 with this run's results, and the survival curve."""
    overall = paths[paths["ability"] == ability_retention.ALL].assign(
        billions=lambda rows: rows["model"].map(settings.sizes)
    )
    sized_models = overall.dropna(subset=["billions"])
    endpoints = (
        sized_models[sized_models["edits"] == sized_models["edits"].max()]
        if sized_models["model"].nunique() > 1
        else sized_models.head(0)
    )
    return (
        figures.kinds_figure(paths),
        drawn.scale_figure(endpoints, paper2.scale()),
        drawn.survival_figure(curve),
    )


def draw_edit_retention(
    edits: pd.DataFrame, knowledge: pd.DataFrame, frontier: pd.DataFrame, forgetting_table: pd.DataFrame
) -> tuple[go.Figure, go.Figure, go.Figure, go.Figure]:
    """Draw edit retention, knowledge retention, the frontier of both, and forgetting by the age of an edit."""
    return (
        figures.edit_retention_figure(edits[~edits["metric"].isin(edit_retention.ON_ALL_PROMPTS.values())]),
        figures.knowledge_retention_figure(knowledge),
        drawn.frontier_figure(frontier),
        figures.forgetting_figure(forgetting_table),
    )


def draw_drift(drift: pd.DataFrame) -> go.Figure:
    """Draw the drift of weights: the most changed part of each layer, averaged over orders."""
    by = ["model", "method", "edits", "layer"]
    maxima = drift.groupby([*by, "order"], sort=False)["relative"].max().reset_index()
    means = maxima.groupby(by, sort=False)["relative"].mean().reset_index()
    return drawn.drift_figure(means.rename(columns={"relative": "value"}))


def write_page(
    abilities: pd.DataFrame,
    comparisons: pd.DataFrame,
    ability_retention: pd.DataFrame,
    lifetimes: pd.DataFrame,
    edit_retention: pd.DataFrame,
    knowledge_retention: pd.DataFrame,
    benchmarks: pd.DataFrame,
    failed_items: pd.DataFrame,
    runs: list[dict[str, Any]],
    settings: SequenceAnalysisParameters,
    **figures: go.Figure,
) -> str:
    """Return the page as one HTML document. Figures are keyword arguments under the names of their datasets."""
    return render(
        ManyEdits(
            abilities=abilities,
            comparisons=comparisons,
            ability_retention=ability_retention,
            lifetimes=lifetimes,
            edit_retention=edit_retention,
            knowledge_retention=knowledge_retention,
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
