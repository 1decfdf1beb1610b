"""Read benchmarks from local files: convert the publishers' formats to the fields that the harness expects.

By default the harness downloads its data. If the catalog names files (`benchmark_files`), its tasks read their
documents from them. Everything else about a task is unchanged.
"""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

Rows = list[dict[str, Any]]
Splits = dict[str, Rows]
"""The documents of each split, with the fields that the harness's task reads."""

_LETTERS = "ABCD"
_SPLITS = {
    "train": ("train",),
    "dev": ("dev",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""Names of files by split."""


class BenchmarkFilesMissing(ValueError):
    """The files of a benchmark are missing or have another format."""


@dataclass(frozen=True)
class Source:
    """The source of a data set of the harness.

    Attributes:
        name: Name of its folder, and its name in the catalog.
        expected: The files that are read, for messages.
        home: URL of the publisher's files.
        read: Reads the splits from a folder and the name of a subset.
    """

    name: str
    expected: str
    home: str
    read: Callable[[Path, str], Splits]


@dataclass(frozen=True)
class LocalFiles:
    """The benchmarks that are read from files; the harness downloads the others.

    Attributes:
        folder: Folder with one subfolder per benchmark; None if only `files` are read.
        files: Folders of single benchmarks by name (`gsm8k`).
        token: Tells equal folders of two runs apart, since files may change from run to run.
    """

    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    token: str = field(default_factory=lambda: uuid4().hex, repr=False)

    def splits(self, dataset: str, subset: str | None) -> Splits | None:
        """Return the documents of a data set of the harness; None if it is not read from files.

        Args:
            dataset: Its name in the harness, such as `openai/gsm8k`.
            subset: Name of a subset, such as `anatomy` of MMLU.

        Raises:
            BenchmarkFilesMissing: If files are missing or have another format. The message names the benchmark, the
                expected files and their source.
        """
        source = SOURCES.get(dataset) or _default_source(dataset)
        folder = self.files.get(source.name) or (self.folder and self.folder / source.name)
        if folder is None:
            return None
        try:
            splits = _read(source, folder, subset or "")
        except FileNotFoundError as missing:
            raise self._missing_files(source, folder, f"{missing.filename or folder} is missing") from missing
        except (LookupError, TypeError, ValueError, AttributeError, SyntaxError, OSError, csv.Error) as failure:
            reason = f"{type(failure).__name__}: {failure}"
            raise self._missing_files(source, folder, f"{folder} has an unexpected format ({reason})") from failure
        empty_splits = [name for name, rows in splits.items() if not rows]
        if empty_splits:
            raise self._missing_files(
                source, folder, f"{folder} has no documents of the split {', '.join(empty_splits)}"
            )
        return splits

    @staticmethod
    def _missing_files(source: Source, folder: Path, fault: str) -> BenchmarkFilesMissing:
        return BenchmarkFilesMissing(
            f"benchmark {source.name}: {fault}. Expected in {folder}: {source.expected}, from {source.home}. Put them "
            f"there, or set their folder in the catalog (benchmark_files: files: {{{source.name}: ...}}). Without "
            "`folder` and `files` the harness downloads its data"
        )


def _default_source(dataset: str) -> Source:
    return Source(
        dataset.rpartition("/")[2],
        "train, validation or test, as .jsonl or .parquet, with the fields of the harness's data set",
        f"https://huggingface.co/datasets/{dataset}",
        lambda folder, subset: _require_splits(_harness_splits(folder, subset), folder),
    )


def _read(source: Source, folder: Path, subset: str) -> Splits:
    """Read the splits in the publisher's format, or in that of the harness."""
    try:
        return source.read(folder, subset)
    except FileNotFoundError:
        splits = _harness_splits(folder, subset)
        if not splits:
            raise
        return splits


def _require_splits(splits: Splits, folder: Path) -> Splits:
    if not splits:
        raise FileNotFoundError(2, "no split", str(folder))
    return splits


def _harness_splits(folder: Path, subset: str) -> Splits:
    """Read splits that already have the fields of the harness: `[subset/]test*.jsonl` or `.parquet`."""
    splits: Splits = {}
    for split, names in _SPLITS.items():
        patterns = [f"{name}*{end}" for name in names for end in (".jsonl", ".parquet")]
        files = next(filter(None, (sorted((folder / subset).glob(pattern)) for pattern in patterns)), [])
        if files:
            splits[split] = [row for file in files for row in _records(file)]
    return splits


def _records(file: Path) -> Rows:
    """Read the records of a file.

    Raises:
        ValueError: If a line or record is invalid. The message names the file and the line or record.
    """
    try:
        records = _parse(file)
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from error
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise ValueError(f"{file.name}: record {number} is a {type(record).__name__}, expected a mapping")
    return records


def _parse(file: Path) -> Rows:
    if file.suffix == ".parquet":
        rows: Rows = json.loads(pd.read_parquet(file).to_json(orient="records"))
        return rows
    if file.suffix == ".csv":
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix == ".json":
        records = json.loads(text)
        if not isinstance(records, list):
            raise ValueError(f"expected a list of records, not a {type(records).__name__}")
        return records
    return [_parse_line(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _parse_line(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def _mmlu(folder: Path, subset: str) -> Splits:
    return {split: list(_mmlu_rows(folder / split / f"{subset}_{split}.csv", subset)) for split in ("dev", "test")}


def _mmlu_rows(file: Path, subset: str) -> Iterator[dict[str, Any]]:
    """Yield rows of question, four options and the answer (a letter, or a number from 0), with or without a header."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.reader(stream):
            if not row or row[-1] == "answer":
                continue
            question, *choices, answer = row
            if len(choices) != len(_LETTERS):
                raise ValueError(f"{file.name}: {len(choices)} options in the row {question[:40]!r}, expected 4")
            gold = _LETTERS.index(answer) if answer in _LETTERS else int(answer)
            yield {"question": question, "subject": subset, "choices": choices, "answer": gold}


def _bbh(folder: Path, subset: str) -> Splits:
    examples = json.loads((folder / f"{subset}.json").read_text(encoding="utf-8"))["examples"]
    return {"test": [{"input": example["input"], "target": example["target"]} for example in examples]}


def _gsm8k(folder: Path, subset: str) -> Splits:
    return {split: _records(folder / f"{split}.jsonl") for split in ("train", "test")}


def _commonsense_qa(folder: Path, subset: str) -> Splits:
    def row(record: Mapping[str, Any]) -> dict[str, Any]:
        question = record["question"]
        choices = {name: [choice[name] for choice in question["choices"]] for name in ("label", "text")}
        return {"id": record["id"], "question": question["stem"], "choices": choices, "answerKey": record["answerKey"]}

    files = {"train": "train_rand_split.jsonl", "validation": "dev_rand_split.jsonl"}
    return {split: [row(record) for record in _records(folder / file)] for split, file in files.items()}


def _triviaqa(folder: Path, subset: str) -> Splits:
    """Read the publisher's JSON, or JSON Lines with `question` and `golden_answers` as used in retrieval studies."""
    file = _first(folder, "*dev.json", "*.jsonl")
    if file.suffix == ".json":
        records = json.loads(file.read_text(encoding="utf-8"))["Data"]
        questions = [(record["Question"], record["Answer"]["Value"], record["Answer"]["Aliases"]) for record in records]
    else:
        questions = [
            (record["question"], record["golden_answers"][0], record["golden_answers"]) for record in _records(file)
        ]
    rows = [
        {"question": _unquote(question), "answer": {"value": value, "aliases": list(aliases)}}
        for question, value, aliases in questions
    ]
    return {"validation": rows}


def _unquote(text: str) -> str:
    """Remove the quotes of a text that was quoted as a cell of a CSV file, and undouble those inside."""
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"' and '""' in text
    return text[1:-1].replace('""', '"') if is_quoted else text


def _truthfulqa(folder: Path, subset: str) -> Splits:
    if subset == "multiple_choice":
        return {"validation": [_mc_row(record) for record in _records(folder / "mc_task.json")]}
    return {"validation": [_generation_row(record) for record in _records(folder / "TruthfulQA.csv")]}


def _mc_row(record: Mapping[str, Any]) -> dict[str, Any]:
    targets = {
        name: {"choices": list(record[name]), "labels": list(record[name].values())}
        for name in ("mc1_targets", "mc2_targets")
    }
    return {"question": record["question"], **targets}


def _generation_row(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "category": record["Category"],
        "question": record["Question"],
        "best_answer": record["Best Answer"],
        **{
            f"{kind}_answers": [
                answer.strip() for answer in record[f"{kind.title()} Answers"].split(";") if answer.strip()
            ]
            for kind in ("correct", "incorrect")
        },
    }


def _toxigen(folder: Path, subset: str) -> Splits:
    return {
        "test": [
            {
                "text": _decode(record["text"]),
                "target_group": record["target_group"],
                "toxicity_ai": float(record["toxicity_ai"]),
                "toxicity_human": float(record["toxicity_human"]),
            }
            for record in _records(_first(folder, "annotated_test.csv", "annotated*.csv"))
        ]
    }


def _decode(text: str) -> str:
    """Decode a text; some are Python bytes literals, b'...'."""
    if text[:2] not in ("b'", 'b"'):
        return text
    encoded: bytes = ast.literal_eval(text)
    return encoded.decode("utf-8", errors="replace")


def _piqa(folder: Path, subset: str) -> Splits:
    labels = (folder / "dev-labels.lst").read_text(encoding="utf-8").split()
    labelled_records = zip(_records(folder / "dev.jsonl"), labels, strict=True)
    return {"validation": [{**record, "label": int(label)} for record, label in labelled_records]}


def _arc(folder: Path, subset: str) -> Splits:
    def row(record: Mapping[str, Any]) -> dict[str, Any]:
        question = record["question"]
        choices = {name: [choice[name] for choice in question["choices"]] for name in ("text", "label")}
        return {"id": record["id"], "question": question["stem"], "choices": choices, "answerKey": record["answerKey"]}

    return {"test": [row(record) for record in _records(folder / f"{subset}-Test.jsonl")]}


def _hellaswag(folder: Path, subset: str) -> Splits:
    field_names = ("ind", "activity_label", "ctx_a", "ctx_b", "endings")
    records = _records(folder / "hellaswag_val.jsonl")
    return {
        "validation": [
            {name: record[name] for name in field_names} | {"label": str(record["label"])} for record in records
        ]
    }


def _lambada(folder: Path, subset: str) -> Splits:
    return {"test": [{"text": record["text"]} for record in _records(_first(folder, "lambada_test*.jsonl"))]}


def _wikitext(folder: Path, subset: str) -> Splits:
    """Read articles; each begins with a line ` = Title = `, while section headings have more equals signs."""
    pages: list[list[str]] = []
    for line in _first(folder, "*test*.raw", "*test*.txt").read_text(encoding="utf-8").split("\n"):
        if not pages or (line.startswith(" = ") and not line.startswith(" = =")):
            pages.append([])
        pages[-1].append(line)
    return {"test": [{"page": text} for page in pages if (text := "\n".join(page)).strip()]}


def _first(folder: Path, *patterns: str) -> Path:
    files = [file for pattern in patterns for file in sorted(folder.glob(pattern))]
    if not files:
        raise FileNotFoundError(2, "no such file", str(folder / patterns[0]))
    return files[0]


_HUB = "https://huggingface.co/datasets"

SOURCES: Mapping[str, Source] = {
    "cais/mmlu": Source(
        "mmlu", "dev/<subject>_dev.csv and test/<subject>_test.csv", "https://github.com/hendrycks/test", _mmlu
    ),
    "SaylorTwift/bbh": Source("bbh", "<task>.json", "https://github.com/suzgunmirac/BIG-Bench-Hard", _bbh),
    "openai/gsm8k": Source(
        "gsm8k", "train.jsonl and test.jsonl", "https://github.com/openai/grade-school-math", _gsm8k
    ),
    "tau/commonsense_qa": Source(
        "commonsense_qa",
        "train_rand_split.jsonl and dev_rand_split.jsonl",
        "https://www.tau-nlp.sites.tau.ac.il/commonsenseqa",
        _commonsense_qa,
    ),
    "mandarjoshi/trivia_qa": Source(
        "triviaqa",
        "*dev.json, or a .jsonl with question and golden_answers",
        "https://nlp.cs.washington.edu/triviaqa",
        _triviaqa,
    ),
    "truthfulqa/truthful_qa": Source(
        "truthfulqa", "TruthfulQA.csv and mc_task.json", "https://github.com/sylinrl/TruthfulQA", _truthfulqa
    ),
    "skg/toxigen-data": Source("toxigen", "annotated_test.csv", f"{_HUB}/toxigen/toxigen-data", _toxigen),
    "baber/piqa": Source("piqa", "dev.jsonl and dev-labels.lst", "https://yonatanbisk.com/piqa", _piqa),
    "allenai/ai2_arc": Source("arc", "<subset>-Test.jsonl", "https://allenai.org/data/arc", _arc),
    "Rowan/hellaswag": Source("hellaswag", "hellaswag_val.jsonl", "https://github.com/rowanz/hellaswag", _hellaswag),
    "EleutherAI/lambada_openai": Source(
        "lambada", "lambada_test*.jsonl with `text`", f"{_HUB}/EleutherAI/lambada_openai", _lambada
    ),
    "EleutherAI/wikitext_document_level": Source(
        "wikitext", "wiki.test.raw", f"{_HUB}/Salesforce/wikitext (wikitext-2-raw-v1)", _wikitext
    ),
}
"""The sources of data sets by their names in the harness."""
