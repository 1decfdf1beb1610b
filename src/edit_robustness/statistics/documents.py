"""What can be read off a model's answers to the documents of a benchmark, before anything is averaged.

A score that means nothing counts as 0 here, whoever wrote it: a model of NaN is right on a whole benchmark whose right
option always stands first. The log-probability of the right answer, and its lead, move before accuracy does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from edit_robustness.records import NOT_FINITE, TIED

UNIT = ["benchmark", "metric", "filter"]
"""What one figure of a benchmark is of."""

CHECKPOINT = ["model", "method", "order", "edits"]
PAIR = ["benchmark", "metric", "filter", "task", "number", "doc_hash"]
"""What makes two rows the same document, asked at two checkpoints."""

UNEDITED = "none"


def lower_is_better(metric: str) -> bool:
    """Whether a metric falls as a model gets better: perplexity, in whichever unit."""
    return "perplexity" in metric


def measured(documents: pd.DataFrame) -> pd.DataFrame:
    """The documents with what their answers say.

    Args:
        documents: `tables.DOCUMENT_COLUMNS`.

    Returns:
        The same rows; `score` is 0 where a flag says that it means nothing. Beside them `gold_logprob` (natural
        log-probability of the right option; of a whole text, by token), `margin` (its lead over the best other
        option), `answer` (what was chosen or said; missing where nothing was), `options` (their number), `not_finite`
        and `tied`. NaN where there is no such thing.
    """
    flags = [json.loads(text) for text in documents["flags"]]
    logprobs = [json.loads(text) for text in documents["logprobs"]]
    score = documents["score"].astype(float)
    broken = np.array([NOT_FINITE in found for found in flags], dtype=bool) | ~np.isfinite(score.to_numpy())
    tied = np.array([TIED in found for found in flags], dtype=bool)
    by_token = documents["tokens"].where(documents["metric"].map(lower_is_better).astype(bool), 1)
    read = [_read(*row) for row in zip(logprobs, documents["gold"], by_token, strict=True)]
    gold = pd.DataFrame(read, columns=["gold_logprob", "margin", "chosen"], index=documents.index, dtype=float)
    answers = [_answer(*row) for row in zip(logprobs, gold["chosen"], documents["text"], strict=True)]
    return documents.assign(
        score=score.where(~(broken | tied), 0.0),
        gold_logprob=gold["gold_logprob"],
        margin=gold["margin"],
        answer=pd.Series(answers, documents.index, dtype=object),
        options=[len(options) for options in logprobs],
        not_finite=broken,
        tied=tied,
    )


def _answer(logprobs: Sequence[float], chosen: float, text: str) -> str | None:
    if not logprobs:
        return text.strip()
    return None if np.isnan(chosen) else f"option {chosen:.0f}"


def _read(logprobs: Sequence[float], gold: int, tokens: int) -> tuple[float, float, float]:
    """Log-probability of the right answer, its lead, and the number of the option that was chosen."""
    nan = float("nan")
    values = np.array(logprobs, dtype=float)
    if not len(values) or not np.isfinite(values).all():
        return nan, nan, nan
    if len(values) == 1:
        return float(values[0]) / max(tokens, 1), nan, nan
    chosen = float(values.argmax())
    if not 0 <= gold < len(values):
        return nan, nan, chosen
    return float(values[gold]), float(values[gold] - np.delete(values, gold).max()), chosen


def beside_unedited(rows: pd.DataFrame) -> pd.DataFrame:
    """Every document of an edited model beside the same document of the unedited one (columns ending in `_before`).

    Raises:
        ValueError: Where the two were asked in different words; naming the document.
    """
    columns = ["score", "gold_logprob", "margin", "prompt_hash"]
    before = rows.loc[rows["method"] == UNEDITED, ["model", *PAIR, *columns]]
    after = rows[rows["method"] != UNEDITED]
    pairs = after.merge(before, on=["model", *PAIR], suffixes=("", "_before"), validate="many_to_one")
    differ = pairs[pairs["prompt_hash"] != pairs["prompt_hash_before"]]
    if len(differ):
        one = differ.iloc[0]
        raise ValueError(
            f"{len(differ)} documents were asked in other words than of the unedited model, the first: {one['task']} "
            f"number {one['number']} by {one['model']} with {one['method']} after {one['edits']} edits; delete that "
            "model's folder of documents and run sequential_eval again"
        )
    return pairs
