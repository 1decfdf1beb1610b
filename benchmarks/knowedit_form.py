"""Write facts that share a subject as records in KnowEdit's form: each with its subject's other facts to leave alone.

python -m benchmarks.knowedit_form data/01_raw/facts.csv data/01_raw/relations.yml records.json
"""

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from edit_robustness.prompts.relations import Templates, read_relations
from edit_robustness.prompts.schema import read_fact
from edit_robustness.prompts.specificity import Specificity
from edit_robustness.records import Fact


def records(facts: Sequence[Fact], templates: Templates) -> Iterator[dict[str, Any]]:
    """Yield a record for each fact whose subject has other facts that the edit leaves as they are.

    Args:
        facts: The table.
        templates: Wordings by relation.
    """
    chooser = Specificity(facts, templates, (), seed=0)
    for fact in facts:
        prompts = [
            prompt.completion for prompt in chooser.relation_specificity(fact, len(facts)) if prompt.completion.target
        ]
        if prompts:
            entries = [
                {"prompt": prompt.prompt, "ground_truth": [[prompt.target, *prompt.aliases]]} for prompt in prompts
            ]
            yield {
                "subject": fact.subject,
                "prompt": fact.statement,
                "target_new": fact.target_new,
                "ground_truth": [fact.target_true, *fact.target_true_aliases],
                "locality": {"Relation_Specificity": entries},
                "portability": {},
            }


def read_facts(path: Path, templates: Templates) -> list[Fact]:
    """Return the facts of a CSV in the form of data/01_raw/facts.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        rows: list[Mapping[str, Any]] = list(csv.DictReader(file))
    return [read_fact(row, templates.relations) for row in rows]


def main() -> None:
    """Read the command line, and write the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facts", type=Path, help="a table of facts, CSV")
    parser.add_argument("relations", type=Path, help="the YAML of relations")
    parser.add_argument("out", type=Path, help="where to write the records, JSON")
    options = parser.parse_args()
    templates = read_relations(yaml.safe_load(options.relations.read_text(encoding="utf-8")))
    entries = list(records(read_facts(options.facts, templates), templates))
    options.out.write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
