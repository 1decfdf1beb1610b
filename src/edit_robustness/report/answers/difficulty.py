"""Answer to the third question, which facts are hard to edit: associations of features with outcomes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import isnan

import pandas as pd

from edit_robustness.labels import LOWER_IS_BETTER, outcome_label, split_outcome
from edit_robustness.notation import write_p
from edit_robustness.report.answers.prediction import describe_prediction
from edit_robustness.report.answers.wording import Row, method_name
from edit_robustness.report.regressions import describe_calibration
from edit_robustness.report.rows import records
from edit_robustness.tables import select_rows


def answer_difficulty(
    correlations: pd.DataFrame,
    regression: pd.DataFrame,
    prediction: pd.DataFrame,
    labels: Mapping[str, str],
    alpha: float = 0.05,
    *,
    checks: pd.DataFrame | None = None,
    shares: Collection[str] = (),
) -> tuple[str, list[str]]:
    """Answer which facts are hard to edit, and whether this can be predicted before the edit.

    Args:
        correlations: Rows of edits of one model and protocol.
        regression: Rows of the regressions of one model.
        prediction: Rows of the prediction of one model.
        labels: Labels of features.
        alpha: Level of the tests.
        checks: Rows of the checks of the regressions.
        shares: Features that are true or false of a fact.
    """
    strongest = _find_strongest(correlations, alpha)
    details = (
        [*describe_within(strongest), *describe_regression(regression, strongest, labels, checks, shares)]
        if strongest
        else []
    )
    details += describe_exploration(correlations, labels, alpha, shares)
    return describe_association(correlations, labels, alpha, shares), [*details, describe_prediction(prediction)]


def describe_association(
    correlations: pd.DataFrame, labels: Mapping[str, str], alpha: float = 0.05, shares: Collection[str] = ()
) -> str:
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
        rank_text = f"the strongest of {n_significant} significant associations among {n_tests} tests"
        if n_significant == 1:
            rank_text = f"the only significant association among {n_tests} tests"
        return f"{_direction(row, labels, shares)} ({_correlation(row, labels)}), {rank_text}."
    n_features, n_planned = tests["feature"].nunique(), primary["feature"].nunique()
    start = f"None of the {n_features} primary features" if n_features > 1 else "The one primary feature"
    if n_absent := n_planned - n_features:
        start += f" that could be tested ({n_absent} more {'has' if n_absent == 1 else 'have'} no values)"
    return (
        f"{start} is {'' if n_features > 1 else 'not '}significantly associated with an outcome of edits after Holm's "
        f"correction over {n_tests} {'test' if n_tests == 1 else 'tests'}{_detects(tests)}."
    )


def describe_exploration(
    correlations: pd.DataFrame, labels: Mapping[str, str], alpha: float = 0.05, shares: Collection[str] = ()
) -> Iterator[str]:
    """Yield the strongest association that is not among the primary tests, with success on the edited facts.

    Only associations with a false discovery rate (Benjamini and Hochberg 1995) below `alpha` are named, and they are
    called exploratory, because they were chosen among many.
    """
    if correlations.empty:
        return
    is_success = correlations["outcome"].isin(["efficacy", "generalization", "robustness"])
    other_rows = correlations[is_success & ~correlations["primary"].astype(bool)].dropna(subset=["rho"])
    significant = other_rows[other_rows["q_bh"] < alpha]
    if significant.empty:
        return
    row = records(significant.loc[[significant["rho"].abs().idxmax()]])[0]
    outcome = outcome_label(str(row["outcome"]))
    direction, within = _direction(row, labels, shares), ""
    if row["n_relations"] > 1 and not isnan(row["within_low"]):
        within = f"; within relations {row['within_rho']:.2f} [{row['within_low']:.2f}, {row['within_high']:.2f}]"
    yield (
        f"Exploratory, of {len(significant)} associations with success beyond the primary tests whose false discovery "
        f"rate is below {alpha:.0%}: {direction[0].lower()}{direction[1:]} "
        f"({outcome[0].lower()}{outcome[1:]}: ρ = {row['rho']:.2f} [{row['low']:.2f}, {row['high']:.2f}], "
        f"{int(row['n_facts'])} facts{within})."
    )


def describe_within(row: Row) -> Iterator[str]:
    """Say whether an association also holds within relations, and given what the model knew before the edit."""
    parts = []
    for start, name in (("within relations it is", "within"), ("given prior knowledge", "partial")):
        rho, low, high = (float(row[f"{name}_{part}"]) for part in ("rho", "low", "high"))
        if isnan(low) or (name == "within" and not row["n_relations"] > 1):
            continue
        phrase = "significant too" if rho * row["rho"] > 0 else "of the opposite sign"
        phrase = "not significantly different from 0" if low <= 0 <= high else phrase
        parts.append(f"{start} {rho:.2f} [{low:.2f}, {high:.2f}], {phrase}")
    if parts:
        yield f"The correlation is {row['rho']:.2f} over all facts; {'; '.join(parts)}."


def describe_regression(
    regression: pd.DataFrame,
    row: Row,
    labels: Mapping[str, str],
    checks: pd.DataFrame | None = None,
    shares: Collection[str] = (),
) -> Iterator[str]:
    """Yield the effect of the same feature in each regression that has it, for the same method if it is given.

    A regression that is not calibrated has the caution beside its effect.
    """
    check_rows = [] if checks is None else records(checks)
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
        scope = f" of {method_name(row['method'])}" if "|" in line["term"] else ""
        cautions = filter(None, (describe_calibration(check) for check in check_rows if check["name"] == name))
        unit = "if this is true:" if row["feature"] in shares else "per unit of"
        change = "rises" if low > 0 else "falls" if high < 0 else "does not change significantly"
        yield (
            f"In the regression “{str(name).replace('_', ' ')}” the success rate{scope} {change} {unit} "
            f"“{_label(row, labels)}”: {effect:.1f} points [{low:.1f}, {high:.1f}], "
            f"{int(line['n_facts'])} facts.{''.join(f' {text}' for text in cautions)}"
        )


def _find_strongest(correlations: pd.DataFrame, alpha: float) -> Row | None:
    """Return the significant primary association with the largest correlation."""
    if correlations.empty:
        return None
    rows = correlations[correlations["primary"].astype(bool) & (correlations["p_holm"] < alpha)].dropna(subset=["rho"])
    return records(rows.loc[[rows["rho"].abs().idxmax()]])[0] if len(rows) else None


def _direction(row: Row, labels: Mapping[str, str], shares: Collection[str]) -> str:
    group, _ = split_outcome(str(row["outcome"]))
    start = "for which this is true:" if row["feature"] in shares else "with higher values of"
    values, name = f"{start} “{_label(row, labels)}”", method_name(row["method"])
    if group == "specificity":
        return (
            f"Edits of facts {values} by {name} leave {'more' if row['rho'] > 0 else 'fewer'} other answers unchanged"
        )
    is_harder = (row["rho"] > 0) == (group in LOWER_IS_BETTER)
    return f"Facts {values} are {'harder' if is_harder else 'easier'} to edit with {name}"


def _correlation(row: Row, labels: Mapping[str, str]) -> str:
    outcome = outcome_label(str(row["outcome"]))
    return (
        f"{method_name(row['method'])}, {outcome[0].lower()}{outcome[1:]}: ρ = {row['rho']:.2f} "
        f"[{row['low']:.2f}, {row['high']:.2f}], {int(row['n_facts'])} facts, Holm {write_p(row['p_holm'])}"
    )


def _detects(tests: pd.DataFrame) -> str:
    sizes = tests["detectable"].dropna()
    if sizes.empty:
        return ""
    row = records(tests.loc[[sizes.idxmin()]])[0]
    return f"; {int(row['n_facts'])} facts are enough to detect only correlations of {row['detectable']:.2f} or more"


def _label(row: Row, labels: Mapping[str, str]) -> str:
    return labels.get(str(row["feature"]), str(row["feature"]).replace("_", " "))
