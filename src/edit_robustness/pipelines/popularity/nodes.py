"""Nodes of popularity: each one computes a table, a figure or the page."""

import logging

import pandas as pd
import plotly.graph_objects as go
from pydantic import Field
from pydantic.dataclasses import dataclass

from edit_robustness.features.fact_table import log10_positive
from edit_robustness.plots.popularity import relation_figure
from edit_robustness.report.popularity import PopularityFindings, popularity_sentences, render_popularity
from edit_robustness.setting_types import STRICT
from edit_robustness.statistics.memory import popularity_correlations

logger = logging.getLogger(__name__)


@dataclass(frozen=True, config=STRICT)
class PopularityParameters:
    """How to analyse a table of page views and perplexities.

    Attributes:
        confidence: Level of all intervals; tests are at 1 - confidence.
        power: Power of the reported detectable correlations.
    """

    confidence: float = Field(0.95, gt=0, lt=1)
    power: float = Field(0.8, gt=0, lt=1)


def correlate(
    popularity_source: pd.DataFrame, settings: PopularityParameters
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Correlate page views with the probabilities of the objects, overall and within relations, and log the result."""
    facts = popularity_source.assign(log_views=log10_positive(popularity_source["page_views"]))
    tables = popularity_correlations(facts, settings.confidence, settings.power)
    for sentence in popularity_sentences(tables[0], tables[2], settings.confidence):
        logger.info("%s", sentence)
    return tables


def draw(popularity_relations: pd.DataFrame, settings: PopularityParameters) -> go.Figure:
    """Draw the correlation within each relation."""
    return relation_figure(popularity_relations, 1 - settings.confidence)


def write_page(
    correlations: pd.DataFrame,
    relations: pd.DataFrame,
    summary: pd.DataFrame,
    figure: go.Figure,
    settings: PopularityParameters,
) -> str:
    """Return the page as one HTML document."""
    return render_popularity(PopularityFindings(correlations, relations, summary, figure, settings.confidence))
