"""Answers behind the cells of the heat map: a few per cell in the page, and all of them in files beside it.

A fixed rule orders them: answers that fail, then answers without a score, then answers that succeed, and among these
one answer per fact as long as there are other facts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from markupsafe import Markup

from edit_robustness.records import UNEDITED
from edit_robustness.report.heat import list_metrics

CELL = ("model", "protocol", "method", "kind")
TEXTS = ("subject", "target_true", "target_new", "prompt", "text_before", "text", "outcome")
EXAMPLE_COLUMNS = [*CELL, "probe_id", *TEXTS, "n_answers"]
ANSWER_FOLDER = "answers"
"""Folder beside the page with the files of answers."""

LONGEST = 400
"""Characters of a prompt or an answer on the page. A prompt keeps its end, which asks; an answer keeps its start."""

LONGEST_IN_FILE = 4000
"""The same of a file of answers."""

OUTCOMES = {"edit": ("new object", "neither object"), "specificity": ("unchanged", "changed")}
"""Names of a score of 1 and of a score of 0, by family."""


def cell_examples(answers: pd.DataFrame, scores: pd.DataFrame, n_examples: int) -> pd.DataFrame:
    """Select answers for each cell of the heat map.

    Args:
        answers: `tables.ANSWER_COLUMNS`; `previous_turns` may be missing.
        scores: model, method, fact_id, probe_id, kind, family, protocol, metric, value.
        n_examples: Number of answers per cell.

    Returns:
        model, protocol, method, kind, probe_id, subject, target_true, target_new, prompt (with the turns before it),
        text_before (the unedited model's answer to a specificity prompt), text, outcome, n_answers (of the cell).
    """
    if not n_examples:
        return pd.DataFrame(columns=EXAMPLE_COLUMNS)
    rows = _rank_answers(scores)
    rows = rows[rows.groupby(list(CELL), sort=False).cumcount() < n_examples]
    return _add_texts(rows, answers)[EXAMPLE_COLUMNS].reset_index(drop=True)


def write_answer_files(answers: pd.DataFrame, scores: pd.DataFrame, n_examples: int) -> dict[str, str]:
    """Write all answers of each cell of the heat map that has more than the page shows.

    Args:
        answers: As for `cell_examples`.
        scores: As for `cell_examples`.
        n_examples: Number of answers per cell in the page.

    Returns:
        From the names of files (`name_answer_file`) to JavaScript, because a page that is opened from a disk can read
        nothing else. A file has the answers of one model, method and kind of prompt under all protocols.
    """
    if not n_examples:
        return {}
    rows, names = _rank_answers(scores), ["model", "method", "kind"]
    is_long = rows.groupby(names, sort=False, observed=True)["n_answers"].transform("max") > n_examples
    texts = _add_texts(rows[is_long], answers)
    files = {}
    for (model, method, kind), table in texts.groupby(names, sort=False, observed=True):
        places: dict[str, int] = {}
        protocols = {
            str(protocol): _index_texts(part, places, LONGEST_IN_FILE)
            for protocol, part in table.groupby("protocol", sort=False, observed=True)
        }
        content = json.dumps({"texts": list(places), "protocols": protocols}, ensure_ascii=False, separators=(",", ":"))
        name = name_answer_file(str(model), str(method), str(kind))
        files[name] = f"receiveAnswers({json.dumps(name)},{content});\n"
    return files


def name_answer_file(model: str, method: str, kind: str) -> str:
    """Return the name of the file with the answers of one model, method and kind of prompt, for any file system."""
    return ".".join(
        re.sub(r"[^A-Za-z0-9_-]", lambda sign: f"~{ord(sign[0]):x}~", name) for name in (model, method, kind)
    )


def _rank_answers(scores: pd.DataFrame) -> pd.DataFrame:
    """Order the answers of each cell, those that fail first."""
    parts = list(_score_cells(scores))
    if not parts:
        return pd.DataFrame(columns=[*CELL, "probe_id", "family", "value", "cut", "reversion", "n_answers"])
    rows = pd.concat(parts, ignore_index=True).drop_duplicates([*CELL, "probe_id"])
    # 0 fails, 1 succeeds; an answer without a score stands between them
    rows["rank"] = rows["value"].fillna(0.5)
    rows["n_answers"] = rows.groupby(list(CELL), sort=False, observed=True)["probe_id"].transform("size")
    rows["turn"] = rows.groupby([*CELL, "rank", "fact_id"], sort=False, observed=True).cumcount()
    return rows.sort_values(["rank", "turn"], kind="stable")


def _score_cells(scores: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the scores that the cells show, by family and protocol, with `reversion` and `cut` beside them."""
    probe = ["model", "method", "probe_id"]
    for (family, protocol), rows in scores.groupby(["family", "protocol"], sort=False, observed=True):
        metrics = list_metrics(str(family), str(protocol))
        if not metrics:
            continue
        main = rows[rows["metric"] == metrics[0]]
        if len(metrics) > 1:
            # a cell without known prompts shows its figure over all prompts
            known_cells = pd.MultiIndex.from_frame(main[list(CELL)])
            second_rows = rows[rows["metric"] == metrics[1]]
            main = pd.concat([main, second_rows[~pd.MultiIndex.from_frame(second_rows[list(CELL)]).isin(known_cells)]])
        for name in ("reversion", "cut"):
            side = rows.loc[rows["metric"] == name, [*probe, "value"]].rename(columns={"value": name})
            main = main.merge(side.drop_duplicates(probe), on=probe, how="left")
        yield main


def _add_texts(rows: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    probe = ["model", "method", "probe_id"]
    texts = answers.assign(prompt=_whole_prompts(answers))
    rows = rows.merge(texts[[*probe, "subject", "target_true", "target_new", "prompt", "text"]], on=probe)
    before = texts.loc[texts["method"] == UNEDITED, ["model", "probe_id", "text"]]
    rows = rows.merge(before.rename(columns={"text": "text_before"}), on=["model", "probe_id"], how="left")
    has_text_before = (rows["family"] == "specificity") & (rows["method"] != UNEDITED)
    rows["text_before"] = rows["text_before"].where(has_text_before, "")
    rows["outcome"] = _outcomes(rows)
    for name in TEXTS:
        rows[name] = rows[name].fillna("").astype(str).str.strip()
    return rows


def _whole_prompts(answers: pd.DataFrame) -> pd.Series:
    """Return each prompt with the turns of the conversation before it."""
    if "previous_turns" not in answers:
        return answers["prompt"]
    turns = answers["previous_turns"].map(lambda cell: json.loads(cell) if isinstance(cell, str) and cell else [])
    before = turns.map(lambda pairs: "".join(f"{role}: {text}\n" for role, text in pairs))
    return before + answers["prompt"].astype(str)


def _outcomes(rows: pd.DataFrame) -> np.ndarray:
    """Return what each answer is: a success, or the way in which it fails."""
    families = rows["family"].astype(str)
    success, failure = (
        families.map({family: names[place] for family, names in OUTCOMES.items()}).fillna(default)
        for place, default in enumerate(("success", "no success"))
    )
    conditions = [
        rows["cut"] == 1,
        rows["value"].isna(),
        (rows["value"] == 0) & (rows["reversion"] == 1),
        rows["value"] == 1,
    ]
    return np.select(conditions, ["cut by the token limit", "no score", "old object", success], failure)


def embed_examples(examples: pd.DataFrame) -> Markup:
    """Return the examples as JSON that cannot end its script element; each text is in it once.

    Returns:
        An object with `texts`; `cells`: for each cell, by its names as a JSON list, a list of answers, which are places
        in `texts` in the order of `TEXTS`; and `files`: for each cell with more answers, the name of the file that has
        them and their number.
    """
    places: dict[str, int] = {}
    cells: dict[str, list[list[int]]] = {}
    answer_files: dict[str, tuple[str, int]] = {}
    for cell, rows in examples.groupby(list(CELL), sort=False, observed=True) if len(examples) else ():
        model, protocol, method, kind = map(str, cell)
        key = json.dumps([model, protocol, method, kind], ensure_ascii=False, separators=(",", ":"))
        cells[key] = _index_texts(rows, places)
        number = int(rows["n_answers"].iloc[0])
        if number > len(rows):
            answer_files[key] = (name_answer_file(model, method, kind), number)
    content = {"texts": list(places), "cells": cells, "files": answer_files}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _index_texts(rows: pd.DataFrame, places: dict[str, int], longest: int = LONGEST) -> list[list[int]]:
    """Return for each answer the places of its `TEXTS`; new texts are added to `places`."""
    columns = [[_shorten(name, text, longest) for text in rows[name]] for name in TEXTS]
    return [[places.setdefault(text, len(places)) for text in answer] for answer in zip(*columns, strict=True)]


def _shorten(name: str, text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"…{text[-longest:]}" if name == "prompt" else f"{text[:longest]}…"
