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
from benchmarks.metering import Meter, limited
from benchmarks.tables import markdown
from edit_robustness.abilities.engine import Generated, answered
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.requests import planned
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.abilities.tasks import Benchmark, build_benchmarks
from edit_robustness.datasets.kept import EditsDataset
from edit_robustness.editing.past import Past
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
    with limited(options.threads), redirect_stdout(sys.stderr):
        configured = configuration(options.model, options.env)
        settings = chosen(configured["parameters"]["abilities"], options.benchmarks)
        parameters = AbilityParameters(**{**settings, "documents": options.documents, "seed": options.seed})
        lm = load(options.model, configured["catalog"])
        built = build_benchmarks(lm, parameters, LocalFiles(options.data))
        with edited(options.edits).applied(lm):
            rows = [compared(lm, benchmark, options.batch_size) for benchmark in built]
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if options.json else markdown(rows, COLUMNS) + "\n")


def parser() -> argparse.ArgumentParser:
    """The options."""
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


def edited(folder: Path | None) -> Past:
    """All that the edits of a sequence left behind; nothing without a folder."""
    past = Past()
    for item in EditsDataset(str(folder)).load().values() if folder else ():
        past = past + item.read()
    return past


def chosen(abilities: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The parameters, with the benchmarks that were asked for as the one preset that is measured.

    Raises:
        ValueError: For a benchmark that no preset has, or several have.
    """
    there = {
        f"{preset}.{name}": one for preset, several in abilities["presets"].items() for name, one in several.items()
    }
    picked = {}
    for asked in names:
        name, _, task = asked.partition(":")
        found = [full for full in there if name in (full, full.partition(".")[2])]
        if len(found) != 1:
            raise ValueError(f"`{name}` names {len(found)} benchmarks; there are {', '.join(there)}")
        picked[task or found[0].partition(".")[2]] = {**there[found[0]], **({"task": task} if task else {})}
    return {**abilities, "tasks": "chosen", "presets": {"chosen": picked}}


def compared(lm: LanguageModel, benchmark: Benchmark, batch_size: int) -> dict[str, Any]:
    """One benchmark on both sides: CPU seconds, how far answers are apart, and both scores."""
    instances, meter = benchmark.work.instances, Meter()
    # whatever the first pass has to set up is neither side's
    answered(lm, planned(lm, instances[:1]))
    meter.lap()
    work = planned(lm, instances)
    planning = meter.lap().cpu
    ours = answered(lm, work)
    answering = meter.lap().cpu
    harness = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=batch_size)
    (kind,) = {instance.request_type for instance in instances}
    with as_torch_came(lm):
        theirs = getattr(harness, kind)([replace(instance) for instance in instances], disable_tqdm=True)
    took = meter.lap().cpu
    said = [one.text if isinstance(one, Generated) else one for one in ours]
    texts, numbers = isinstance(said[0], str), [[_first(one) for one in side] for side in (said, theirs)]
    return {
        "benchmark": benchmark.name,
        "documents": len(benchmark.items),
        "requests": len(instances),
        "theirs": took,
        "ours": planning + answering,
        "planning": planning,
        "ratio": took / (planning + answering),
        "apart": None if texts else max(abs(one - other) for one, other in zip(*numbers, strict=True)),
        "texts": statistics.fmean(one == other for one, other in zip(*numbers, strict=True)) if texts else None,
        "score_theirs": score(benchmark, theirs),
        "score_ours": score(benchmark, said),
    }


@contextmanager
def as_torch_came(lm: LanguageModel) -> Iterator[None]:
    """Without what a `LanguageModel` sets in torch on a CPU (`models/products.py`, `models/attention.py`)."""
    ours = _PRODUCTS.fp32_precision, torch.backends.cuda.flash_sdp_enabled(), lm.model.config._attn_implementation
    _PRODUCTS.fp32_precision = _CAME
    torch.backends.cuda.enable_flash_sdp(True)
    lm.model.set_attn_implementation("sdpa" if ours[2] == BLOCKED else ours[2])
    try:
        yield
    finally:
        _PRODUCTS.fp32_precision = ours[0]
        torch.backends.cuda.enable_flash_sdp(ours[1])
        lm.model.set_attn_implementation(ours[2])


def _first(answer: Any) -> Any:
    """The log-likelihood of an answer that has one beside whether it is greedy."""
    return answer[0] if isinstance(answer, tuple) else answer


def score(benchmark: Benchmark, responses: Sequence[Any]) -> float | None:
    """The metric's mean, as the harness scores answers; none where it is no mean over documents."""
    answers = iter(responses)
    for item in benchmark.items:
        for instance in item.instances:
            instance.resps, instance.filtered_resps = [next(answers)], {}
    values = []
    for task in benchmark.tasks.values():
        task.apply_filters()
    for item in benchmark.items:
        given = [instance.filtered_resps[benchmark.filters[0]] for instance in item.instances]
        value = benchmark.tasks[item.task].process_results(item.doc, given).get(benchmark.metric)
        values.append(math.nan if value is None or isinstance(value, tuple) else float(value))
    mean = statistics.fmean(values)
    return None if math.isnan(mean) else mean


if __name__ == "__main__":
    main()
