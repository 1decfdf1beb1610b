"""Which prompts retrieve which facts of a memory, without a language model: to choose `threshold` of `retrieve`.

    python -m benchmarks.retrieval zsre.json --format zsre

The facts are edited in memories of several sizes, one block of the table after the other. Every prompt of a fact is
searched in the memory that its fact is in. Prompts about the fact should retrieve it, and prompts about other subjects
should retrieve nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from edit_robustness.asking.queries import probe_query
from edit_robustness.datasets.facts import FactsDataset
from edit_robustness.editing.artefacts import NO_ARTEFACT
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import FactMemory
from edit_robustness.editing.methods.retrieve import Retrieve
from edit_robustness.models.tiny import tiny_model
from edit_robustness.pipelines.ingest.nodes import validate_training_facts
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import Templates, read_relations
from edit_robustness.records import Fact, Probe
from edit_robustness.statistics.intervals import proportion
from edit_robustness.tables import facts_from_table

ROOT = Path(__file__).parents[1]
KINDS = ("statement", "paraphrase", "question", "related_context", "dialogue_reference", "misspelling", "alias")
_MODEL = tiny_model("llama")
"""A model for `Method.increment`, which a memory does not read."""

OTHER_KINDS = ("neighbourhood", "relation_specificity", "unrelated")


@dataclass(frozen=True)
class Outcome:
    """Outcome of one search.

    Attributes:
        kind: The kind of prompt.
        fact: The fact whose prompt it is.
        size: Number of facts in the memory.
        threshold: The threshold.
        own: Whether its fact was retrieved.
        first: Whether its fact was the closest one.
        any_fact: Whether any fact was retrieved.
    """

    kind: str
    fact: str
    size: int
    threshold: float
    own: bool
    first: bool
    any_fact: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("facts", type=Path, help="a file of facts")
    parser.add_argument("--format", default="table", help="its format, as in the catalog (table)")
    parser.add_argument("--skip", type=int, default=0, help="number of first facts that are left out (0)")
    parser.add_argument("--number", type=int, default=1000, help="maximum number of facts (1000)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 200, 1000], help="facts in a memory (1 200 1000)")
    parser.add_argument(
        "--thresholds", type=float, nargs="+", default=[0.5, 0.65, 0.8, 1.0], help="of the table (.5 .65 .8 1)"
    )
    parser.add_argument("--shown", type=int, default=Retrieve().shown, help="facts before a prompt")
    parser.add_argument("--key", default=Retrieve().key, choices=("subject", "statement"), help="what is compared")
    choices = parser.parse_args(arguments)
    raw_relations = yaml.safe_load((ROOT / "data/01_raw/relations.yml").read_text("utf-8"))
    facts = read_facts(choices.facts, choices.format, raw_relations)[choices.skip : choices.skip + choices.number]
    probes = build(facts, read_relations(raw_relations))
    start = time.process_time()
    outcomes = [
        outcome
        for size in choices.sizes
        for threshold in choices.thresholds
        for outcome in measure(facts, probes, Retrieve(choices.shown, threshold, choices.key), size)
    ]
    milliseconds = 1000 * (time.process_time() - start) / len(outcomes)
    print(f"{len(facts)} facts, {len(outcomes)} searches of {milliseconds:.2f} CPU ms\n")  # noqa: T201
    print(table(outcomes, choices.thresholds))  # noqa: T201


def read_facts(path: Path, format_name: str, raw_relations: dict[str, object]) -> list[Fact]:
    """Return the facts of a file, with prompts of the data set, without those that ingest would set aside."""
    dataset = FactsDataset(path=str(path), format=format_name, rephrase_is_paraphrase=True)
    return facts_from_table(validate_training_facts(dataset.load(), raw_relations))


def build(facts: Sequence[Fact], templates: Templates) -> list[Probe]:
    """Return the prompts of all facts."""
    return build_probes(
        facts,
        templates,
        facts,
        kinds=[*KINDS, *OTHER_KINDS],
        neighbours=1,
        relation_specificity=1,
        unrelated=1,
        seed=0,
        log_counts=False,
    )


def measure(facts: Sequence[Fact], probes: Sequence[Probe], method: Retrieve, size: int) -> Iterator[Outcome]:
    """Yield what the prompts of the facts retrieve from memories of a size.

    Prompts about another subject are left out if a fact about that subject is in the same memory.

    Args:
        facts: The facts.
        probes: Their prompts.
        method: The method with its settings.
        size: Number of facts in a memory.
    """
    probes_by_fact: dict[str, list[Probe]] = {}
    for probe in probes:
        probes_by_fact.setdefault(probe.fact_id, []).append(probe)
    for place in range(0, len(facts), size):
        block = facts[place : place + size]
        memory = method.increment(_MODEL, block, artefact=NO_ARTEFACT, history=EditHistory())
        subjects = {fact.subject for fact in block}
        for fact in block:
            for probe in probes_by_fact.get(fact.id, ()):
                if probe.kind in KINDS or probe.kind == "relation_specificity" or probe.subject not in subjects:
                    yield _search(probe, memory, fact.statement, method, size)


def _search(probe: Probe, memory: FactMemory, statement: str, method: Retrieve, size: int) -> Outcome:
    statements = [memory.entries[fact.number].statement for fact in memory.retrieve(probe_query(probe))]
    is_found, is_first = statement in statements, statements[:1] == [statement]
    return Outcome(probe.kind, probe.fact_id, size, method.threshold, is_found, is_first, bool(statements))


def table(outcomes: Sequence[Outcome], thresholds: Sequence[float]) -> str:
    """Return the shares as a Markdown table with 95% intervals, clustered by fact."""
    frame = pd.DataFrame(outcomes)
    head = " | ".join(f"{threshold:g}" for threshold in thresholds)
    lines = [f"| kind | retrieves | memory | prompts | {head} |", f"| {' | '.join(['---'] * (4 + len(thresholds)))} |"]
    for (kind, size), rows in frame.groupby(["kind", "size"], sort=False):
        columns = {"its fact": "own", "its fact first": "first"} if kind in KINDS else {"any fact": "any_fact"}
        for label, column in columns.items():
            cells = [_share(rows[rows["threshold"] == threshold], column) for threshold in thresholds]
            n_prompts = int((rows["threshold"] == thresholds[0]).sum())
            lines.append(f"| {kind} | {label} | {size} | {n_prompts} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(rows: pd.DataFrame, column: str) -> str:
    share = proportion(rows[column].to_numpy(dtype=float), rows["fact"].to_numpy())
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


if __name__ == "__main__":
    main()
