"""The page of conversations: how often an edit holds in them, beside paper 1's figures, and what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from edit_robustness.labels import METHODS, VERDICTS, in_order
from edit_robustness.report.page import environment, records, style

PAPER_1: Mapping[str, float] = {"reverts": 0.38, "denies_both": 0.22, "invents": 0.78}
"""arXiv 2402.05827, RQ1: MEMIT, 50 facts, at most 5 rounds; it gives no other figures and no intervals."""


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
    """

    verdicts: pd.DataFrame
    turns: pd.DataFrame
    shares: pd.DataFrame
    agreement: pd.DataFrame
    shown: int = 50
    confidence: float = 0.95


def render(found: Conversations) -> str:
    """One self-contained HTML document; whatever a model, a tester or a table wrote is escaped."""
    return (
        environment()
        .get_template("conversations.html.j2")
        .render(
            style=Markup(style()),
            labels=VERDICTS,
            paper=PAPER_1,
            models=list(dict.fromkeys(found.shares["model"])),
            shares=_shares(found.shares),
            agreement=records(found.agreement),
            talks=_talks(found),
            testers=sorted(set(found.verdicts["tester"])),
            rounds=int(found.verdicts["rounds"].max()) if len(found.verdicts) else 0,
            held=len(found.verdicts),
            counts={
                name: int(found.verdicts[name].sum()) for name in ("refused", "replaced", "unfinished", "cut_short")
            },
            cut=_cut(found.verdicts),
            confidence=found.confidence,
        )
    )


def _cut(verdicts: pd.DataFrame) -> dict[tuple[str, str], tuple[int, int]]:
    """For each model and method how many turns of the edited model a limit of tokens cut, and of how many."""
    sums = verdicts.groupby(["model", "method"], sort=False)[["unfinished", "rounds"]].sum()
    return {key: (int(row["unfinished"]), int(row["rounds"])) for key, row in sums.iterrows()}  # type: ignore[misc]


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
