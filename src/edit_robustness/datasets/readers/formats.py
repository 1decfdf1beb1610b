"""The formats in which facts are published: how each is recognised and read, and where you can get it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edit_robustness.datasets.readers.counterfact import read_counterfact, read_counterfact_flat
from edit_robustness.datasets.readers.files import read_records
from edit_robustness.datasets.readers.lama import load_pararel, read_known_facts, read_pararel
from edit_robustness.datasets.readers.popqa import read_popqa
from edit_robustness.datasets.readers.records import Options, Record, Row, read_each
from edit_robustness.datasets.readers.zsre import read_knowedit, read_zsre
from edit_robustness.labels import DATASETS


@dataclass(frozen=True)
class Format:
    """One format of facts.

    Attributes:
        label: Its name in reports and on the command line.
        description: What its facts are, in one line.
        fields: What its records have, by which it is told from others.
        home: Where its publisher offers it, as a sentence.
        rows: Its records to rows of the raw table.
        load: A path to its records.
        page_views: What the page views of its facts measure; empty if it does not say.
    """

    label: str
    description: str
    fields: tuple[str, ...]
    home: str
    rows: Callable[[Sequence[Record], Options], list[Row]]
    load: Callable[[Path], list[Record]] = read_records
    page_views: str = ""


def _as_they_stand(records: Sequence[Record], options: Options) -> list[Row]:
    return read_each(records, dict)


_ROME = "https://rome.baulab.info/data/dsets"
_OCTOBER_2021 = "English Wikipedia, October 2021 (copies of CounterFact)"
_KNOWEDIT = "https://huggingface.co/datasets/zjunlp/KnowEdit"

FORMATS: dict[str, Format] = {
    "counterfact": Format(
        DATASETS["counterfact"],
        "Counterfactual edits with paraphrases and neighbours (Meng et al. 2022).",
        ("requested_rewrite",),
        f"CounterFact is offered at {_ROME}/counterfact.json",
        read_counterfact,
        page_views=_OCTOBER_2021,
    ),
    "counterfact_flat": Format(
        DATASETS["counterfact_flat"],
        "CounterFact in EasyEdit's flat records.",
        ("prompt", "subject", "target_new", "ground_truth", "locality_prompt"),
        "its flat form is in the data of EasyEdit, https://github.com/zjunlp/EasyEdit (counterfact-edit.json)",
        read_counterfact_flat,
        page_views=_OCTOBER_2021,
    ),
    "zsre": Format(
        DATASETS["zsre"],
        "Zero-shot relation extraction: questions with rephrasings (Levy et al. 2017).",
        ("subject", "src", "alt", "answers", "loc"),
        f"zsRE is offered at {_ROME}/zsre_mend_eval.json",
        read_zsre,
    ),
    "zsre_knowedit": Format(
        DATASETS["zsre_knowedit"],
        "zsRE, WikiData_recent and others with portability and locality prompts (Zhang et al. 2024).",
        ("subject", "locality"),
        f"KnowEdit is offered at {_KNOWEDIT}",
        read_knowedit,
    ),
    "popqa": Format(
        DATASETS["popqa"],
        "Questions about Wikidata facts with page views of their subjects (Mallen et al. 2023).",
        ("subj", "prop", "obj", "question", "possible_answers"),
        "PopQA is offered at https://huggingface.co/datasets/akariasai/PopQA (test.tsv)",
        read_popqa,
        page_views="PopQA's monthly Wikipedia views (s_pop)",
    ),
    "known_facts": Format(
        DATASETS["known_facts"],
        "Facts that GPT-2 XL knows, from ROME's causal tracing (Meng et al. 2022).",
        ("subject", "attribute", "template", "relation_id"),
        f"ROME's known facts are offered at {_ROME}/known_1000.json",
        read_known_facts,
    ),
    "pararel": Format(
        DATASETS["pararel"],
        "Facts of LAMA with several wordings for each relation (Elazar et al. 2021).",
        ("sub_label", "obj_label"),
        "ParaRel is offered at https://github.com/yanaiela/pararel (the folder data of a clone)",
        read_pararel,
        load_pararel,
    ),
    "table": Format(
        DATASETS["table"],
        "A table of your own, one fact per row.",
        ("subject", "target_new"),
        "point `path` at a table of your own",
        _as_they_stand,
    ),
}
"""Every form by the word for it in the catalog."""


def looks_like(record: Record) -> str | None:
    """Return the form that a record looks like; of several, the one that asks for most."""
    forms = [name for name, form in FORMATS.items() if set(form.fields) <= set(record)]
    return max(forms, key=lambda name: len(FORMATS[name].fields), default=None)
