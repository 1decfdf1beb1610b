"""Features of facts: the name of each, where it comes from, and the function that computes it.

To add a feature, write a function and add a `Feature` to `FEATURES`. It then is a column of the tables `features` and
`outcomes` and a row of `feature_summary`, which everything that analyses features reads. A function takes the data of
one model's facts (`FactData`) and returns a number per row of `FactData.rows` (by its index). NaN stands for a missing
value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from edit_robustness.features import fact_table
from edit_robustness.features.fact_table import log10_count, log10_positive
from edit_robustness.features.remote import REMOTE
from edit_robustness.tables import user_columns

Scale = Literal["log10", "linear", "share"]


@dataclass(frozen=True)
class FactData:
    """All that is known of one model's facts before any edit.

    Attributes:
        rows: One row per fact: the joined measurements and look-ups (`table.features_table`), and the columns of the
            table of facts.
        facts: The whole table of facts that the model has, for counts over facts. It may have more rows than `rows`,
            which lacks facts that the model could not be asked about.
        object_types: Types of objects by relation, for relations with templates: {"P36": "city"}.
        views: What looked-up page views are: "English Wikipedia, 2021-10".
    """

    rows: pd.DataFrame
    facts: pd.DataFrame
    object_types: Mapping[str, str] = field(default_factory=dict)
    views: str = "Wikipedia"

    def column(self, name: str) -> pd.Series:
        """Return a column of `rows` as floats, with NaN for missing values.

        Raises:
            ValueError: If there is no such column.
        """
        if name not in self.rows:
            raise ValueError(
                f"the tables of prior knowledge lack the column {name}, which a feature reads: they were written by "
                "an earlier version of this project; run `kedro run --pipeline=edit_eval` again, which keeps edits "
                "and answers"
            )
        return self.rows[name].astype("Float64").astype(float)

    def first_looked_up(self, names: tuple[str, ...]) -> str | None:
        """Return the first of these features that was looked up; None if none was."""
        return next((name for name in names if name in self.rows), None)


Compute = Callable[[FactData], pd.Series]


@dataclass(frozen=True)
class Feature:
    """One feature of facts.

    Attributes:
        name: The name in tables and in formulas: a Python identifier.
        label: The name in figures and in the report, with the unit.
        source: Where the values come from, in one line; a function if that depends on the data.
        scale: ``log10`` (of a count or a perplexity), ``linear``, or ``share`` (a value in [0, 1]).
        compute: Function from the facts to a value per row.
    """

    name: str
    label: str
    source: str | Callable[[FactData], str]
    scale: Scale
    compute: Compute

    def describe(self, data: FactData) -> str:
        """Return where the values of these facts come from."""
        return self.source if isinstance(self.source, str) else self.source(data)


def column(name: str) -> Compute:
    """Return a function that reads a numeric column."""
    return lambda data: data.column(name)


def log10_of(name: str) -> Compute:
    """Return a function that takes log10 of a positive column."""

    return lambda data: log10_positive(data.column(name))


def log_views(data: FactData) -> pd.Series:
    """Return log10 of the page views: those that were looked up, or else those of the table of facts."""
    views = data.column("page_views")
    if "wikipedia_views" in data.rows:
        views = data.column("wikipedia_views").fillna(views)
    return log10_positive(views)


def describe_views(data: FactData) -> str:
    """Return what the page views measure, with the number of facts of each measure if there are several."""
    measures = fact_table.describe_page_views(data.rows)
    if "wikipedia_views" in data.rows:
        is_looked_up = data.column("wikipedia_views").notna()
        measures = measures.mask(is_looked_up, f"{data.views}, looked up")
    counts = measures[log_views(data).notna()].value_counts()
    if len(counts) < 2:
        return str(counts.index[0]) if len(counts) else "no page views"
    return "MIXED: " + "; ".join(f"{measure} ({number} facts)" for measure, number in counts.items())


CONNECTION = ("wikidata_truthy", "wikidata_links", "wikidata_statements")
"""Look-ups that measure connection, the outgoing triples of the subject (arXiv 2402.05827); the closest first."""

CO_OCCURRENCE = ("two_hops_true", "two_hops_undirected_true")
"""Look-ups that measure co-occurrence, two-hop paths from the subject to the old object; the closest first."""


def log10_of_look_up(names: tuple[str, ...]) -> Compute:
    """Return a function that takes log10(1 + n) of the first look-up that was made; NaN if none was."""

    def compute(data: FactData) -> pd.Series:
        name = data.first_looked_up(names)
        return log10_positive(1 + data.column(name)) if name else pd.Series(np.nan, data.rows.index)

    return compute


def describe_look_up(names: tuple[str, ...]) -> Callable[[FactData], str]:
    """Return a function that names the look-up that was made, or says how to make it."""

    def describe(data: FactData) -> str:
        name = data.first_looked_up(names)
        return f"log10(1 + {name}), looked up" if name else f"not looked up (features.remote={names[0]})"

    return describe


def describe_recall(cut_column: str, measurement: str) -> Callable[[FactData], str]:
    """Return a function that describes a measurement of recall, with the number of answers that were cut."""

    def describe(data: FactData) -> str:
        n_cut = int(data.rows[cut_column].astype("boolean").sum()) if cut_column in data.rows else 0
        return measurement + (f"; {n_cut} answers that were cut count as not recalled" if n_cut else "")

    return describe


def describe_recall_in_context(data: FactData) -> str:
    """Return the description of recall after demonstrations, or how to measure it."""
    if data.column("recalled_in_context").isna().all():
        return "not measured (features.recall_demonstrations)"
    return describe_recall("recall_cut_in_context", "free generation after demonstrations of the relation")(data)


def log_probability_ratio(data: FactData) -> pd.Series:
    """Return the summed log-probability of the old object minus that of the new object, in nats."""
    return data.column("logprob_true") - data.column("logprob_new")


def describe_counts(data: FactData) -> str:
    """Return over which table facts are counted."""
    return f"count over {len(data.facts)} facts of the table"


_FORCED = "teacher forcing of the unedited model after the statement"
_LOGITS = "next-token distribution of the unedited model after the statement"
_TOKENS = "the model's tokenizer"

FEATURES: tuple[Feature, ...] = (
    Feature("log_views", "Page views of the subject (log10)", describe_views, "log10", log_views),
    Feature(
        "connection",
        "Outgoing triples of the subject (log10)",
        describe_look_up(CONNECTION),
        "log10",
        log10_of_look_up(CONNECTION),
    ),
    Feature(
        "co_occurrence",
        "Two-hop paths from subject to old object (log10)",
        describe_look_up(CO_OCCURRENCE),
        "log10",
        log10_of_look_up(CO_OCCURRENCE),
    ),
    Feature(
        "recalled",
        "Old object recalled before the edit",
        describe_recall("recall_cut", "free generation of the unedited model after the statement"),
        "share",
        column("recalled"),
    ),
    Feature(
        "recalled_in_context",
        "Old object recalled after demonstrations",
        describe_recall_in_context,
        "share",
        column("recalled_in_context"),
    ),
    Feature(
        "log_perplexity_true", "Perplexity of the old object (log10)", _FORCED, "log10", log10_of("perplexity_true")
    ),
    Feature("log_perplexity_new", "Perplexity of the new object (log10)", _FORCED, "log10", log10_of("perplexity_new")),
    Feature("log_rank_true", "Rank of the old object (log10)", _LOGITS, "log10", log10_of("rank_true")),
    Feature("log_rank_new", "Rank of the new object (log10)", _LOGITS, "log10", log10_of("rank_new")),
    Feature(
        "margin", "Margin of the old object over the best other token (nats)", _LOGITS, "linear", column("margin_true")
    ),
    Feature(
        "log_probability_ratio",
        "Log-probability of the old object minus that of the new (nats)",
        _FORCED,
        "linear",
        log_probability_ratio,
    ),
    Feature("subject_tokens", "Length of the subject (tokens)", _TOKENS, "linear", column("subject_tokens")),
    Feature("tokens_true", "Length of the old object (tokens)", _TOKENS, "linear", column("tokens_true")),
    Feature("tokens_new", "Length of the new object (tokens)", _TOKENS, "linear", column("tokens_new")),
    Feature(
        "object_similarity",
        "Similarity of the two objects (cosine)",
        "input embeddings of the model",
        "linear",
        column("object_similarity"),
    ),
    Feature(
        "same_type",
        "Both objects are of one type",
        lambda data: f"objects of the relations in {len(data.facts)} facts of the table",
        "share",
        lambda data: fact_table.same_type(data.rows, data.facts, data.object_types),
    ),
    Feature(
        "facts_with_object",
        "Facts with the same old object (log10)",
        describe_counts,
        "log10",
        lambda data: log10_count(fact_table.objects(data.rows, data.facts), fact_table.objects(data.facts)),
    ),
    Feature(
        "facts_with_relation",
        "Facts of the same relation (log10)",
        describe_counts,
        "log10",
        lambda data: log10_count(data.rows["relation"], data.facts["relation"]),
    ),
)
"""All features that the project computes, in the order of tables."""


def all_features(data: FactData) -> list[Feature]:
    """Return the declared features, then one per further look-up, then one per column of the user's table of facts."""
    further_lookups = [name for name in REMOTE if name in data.rows and name not in _look_ups_used(data)]
    return [*FEATURES, *map(_look_up_feature, further_lookups), *_column_features(data)]


def declared_names() -> list[str]:
    """Return the names of the declared features, which the tables of every run have."""
    return [feature.name for feature in FEATURES]


def possible_names(facts: pd.DataFrame) -> list[str]:
    """Return the names of all features that these facts can have, before any of them is computed."""
    return [*declared_names(), *(f"log_{name}" for name in REMOTE), *user_columns(facts)]


def _look_ups_used(data: FactData) -> set[str | None]:
    """Return the look-ups that a declared feature reads for these facts."""
    return {"wikipedia_views", data.first_looked_up(CONNECTION), data.first_looked_up(CO_OCCURRENCE)}


def _look_up_feature(name: str) -> Feature:
    label = f"{name.replace('_', ' ').capitalize()} (log10)"
    return Feature(f"log_{name}", label, describe_look_up((name,)), "log10", log10_of_look_up((name,)))


def _column_features(data: FactData) -> list[Feature]:
    return [
        Feature(
            name,
            name.replace("_", " ").capitalize(),
            "column of the table of facts",
            "share" if data.column(name).dropna().isin([0, 1]).all() else "linear",
            column(name),
        )
        for name in user_columns(data.facts)
    ]
