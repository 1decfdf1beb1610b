"""Abilities, measured by the evaluation harness as it is and by our engine, on the same requests in one run.

The harness runs with torch as it comes: without the products and the attention that our models use on a CPU.

    python -m benchmarks.abilities truthfulqa_mc1 mmlu:mmlu_anatomy --documents 20 --data FOLDER

A benchmark is one of those in `conf/base/parameters_abilities.yml` (`paper2.mmlu` where several presets have one of
that name), `:` and a task of the harness to ask that alone. How much is saved depends on what documents share: a
benchmark of many tasks, each with its own examples, needs several documents a task.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from benchmarks.material import configuration, load
from benchmarks.metering import Meter, limit_threads
from benchmarks.tables import markdown
from edit_robustness.abilities.engine import GeneratedText, answer_requests
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.requests import plan_requests
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.abilities.tasks import Benchmark, build_benchmarks
from edit_robustness.datasets.item_folders import EditsDataset
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.models.attention import BLOCKED
from edit_robustness.models.language_model import LanguageModel

_PRODUCTS: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
_CAME = _PRODUCTS.fp32_precision
_NUMBER: Callable[[Any], str] = "{:.2f}".format
COLUMNS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "benchmark": ("benchmark", str),
    "documents": ("documents", str),
    "requests": ("requests", str),
    "theirs": ("harness, CPU s", _NUMBER),
    "ours": ("ours, CPU s", _NUMBER),
    "planning": ("of that once a run", _NUMBER),
    "ratio": ("harness / ours", _NUMBER),
    "apart": ("log-likelihoods differ by", "{:.1e}".format),
    "texts": ("same texts", "{:.0%}".format),
    "score_theirs": ("score, harness", "{:.4f}".format),
    "score_ours": ("score, ours", "{:.4f}".format),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the table."""
    options = parser().parse_args(arguments)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with limit_threads(options.threads), redirect_stdout(sys.stderr):
        conf = configuration(options.model, options.env)
        settings = select_benchmarks(conf["parameters"]["abilities"], options.benchmarks)
        parameters = AbilityParameters(**{**settings, "documents": options.documents, "seed": options.seed})
        lm = load(options.model, conf["catalog"])
        benchmarks = build_benchmarks(lm, parameters, LocalFiles(options.data))
        with read_history(options.edits).applied(lm):
            rows = [compare(lm, benchmark, options.batch_size) for benchmark in benchmarks]
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if options.json else markdown(rows, COLUMNS) + "\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.abilities", description=__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    options.add_argument("benchmarks", nargs="+", help="truthfulqa_mc1, paper2.gsm8k, mmlu:mmlu_anatomy ...")
    options.add_argument("--documents", type=int, default=20, help="of each benchmark, across its tasks")
    options.add_argument("--data", type=Path, help="a folder with a folder for each benchmark; default: the network")
    options.add_argument("--edits", type=Path, help="a folder of a sequence of edits: the model after all of them")
    options.add_argument("--model", default="smollm2", help="of the catalog, or tiny:llama and its like")
    options.add_argument("--env", default="local", help="Kedro environment of the catalog")
    options.add_argument("--seed", type=int, default=0, help="of the documents drawn")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--batch-size", type=int, default=8, help="of the harness")
    options.add_argument("--json", action="store_true", help="as JSON, not Markdown")
    return options


def read_history(folder: Path | None) -> EditHistory:
    """Return the changes that the edits of a sequence left; an empty mapping without a folder."""
    history = EditHistory()
    for item in EditsDataset(str(folder)).load().values() if folder else ():
        history = history + item.read()
    return history


def select_benchmarks(abilities: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the parameters, with the benchmarks that were asked for as the one preset that is measured.

    Raises:
        ValueError: For a benchmark that no preset has, or several have.
    """
    settings = {
        f"{preset}.{name}": benchmark
        for preset, several in abilities["presets"].items()
        for name, benchmark in several.items()
    }
    selection = {}
    for choice in names:
        name, _, task = choice.partition(":")
        matches = [full for full in settings if name in (full, full.partition(".")[2])]
        if len(matches) != 1:
            raise ValueError(f"`{name}` names {len(matches)} benchmarks; there are {', '.join(settings)}")
        selection[task or matches[0].partition(".")[2]] = {**settings[matches[0]], **({"task": task} if task else {})}
    return {**abilities, "tasks": "chosen", "presets": {"chosen": selection}}


def compare(lm: LanguageModel, benchmark: Benchmark, batch_size: int) -> dict[str, Any]:
    """Measure one benchmark on both sides: CPU seconds, how far answers are apart, and both scores."""
    instances, meter = benchmark.work.instances, Meter()
    # whatever the first pass has to set up is neither side's
    answer_requests(lm, plan_requests(lm, instances[:1]))
    meter.lap()
    work = plan_requests(lm, instances)
    planning_time = meter.lap().cpu
    our_answers = answer_requests(lm, work)
    answering_time = meter.lap().cpu
    harness = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=batch_size)
    (kind,) = {instance.request_type for instance in instances}
    with as_torch_came(lm):
        their_answers = getattr(harness, kind)([replace(instance) for instance in instances], disable_tqdm=True)
    took = meter.lap().cpu
    texts_out = [our_answer.text if isinstance(our_answer, GeneratedText) else our_answer for our_answer in our_answers]
    texts, numbers = (
        isinstance(texts_out[0], str),
        [[_first(our_answer) for our_answer in side] for side in (texts_out, their_answers)],
    )
    return {
        "benchmark": benchmark.name,
        "documents": len(benchmark.items),
        "requests": len(instances),
        "theirs": took,
        "ours": planning_time + answering_time,
        "planning": planning_time,
        "ratio": took / (planning_time + answering_time),
        "apart": None
        if texts
        else max(abs(our_answer - their_answer) for our_answer, their_answer in zip(*numbers, strict=True)),
        "texts": statistics.fmean(our_answer == their_answer for our_answer, their_answer in zip(*numbers, strict=True))
        if texts
        else None,
        "score_theirs": score(benchmark, their_answers),
        "score_ours": score(benchmark, texts_out),
    }


@contextmanager
def as_torch_came(lm: LanguageModel) -> Iterator[None]:
    """Undo for a block what a `LanguageModel` sets in torch on a CPU (`models/products.py`, `models/attention.py`)."""
    settings = _PRODUCTS.fp32_precision, torch.backends.cuda.flash_sdp_enabled(), lm.model.config._attn_implementation
    _PRODUCTS.fp32_precision = _CAME
    torch.backends.cuda.enable_flash_sdp(True)
    lm.model.set_attn_implementation("sdpa" if settings[2] == BLOCKED else settings[2])
    try:
        yield
    finally:
        _PRODUCTS.fp32_precision = settings[0]
        torch.backends.cuda.enable_flash_sdp(settings[1])
        lm.model.set_attn_implementation(settings[2])


def _first(answer: Any) -> Any:
    """Return the log-likelihood of an answer that has one beside whether it is greedy."""
    return answer[0] if isinstance(answer, tuple) else answer


def score(benchmark: Benchmark, responses: Sequence[Any]) -> float | None:
    """Return the metric's mean, as the harness scores answers; none where it is no mean over documents."""
    answers = iter(responses)
    for item in benchmark.items:
        for instance in item.instances:
            instance.resps, instance.filtered_resps = [next(answers)], {}
    values = []
    for task in benchmark.tasks.values():
        task.apply_filters()
    for item in benchmark.items:
        filtered_responses = [instance.filtered_resps[benchmark.filters[0]] for instance in item.instances]
        value = benchmark.tasks[item.task].process_results(item.doc, filtered_responses).get(benchmark.metric)
        values.append(math.nan if value is None or isinstance(value, tuple) else float(value))
    mean = statistics.fmean(values)
    return None if math.isnan(mean) else mean


if __name__ == "__main__":
    main()
