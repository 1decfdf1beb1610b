"""Page of sequential edits: their cost for the model, edit and knowledge retention, and the second paper's findings.

Every sentence is generated from the tables. The template engine escapes all text of models, files and errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup

from edit_robustness.labels import METHODS, in_order, label_of
from edit_robustness.prompts.kinds import SPECIFICITY
from edit_robustness.records import UNEDITED
from edit_robustness.report import specificity
from edit_robustness.report.findings import ALL, difference, findings, share
from edit_robustness.report.heat import MANY_CUT
from edit_robustness.report.page import environment, figure_json, read_vendored, script, style
from edit_robustness.report.rows import records
from edit_robustness.report.run_details import run_details
from edit_robustness.report.runs import (
    list_contexts,
    list_failures,
    list_methods,
    list_mixed,
    list_models,
    list_unmet,
    summary,
)

FIGURES = (
    *(
        "frontier",
        "abilities",
        "paper_2",
        "scale",
        "kinds",
        "safety",
        "edit_retention",
        "forgetting",
        "knowledge_retention",
        "gold",
    ),
    *("drift", "survival"),
)
FAILED_SHOWN = 30


@dataclass(frozen=True)
class ManyEdits:
    """All data of the page; tables as `statistics` returns them, averaged over orders if there are several.

    Attributes:
        abilities: `statistics.abilities.ability_paths`.
        comparisons: `statistics.paired.compare`.
        ability_retention: `statistics.ability_retention.ability_retention_paths`.
        lifetimes: `statistics.survival.lifetimes`.
        edit_retention: model, method, edits, kind, protocol, metric and `statistics.orders.PATH_COLUMNS`, n_facts,
            n_probes, n_asked, cut.
        knowledge_retention: model, method, edits, protocol and `statistics.orders.PATH_COLUMNS`, n_facts, n_probes,
            n_asked, cut.
        benchmarks: model, benchmark, task, ability, metric, filter, shots, n_documents, chance, constant_answer,
            max_new_tokens, note.
        runs: The record of each run; any key may be missing.
        loss: The share of the general abilities whose loss ends the survival of a model.
        base: Instruction-tuned models and the base model of each.
        sizes: Models and their billions of parameters.
        figures: Figures by the names in `FIGURES`.
        confidence: Level of all intervals.
        failed_items: Items that failed: model, method, stage, key, reason.
    """

    abilities: pd.DataFrame
    comparisons: pd.DataFrame
    ability_retention: pd.DataFrame
    lifetimes: pd.DataFrame
    edit_retention: pd.DataFrame
    knowledge_retention: pd.DataFrame
    benchmarks: pd.DataFrame
    runs: Sequence[Mapping[str, Any]]
    loss: float = 0.1
    base: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, go.Figure] = field(default_factory=dict)
    confidence: float = 0.95
    failed_items: pd.DataFrame = field(default_factory=pd.DataFrame)


def render(results: ManyEdits) -> str:
    """Render one self-contained HTML document."""
    answers = findings(
        results.ability_retention,
        results.abilities,
        results.comparisons,
        loss=results.loss,
        base=results.base,
        sizes=results.sizes,
    )
    return (
        environment()
        .get_template("sequences.html.j2")
        .render(
            style=Markup(style()),
            script=Markup(script()),
            plotly=Markup(read_vendored("plotly-basic")),
            figures={name: figure_json(results.figures[name]) for name in FIGURES if name in results.figures},
            models=_models(results),
            sentences={model: list(headline(results, model)) for model in _models(results)},
            summaries={model: list(_summary(results, model)) for model in _models(results)},
            flags=_flags(results.abilities),
            failed=_list_failed(results.runs),
            FAILED_SHOWN=FAILED_SHOWN,
            failed_items=list_failures(results.failed_items),
            scores=_scores(results.abilities),
            comparisons=records(_last(results.comparisons)),
            lifetimes=records(results.lifetimes),
            findings=answers,
            benchmarks=records(results.benchmarks),
            run=[*(dict(run_details(results.runs)) | dict(summary(results.runs))).items(), *_settings(results.runs)],
            run_models=list_models(results.runs),
            run_methods=list_methods(results.runs),
            run_contexts=list_contexts(results.runs),
            run_unmet=list_unmet(results.runs),
            run_mixed=list_mixed(results.runs),
            confidence=results.confidence,
            loss=results.loss,
        )
    )


def headline(results: ManyEdits, model: str) -> Iterator[str]:
    """Yield sentences on the cost of sequential edits for this model; the first one is the headline.

    The headline contains the worst method on both knowledge and abilities, so that stable benchmarks do not hide lost
    facts.
    """
    sides = {"knowledge": _rank_knowledge(results, model), "abilities": _rank_abilities(results, model)}
    lines = [_cost(rows, side) for side, rows in sides.items() if rows]
    if lines:
        edits = max(row["edits"] for rows in sides.values() for row in rows)
        yield f"After {edits} edits {model} {', and '.join(lines)}."
    yield from _report_missing(results, model)
    model_rows = results.ability_retention[
        (results.ability_retention["model"] == model) & (results.ability_retention["ability"] == ALL)
    ]
    if model_rows["value"].isna().all():
        yield f"No editing method was measured on a benchmark on which {model} is above chance."
    yield from _lowest_shares(results, model)
    yield from _report_cut(results, model)
    model_rows = results.abilities[(results.abilities["model"] == model) & (results.abilities["flag"] == "not finite")]
    broken_rows = model_rows[model_rows["method"] != UNEDITED]
    if (model_rows["method"] == UNEDITED).any():
        yield f"The unedited {model} itself has scores that are not finite, so its edits cannot be evaluated."
    elif len(broken_rows):
        method_names = ", ".join(label_of(method, METHODS) for method in in_order(broken_rows["method"], METHODS))
        yield (f"Log-probabilities are not finite after edits by {method_names}. Such documents have a score of 0.")


def _rank_knowledge(results: ManyEdits, model: str) -> list[dict[str, Any]]:
    """Return the knowledge retention of each method after its last edit, lowest first."""
    return _sort_rows(
        results.knowledge_retention[_free_edits(results.knowledge_retention, model)], _end(results, model)
    )


def _rank_abilities(results: ManyEdits, model: str) -> list[dict[str, Any]]:
    """Return the ability retention of each method after its last edit, lowest first."""
    return _sort_rows(
        results.ability_retention[
            (results.ability_retention["model"] == model) & (results.ability_retention["ability"] == ALL)
        ],
        _end(results, model),
    )


def _end(results: ManyEdits, model: str) -> int:
    """Return the greatest number of edits after which any method was measured."""
    return max((table["edits"].max() for table in _of_edits(results, model) if len(table)), default=0)


def _of_edits(results: ManyEdits, model: str) -> list[pd.DataFrame]:
    """Return the rows of knowledge, abilities and edits of one model's editing methods that have a value."""
    ability_rows = results.ability_retention[
        (results.ability_retention["model"] == model) & (results.ability_retention["ability"] == ALL)
    ]
    tables = (
        results.knowledge_retention[_free_edits(results.knowledge_retention, model)],
        ability_rows,
        results.edit_retention[_free_edits(results.edit_retention, model)],
    )
    return [table.dropna(subset=["value"]) for table in tables]


def _report_missing(results: ManyEdits, model: str) -> Iterator[str]:
    """Report the methods without a figure after the last edit, if other methods have one."""
    end, tables = _end(results, model), [table for table in _of_edits(results, model) if len(table)]
    short = {m for table in tables for m in set(table["method"]) - set(table.loc[table["edits"] == end, "method"])}
    if short:
        method_names = ", ".join(label_of(method, METHODS) for method in in_order(short, METHODS))
        yield (
            f"Some results after {end} edits are missing: {method_names}. The sentences here leave missing results out."
        )


def _free_edits(table: pd.DataFrame, model: str) -> pd.Series:
    return (table["model"] == model) & (table["protocol"] == "free") & (table["method"] != UNEDITED)


def _sort_rows(rows: pd.DataFrame, edits: int) -> list[dict[str, Any]]:
    # figures after fewer edits are not comparable with those after more
    return sorted(records(rows[rows["edits"] == edits].dropna(subset=["value"])), key=lambda row: row["value"])


def _cost(rows: Sequence[Mapping[str, Any]], side: str) -> str:
    """Return the lowest method's figure on one side, and the highest one's, and whether they differ significantly."""
    worst, best = rows[0], rows[-1]
    beside = f" ({share(best)} with {_name(best)}, {_compare(best, worst)})" if len(rows) > 1 else ""
    if side == "knowledge":
        return f"still answers {share(worst)} of {int(worst['n_facts'])} unedited facts with {_name(worst)}{beside}"
    # above 1 the scores have risen by chance, which is not a gain in ability
    unclear = "no loss" if worst["value"] >= 1 else "no significant loss"
    start = "keeps" if worst["high"] < 1 else f"shows {unclear} on the benchmarks:"
    return f"{start} {share(worst)} of its scores above chance with {_name(worst)}{beside}"


def _compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    return "significantly more" if is_above(first, second) else "not significantly different"


def is_above(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether the interval of first - second is above 0; a share below chance counts as 0."""
    bounds = ("value", "low", "high")
    nonnegative_rows = [{name: max(row[name], 0) for name in bounds} for row in (first, second)]
    # without an interval nothing is above anything
    return difference(nonnegative_rows[0], nonnegative_rows[1])[1] > 0


def _lowest_shares(results: ManyEdits, model: str) -> Iterator[str]:
    """Rank methods by the lowest of three shares: edits that hold, paraphrases of them, and unedited facts.

    A method is best or worst only if the interval of its difference from each other one excludes 0.
    """
    end, edit_rows = _end(results, model), results.edit_retention[_free_edits(results.edit_retention, model)]
    parts = [edit_rows[edit_rows["kind"] == kind] for kind in ("statement", "paraphrase")]
    parts.append(results.knowledge_retention[_free_edits(results.knowledge_retention, model)])
    last = [part[part["edits"] == end].dropna(subset=["value"]) for part in parts]
    by_method = [{row["method"]: row for row in records(part)} for part in last]
    statements, paraphrases, knowledge = by_method
    lowest = {
        method: min((part[method] for part in by_method if method in part), key=lambda row: row["value"])
        for method in in_order(statements.keys() & knowledge.keys(), METHODS)
    }
    for methods, phrase in _rank_lowest(lowest):
        if len(methods) > 1:
            shares = ", ".join(f"{label_of(method, METHODS)} {share(lowest[method])}" for method in methods)
            yield f"{phrase} by their lowest of three rates (efficacy, paraphrases, unedited facts): {shares}."
            continue
        method = methods[0]
        edits, words = statements[method], paraphrases.get(method)
        yield (
            f"{label_of(method, METHODS)}{phrase}: efficacy is {share(edits)} over {edits['edits']} edits, "
            f"generalization to paraphrases {share(words) if words else '–'}, and knowledge retention "
            f"{share(knowledge[method])} of {int(knowledge[method]['n_facts'])} unedited facts."
        )


def _rank_lowest(lowest: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[list[str], str]]:
    """Yield the best methods and the worst ones, each with a phrase; several if they do not differ significantly."""
    methods = sorted(lowest, key=lambda method: -lowest[method]["value"])
    if not methods:
        return
    top, bottom = lowest[methods[0]], lowest[methods[-1]]
    best = [method for method in methods if not is_above(top, lowest[method])]
    worst = [method for method in methods if not is_above(lowest[method], bottom)]
    if len(methods) == 1:
        yield methods, ""
    elif len(best) == len(methods):
        yield best, f"The {len(methods)} methods cannot be told apart"
    else:
        yield best, " is best by its lowest of three rates" if len(best) == 1 else "The best cannot be told apart"
        yield worst, " is worst" if len(worst) == 1 else "The worst cannot be told apart"


def _report_cut(results: ManyEdits, model: str) -> Iterator[str]:
    """Report methods whose answers after the last edit were often cut."""
    tables = [table[_free_edits(table, model)] for table in (results.edit_retention, results.knowledge_retention)]
    shares: dict[str, float] = {}
    for row in (row for table in tables for row in records(_at_last(table))):
        cut_share = row.get("cut", 0.0)
        if cut_share > MANY_CUT:
            shares[row["method"]] = max(cut_share, shares.get(row["method"], 0.0))
    if shares:
        method_names = ", ".join(
            f"{shares[method]:.0%} ({label_of(method, METHODS)})" for method in in_order(shares, METHODS)
        )
        yield (
            "The token limit cut many answers after the last edit before they named an object, in one kind up to "
            f"{method_names}. They count as no success, so these figures may be too low. Specificity leaves them out."
        )


def _models(results: ManyEdits) -> list[str]:
    return list(dict.fromkeys([*results.abilities["model"], *results.edit_retention["model"]]))


def _name(row: Mapping[str, Any]) -> str:
    return label_of(row["method"], METHODS)


def _at_last(rows: pd.DataFrame) -> pd.DataFrame:
    """Select the rows with the greatest number of edits of each method."""
    return rows[rows["edits"] == rows.groupby("method")["edits"].transform("max")] if len(rows) else rows


def _last(comparisons: pd.DataFrame) -> pd.DataFrame:
    if comparisons.empty:
        return comparisons
    return comparisons[comparisons["edits"] == comparisons.groupby(["model", "method"])["edits"].transform("max")]


def _summary(results: ManyEdits, model: str) -> Iterator[dict[str, Any]]:
    """Yield a row per method after its last edit: abilities, edits, knowledge, costs."""
    edit_rows = results.edit_retention[
        (results.edit_retention["model"] == model) & (results.edit_retention["protocol"] == "free")
    ]
    ability_rows = results.ability_retention[
        (results.ability_retention["model"] == model) & (results.ability_retention["ability"] == ALL)
    ]
    knowledge_rows = results.knowledge_retention[
        (results.knowledge_retention["model"] == model) & (results.knowledge_retention["protocol"] == "free")
    ]
    methods = [*edit_rows["method"], *ability_rows["method"], *knowledge_rows["method"]]
    for method in in_order(methods, METHODS):
        method_tables = [table[table["method"] == method] for table in (ability_rows, knowledge_rows, edit_rows)]
        edits = int(max((rows["edits"].max() for rows in method_tables if len(rows)), default=0))
        at = [rows[rows["edits"] == edits] for rows in method_tables]
        by_kind = {str(row["kind"]): share(row) for row in records(at[2].dropna(subset=["value"]))}
        costs = _costs(results.runs, model, method)
        cut_share = max(
            (row["cut"] for rows in at[1:] for row in records(rows) if pd.notna(row.get("cut"))), default=0.0
        )
        yield {
            "method": method,
            "edits": edits,
            "ability_retention": _format_share(at[0]),
            "knowledge_retention": _format_share(at[1]),
            **{kind: by_kind.get(kind, "–") for kind in ("statement", "paraphrase")},
            **{kind: specificity.format_rate(at[2][at[2]["kind"] == kind]) for kind in SPECIFICITY},
            "cut": cut_share,
            "tokens": _number(costs.get("prefix_tokens", {}).get(str(edits))),
            "seconds": _number(costs.get("seconds_per_edit"), 2),
            "measured": _number(sum(costs.get("seconds_per_benchmark", {}).get(str(edits), {}).values()) or None, 1),
            "failed": len(costs.get("failed", [])),
            "unmeasured": _count_unmeasured(results.failed_items, model, method),
        }


def _count_unmeasured(failed_items: pd.DataFrame, model: str, method: str) -> int:
    """Count the checkpoints and benchmarks that could not be measured."""
    if failed_items.empty:
        return 0
    items = failed_items[(failed_items["model"] == model) & (failed_items["method"] == method)]
    return int(items["stage"].isin(["ask", "measure"]).sum())


def _format_share(rows: pd.DataFrame) -> str:
    finite_rows = rows.dropna(subset=["value"])
    return share(records(finite_rows)[0]) if len(finite_rows) else "–"


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _costs(runs: Sequence[Mapping[str, Any]], model: str, method: str) -> Mapping[str, Any]:
    return next((costs for record in runs if (costs := record.get("sequences", {}).get(model, {}).get(method))), {})


def _flags(abilities: pd.DataFrame) -> list[dict[str, Any]]:
    """Return unreliable figures at their first number of edits, without those that the unedited model shares."""
    scores = abilities[(abilities["quantity"] == "score") & (abilities["flag"] != "fine")]
    key = ["model", "benchmark", "metric", "filter", "flag"]
    before = scores.loc[scores["method"] == UNEDITED, key].assign(already=True)
    flags = scores.merge(before, on=key, how="left")
    new_flags = flags[flags["already"].isna() | (flags["method"] == UNEDITED)].sort_values("edits", kind="stable")
    first = new_flags.drop_duplicates([*key, "method"])
    return records(first.sort_values(["model", "method"], kind="stable"))


def _list_failed(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List the edits that a method could not make."""
    return [
        {"model": model, "method": method, **failure}
        for record in runs
        for model, methods in (record.get("sequences") or {}).items()
        for method, about in methods.items()
        for failure in about.get("failed", [])
    ]


def _scores(abilities: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return each model's benchmarks, with a line per method and a figure per number of edits."""
    score_rows = abilities[abilities["quantity"].isin(["score", "balanced"])]
    tables: dict[str, list[dict[str, Any]]] = {}
    for (model, *about), rows in score_rows.groupby(["model", "benchmark", "metric", "filter", "quantity"], sort=False):
        benchmark, metric, filter_name, quantity = map(str, about)
        steps = sorted(int(edits) for edits in rows["edits"].unique())
        cells = {(row["method"], row["edits"]): row for row in records(rows)}
        lines = [(m, [cells.get((m, edits)) for edits in steps]) for m in in_order(rows["method"], METHODS)]
        name = {"score": metric, "balanced": "balanced accuracy"}[quantity]
        first = rows.iloc[0]
        tables.setdefault(str(model), []).append(
            {
                "benchmark": benchmark, "metric": "perplexity by token" if "perplexity" in metric else name,
                "filter": filter_name, "steps": steps, "lines": lines, "n": int(first["n"]), "chance": first["chance"],
                "constant_answer": first["constant_answer"], "is_share": "perplexity" not in metric,
            }
        )  # fmt: skip
    return tables


def _settings(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the distinct settings of sequences and abilities of all runs."""
    return [
        (title, text)
        for title, key in (("Sequences", "sequence"), ("Abilities", "abilities"))
        for text in dict.fromkeys(
            ", ".join(f"{k}: {v}" for k, v in record[key].items()) for record in runs if record.get(key)
        )
    ]
