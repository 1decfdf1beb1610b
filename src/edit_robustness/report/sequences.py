"""The page of many edits: what they cost a model, which methods keep edits and knowledge, and the second paper's view.

Every sentence is made from the tables; what a model, a file or an error wrote is escaped by the template engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from edit_robustness.labels import METHODS, in_order, spoken
from edit_robustness.prompts.kinds import SPECIFICITY
from edit_robustness.report import specificity
from edit_robustness.report.findings import ALL, UNEDITED, findings, share
from edit_robustness.report.heat import MANY_CUT
from edit_robustness.report.page import embedded, environment, records, style
from edit_robustness.report.runs import contexts_run, failures_run, methods_run, mixed_run, models_run, summary

FIGURES = (
    *("frontier", "abilities", "paper_2", "scale", "kinds", "safety", "held", "forgetting", "retention", "gold"),
    *("drift", "survival"),
)
FAILED_SHOWN = 30


@dataclass(frozen=True)
class ManyEdits:
    """All that the page shows; tables as `statistics` gives them, over orders where there are several.

    Attributes:
        abilities: `statistics.abilities.ability_paths`.
        comparisons: `statistics.paired.compare`.
        kept: `statistics.kept.kept_paths`.
        lifetimes: `statistics.survival.lifetimes`.
        held: model, method, edits, kind, protocol, metric and `statistics.orders.PATH_COLUMNS`, n_facts, n_probes,
            n_asked, cut.
        retention: model, method, edits, protocol and `statistics.orders.PATH_COLUMNS`, n_facts, n_probes, n_asked, cut.
        benchmarks: model, benchmark, task, metric, filter, shots, n_documents, chance, constant_answer,
            max_new_tokens, note.
        runs: What each run recorded of itself; any key may be missing.
        loss: The share of the general abilities whose loss is the end of a model.
        base: Instruction-tuned models and the base model of each.
        sizes: Models and their billions of parameters.
        figures: Figures by the names in `FIGURES`.
        confidence: Level of all intervals.
        failed_items: Items that could not be made: model, method, stage, key, reason.
    """

    abilities: pd.DataFrame
    comparisons: pd.DataFrame
    kept: pd.DataFrame
    lifetimes: pd.DataFrame
    held: pd.DataFrame
    retention: pd.DataFrame
    benchmarks: pd.DataFrame
    runs: Sequence[Mapping[str, Any]]
    loss: float = 0.1
    base: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, go.Figure] = field(default_factory=dict)
    confidence: float = 0.95
    failed_items: pd.DataFrame = field(default_factory=pd.DataFrame)


def render(found: ManyEdits) -> str:
    """One self-contained HTML document."""
    answers = findings(
        found.kept, found.abilities, found.comparisons, loss=found.loss, base=found.base, sizes=found.sizes
    )
    return (
        environment()
        .get_template("sequences.html.j2")
        .render(
            style=Markup(style()),
            plotly=Markup(get_plotlyjs()),
            figures={name: embedded(found.figures[name]) for name in FIGURES if name in found.figures},
            models=_models(found),
            sentences={model: list(headline(found, model)) for model in _models(found)},
            summaries={model: list(_summary(found, model)) for model in _models(found)},
            flags=_flags(found.abilities),
            failed=_failed(found.runs),
            FAILED_SHOWN=FAILED_SHOWN,
            failed_items=failures_run(found.failed_items),
            scores=_scores(found.abilities),
            comparisons=records(_last(found.comparisons)),
            lifetimes=records(found.lifetimes),
            findings=answers,
            benchmarks=records(found.benchmarks),
            run=[*summary(found.runs), *_settings(found.runs)],
            run_models=models_run(found.runs),
            run_methods=methods_run(found.runs),
            run_contexts=contexts_run(found.runs),
            run_mixed=mixed_run(found.runs),
            confidence=found.confidence,
            loss=found.loss,
        )
    )


def headline(found: ManyEdits, model: str) -> Iterator[str]:
    """Say what many edits cost this model and which of its figures fell; the first sentence leads.

    The lead names the worst method on each of knowledge and abilities, so that no benchmark that the edits leave alone
    hides facts that they destroy.
    """
    sides = {"knowledge": _known(found, model), "abilities": _abilities(found, model)}
    lines = [_cost(rows, side) for side, rows in sides.items() if rows]
    if lines:
        edits = max(row["edits"] for rows in sides.values() for row in rows)
        yield f"After {edits} edits {model} {', and '.join(lines)}."
    yield from _stopped(found, model)
    own = found.kept[(found.kept["model"] == model) & (found.kept["ability"] == ALL)]
    if own["value"].isna().all():
        yield f"No editing method was measured on a benchmark on which {model} is above chance."
    yield from _lowest_shares(found, model)
    yield from _cut(found, model)
    own = found.abilities[(found.abilities["model"] == model) & (found.abilities["verdict"] == "not finite")]
    broken = own[own["method"] != UNEDITED]
    if (own["method"] == UNEDITED).any():
        yield f"The unedited {model} itself gives figures that are not finite: nothing can be said of its edits."
    elif len(broken):
        named = ", ".join(spoken(method, METHODS) for method in in_order(broken["method"], METHODS))
        yield f"Log-probabilities are not finite after edits by {named}: such documents count as 0, never as success."


def _known(found: ManyEdits, model: str) -> list[dict[str, Any]]:
    """Knowledge retention of each method after its last edit, the lowest first."""
    return _ascending(found.retention[_free_edits(found.retention, model)], _end(found, model))


def _abilities(found: ManyEdits, model: str) -> list[dict[str, Any]]:
    """Ability retention of each method after its last edit, the lowest first."""
    return _ascending(found.kept[(found.kept["model"] == model) & (found.kept["ability"] == ALL)], _end(found, model))


def _end(found: ManyEdits, model: str) -> int:
    """Return the greatest number of edits after which any method was measured."""
    return max((own["edits"].max() for own in _of_edits(found, model) if len(own)), default=0)


def _of_edits(found: ManyEdits, model: str) -> list[pd.DataFrame]:
    """Return the rows of knowledge, abilities and edits of one model's editing methods that have a figure."""
    kept = found.kept[(found.kept["model"] == model) & (found.kept["ability"] == ALL)]
    tables = (found.retention[_free_edits(found.retention, model)], kept, found.held[_free_edits(found.held, model)])
    return [table.dropna(subset=["value"]) for table in tables]


def _stopped(found: ManyEdits, model: str) -> Iterator[str]:
    """Name the methods that lack a figure after the last edit, where other methods have one."""
    end, tables = _end(found, model), [own for own in _of_edits(found, model) if len(own)]
    short = {m for own in tables for m in set(own["method"]) - set(own.loc[own["edits"] == end, "method"])}
    if short:
        named = ", ".join(spoken(method, METHODS) for method in in_order(short, METHODS))
        yield f"Not everything could be measured after {end} edits: {named}. What is missing is in no sentence here."


def _free_edits(table: pd.DataFrame, model: str) -> pd.Series:
    return (table["model"] == model) & (table["protocol"] == "free") & (table["method"] != UNEDITED)


def _ascending(rows: pd.DataFrame, edits: int) -> list[dict[str, Any]]:
    # figures after fewer edits are no rivals to those after more
    return sorted(records(rows[rows["edits"] == edits].dropna(subset=["value"])), key=lambda row: row["value"])


def _cost(rows: Sequence[Mapping[str, Any]], side: str) -> str:
    """Return the worst method's figure on one side, with the best one's beside it."""
    worst, best = rows[0], rows[-1]
    beside = f" ({share(best)} with {_name(best)})" if len(rows) > 1 else ""
    if side == "knowledge":
        return (
            f"still answers {share(worst)} of {int(worst['n_facts'])} facts that it knew and nobody edited with "
            f"{_name(worst)}{beside}"
        )
    # above 1 the scores have risen, which is chance or luck and no ability that an edit could keep
    unclear = "no loss" if worst["value"] >= 1 else "no loss that can be told from chance"
    start = "keeps" if worst["high"] < 1 else f"shows {unclear} on the benchmarks:"
    return f"{start} {share(worst)} of its scores above chance with {_name(worst)}{beside}"


def _lowest_shares(found: ManyEdits, model: str) -> Iterator[str]:
    """Rank methods by the lowest of three shares: edits that hold, paraphrases of them, and unedited facts."""
    end, held = _end(found, model), found.held[_free_edits(found.held, model)]
    parts = [held[held["kind"] == kind] for kind in ("statement", "paraphrase")]
    parts.append(found.retention[_free_edits(found.retention, model)])
    last = [part[part["edits"] == end].dropna(subset=["value"]) for part in parts]
    by_method = [{row["method"]: row for row in records(part)} for part in last]
    statements, paraphrases, known = by_method
    rows = [
        (min(part[method]["value"] for part in by_method if method in part), method)
        for method in in_order(statements.keys() & known.keys(), METHODS)
    ]
    if not rows:
        return
    best, worst = max(rows)[1], min(rows)[1]
    verdicts = {best: " stands highest by the weakest of three figures", worst: " stands lowest"}
    for method, verdict in verdicts.items() if best != worst else ((best, ""),):
        edits, words = statements[method], paraphrases.get(method)
        yield (
            f"{spoken(method, METHODS)}{verdict}: {share(edits)} of {edits['edits']} edits hold, "
            f"{share(words) if words else '–'} of their paraphrases, and {share(known[method])} of "
            f"{int(known[method]['n_facts'])} unedited facts are still answered."
        )


def _cut(found: ManyEdits, model: str) -> Iterator[str]:
    """Say which methods' answers after the last edit were cut, if they are many."""
    tables = [table[_free_edits(table, model)] for table in (found.held, found.retention)]
    shares: dict[str, float] = {}
    for row in (row for table in tables for row in records(_at_last(table))):
        cut = row.get("cut", 0.0)
        if cut > MANY_CUT:
            shares[row["method"]] = max(cut, shares.get(row["method"], 0.0))
    if shares:
        named = ", ".join(f"{shares[method]:.0%} ({spoken(method, METHODS)})" for method in in_order(shares, METHODS))
        yield (
            f"The limit of tokens cut many answers after the last edit before they named an object, of one kind up to "
            f"{named}. They count as no success, so that these figures may be too low; specificity leaves them out."
        )


def _models(found: ManyEdits) -> list[str]:
    return list(dict.fromkeys([*found.abilities["model"], *found.held["model"]]))


def _name(row: Mapping[str, Any]) -> str:
    return spoken(row["method"], METHODS)


def _at_last(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the greatest number of edits of each method."""
    return rows[rows["edits"] == rows.groupby("method")["edits"].transform("max")] if len(rows) else rows


def _last(comparisons: pd.DataFrame) -> pd.DataFrame:
    if comparisons.empty:
        return comparisons
    return comparisons[comparisons["edits"] == comparisons.groupby(["model", "method"])["edits"].transform("max")]


def _summary(found: ManyEdits, model: str) -> Iterator[dict[str, Any]]:
    """A line for each method after its last edit: abilities, edits, knowledge, costs."""
    held = found.held[(found.held["model"] == model) & (found.held["protocol"] == "free")]
    kept = found.kept[(found.kept["model"] == model) & (found.kept["ability"] == ALL)]
    known = found.retention[(found.retention["model"] == model) & (found.retention["protocol"] == "free")]
    everything = [*held["method"], *kept["method"], *known["method"]]
    for method in in_order(everything, METHODS):
        own = [table[table["method"] == method] for table in (kept, known, held)]
        edits = int(max((rows["edits"].max() for rows in own if len(rows)), default=0))
        at = [rows[rows["edits"] == edits] for rows in own]
        by_kind = {str(row["kind"]): share(row) for row in records(at[2].dropna(subset=["value"]))}
        costs = _costs(found.runs, model, method)
        cut = max((row["cut"] for rows in at[1:] for row in records(rows) if pd.notna(row.get("cut"))), default=0.0)
        yield {
            "method": method,
            "edits": edits,
            "kept": _shown(at[0]),
            "retention": _shown(at[1]),
            **{kind: by_kind.get(kind, "–") for kind in ("statement", "paraphrase")},
            **{kind: specificity.shown(at[2][at[2]["kind"] == kind]) for kind in SPECIFICITY},
            "cut": cut,
            "tokens": _number(costs.get("prefix_tokens", {}).get(str(edits))),
            "seconds": _number(costs.get("seconds_per_edit"), 2),
            "measured": _number(sum(costs.get("seconds_per_benchmark", {}).get(str(edits), {}).values()) or None, 1),
            "failed": len(costs.get("failed", [])),
            "unmeasured": _unmeasured(found.failed_items, model, method),
        }


def _unmeasured(failed_items: pd.DataFrame, model: str, method: str) -> int:
    """How many checkpoints could not be asked, and benchmarks not be measured."""
    if failed_items.empty:
        return 0
    own = failed_items[(failed_items["model"] == model) & (failed_items["method"] == method)]
    return int(own["stage"].isin(["ask", "measure"]).sum())


def _shown(rows: pd.DataFrame) -> str:
    known = rows.dropna(subset=["value"])
    return share(records(known)[0]) if len(known) else "–"


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _costs(runs: Sequence[Mapping[str, Any]], model: str, method: str) -> Mapping[str, Any]:
    return next((found for run in runs if (found := run.get("sequences", {}).get(model, {}).get(method))), {})


def _flags(abilities: pd.DataFrame) -> list[dict[str, Any]]:
    """Figures worth less than they look, from the first number of edits on; not again where the unedited are alike."""
    scores = abilities[(abilities["quantity"] == "score") & (abilities["verdict"] != "fine")]
    same = ["model", "benchmark", "metric", "filter", "verdict"]
    before = scores.loc[scores["method"] == UNEDITED, same].assign(already=True)
    marked = scores.merge(before, on=same, how="left")
    shown = marked[marked["already"].isna() | (marked["method"] == UNEDITED)].sort_values("edits", kind="stable")
    first = shown.drop_duplicates([*same, "method"])
    return records(first.sort_values(["model", "method"], kind="stable"))


def _failed(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Edits that a method could not make."""
    return [
        {"model": model, "method": method, **failure}
        for run in runs
        for model, methods in (run.get("sequences") or {}).items()
        for method, about in methods.items()
        for failure in about.get("failed", [])
    ]


def _scores(abilities: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """For each model its benchmarks, and for each a line a method with its figure at every number of edits."""
    shown = abilities[abilities["quantity"].isin(["score", "balanced"])]
    tables: dict[str, list[dict[str, Any]]] = {}
    for (model, *about), rows in shown.groupby(["model", "benchmark", "metric", "filter", "quantity"], sort=False):
        benchmark, metric, filtered, quantity = map(str, about)
        steps = sorted(int(edits) for edits in rows["edits"].unique())
        cells = {(row["method"], row["edits"]): row for row in records(rows)}
        lines = [(m, [cells.get((m, edits)) for edits in steps]) for m in in_order(rows["method"], METHODS)]
        name = {"score": metric, "balanced": "balanced accuracy"}[quantity]
        first = rows.iloc[0]
        tables.setdefault(str(model), []).append(
            {
                "benchmark": benchmark, "metric": "perplexity by token" if "perplexity" in metric else name,
                "filter": filtered, "steps": steps, "lines": lines, "n": int(first["n"]), "chance": first["chance"],
                "constant_answer": first["constant_answer"], "is_share": "perplexity" not in metric,
            }
        )  # fmt: skip
    return tables


def _settings(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The settings of sequences and abilities, each run's that differ."""
    return [
        (title, text)
        for title, key in (("Sequences", "sequence"), ("Abilities", "abilities"))
        for text in dict.fromkeys(", ".join(f"{k}: {v}" for k, v in run[key].items()) for run in runs if run.get(key))
    ]
