"""The outcome of an answer: which object it names, or that a limit of tokens ended it before it could name one."""

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

    A limit of tokens belongs to the measurement and not to the model. So an answer that it cut has the verdict of what
    was said until then, and is ``cut``, never ``neither``, if that names no object. A model whose log-probabilities are
    no numbers would say nothing after more tokens either, so its answers are never ``cut``.

    Args:
        answer: A row of a table of answers: text, finished, logprob_new, subject, target_new, target_true and their
            aliases.
    """
    new = (answer["target_new"], *read_names(answer["target_new_aliases"]))
    true = (answer["target_true"], *read_names(answer["target_true_aliases"]))
    said = verdict(answer["text"], new, true, besides=(answer["subject"],))
    return CUT if said == "neither" and not answer["finished"] and isfinite(answer["logprob_new"]) else said
