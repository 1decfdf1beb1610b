"""How good every method is on CounterFact, by itself and one edit after another.

    python -m benchmarks.quality table counterfact.json --work FOLDER
    python -m benchmarks.quality sequence counterfact.json text.txt --work FOLDER

`counterfact.json` holds records in CounterFact's original form (Meng et al. 2022). Edits and answers land in the folder
one by one, so a killed run goes on where it stopped; methods can be run in several processes on one folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from benchmarks.jobs import ROOT
from benchmarks.material import change_settings, configuration, load, settings_of
from benchmarks.metering import limit_threads
from benchmarks.tables import markdown
from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets.folders import Manifest, StoredItem
from edit_robustness.datasets.item_folders import AnswersDataset, ArtefactsDataset, EditsDataset
from edit_robustness.editing.artefacts import NO_ARTEFACT, Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edit_sequence import edit_sequence
from edit_robustness.editing.edits import NO_EDIT, Appliable, Edit
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.method import Corpus, Method, TrainedMethod
from edit_robustness.editing.methods import METHODS
from edit_robustness.metrics.scores import score_answers
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import RenderedPrompt, last, prompt_ids
from edit_robustness.models.writing import sample_texts
from edit_robustness.pipelines.ingest.nodes import validate_facts
from edit_robustness.progress import track
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Answer, Fact, Probe
from edit_robustness.statistics.intervals import rates
from edit_robustness.tables import answers_to_table, facts_from_table

STEPS = (1, 10, 50, 200)
"""After how many edits of a sequence all edits so far are asked."""

WINDOW, WINDOWS = 256, 24
"""Held-out text: so many runs of so many tokens."""


@dataclass(frozen=True)
class Record:
    """A fact of CounterFact and what is asked about it."""

    fact: Fact
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class Bench:
    """Material of both commands."""

    lm: LanguageModel
    records: list[Record]
    settings: Mapping[str, Mapping[str, Any]]
    corpus: Corpus
    folder: Path

    def method(self, name: str) -> Method:
        """Return a method with its hyperparameters."""
        return METHODS[name](**self.settings[name])

    def artefact(self, name: str) -> Artefact:
        """Return what a method prepares, kept in the folder; training resumes where it stopped."""
        method, folder = self.method(name), ArtefactsDataset(str(self.folder / name / "artefact"))
        key = fingerprint(name, method.settings(), self.lm.fingerprint, self.corpus.texts, self.corpus.facts)
        artefacts = {
            item: item_file.read() for item, item_file in folder.items().items() if item_file.fingerprint == key
        }
        if name in artefacts:
            return artefacts[name]
        if not isinstance(method, TrainedMethod):
            state = method.prepare(self.lm, self.corpus)
        else:
            for state in method.train(self.lm, self.corpus, start=artefacts.get("unfinished")):
                folder.save({"unfinished": StoredItem.of(key, state)})
        if state is not NO_ARTEFACT:
            folder.save({name: StoredItem.of(key, state)})
        return state


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the table."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parser().parse_args(arguments)
    with limit_threads(options.threads):
        bench = gather(options)
        methods = options.methods or [name for name in bench.settings if name != "external"]
        figures = table(bench, methods) if options.command == "table" else sequences(bench, methods, options)
    rows: Any = figures.to_dict("records")
    table_text = markdown(rows, {str(name): (str(name), str) for name in figures})
    (options.work / f"{options.command}.md").write_text(table_text + "\n", "utf-8")
    sys.stdout.write(figures.to_string(index=False) + "\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.quality")
    commands = options.add_subparsers(dest="command", required=True)
    for name in ("table", "sequence"):
        command = commands.add_parser(name)
        command.add_argument("counterfact", type=Path, help="records in CounterFact's original form")
        if name == "sequence":
            command.add_argument("text", type=Path, help="held-out running text")
            command.add_argument("--batch-size", type=int, default=1, help="facts per edit")
        command.add_argument("--work", type=Path, required=True, help="a folder for edits and answers")
        command.add_argument("--records", type=int, default=100 if name == "table" else STEPS[-1])
        command.add_argument("--neighbours", type=int, default=10, help="neighbourhood prompts a record")
        command.add_argument("--methods", nargs="*", default=[])
        command.add_argument("--model", default="smollm2", help="of the catalog")
        command.add_argument("--env", default="local", help="Kedro environment of the catalog and the hyperparameters")
        command.add_argument("--set", nargs="*", default=[], metavar="METHOD.NAME=VALUE", help="change hyperparameters")
        command.add_argument("--threads", type=int, default=torch.get_num_threads())
    return options


def gather(options: argparse.Namespace) -> Bench:
    """Return the model, the records, and a corpus: texts that the model writes, facts of the project's own table."""
    conf = configuration(options.model, options.env)
    lm = load(options.model, conf["catalog"])
    records = read_records(options.counterfact, options.records, options.neighbours)
    raw = pd.read_csv(ROOT / "data/01_raw/facts.csv", dtype=str, keep_default_na=False)
    relations = yaml.safe_load((ROOT / "data/01_raw/relations.yml").read_text("utf-8"))
    subjects = {record.fact.subject for record in records}
    pool = tuple(fact for fact in facts_from_table(validate_facts(raw, relations)[0]) if fact.subject not in subjects)
    options.work.mkdir(parents=True, exist_ok=True)
    texts = options.work / f"texts-{lm.fingerprint}.json"
    if not texts.exists():
        texts.write_text(json.dumps(sample_texts(lm, texts=96, tokens=64, seed=0)), "utf-8")
    corpus = Corpus(tuple(json.loads(texts.read_text("utf-8"))), pool, read_relations(relations).relations)
    return Bench(lm, records, change_settings(settings_of(options.model, conf), options.set), corpus, options.work)


def read_records(path: Path, number: int, neighbours: int) -> list[Record]:
    """Return the first records, each with its statement, its paraphrases and some of its neighbourhood prompts.

    Raises:
        ValueError: If there are not so many.
    """
    rows = json.loads(path.read_text("utf-8"))
    if len(rows) < number:
        raise ValueError(f"{path} has {len(rows)} records, and {number} are wanted: lower --records")
    return [_record(row, neighbours) for row in rows[:number]]


def _record(row: Mapping[str, Any], neighbours: int) -> Record:
    request = row["requested_rewrite"]
    true, new = request["target_true"]["str"], request["target_new"]["str"]
    fact = Fact(f"cf-{row['case_id']}", request["subject"], request["relation_id"], request["prompt"], true, new)

    def probes(kind: str, family: str, texts: Sequence[str]) -> list[Probe]:
        return [
            Probe(f"{fact.id}/{kind}/{n}", fact.id, kind, family, fact.subject, text, new, true)
            for n, text in enumerate(texts)
        ]

    return Record(
        fact,
        (
            *probes("statement", "edit", [fact.statement]),
            *probes("paraphrase", "edit", row["paraphrase_prompts"]),
            *probes("neighbourhood", "specificity", row["neighborhood_prompts"][:neighbours]),
        ),
    )


def table(bench: Bench, methods: Sequence[str]) -> pd.DataFrame:
    """Return a row per method: success, reversion and specificity under both protocols, seconds and bytes per edit."""
    tables, cost = [], {}
    for name in dict.fromkeys(["none", *methods]):
        edits = independent(bench, name)
        cost[name] = {
            "CPU s an edit": _mean(item.header["seconds"] for item in edits.values()),
            "bytes": round(_mean(item.header["bytes"] for item in edits.values())),
        }
        tables.append(answers_to_table(answers(bench, name, edits), model=bench.lm.name, method=name))
    scores = score_answers(pd.concat(tables, ignore_index=True)).assign(subject=lambda table: table["fact_id"])
    shares = rates(scores, ["method", "kind", "protocol", "metric"], cluster="subject")
    rows = {name: group.set_index(_CELL) for name, group in shares.groupby("method")}
    return pd.DataFrame([{"method": name, **_format_shares(rows[name], _SHOWN), **cost[name]} for name in cost])


_CELL = ["kind", "protocol", "metric"]


_SHOWN = {
    "statement forced": ("statement", "teacher_forced", "success"),
    "statement p(new)>p(true)": ("statement", "teacher_forced", "preference"),
    "statement free": ("statement", "free", "success"),
    "reverts": ("statement", "free", "reversion"),
    "cut": ("statement", "free", "cut"),
    "paraphrase forced": ("paraphrase", "teacher_forced", "success"),
    "paraphrase p(new)>p(true)": ("paraphrase", "teacher_forced", "preference"),
    "paraphrase free": ("paraphrase", "free", "success"),
    "paraphrase reverts": ("paraphrase", "free", "reversion"),
    "paraphrase cut": ("paraphrase", "free", "cut"),
    "neighbourhood unchanged, known": ("neighbourhood", "free", "specificity"),
    "neighbourhood unchanged, all": ("neighbourhood", "free", "specificity_all"),
    "neighbourhood cut": ("neighbourhood", "free", "cut"),
    "neighbourhood top token, known": ("neighbourhood", "next_token", "top_token"),
    "neighbourhood p(true)>p(new)": ("neighbourhood", "teacher_forced", "specificity"),
}


def _format_shares(shares: pd.DataFrame, labels: Iterable[str]) -> dict[str, str]:
    """Return percentages with their intervals and numbers of prompts; `shares` is indexed by `_CELL`."""
    cells: Any = shares[["value", "low", "high", "n_probes"]].to_dict("index")
    return {label: _figure(cells.get(_SHOWN[label])) for label in labels}


def _figure(row: Mapping[str, Any] | None) -> str:
    # a metric of prompts that the unedited model knows has no row where it knows none
    if row is None or math.isnan(row["value"]):
        return "none known"
    return f"{100 * row['value']:.0f} [{100 * row['low']:.0f}, {100 * row['high']:.0f}], n = {row['n_probes']}"


def independent(bench: Bench, name: str) -> dict[str, StoredItem[Edit]]:
    """Return the independent edits of a method, computing those that are missing."""
    method, folder = bench.method(name), EditsDataset(str(bench.folder / name / "edits"))
    artefact, facts = bench.artefact(name), [record.fact for record in bench.records]
    common = (name, method.settings(), bench.lm.fingerprint, artefact.fingerprint)
    manifest = Manifest({fact.id: fingerprint(*common, fact) for fact in facts})
    folder.save(manifest)
    fingerprints = folder.fingerprints()
    missing_facts = [fact for fact in facts if fingerprints.get(fact.id) != manifest[fact.id]]
    start = time.process_time()
    edits = track(method.edit_each(bench.lm, missing_facts, artefact=artefact), f"{name}: edits", len(missing_facts))
    for fact, edit in zip(missing_facts, edits, strict=True):
        seconds, start = time.process_time() - start, time.process_time()
        folder.save({fact.id: StoredItem.of(manifest[fact.id], edit, seconds=round(seconds, 3))})
    return folder.load()


def answers(bench: Bench, name: str, edits: Mapping[str, StoredItem[Edit]]) -> Iterator[Answer]:
    """Return the answers under each edit, asking for those that are missing."""
    folder, artefact = AnswersDataset(str(bench.folder / name / "answers")), bench.artefact(name)
    probes = {record.fact.id: list(record.probes) for record in bench.records}
    decoding = Decoding(batch_rows=192)
    common = decoding.describe(bench.lm)
    manifest = Manifest({key: fingerprint(common, edits[key].fingerprint, probes[key]) for key in edits})
    folder.save(manifest)
    fingerprints = folder.fingerprints()
    missing_keys = [key for key in manifest if fingerprints.get(key) != manifest[key]]
    edit_probes = [(edits[key].read().with_artefact(artefact), probes[key]) for key in missing_keys]
    answer_lists = track(ask(bench.lm, edit_probes, decoding), f"{name}: asking", len(missing_keys))
    for key, edit_answers in zip(missing_keys, answer_lists, strict=True):
        folder.save({key: StoredItem.of(manifest[key], edit_answers)})
    return (answer for item in folder.load().values() for answer in item.read())


def sequences(bench: Bench, methods: Sequence[str], options: argparse.Namespace) -> pd.DataFrame:
    """Return one row per method and step: success on ALL edits so far, and perplexity on held-out text."""
    windows = read_windows(bench.lm, options.text.read_text("utf-8"))
    rows = [{"method": "none", "edits": 0, **after(bench, "none", EditHistory(), bench.records, windows)}]
    for name in methods:
        rows += list(sequence(bench, name, windows, options.batch_size))
    return pd.DataFrame(rows)


def sequence(
    bench: Bench, name: str, windows: Sequence[Sequence[int]], batch_size: int = 1
) -> Iterator[dict[str, Any]]:
    """Edit facts in sequence on the same model and yield the measurements; a later run replays stored increments.

    Args:
        bench: The model and the records, in order.
        name: The method.
        windows: Held-out text.
        batch_size: How many facts each edit makes true.
    """
    method, artefact = bench.method(name), bench.artefact(name)
    folder, facts = EditsDataset(str(bench.folder / name / "sequence")), [record.fact for record in bench.records]
    groups = [facts[start : start + batch_size] for start in range(0, len(facts), batch_size)]
    common = (name, method.settings(), bench.lm.fingerprint, artefact.fingerprint)
    keys = {n: fingerprint(*common, facts[:n], batch_size) for n in accumulate(map(len, groups))}
    items = folder.items()
    stored_steps = {number: items[facts[number - 1].id] for number in keys if facts[number - 1].id in items}
    readers = {number: item.read for number, item in stored_steps.items() if item.fingerprint == keys[number]}
    steps = edit_sequence(bench.lm, method, groups, artefact=artefact, stored_edits=readers)
    for step in track(steps, f"{name}: a sequence", len(groups)):
        if not step.is_stored:
            folder.save({facts[step.number - 1].id: StoredItem.of(keys[step.number], step.edit)})
        if step.number in STEPS or step.number == len(facts):
            measurements = after(bench, name, step.history, bench.records[: step.number], windows)
            yield {"method": name, "edits": step.number, **measurements}


def after(
    bench: Bench, method: str, history: EditHistory, records: Sequence[Record], windows: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Measure the model after these edits by a method."""
    probes = [probe for record in records for probe in record.probes if probe.kind in ("statement", "paraphrase")]
    answers = [answer for batch in ask(bench.lm, [(history, probes)], Decoding()) for answer in batch]
    with history.applied(bench.lm):
        perplexity = perplexity_of(bench.lm, windows, history)
    scores = score_answers(answers_to_table(answers, model=bench.lm.name, method=method))
    shares = rates(scores.assign(subject=scores["fact_id"]), _CELL, cluster="subject").set_index(_CELL)
    labels = ("statement forced", "statement free", "paraphrase forced", "paraphrase free", "cut", "paraphrase cut")
    return {**_format_shares(shares, labels), "perplexity": f"{perplexity:.4g}"}


def read_windows(lm: LanguageModel, text: str) -> list[list[int]]:
    """Runs of tokens from evenly spread places of a text.

    Raises:
        ValueError: If the text is too short.
    """
    ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) < WINDOW * WINDOWS:
        raise ValueError(f"the held-out text has {len(ids)} tokens, and {WINDOW * WINDOWS} are wanted")
    step = (len(ids) - WINDOW) // (WINDOWS - 1)
    return [ids[i * step : i * step + WINDOW] for i in range(WINDOWS)]


@torch.no_grad()
def perplexity_of(lm: LanguageModel, windows: Sequence[Sequence[int]], edit: Appliable = NO_EDIT) -> float:
    """exp of the mean negative log-likelihood of the windows' tokens but the first, after the text of an edit."""
    total = 0.0
    for window in windows:
        text = edit.text_before(lm.tokenizer.decode(window))
        before = prompt_ids(lm, RenderedPrompt(text)) if text else []
        ids = torch.tensor([[*before, *window]], device=lm.device)
        logits = lm.model(input_ids=ids, logits_to_keep=last(len(window))).logits[0, :-1].float()
        targets = ids[0, -(len(window) - 1) :]
        total -= float(logits.log_softmax(-1).gather(1, targets[:, None]).sum())
    mean = total / sum(len(window) - 1 for window in windows)
    return math.exp(mean) if mean < 700 else math.inf


def _mean(values: Iterator[float]) -> float:
    numbers = list(values)
    return round(sum(numbers) / max(len(numbers), 1), 3)


if __name__ == "__main__":
    main()
