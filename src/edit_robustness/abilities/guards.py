"""Flag meaningless scores, and compute the scores of guessing and of constant answers.

A model with NaN weights gives NaN for every option, and the harness then takes the first option. On TruthfulQA this is
always the right one. Such documents are flagged and count as failures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from edit_robustness.records import NOT_FINITE, TIED

Scorer = Callable[[int, int], float]
"""Returns the score of a document (by its place) if one option (by its number) is by far the most probable."""

_TRIES = 20


def find_flags(score: float, logprobs: Sequence[float], ranking: Sequence[float] = ()) -> tuple[str, ...]:
    """Return the flags of a document.

    Args:
        score: The metric's value.
        logprobs: The log-probabilities from which it is computed.
        ranking: The values by which options are ranked; empty if no best option is chosen.

    Returns:
        `not_finite` if a number is NaN or infinite, `tied` if two best options have exactly the same value.
    """
    if not all(map(math.isfinite, (score, *logprobs))):
        return (NOT_FINITE,)
    return (TIED,) if len(ranking) > 1 and list(ranking).count(max(ranking)) > 1 else ()


def trivial_scores(options: Sequence[int], score: Scorer) -> tuple[float, float]:
    """Return the mean scores of guessing and of the best constant answer (always the first option, the second ...).

    Args:
        options: Number of options per document, at least one.
        score: Returns the score of an answer.
    """
    scores = [[score(place, option) for option in range(number)] for place, number in enumerate(options)]
    chance = sum(sum(row) / len(row) for row in scores) / len(scores)
    constant = max(sum(row[k] for row in scores if k < len(row)) for k in range(max(options))) / len(scores)
    return chance, constant


def best_text(golds: Sequence[str], score: Callable[[int, str], float]) -> float:
    """Return the mean score of the best constant text among the most frequent right answers.

    Args:
        golds: The right answers to try.
        score: Returns the score of a document (by its place) for a text.
    """
    candidates = [text for text, _ in Counter(golds).most_common(_TRIES)]
    return max(sum(score(place, text) for place in range(len(golds))) / len(golds) for text in candidates)
