"""Measure a model on a benchmark: scores per document by the harness's metrics, with flags."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.abilities.engine import GeneratedText, Progress, Response, answer_requests
from edit_robustness.abilities.guards import find_flags
from edit_robustness.abilities.tasks import PERPLEXITY, Benchmark, Item
from edit_robustness.editing.edits import NO_EDIT, Appliable
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Document

_NORMALISED_METRIC = "acc_norm"

FACT_COLUMNS = {
    "benchmark": "str",
    "task": "str",
    "ability": "str",
    "metric": "str",
    "filter": "str",
    "shots": "int64",
    "n_documents": "int64",
    "chance": "float64",
    "constant_answer": "float64",
    "max_new_tokens": "int64",
    "note": "str",
}
"""Columns and types of the table of benchmarks, with one row per benchmark and filter."""


def measure(
    lm: LanguageModel, benchmark: Benchmark, edit: Appliable = NO_EDIT, progress: Progress | None = None
) -> list[Document]:
    """Compute and score the responses of the model in its current state.

    Args:
        lm: The model with its edit applied.
        benchmark: The benchmark.
        edit: The edit that is applied. The text of an in-context edit stands before each request. Prompt hashes do not
            include it.
        progress: Receives one item per finished request, as in `engine.answered`.

    Returns:
        One record per document and filter of the task.

    Raises:
        RequestTooLong: If a request does not fit into the context after the edit's text.
    """
    response_stream = iter(answer_requests(lm, benchmark.work, edit, progress))
    responses_by_item = [[next(response_stream) for _ in item.instances] for item in benchmark.items]
    for item, answers in zip(benchmark.items, responses_by_item, strict=True):
        for instance, answer in zip(item.instances, answers, strict=True):
            instance.resps = [answer.text if isinstance(answer, GeneratedText) else answer]
            instance.filtered_resps = {}
    for task in benchmark.tasks.values():
        task.apply_filters()
    return [
        _document(benchmark, item, answers, filter_name)
        for item, answers in zip(benchmark.items, responses_by_item, strict=True)
        for filter_name in benchmark.filters
    ]


def benchmark_facts(benchmarks: Iterable[Benchmark]) -> pd.DataFrame:
    """Return the table of benchmarks with `FACT_COLUMNS`, one row per benchmark and filter.

    `chance` is the score of guessing on the same documents, `constant_answer` that of the best constant answer. Both
    are NaN for perplexity.
    """
    rows = [
        {
            "benchmark": benchmark.name,
            "task": benchmark.task,
            "ability": benchmark.ability,
            "metric": benchmark.metric,
            "filter": filter_name,
            "shots": benchmark.shots,
            "n_documents": len(benchmark.items),
            "chance": benchmark.chance,
            "constant_answer": benchmark.constant_answer,
            "max_new_tokens": benchmark.max_new_tokens,
            "note": benchmark.note,
        }
        for benchmark in benchmarks
        for filter_name in benchmark.filters
    ]
    return pd.DataFrame(rows, columns=list(FACT_COLUMNS)).astype(FACT_COLUMNS)


def _document(benchmark: Benchmark, item: Item, answers: Sequence[Response], filter_name: str) -> Document:
    generation = answers[0] if isinstance(answers[0], GeneratedText) else None
    logprobs = tuple(_logprob(answer) for answer in answers if not isinstance(answer, GeneratedText))
    metrics = _metrics(benchmark, item, filter_name, logprobs)
    score = metrics[benchmark.metric]
    is_finite = generation is None or generation.finite
    flags = find_flags(score if is_finite else math.nan, logprobs, _ranking(benchmark, item, logprobs))
    return Document(
        benchmark=benchmark.name,
        task=item.task,
        filter=filter_name,
        metric=benchmark.metric,
        number=item.number,
        doc_hash=item.doc_hash,
        prompt_hash=item.prompt_hash,
        shots=benchmark.shots,
        score=0.0 if flags else score,
        metrics=metrics,
        gold=item.gold,
        logprobs=logprobs,
        text=generation.text if generation else "",
        tokens=generation.tokens if generation else item.tokens,
        capped=bool(generation and generation.capped),
        flags=flags,
    )


def _logprob(answer: Any) -> float:
    return float(answer[0] if isinstance(answer, tuple) else answer)


def _metrics(benchmark: Benchmark, item: Item, filter_name: str, logprobs: Sequence[float]) -> dict[str, float]:
    """Return all metrics of the harness; for texts, the perplexities."""
    with np.errstate(all="ignore"):
        results = benchmark.tasks[item.task].process_results(
            item.doc, [instance.filtered_resps[filter_name] for instance in item.instances]
        )
    metrics = {name: float(value) for name, value in results.items() if not isinstance(value, tuple)}
    if benchmark.metric != PERPLEXITY:
        return metrics
    words = {name: _perplexity(*value) for name, value in results.items() if name.endswith(PERPLEXITY)}
    return {**words, PERPLEXITY: _perplexity(logprobs[0], item.tokens)}


def _perplexity(logprob: float, number: int) -> float:
    """Return `exp` of the mean negative log-probability, or infinity if that overflows."""
    mean = -logprob / max(number, 1)
    return math.exp(mean) if mean < 700 else math.nan if math.isnan(mean) else math.inf


def _ranking(benchmark: Benchmark, item: Item, logprobs: Sequence[float]) -> Sequence[float]:
    """Return the values by which options are ranked; empty if the task has no single right option."""
    if item.gold < 0:
        return ()
    if benchmark.metric != _NORMALISED_METRIC:
        return logprobs
    return [logprob / max(length, 1) for logprob, length in zip(logprobs, item.lengths, strict=True)]
