"""Selection of the edits that can be baked: those that meet the thresholds alone and in the sum.

Edits that hold alone can disturb each other in a sum. So the sum is asked the same prompts again, the facts that fall
below a threshold are removed from it, and the rest is asked again, until no fact falls below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from edit_robustness.metrics.scores import score_answers
from edit_robustness.records import UNEDITED
from edit_robustness.report.heat import MAIN
from edit_robustness.report.specificity import ALL_PROMPTS
from edit_robustness.tables import collect

CONDITION = "condition"
"""Column of a table of answers that says under which edits an answer was given."""

NO_EDIT, ALONE, TOGETHER = "no edit", "alone", "together"
"""Its values: the unedited model, each edit by itself, and the sum of several."""

BY = ("method", CONDITION)
"""Columns that identify the state of a model whose answers are scored."""

HOLDS = {family: ALL_PROMPTS.get(metric, metric) for family, metric in MAIN.items()}
"""For each family the metric that says whether a prompt holds; of specificity over all prompts, known or not."""

Shares = dict[str, dict[str, tuple[float, int]]]
"""For each fact and kind of prompt the share of its prompts that hold (NaN if none was scored), and how many were."""

AskAgain = Callable[[Sequence[str]], pd.DataFrame]
"""From the ids of the facts in the sum to the answers of the model with all their edits."""


@dataclass(frozen=True)
class Selection:
    """The facts whose edits are baked, and what was measured of every candidate.

    Attributes:
        fact_ids: Ids of the facts in the sum, in the order of the table.
        left_out: For every other fact the reason.
        alone: Shares under each edit by itself.
        together: Shares under the sum of the last round that a fact was part of.
        answers: The answers of the unedited model, of each edit by itself, and of the final sum, told apart by the
            column `condition`.
        rounds: How often a sum was asked.
    """

    fact_ids: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    alone: Shares = field(default_factory=dict)
    together: Shares = field(default_factory=dict)
    answers: pd.DataFrame = field(default_factory=pd.DataFrame)
    rounds: int = 0


def shares(answers: pd.DataFrame, condition: str) -> Shares:
    """Return the shares of prompts that hold under a condition, by free generation.

    A prompt about the edit holds if the new object is named, one about other facts if the answer is that of the
    unedited model. A prompt that could not be scored counts in no share.

    Args:
        answers: Of one method under this condition, and of the unedited model, with the column `condition`.
        condition: `ALONE` or `TOGETHER`.
    """
    scores = score_answers(answers, by=BY, unedited_method=UNEDITED, unedited_required=False)
    main = scores["metric"] == scores["family"].map(HOLDS)
    free = scores[main & (scores["protocol"] == "free") & (scores[CONDITION] == condition)]
    fact_shares: Shares = {}
    for (fact, kind), values in free.groupby(["fact_id", "kind"], sort=False)["value"]:
        fact_shares.setdefault(str(fact), {})[str(kind)] = float(values.mean()), int(values.count())
    return fact_shares


def select(
    facts: Sequence[str], answers: pd.DataFrame, method: str, thresholds: Mapping[str, float], ask_again: AskAgain
) -> Selection:
    """Choose the facts that meet every threshold alone and in the sum of all that are chosen.

    Args:
        facts: Ids of the facts that have an edit, in the order in which edits are summed.
        answers: Of the unedited model and of each edit by itself, about the prompts to measure.
        method: The method that made the edits.
        thresholds: For each kind of prompt the least share of a fact's prompts that must hold.
        ask_again: Asks the same prompts under a sum.
    """
    unedited_answers = answers[answers["method"] == UNEDITED].assign(**{CONDITION: NO_EDIT})
    single_answers = answers[answers["method"] == method].assign(**{CONDITION: ALONE})
    alone = shares(collect(unedited_answers, single_answers), ALONE)
    left_out = {fact: f"alone: {reason}" for fact in facts if (reason := shortfall(alone.get(fact, {}), thresholds))}
    candidates, together = [fact for fact in facts if fact not in left_out], Shares()
    n_rounds, sum_answers = 0, single_answers.head(0)
    while candidates:
        n_rounds += 1
        sum_answers = ask_again(candidates).assign(**{CONDITION: TOGETHER})
        round_shares = shares(
            collect(unedited_answers[unedited_answers["fact_id"].isin(candidates)], sum_answers), TOGETHER
        )
        together |= round_shares
        failures = {
            fact: reason for fact in candidates if (reason := shortfall(round_shares.get(fact, {}), thresholds))
        }
        if not failures:
            break
        left_out |= {
            fact: f"together with {len(candidates) - 1} other edits: {reason}" for fact, reason in failures.items()
        }
        candidates = [fact for fact in candidates if fact not in failures]
    final_answers = (
        collect(unedited_answers, single_answers, sum_answers)
        if candidates
        else collect(unedited_answers, single_answers)
    )
    return Selection(tuple(candidates), left_out, alone, together, final_answers, n_rounds)


def shortfall(kind_shares: Mapping[str, tuple[float, int]], thresholds: Mapping[str, float]) -> str:
    """Describe the thresholds that a fact misses; empty if it meets all.

    A kind without scored prompts counts as missed.
    """
    problems = []
    for kind, threshold in thresholds.items():
        share, count = kind_shares.get(kind, (0.0, 0))
        if not count:
            problems.append(f"no {kind} prompt was scored")
        elif share < threshold:
            problems.append(f"{kind} {share:.2f} of {count}, below {threshold:.2f}")
    return "; ".join(problems)
