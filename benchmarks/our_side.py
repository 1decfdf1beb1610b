"""Our side of the benchmark: one method of METHODS on some facts, in a process of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.jobs import ROOT, Job, versions
from benchmarks.metering import Meter, forget_peak, peak_memory
from benchmarks.scoring import scores
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import write_edit
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.second_moments import second_moments
from edit_robustness.editing.target import split_prompts
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Fact


def main(job_file: str, answer_file: str) -> None:
    """Do the job and write the answer."""
    job = Job.read(Path(job_file))
    torch.manual_seed(job.seed)
    model: Any = AutoModelForCausalLM.from_pretrained(job.folder, dtype=torch.float32)
    lm = LanguageModel(model, AutoTokenizer.from_pretrained(job.folder), job.name)
    forget_peak()
    answer = statistics(lm, job) if job.method == "statistics" else edits(lm, job)
    Path(answer_file).write_text(json.dumps({**answer, "versions": versions(), "peak": peak_memory()}), "utf-8")


def statistics(lm: LanguageModel, job: Job) -> dict[str, Any]:
    """Return the second moments of all sites, kept in the file that the job names."""
    meter = Meter()
    meter.lap()
    result = second_moments(lm, job.texts, [Site.parse(site) for site in job.sites], tokens=10**9)
    lap = meter.lap()
    save_file({str(site): moment for site, moment in result.items()}, job.moments)
    return {"statistics": asdict(lap)}


def edits(lm: LanguageModel, job: Job) -> dict[str, Any]:
    """Independent edits, one a fact, each timed, measured and asked."""
    method = METHODS[job.method](**job.settings)
    facts, pool = ([fact_of(row) for row in rows] for rows in (job.facts, job.pool))
    relations = read_relations(yaml.safe_load((ROOT / "data/01_raw/relations.yml").read_text("utf-8"))).relations
    moments = {Site.parse(name): tensor for name, tensor in load_file(job.moments).items()} if job.moments else {}
    corpus = Corpus(tuple(job.texts), tuple(pool), relations, moments)
    meter = Meter()
    with meter.watch(lm.model):
        meter.lap()
        artefact = method.prepare(lm, corpus)
        prepare_lap = meter.lap()
        timed_edits = list(_time_calls(method.edit_each(lm, facts, artefact=artefact), meter))
    peak = peak_memory()
    answers = []
    for row, fact, (edit, lap) in zip(job.facts, facts, timed_edits, strict=True):
        with edit.with_artefact(artefact).applied(lm):
            probe_scores = scores(lm.model, lm.tokenizer, row["probes"], edit.text_before)
        suffix = split_prompts(lm, fact, ()).tail.shape[1]
        answers.append({**asdict(lap), "fact": fact.id, "bytes": size(edit), "suffix": suffix, "scores": probe_scores})
    return {"preparing": asdict(prepare_lap), "edits": answers, "editing_peak": peak}


def _time_calls(edits: Iterator[Edit], meter: Meter) -> Iterator[tuple[Edit, Any]]:
    meter.lap()
    for edit in edits:
        yield edit, meter.lap()


def fact_of(row: dict[str, Any]) -> Fact:
    """Return the fact in a row of a job."""
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    plain.pop("probes", None)
    return Fact(**plain)


def size(edit: Edit) -> int:
    """Bytes of an edit's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edit.safetensors"
        write_edit(path, edit, {})
        return path.stat().st_size


if __name__ == "__main__":
    main(*sys.argv[1:])
