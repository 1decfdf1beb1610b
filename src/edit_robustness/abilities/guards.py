"""What makes a figure of a benchmark meaningless, and what whoever knows nothing would get.

A model whose weights are not numbers finds every option equally improbable, and the harness then takes the first: on
TruthfulQA that is always the right one. Such documents are flagged and count as failures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from edit_robustness.records import NOT_FINITE, TIED

Scorer = Callable[[int, int], float]
"""The score of a document (by its place) for which one option (by its number) is by far the most probable."""

_TRIED = 20


def flagged(score: float, logprobs: Sequence[float], ranked: Sequence[float] = ()) -> tuple[str, ...]:
    """What is wrong with what a model did with a document.

    Args:
        score: The metric's value.
        logprobs: The log-probabilities that it comes from.
        ranked: What the options are ranked by where the best one is taken; empty where none is.

    Returns:
        `not_finite` where a number is NaN or infinite, `tied` where two options are exactly equally good.
    """
    if not all(map(math.isfinite, (score, *logprobs))):
        return (NOT_FINITE,)
    return (TIED,) if len(ranked) > 1 and list(ranked).count(max(ranked)) > 1 else ()


def baselines(options: Sequence[int], score: Scorer) -> tuple[float, float]:
    """What guessing gets, and what the best constant answer gets: always the first option, always the second ...

    Args:
        options: How many options each document has; one at least.
        score: Says what an answer is worth.
    """
    worth = [[score(place, option) for option in range(number)] for place, number in enumerate(options)]
    chance = sum(sum(row) / len(row) for row in worth) / len(worth)
    constant = max(sum(row[k] for row in worth if k < len(row)) for k in range(max(options))) / len(worth)
    return chance, constant


def best_text(golds: Sequence[str], score: Callable[[int, str], float]) -> float:
    """What the best constant answer in free words gets: of the most frequent right answers, the one that is worth most.

    Args:
        golds: The right answers that are tried; in free generation there is nothing to guess from.
        score: The score of a document (by its place) for a text.
    """
    tried = [text for text, _ in Counter(golds).most_common(_TRIED)]
    return max(sum(score(place, text) for place in range(len(golds))) / len(golds) for text in tried)
