"""Answers behind the cells of the heat map: a few per cell, those that fail before the others.

A fixed rule selects them: answers that fail, then answers without a score, then answers that succeed, and among these
one answer per fact as long as there are other facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from edit_robustness.records import UNEDITED
from edit_robustness.report.heat import list_metrics

CELL = ("model", "protocol", "method", "kind")
TEXTS = ("subject", "target_true", "target_new", "prompt", "text_before", "text", "outcome")
EXAMPLE_COLUMNS = [*CELL, "probe_id", *TEXTS]
LONGEST = 400
"""Characters of a prompt or an answer on the page. A prompt keeps its end, which asks; an answer keeps its start."""

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
        text_before (the unedited model's answer to a specificity prompt), text, outcome.
    """
    parts = list(_score_cells(scores))
    if not parts or not n_examples:
        return pd.DataFrame(columns=EXAMPLE_COLUMNS)
    rows = pd.concat(parts, ignore_index=True).drop_duplicates([*CELL, "probe_id"])
    # 0 fails, 1 succeeds; an answer without a score stands between them
    rows["rank"] = rows["value"].fillna(0.5)
    rows["turn"] = rows.groupby([*CELL, "rank", "fact_id"], sort=False).cumcount()
    rows = rows.sort_values(["rank", "turn"], kind="stable")
    rows = rows[rows.groupby(list(CELL), sort=False).cumcount() < n_examples]
    return _add_texts(rows, answers)[EXAMPLE_COLUMNS].reset_index(drop=True)


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
    rows["outcome"] = [_outcome(row) for row in rows.to_dict("records")]
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


def _outcome(row: Mapping[Any, Any]) -> str:
    if row["cut"] == 1:
        return "cut by the token limit"
    if pd.isna(row["value"]):
        return "no score"
    success, failure = OUTCOMES.get(row["family"], ("success", "no success"))
    if row["value"] == 0 and row["reversion"] == 1:
        return "old object"
    return success if row["value"] == 1 else failure


def embed_examples(examples: pd.DataFrame) -> Markup:
    """Return the examples as JSON that cannot end its script element; each text is in it once.

    Returns:
        An object with `texts`, and with `cells`: for each cell, by its names as a JSON list, a list of answers, which
        are places in `texts` in the order of `TEXTS`.
    """
    places: dict[str, int] = {}
    cells: dict[str, list[list[int]]] = {}
    for row in examples.to_dict("records"):
        cell = json.dumps([row[name] for name in CELL], ensure_ascii=False, separators=(",", ":"))
        answer = [places.setdefault(_shorten(name, row[name]), len(places)) for name in TEXTS]
        cells.setdefault(cell, []).append(answer)
    text = json.dumps({"texts": list(places), "cells": cells}, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _shorten(name: str, text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"…{text[-LONGEST:]}" if name == "prompt" else f"{text[:LONGEST]}…"
