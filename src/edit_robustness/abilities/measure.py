"""What a model does with a benchmark, document by document, scored as the harness scores it and guarded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.abilities.engine import Generated, Progress, Response, answered
from edit_robustness.abilities.guards import flagged
from edit_robustness.abilities.tasks import PERPLEXITY, Benchmark, Item
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Document

_NORMALISED = "acc_norm"

FACT_COLUMNS = {
    "benchmark": "str",
    "task": "str",
    "metric": "str",
    "filter": "str",
    "shots": "int64",
    "n_documents": "int64",
    "chance": "float64",
    "constant_answer": "float64",
    "max_new_tokens": "int64",
    "note": "str",
}
"""Columns of a table of what was asked, a row a benchmark and filter, and their types."""


def measure(
    lm: LanguageModel, benchmark: Benchmark, prefix: str = "", progress: Progress | None = None
) -> list[Document]:
    """Ask the model as it now is, and score its answers.

    Args:
        lm: The model, under its edit.
        benchmark: What to ask.
        prefix: Words before each whole request: those of an edit that acts by words. Prompt hashes are without them.
        progress: See `engine.answered`.

    Returns:
        A document for each that was drawn and each filter of the task.

    Raises:
        RequestTooLong: If a request does not fit into the context after the prefix.
    """
    responses = iter(answered(lm, benchmark.work, prefix, progress))
    said = [[next(responses) for _ in item.instances] for item in benchmark.items]
    for item, answers in zip(benchmark.items, said, strict=True):
        for instance, answer in zip(item.instances, answers, strict=True):
            instance.resps = [answer.text if isinstance(answer, Generated) else answer]
            instance.filtered_resps = {}
    for task in benchmark.tasks.values():
        task.apply_filters()
    return [
        _document(benchmark, item, answers, chosen)
        for item, answers in zip(benchmark.items, said, strict=True)
        for chosen in benchmark.filters
    ]


def benchmark_facts(benchmarks: Iterable[Benchmark]) -> pd.DataFrame:
    """What was asked, with the figures that stand beside every result: one row a benchmark and filter, `FACT_COLUMNS`.

    `chance` is what guessing gets on the very documents, `constant_answer` what the best constant answer does; NaN for
    perplexity.
    """
    rows = [
        {
            "benchmark": one.name,
            "task": one.task,
            "metric": one.metric,
            "filter": chosen,
            "shots": one.shots,
            "n_documents": len(one.items),
            "chance": one.chance,
            "constant_answer": one.constant_answer,
            "max_new_tokens": one.max_new_tokens,
            "note": one.note,
        }
        for one in benchmarks
        for chosen in one.filters
    ]
    return pd.DataFrame(rows, columns=list(FACT_COLUMNS)).astype(FACT_COLUMNS)


def _document(benchmark: Benchmark, item: Item, answers: Sequence[Response], chosen: str) -> Document:
    generated = answers[0] if isinstance(answers[0], Generated) else None
    logprobs = tuple(_logprob(answer) for answer in answers if not isinstance(answer, Generated))
    metrics = _metrics(benchmark, item, chosen, logprobs)
    score = metrics[benchmark.metric]
    sound = generated is None or generated.finite
    flags = flagged(score if sound else math.nan, logprobs, _ranked(benchmark, item, logprobs))
    return Document(
        benchmark=benchmark.name,
        task=item.task,
        filter=chosen,
        metric=benchmark.metric,
        number=item.number,
        doc_hash=item.doc_hash,
        prompt_hash=item.prompt_hash,
        shots=benchmark.shots,
        score=0.0 if flags else score,
        metrics=metrics,
        gold=item.gold,
        logprobs=logprobs,
        text=generated.text if generated else "",
        tokens=generated.tokens if generated else item.tokens,
        capped=bool(generated and generated.capped),
        flags=flags,
    )


def _logprob(answer: Any) -> float:
    return float(answer[0] if isinstance(answer, tuple) else answer)


def _metrics(benchmark: Benchmark, item: Item, chosen: str, logprobs: Sequence[float]) -> dict[str, float]:
    """Every metric that the harness gives; of a text its perplexities."""
    with np.errstate(all="ignore"):
        found = benchmark.tasks[item.task].process_results(
            item.doc, [instance.filtered_resps[chosen] for instance in item.instances]
        )
    metrics = {name: float(value) for name, value in found.items() if not isinstance(value, tuple)}
    if benchmark.metric != PERPLEXITY:
        return metrics
    words = {name: _perplexity(*value) for name, value in found.items() if name.endswith(PERPLEXITY)}
    return {**words, PERPLEXITY: _perplexity(logprobs[0], item.tokens)}


def _perplexity(logprob: float, number: int) -> float:
    """`exp` of the mean negative log-probability; infinite where that is too large a number."""
    mean = -logprob / max(number, 1)
    return math.exp(mean) if mean < 700 else math.nan if math.isnan(mean) else math.inf


def _ranked(benchmark: Benchmark, item: Item, logprobs: Sequence[float]) -> Sequence[float]:
    """What options are ranked by, where the best one is what counts."""
    if item.gold < 0:
        return ()
    if benchmark.metric != _NORMALISED:
        return logprobs
    return [logprob / max(length, 1) for logprob, length in zip(logprobs, item.lengths, strict=True)]
