"""Page of conversations: the share in which an edit holds, paper 1's figures for comparison, and transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup

from edit_robustness.labels import METHODS, VERDICTS, in_order
from edit_robustness.report.page import environment, script, style
from edit_robustness.report.rows import records
from edit_robustness.report.run_details import run_details
from edit_robustness.report.runs import list_failures, list_mixed

PAPER_1: Mapping[str, float] = {"reverts": 0.38, "denies_both": 0.22, "invents": 0.78}
"""arXiv 2402.05827, RQ1: MEMIT, 50 facts, at most 5 rounds; it gives no other figures and no intervals."""

SILENT = "no turn"
"""Stage of a conversation whose context was too short for any turn of the model."""


@dataclass(frozen=True)
class Conversations:
    """All data of the page.

    Attributes:
        verdicts: One row per conversation, with `metrics.conversation.VERDICT_COLUMNS`.
        turns: One row per turn, with `metrics.conversation.TURN_COLUMNS`.
        shares: model, method, label, value, low, high, n.
        agreement: model, judge, label and the columns of `statistics.agreement`; empty without a judge.
        shown: Most transcripts per model and method.
        confidence: Level of all intervals.
        failed_items: Items that failed: model, method, stage, fact_id, reason.
        runs: Versions and settings that the items of each model were made with (`datasets.run_record.run_record`).
    """

    verdicts: pd.DataFrame
    turns: pd.DataFrame
    shares: pd.DataFrame
    agreement: pd.DataFrame
    shown: int = 50
    confidence: float = 0.95
    failed_items: pd.DataFrame = field(default_factory=pd.DataFrame)
    runs: Sequence[Mapping[str, Any]] = ()


def render(results: Conversations) -> str:
    """Render one self-contained HTML document; every text of a model, a tester or a table is escaped."""
    return (
        environment()
        .get_template("conversations.html.j2")
        .render(
            style=Markup(style()),
            script=Markup(script()),
            labels=VERDICTS,
            paper=PAPER_1,
            models=list(dict.fromkeys([*results.shares["model"], *_models(results.failed_items)])),
            shares=_add_failed(_shares(results.shares), results.failed_items),
            agreement=records(results.agreement),
            talks=_talks(results),
            testers=sorted(set(results.verdicts["tester"])),
            rounds=int(results.verdicts["rounds"].max()) if len(results.verdicts) else 0,
            held=len(results.verdicts),
            counts={
                name: int(results.verdicts[name].sum()) for name in ("refused", "replaced", "unfinished", "cut_short")
            },
            cut=_count_cut(results.verdicts),
            silent=_count_failed(results.failed_items, silent=True),
            failed=_count_failed(results.failed_items, silent=False),
            failed_items=list_failures(results.failed_items),
            confidence=results.confidence,
            run=run_details(results.runs),
            run_mixed=list_mixed(results.runs),
        )
    )


def _count_cut(verdicts: pd.DataFrame) -> dict[tuple[str, str], tuple[int, int]]:
    """Count for each model and method the turns of the edited model that the token limit cut, and all turns."""
    sums = verdicts.groupby(["model", "method"], sort=False)[["unfinished", "rounds"]].sum()
    return {key: (int(row["unfinished"]), int(row["rounds"])) for key, row in sums.iterrows()}  # type: ignore[misc]


def _models(items: pd.DataFrame) -> list[str]:
    return list(items["model"]) if len(items) else []


_Shares = dict[str, dict[str, dict[str, Any]]]
"""For each model, method and label a share with its interval."""


def _add_failed(shares: _Shares, items: pd.DataFrame) -> _Shares:
    """Add an empty line for each method without any conversation."""
    lines = {model: dict(methods) for model, methods in shares.items()}
    for model, method in {**_count_failed(items, silent=False), **_count_failed(items, silent=True)}:
        lines.setdefault(model, {}).setdefault(method, {})
    return {model: {m: cells[m] for m in in_order(cells, METHODS)} for model, cells in lines.items()}


def _count_failed(items: pd.DataFrame, *, silent: bool) -> dict[tuple[str, str], int]:
    """Count for each model and method the conversations that failed, or that have no turn of the model."""
    if items.empty:
        return {}
    stages = [SILENT] if silent else ["prepare", "edit", "talk"]
    counts = items[items["stage"].isin(stages)].groupby(["model", "method"], sort=False).size()
    return {(key[0], key[1]): int(number) for key, number in counts.items()}  # type: ignore[index]


def _shares(shares: pd.DataFrame) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Group the shares by model, method and label; methods in their usual order."""
    cells = {(row["model"], row["method"], row["label"]): row for row in records(shares)}
    return {
        str(model): {
            method: {label: cells[model, method, label] for label in VERDICTS if (model, method, label) in cells}
            for method in in_order(rows["method"], METHODS)
        }
        for model, rows in shares.groupby("model", sort=False)
    }


def _talks(results: Conversations) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Return by model and method the conversations to show: verdict, labels, and turns with their claims."""
    turns_by_case = {
        key: records(rows) for key, rows in results.turns.groupby(["model", "method", "fact_id"], sort=False)
    }
    talks = []
    for (model, method), rows in results.verdicts.groupby(["model", "method"], sort=False):
        cases = [
            {
                **verdict,
                "labels": [VERDICTS[label] for label in VERDICTS if verdict[label]],
                "turns": _with_claims(turns_by_case[model, method, verdict["fact_id"]], verdict["stances"].split()),
            }
            for verdict in records(rows.head(results.shown))
        ]
        talks.append((str(model), str(method), cases))
    return talks


def _with_claims(turns: Sequence[Mapping[str, Any]], stances: Sequence[str]) -> list[dict[str, Any]]:
    claims = iter(stances)
    return [{**turn, "claim": next(claims) if turn["role"] == "assistant" else ""} for turn in turns]
