"""Outcome of an answer: the object that it names, or that the token limit cut it before it named one."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal

from edit_robustness.metrics.mentions import verdict
from edit_robustness.tables import read_names

Outcome = Literal["new", "old", "neither", "cut"]

CUT: Outcome = "cut"


def outcome(answer: Mapping[Any, Any]) -> Outcome:
    """Return the outcome of one answer.

    The token limit is a property of the measurement and not of the model. So a cut answer has the verdict of its text
    up to the cut, and is ``cut`` instead of ``neither`` if that names no object. A model whose log-probabilities are
    not finite would name nothing with more tokens either, so its answers are never ``cut``.

    Args:
        answer: A row of a table of answers: text, finished, logprob_new, subject, target_new, target_true and the
            aliases of both objects.
    """
    new = (answer["target_new"], *read_names(answer["target_new_aliases"]))
    true = (answer["target_true"], *read_names(answer["target_true_aliases"]))
    result = verdict(answer["text"], new, true, besides=(answer["subject"],))
    return CUT if result == "neither" and not answer["finished"] and isfinite(answer["logprob_new"]) else result
