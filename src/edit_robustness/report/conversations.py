"""The page of conversations: how often an edit holds in them, beside paper 1's figures, and what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup

from edit_robustness.labels import METHODS, VERDICTS, in_order
from edit_robustness.report.page import environment, records, style
from edit_robustness.report.runs import failures_run, mixed_run

PAPER_1: Mapping[str, float] = {"reverts": 0.38, "denies_both": 0.22, "invents": 0.78}
"""arXiv 2402.05827, RQ1: MEMIT, 50 facts, at most 5 rounds; it gives no other figures and no intervals."""

SILENT = "no turn"
"""Stage of a conversation in which no turn of the model had room."""


@dataclass(frozen=True)
class Conversations:
    """All that the page shows.

    Attributes:
        verdicts: A row a conversation; see `metrics.conversation.VERDICT_COLUMNS`.
        turns: A row a turn; see `metrics.conversation.TURN_COLUMNS`.
        shares: model, method, label, value, low, high, n.
        agreement: model, judge, label and the columns of `statistics.agreement`; empty without a judge.
        shown: Most transcripts for each model and method.
        confidence: Level of all intervals.
        failed_items: Items that could not be made: model, method, stage, fact_id, reason.
        runs: What the items of each model were made with; see `datasets.run_record.made_with`.
    """

    verdicts: pd.DataFrame
    turns: pd.DataFrame
    shares: pd.DataFrame
    agreement: pd.DataFrame
    shown: int = 50
    confidence: float = 0.95
    failed_items: pd.DataFrame = field(default_factory=pd.DataFrame)
    runs: Sequence[Mapping[str, Any]] = ()


def render(found: Conversations) -> str:
    """One self-contained HTML document; whatever a model, a tester or a table wrote is escaped."""
    return (
        environment()
        .get_template("conversations.html.j2")
        .render(
            style=Markup(style()),
            labels=VERDICTS,
            paper=PAPER_1,
            models=list(dict.fromkeys([*found.shares["model"], *_models(found.failed_items)])),
            shares=_with_failed(_shares(found.shares), found.failed_items),
            agreement=records(found.agreement),
            talks=_talks(found),
            testers=sorted(set(found.verdicts["tester"])),
            rounds=int(found.verdicts["rounds"].max()) if len(found.verdicts) else 0,
            held=len(found.verdicts),
            counts={
                name: int(found.verdicts[name].sum()) for name in ("refused", "replaced", "unfinished", "cut_short")
            },
            cut=_cut(found.verdicts),
            silent=_failed(found.failed_items, silent=True),
            failed=_failed(found.failed_items, silent=False),
            failed_items=failures_run(found.failed_items),
            confidence=found.confidence,
            run_mixed=mixed_run(found.runs),
        )
    )


def _cut(verdicts: pd.DataFrame) -> dict[tuple[str, str], tuple[int, int]]:
    """For each model and method how many turns of the edited model a limit of tokens cut, and of how many."""
    sums = verdicts.groupby(["model", "method"], sort=False)[["unfinished", "rounds"]].sum()
    return {key: (int(row["unfinished"]), int(row["rounds"])) for key, row in sums.iterrows()}  # type: ignore[misc]


def _models(items: pd.DataFrame) -> list[str]:
    return list(items["model"]) if len(items) else []


_Shares = dict[str, dict[str, dict[str, Any]]]
"""For each model, method and label a share with its interval."""


def _with_failed(shares: _Shares, items: pd.DataFrame) -> _Shares:
    """The shares, with a line without figures for each method of which no conversation was held."""
    whole = {model: dict(methods) for model, methods in shares.items()}
    for model, method in {**_failed(items, silent=False), **_failed(items, silent=True)}:
        whole.setdefault(model, {}).setdefault(method, {})
    return {model: {m: own[m] for m in in_order(own, METHODS)} for model, own in whole.items()}


def _failed(items: pd.DataFrame, *, silent: bool) -> dict[tuple[str, str], int]:
    """For each model and method how many conversations could not be held, or have no turn of the model."""
    if items.empty:
        return {}
    stages = [SILENT] if silent else ["prepare", "edit", "talk"]
    counts = items[items["stage"].isin(stages)].groupby(["model", "method"], sort=False).size()
    return {(key[0], key[1]): int(number) for key, number in counts.items()}  # type: ignore[index]


def _shares(shares: pd.DataFrame) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """By model, method and label; methods in their usual order."""
    cells = {(row["model"], row["method"], row["label"]): row for row in records(shares)}
    return {
        str(model): {
            method: {label: cells[model, method, label] for label in VERDICTS if (model, method, label) in cells}
            for method in in_order(rows["method"], METHODS)
        }
        for model, rows in shares.groupby("model", sort=False)
    }


def _talks(found: Conversations) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """By model and method each conversation that is shown: its verdict, its labels, and its turns with their claims."""
    said = {key: records(rows) for key, rows in found.turns.groupby(["model", "method", "fact_id"], sort=False)}
    talks = []
    for (model, method), rows in found.verdicts.groupby(["model", "method"], sort=False):
        cases = [
            {
                **verdict,
                "labels": [VERDICTS[label] for label in VERDICTS if verdict[label]],
                "turns": _with_claims(said[model, method, verdict["fact_id"]], verdict["stances"].split()),
            }
            for verdict in records(rows.head(found.shown))
        ]
        talks.append((str(model), str(method), cases))
    return talks


def _with_claims(turns: Sequence[Mapping[str, Any]], stances: Sequence[str]) -> list[dict[str, Any]]:
    claims = iter(stances)
    return [{**turn, "claim": next(claims) if turn["role"] == "assistant" else ""} for turn in turns]
