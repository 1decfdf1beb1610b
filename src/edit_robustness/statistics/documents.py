"""Per-document measures of a model's answers to a benchmark, before any average.

Scores that are meaningless count as 0 here, in every metric: a model with NaN outputs would otherwise be right on a
whole benchmark whose right option is always the first. The log-probability of the right answer, and its margin, change
before accuracy does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from edit_robustness.records import NOT_FINITE, TIED, UNEDITED

UNIT = ["benchmark", "metric", "filter"]
"""Columns that identify one figure of a benchmark."""

CHECKPOINT = ["model", "method", "order", "edits"]
PAIR = ["benchmark", "metric", "filter", "task", "number", "doc_hash"]
"""Columns that identify a document across checkpoints."""


def lower_is_better(metric: str) -> bool:
    """Check whether a lower value of a metric is better: perplexity, in any unit."""
    return "perplexity" in metric


def measure_documents(documents: pd.DataFrame) -> pd.DataFrame:
    """Add each document's measures of its answer.

    Args:
        documents: `tables.DOCUMENT_COLUMNS`.

    Returns:
        The same rows; `score` is 0 if a flag marks it as meaningless. New columns: `gold_logprob` (natural
        log-probability of the right option; for a whole text, per token), `margin` (its difference to the best other
        option), `answer` (the most probable option or the generated text; missing if there is none), `options` (their
        number), `not_finite` and `tied`. NaN if a measure does not apply.
    """
    flags = [json.loads(text) for text in documents["flags"]]
    logprobs = [json.loads(text) for text in documents["logprobs"]]
    score = documents["score"].astype(float)
    is_broken = np.array([NOT_FINITE in row_flags for row_flags in flags], dtype=bool) | ~np.isfinite(score.to_numpy())
    is_tied = np.array([TIED in row_flags for row_flags in flags], dtype=bool)
    by_token = documents["tokens"].where(documents["metric"].map(lower_is_better).astype(bool), 1)
    rows = [_read(*row) for row in zip(logprobs, documents["gold"], by_token, strict=True)]
    gold = pd.DataFrame(rows, columns=["gold_logprob", "margin", "chosen"], index=documents.index, dtype=float)
    answers = [_answer(*row) for row in zip(logprobs, gold["chosen"], documents["text"], strict=True)]
    return documents.assign(
        score=score.where(~(is_broken | is_tied), 0.0),
        gold_logprob=gold["gold_logprob"],
        margin=gold["margin"],
        answer=pd.Series(answers, documents.index, dtype=object),
        options=[len(options) for options in logprobs],
        not_finite=is_broken,
        tied=is_tied,
    )


def _answer(logprobs: Sequence[float], choice: float, text: str) -> str | None:
    if not logprobs:
        return text.strip()
    return None if np.isnan(choice) else f"option {choice:.0f}"


def _read(logprobs: Sequence[float], gold: int, tokens: int) -> tuple[float, float, float]:
    """Return the right answer's log-probability, its margin, and the number of the most probable option."""
    nan = float("nan")
    values = np.array(logprobs, dtype=float)
    if not len(values) or not np.isfinite(values).all():
        return nan, nan, nan
    if len(values) == 1:
        return float(values[0]) / max(tokens, 1), nan, nan
    choice = float(values.argmax())
    if not 0 <= gold < len(values):
        return nan, nan, choice
    return float(values[gold]), float(values[gold] - np.delete(values, gold).max()), choice


def join_unedited(rows: pd.DataFrame) -> pd.DataFrame:
    """Join every document of an edited model with the same document of the unedited one (columns in `_before`).

    Raises:
        ValueError: If the two had different prompts for a document; the message names it.
    """
    columns = ["score", "gold_logprob", "margin", "prompt_hash"]
    before = rows.loc[rows["method"] == UNEDITED, ["model", *PAIR, *columns]]
    after = rows[rows["method"] != UNEDITED]
    pairs = after.merge(before, on=["model", *PAIR], suffixes=("", "_before"), validate="many_to_one")
    mismatches = pairs[pairs["prompt_hash"] != pairs["prompt_hash_before"]]
    if len(mismatches):
        row = mismatches.iloc[0]
        raise ValueError(
            f"{len(mismatches)} documents had another prompt than with the unedited model, the first: {row['task']} "
            f"number {row['number']} by {row['model']} with {row['method']} after {row['edits']} edits; delete that "
            "model's folder of documents and run sequential_eval again"
        )
    return pairs
