"""Answers to the questions that a run asks, in sentences that are computed from the tables of the analysis.

1. Does an edit hold however people ask?
2. What does an edit cost?
3. Which facts are hard to edit?

Every function is pure and returns text. A difference or an association is stated as such only if its test is
significant after Holm's correction. Otherwise the sentence says that it is not, or that it could not be tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import pandas as pd

from edit_robustness.labels import BASELINES, KINDS, LOWER_IS_BETTER, METHODS, in_order, label_of, outcome_label
from edit_robustness.report import specificity
from edit_robustness.report.heat import MANY_CUT, failed_of
from edit_robustness.report.rows import records
from edit_robustness.tables import select_rows

GENERALIZATION, EFFICACY, PORTABILITY = "generalization", "efficacy", "portability"
BASELINE = "context"
SHOWN = 3
"""Most methods, and most kinds of prompt, that a sentence names."""

QUESTIONS = (
    "Does an edit hold however people ask?",
    "What does an edit cost?",
    "Which facts are hard to edit?",
)


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """One question, its answer in one sentence, and further sentences."""

    question: str
    sentence: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """The tables that the answers are computed from; each may be empty.

    Attributes:
        rankings: `statistics.comparisons.rank_methods`.
        comparisons: `statistics.comparisons.compare_methods`.
        kinds: `statistics.comparisons.weakest_kinds`.
        headline: Rates per kind of prompt.
        correlations: `statistics.difficulty.correlations`.
        regression: The first table of `statistics.regression.regress`.
        prediction: `statistics.prediction.predict`.
        labels: Labels of features.
        confidence: Level of all intervals; tests are at 1 - confidence.
    """

    rankings: pd.DataFrame
    comparisons: pd.DataFrame
    kinds: pd.DataFrame
    headline: pd.DataFrame
    correlations: pd.DataFrame
    regression: pd.DataFrame
    prediction: pd.DataFrame
    labels: Mapping[str, str] = field(default_factory=dict)
    confidence: float = 0.95


def answer_questions(evidence: Evidence, model: str) -> list[Answer]:
    """Return the answers of one model, in the order of `QUESTIONS`."""
    free = {"model": model, "protocol": "free"}
    rankings, comparisons, kinds, headline = (
        select_rows(table, **free)
        for table in (evidence.rankings, evidence.comparisons, evidence.kinds, evidence.headline)
    )
    alpha = 1 - evidence.confidence
    correlations = select_rows(evidence.correlations, family="edit", **free)
    regression, prediction = (select_rows(table, model=model) for table in (evidence.regression, evidence.prediction))
    answers = (
        answer_generalization(rankings, comparisons, kinds, alpha),
        answer_cost(rankings, comparisons, headline, alpha),
        answer_difficulty(correlations, regression, prediction, evidence.labels, alpha),
    )
    return [
        Answer(question, sentence, tuple(details))
        for question, (sentence, details) in zip(QUESTIONS, answers, strict=True)
    ]


def answer_generalization(
    rankings: pd.DataFrame, comparisons: pd.DataFrame, kinds: pd.DataFrame, alpha: float = 0.05
) -> tuple[str, list[str]]:
    """Answer whether an edit holds on other prompts than the statement.

    Args:
        rankings: Rows of `rank_methods` of one model and protocol.
        comparisons: Rows of `compare_methods` of the same.
        kinds: Rows of `weakest_kinds` of the same.
        alpha: Level of the tests.
    """
    methods = [row["method"] for row in best_methods(rankings)]
    details = [
        *_describe_rates(rankings, EFFICACY, methods, "Efficacy, the share of statements answered with the new object"),
        *(describe_weakest(select_rows(kinds, method=method), method, alpha) for method in methods),
        *_describe_rates(rankings, PORTABILITY, methods, "Portability, the share of consequences that follow"),
        *compare_with_baseline(rankings, comparisons, methods[:1], alpha),
    ]
    return describe_ranking(rankings, comparisons), details


def describe_ranking(rankings: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """Return which methods generalize best, and which of them cannot be told apart."""
    ranked = _ranked(rankings, GENERALIZATION)
    if not ranked:
        return "No editing method has a figure for prompts other than the statement."
    best = [row for row in ranked if row["best"]] or ranked[:1]
    names = _join([_name(row["method"]) for row in best], SHOWN)
    rates = _join([_rate(row) for row in best[:SHOWN]])
    holds = f"hold on {rates} of the prompts other than the statement ({_facts(best)})"
    if len(ranked) == 1:
        return f"{names} is the only editing method with a figure: its edits {holds}."
    if not _is_tested(comparisons, GENERALIZATION):
        top = ranked[0]
        return (
            f"{_name(top['method'])} has the highest mean of {len(ranked)} methods, but they share too few facts for a "
            f"test: its edits hold on {_rate(top)} of the prompts other than the statement ({_facts([top])})."
        )
    if len(best) == 1:
        verdict = (
            "generalizes best" if best[0]["best"] else "has the highest mean, but is not the best by paired tests,"
        )
        return f"{names} {verdict} of {len(ranked)} methods: its edits {holds}."
    scope = (
        f"The {len(ranked)} methods" if len(best) == len(ranked) else f"The best {len(best)} of {len(ranked)} methods"
    )
    return f"{scope} cannot be told apart: edits by {names} {holds}."


def describe_weakest(kinds: pd.DataFrame, method: str, alpha: float = 0.05) -> str:
    """Return the kind of prompt on which a method has its lowest rate, and the kinds that may be as weak.

    Args:
        kinds: Rows of `weakest_kinds` of one model, protocol and method.
        method: The method.
        alpha: Level of the tests.
    """
    name, rows = _name(method), records(kinds)
    if not rows:
        return f"No kind of prompt other than the statement has a figure with {name}."
    weakest = next(row for row in rows if row["lowest"])
    start = f"“{_kind(weakest['kind'])}”: {_rate(weakest)} ({_facts([weakest])}"
    if len(rows) == 1:
        return f"The only other kind of prompt with a figure for {name} is {start})."
    start = f"The lowest rate of {name} is on {start}; the interval holds for {weakest['n_kinds']} kinds at once)."
    others = [row for row in rows if not row["lowest"]]
    alike = [row for row in others if not row["p_holm"] < alpha]
    if not alike:
        return f"{start} Every other kind is significantly better."
    if all(isnan(row["p_holm"]) for row in others):
        return f"{start} The facts are too few to compare kinds."
    if len(alike) == len(others):
        return f"{start} No other kind is significantly better."
    names = [f"“{_kind(row['kind'])}”" for row in alike]
    return f"{start} As weak may be {_join(names, SHOWN)}."


def compare_with_baseline(
    rankings: pd.DataFrame, comparisons: pd.DataFrame, methods: Sequence[str], alpha: float = 0.05
) -> Iterator[str]:
    """Compare the generalization of methods with that of the in-context baseline; nothing if it was not run."""
    baseline = [row for row in _rows_of(rankings, GENERALIZATION) if row["method"] == BASELINE]
    if not baseline or isnan(baseline[0]["value"]):
        return
    start = (
        "The in-context baseline, which states the fact before the prompt and edits nothing, generalizes to "
        f"{_rate(baseline[0])} of these prompts"
    )
    for method in methods:
        pair = {BASELINE, method}
        rows = [row for row in _rows_of(comparisons, GENERALIZATION) if {row["method"], row["other"]} == pair]
        if not rows or isnan(rows[0]["difference"]):
            reason = rows[0]["note"] if rows else "no facts in common"
            yield f"{start}. It could not be compared with {_name(method)}: {reason}."
            continue
        difference, low, high = _turn(rows[0], BASELINE)
        if rows[0]["p_holm"] < alpha:
            verdict = f"significantly {'more' if difference > 0 else 'less'} than {_name(method)}"
        else:
            verdict = f"not significantly different from {_name(method)}"
        interval = f"{_points(difference)} points [{_points(low)}, {_points(high)}]"
        yield f"{start}: {verdict} ({interval}, Holm {_p(rows[0]['p_holm'])}, {rows[0]['n_facts']} facts)."


def answer_cost(
    rankings: pd.DataFrame, comparisons: pd.DataFrame, headline: pd.DataFrame, alpha: float = 0.05
) -> tuple[str, list[str]]:
    """Answer what the methods that generalize best cost: how many other answers change.

    Args:
        rankings: Rows of `rank_methods` of one model and protocol.
        comparisons: Rows of `compare_methods` of the same.
        headline: Rates per kind of prompt of the same.
        alpha: Level of the tests.
    """
    methods = [row["method"] for row in best_methods(rankings)]
    abilities = "The cost for general abilities is not measured here: run kedro run --pipeline=sequential_eval."
    if not methods:
        return "The cost cannot be given, because no editing method has a figure.", [abilities]
    sentences = [describe_specificity(rankings, method) for method in methods]
    better = [sentence for method in methods for sentence in find_gentler(rankings, comparisons, method, alpha)]
    rows = select_rows(headline, method=methods[0])
    prompts = specificity.sentences(_name(methods[0]), rows) if len(rows) else ()
    return sentences[0], [*sentences[1:], *better, *prompts, abilities]


def describe_specificity(rankings: pd.DataFrame, method: str) -> str:
    """Return the share of unchanged answers to each kind of specificity prompt under one method."""
    name = _name(method)
    outcomes = [str(outcome) for outcome in rankings["outcome"].unique() if str(outcome).startswith("specificity:")]
    if not outcomes:
        return f"Specificity of {name} is unknown: no prompt about other facts was asked."
    shares, unknown = [], []
    for outcome in outcomes:
        kind = outcome.partition(":")[2]
        about = f"about {specificity.ABOUT[kind]}" if kind in specificity.ABOUT else f"of the kind “{_kind(kind)}”"
        row = next((row for row in _rows_of(rankings, outcome) if row["method"] == method), None)
        if row is None or isnan(row["value"]):
            unknown.append(about)
        else:
            shares.append(f"{_rate(row)} {about} ({_facts([row])})")
    missing = f"no known answer could be scored {_join(unknown)}" if unknown else ""
    if not shares:
        return f"Specificity of {name} is unknown: {missing}."
    known = f"Of the answers that the unedited model knows, edits by {name} leave unchanged {_join(shares)}"
    return f"{known}; {missing}." if missing else f"{known}."


def find_gentler(rankings: pd.DataFrame, comparisons: pd.DataFrame, method: str, alpha: float = 0.05) -> Iterator[str]:
    """Yield for each kind of specificity the methods that leave significantly more answers unchanged than this one."""
    for outcome in dict.fromkeys(rankings["outcome"]):
        if not str(outcome).startswith("specificity:"):
            continue
        gentler = []
        for row in _rows_of(comparisons, outcome):
            if method not in (row["method"], row["other"]) or {row["method"], row["other"]} & set(BASELINES):
                continue
            other = row["other"] if row["method"] == method else row["method"]
            if row["p_holm"] < alpha and _turn(row, other)[0] > 0:
                gentler.append(other)
        rates = [row for row in _rows_of(rankings, outcome) if row["method"] in gentler]
        if rates:
            kind = _kind(str(outcome).partition(":")[2])
            names = _join([f"{_name(row['method'])} ({_rate(row)})" for row in rates])
            yield f"Significantly more answers of the kind “{kind}” stay unchanged than with {_name(method)}: {names}."


def answer_difficulty(
    correlations: pd.DataFrame,
    regression: pd.DataFrame,
    prediction: pd.DataFrame,
    labels: Mapping[str, str],
    alpha: float = 0.05,
) -> tuple[str, list[str]]:
    """Answer which facts are hard to edit, and whether this can be predicted before the edit.

    Args:
        correlations: Rows of edits of one model and protocol.
        regression: Rows of the regressions of one model.
        prediction: Rows of the prediction of one model.
        labels: Labels of features.
        alpha: Level of the tests.
    """
    strongest = _find_strongest(correlations, alpha)
    details = [*describe_within(strongest), *describe_regression(regression, strongest, labels)] if strongest else []
    return describe_association(correlations, labels, alpha), [*details, describe_prediction(prediction)]


def describe_association(correlations: pd.DataFrame, labels: Mapping[str, str], alpha: float = 0.05) -> str:
    """Return the strongest significant association of a feature with an outcome, or what could have been detected."""
    if correlations.empty or not correlations["primary"].astype(bool).any():
        return "No association of features with outcomes of edits was computed."
    primary = correlations[correlations["primary"].astype(bool)]
    tests = primary[primary["p_holm"].notna() & primary["rho"].notna()]
    if tests.empty:
        reason = primary["note"].mode().iloc[0] or "no test has a p-value"
        return f"No association could be tested: of {len(primary)} none has an estimate, mostly because {reason}."
    n_tests, n_significant = len(tests), int((tests["p_holm"] < alpha).sum())
    row = _find_strongest(correlations, alpha)
    if row:
        others = f"the strongest of {n_significant} significant associations among {n_tests} tests"
        if n_significant == 1:
            others = f"the only significant association among {n_tests} tests"
        return f"{_direction(row, labels)} ({_correlation(row, labels)}), {others}."
    row = records(tests.loc[[tests["rho"].abs().idxmax()]])[0]
    return (
        "No feature is significantly associated with an outcome of edits after Holm's correction over "
        f"{n_tests} tests: the largest correlation is that of “{_label(row, labels)}” ({_correlation(row, labels)})"
        f"{_detects(tests)}."
    )


def describe_within(row: Row) -> Iterator[str]:
    """Say whether an association also holds within relations, and given what the model knew before the edit."""
    parts = []
    for start, name in (("within relations it is", "within"), ("given prior knowledge", "partial")):
        rho, low, high = (float(row[f"{name}_{part}"]) for part in ("rho", "low", "high"))
        if isnan(low) or (name == "within" and not row["n_relations"] > 1):
            continue
        verdict = "significant too" if rho * row["rho"] > 0 else "of the opposite sign"
        verdict = "not significantly different from 0" if low <= 0 <= high else verdict
        parts.append(f"{start} {rho:+.2f} [{low:+.2f}, {high:+.2f}], {verdict}")
    if parts:
        yield f"The correlation is {row['rho']:+.2f} over all facts; {'; '.join(parts)}."


def describe_regression(regression: pd.DataFrame, row: Row, labels: Mapping[str, str]) -> Iterator[str]:
    """Yield the effect of the same feature in each regression that has it, for the same method if it is given."""
    for name in dict.fromkeys(regression["name"]) if len(regression) else ():
        terms = {line["term"]: line for line in records(select_rows(regression, name=name))}
        line = terms.get(f"{row['feature']}|method={row['method']}") or terms.get(row["feature"])
        if (
            line is None
            or line["family"] != "binomial"
            or not str(line["outcome"]).startswith("success")
            or any(isnan(line[n]) for n in ("effect", "effect_low", "effect_high"))
        ):
            continue
        effect, low, high = line["effect"], line["effect_low"], line["effect_high"]
        scope = f" of {_name(row['method'])}" if "|" in line["term"] else ""
        change = "rises" if low > 0 else "falls" if high < 0 else "does not change significantly"
        yield (
            f"In the regression “{str(name).replace('_', ' ')}” ({line['formula']}) the success rate{scope} {change} "
            f"per unit of “{_label(row, labels)}”: {effect:+.1f} points [{low:+.1f}, {high:+.1f}], "
            f"{int(line['n_facts'])} facts."
        )


def describe_prediction(prediction: pd.DataFrame) -> str:
    """Return whether the features of a fact predict success better than its method and kind of prompt."""
    rows = records(prediction)
    full = [
        row for row in rows if row["predictor"] == "full" and row["metric"] == "auc_within" and not row["trained_on"]
    ]
    if not rows:
        return "Success was not predicted before the edit."
    if not full or isnan(full[0]["value"]):
        return f"Whether success can be predicted before the edit is unknown: {rows[0]['note'] or 'no figure'}."
    row = full[0]
    figure = (
        f"AUC within method and kind {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}], "
        f"{int(row['n_facts'])} facts on held-out {row['groups']}s"
    )
    if row["note"] or isnan(row["low"]):
        reason = row["note"] or "no interval"
        return f"Whether success can be predicted before the edit cannot be told ({reason}; {figure})."
    if row["low"] > 0.5:
        verdict = "predict success beyond"
    elif row["high"] < 0.5:
        verdict = "predict success worse than a constant does, beyond"
    else:
        verdict = "do not predict success significantly beyond"
    return f"The features of a fact {verdict} method and kind of prompt ({figure}; 0.5 is chance)."


def describe_predictor(held_out: Mapping[str, Row], groups: str) -> Iterator[str]:
    """Yield how well a predictor did on facts that it was not trained on.

    Args:
        held_out: value, low and high by metric: auc_within and brier_skill_method_kind, if known.
        groups: What those facts share nothing of.
    """
    auc, skill = held_out.get("auc_within"), held_out.get("brier_skill_method_kind")
    if auc:
        chance = (
            "better than"
            if auc["low"] > 0.5
            else "worse than"
            if auc["high"] < 0.5
            else "not significantly different from"
        )
        yield (
            f"On {groups}s that it was not trained on, it ranks a probe that succeeds above one that fails, of the "
            f"same method and kind, in {_rate(auc)} of the pairs: {chance} chance, which is 50%."
        )
    if skill:
        size = f"{abs(skill['value']):.0%} {_interval(skill, -1 if skill['value'] < 0 else 1)}"
        change = "smaller" if skill["value"] >= 0 else "larger"
        note = "" if skill["low"] > 0 or skill["high"] < 0 else ", not significantly different from 0"
        yield (
            f"Its squared error is {size} {change} than that of a predictor that knows the method and the kind of "
            f"prompt alone{note}."
        )


def list_cautions(headline: pd.DataFrame, rankings: pd.DataFrame) -> Iterator[str]:
    """Yield what makes the figures of one model doubtful: failed facts, and answers that were often cut.

    Args:
        headline: Rates per kind of prompt of one model.
        rankings: Rows of `rank_methods` of the model.
    """
    failed = {str(method): failed_of(rows, None) for method, rows in headline.groupby("method", sort=False)}
    names = [f"{_name(method)} ({failed[method]})" for method in in_order(failed, METHODS) if failed[method]]
    if names:
        yield f"Some facts could not be measured: {', '.join(names)}. Each figure is over the measured facts."
    methods = [*(row["method"] for row in best_methods(rankings)), BASELINE]
    is_cut = (headline["metric"] == "cut") & (headline["protocol"] == "free") & (headline["family"] == "edit")
    means = headline[is_cut & headline["method"].isin(methods)].groupby("method", observed=True)["value"].mean()
    shares = [f"{share:.0%} ({_name(str(method))})" for method, share in means.items() if share > MANY_CUT]
    if shares:
        yield (
            f"These figures may be too low: the token limit cut {_join(shares)} of the answers before they named an "
            "object. Cut answers count as no success."
        )


def best_methods(rankings: pd.DataFrame) -> list[Row]:
    """Return the rows of at most `SHOWN` methods that generalize best; of efficacy if nothing else was asked."""
    for outcome in (GENERALIZATION, EFFICACY):
        ranked = _ranked(rankings, outcome)
        if ranked:
            return ([row for row in ranked if row["best"]] or ranked[:1])[:SHOWN]
    return []


def _describe_rates(rankings: pd.DataFrame, outcome: str, methods: Sequence[str], start: str) -> Iterator[str]:
    rows = {row["method"]: row for row in _rows_of(rankings, outcome)}
    chosen = [rows[method] for method in methods if method in rows and not isnan(rows[method]["value"])]
    if chosen:
        rates = _join([f"{_rate(row)} with {_name(row['method'])}" for row in chosen])
        yield f"{start}, is {rates} ({_facts(chosen)})."


def _find_strongest(correlations: pd.DataFrame, alpha: float) -> Row | None:
    """Return the significant primary association with the largest correlation."""
    if correlations.empty:
        return None
    rows = correlations[correlations["primary"].astype(bool) & (correlations["p_holm"] < alpha)].dropna(subset=["rho"])
    return records(rows.loc[[rows["rho"].abs().idxmax()]])[0] if len(rows) else None


def _direction(row: Row, labels: Mapping[str, str]) -> str:
    group = str(row["outcome"]).partition(":")[0]
    facts, name = f"acts with higher values of “{_label(row, labels)}”", _name(row["method"])
    if group == "specificity":
        return f"Edits of f{facts} by {name} leave {'more' if row['rho'] > 0 else 'fewer'} other answers unchanged"
    is_harder = (row["rho"] > 0) == (group in LOWER_IS_BETTER)
    return f"F{facts} are {'harder' if is_harder else 'easier'} to edit with {name}"


def _correlation(row: Row, labels: Mapping[str, str]) -> str:
    outcome = outcome_label(str(row["outcome"]))
    return (
        f"{_name(row['method'])}, {outcome[0].lower()}{outcome[1:]}: ρ = {row['rho']:+.2f} "
        f"[{row['low']:+.2f}, {row['high']:+.2f}], {int(row['n_facts'])} facts, Holm {_p(row['p_holm'])}"
    )


def _detects(tests: pd.DataFrame) -> str:
    sizes = tests["detectable"].dropna()
    if sizes.empty:
        return ""
    row = records(tests.loc[[sizes.idxmin()]])[0]
    return f"; {int(row['n_facts'])} facts are enough to detect only correlations of {row['detectable']:.2f} or more"


def _label(row: Row, labels: Mapping[str, str]) -> str:
    return labels.get(str(row["feature"]), str(row["feature"]).replace("_", " "))


def _ranked(rankings: pd.DataFrame, outcome: str) -> list[Row]:
    return [row for row in _rows_of(rankings, outcome) if pd.notna(row["rank"])]


def _is_tested(comparisons: pd.DataFrame, outcome: str) -> bool:
    """Return whether any two editing methods could be compared."""
    rows = [row for row in _rows_of(comparisons, outcome) if not {row["method"], row["other"]} & set(BASELINES)]
    return any(not isnan(row["p_holm"]) for row in rows)


def _turn(row: Row, method: str) -> tuple[float, float, float]:
    """Return the difference of a comparison, and its interval, as that of `method` from the other one."""
    if row["method"] == method:
        return row["difference"], row["low"], row["high"]
    return -row["difference"], -row["high"], -row["low"]


def _rows_of(table: pd.DataFrame, outcome: str) -> list[Row]:
    return [*records(select_rows(table, outcome=outcome))]


def _name(method: str) -> str:
    return label_of(method, METHODS)


def _kind(kind: str) -> str:
    return label_of(kind, KINDS).lower()


def _join(texts: Sequence[str], limit: int | None = None) -> str:
    """Join texts as in a sentence; those beyond a limit are counted."""
    if limit and len(texts) > limit:
        texts = [*texts[:limit], f"{len(texts) - limit} more"]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else "".join(texts)


def _rate(row: Row) -> str:
    return f"{row['value']:.0%} {_interval(row)}"


def _interval(row: Row, sign: int = 1) -> str:
    if isnan(row["low"]):
        return "(no interval)"
    low, high = sorted((sign * row["low"], sign * row["high"]))
    return f"[{low:.0%}, {high:.0%}]"


def _facts(rows: Sequence[Row]) -> str:
    numbers = sorted({int(row["n_facts"]) for row in rows})
    if numbers == [1]:
        return "1 fact"
    return f"{numbers[0]} facts" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} facts"


def _points(share: float) -> str:
    # rounding to an integer avoids -0
    return f"{round(100 * share):+d}"


def _p(value: float) -> str:
    return "p unknown" if isnan(value) else "p < .001" if value < 0.001 else f"p = {value:.3f}".replace("0.", ".")
