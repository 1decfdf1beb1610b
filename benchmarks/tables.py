"""The answers of the sides as rows, rows as Markdown, and where a result is written."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MIB = 1 << 20


def deliver(result: Mapping[str, Any], as_text: Callable[[Any], str], options: argparse.Namespace) -> None:
    """Write what was measured, as JSON with `options.json`, to `options.output` or the terminal."""
    text = json.dumps(result, indent=2, ensure_ascii=False) if options.json else as_text(result)
    if options.output:
        options.output.write_text(text + "\n", "utf-8")
    else:
        sys.stdout.write(text + "\n")


def row(method: str, side: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of one method on one side: mean, minimum and maximum cost of an edit, and its success."""
    edits = answer["edits"]
    cpu = sum(edit["cpu"] for edit in edits)
    shares = {name: sum(edit[name] for edit in edits) / (cpu or 1) for name in ("forward", "backward")}
    return {
        "method": method,
        "side": side,
        "n": len(edits),
        "cpu": spread([edit["cpu"] for edit in edits]),
        "wall": spread([edit["wall"] for edit in edits]),
        "steps": spread([edit["steps"] for edit in edits]),
        "cpu_a_step": cpu / steps if (steps := sum(edit["steps"] for edit in edits)) else None,
        "tokens_a_step": tokens / steps if steps and (tokens := sum(edit["tokens"] for edit in edits)) else None,
        "suffix": spread([edit["suffix"] for edit in edits]) if "suffix" in edits[0] else None,
        **shares,
        "rest": 1 - sum(shares.values()),
        "bytes": spread([edit["bytes"] for edit in edits]) if "bytes" in edits[0] else None,
        "peak": answer["editing_peak"],
        "preparing": answer["preparing"]["cpu"] if "preparing" in answer else None,
        **success(edits),
        "versions": answer["versions"],
    }


def success(edits: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Shares of probes: statement and paraphrases won by the new object, neighbours kept by the true one."""

    def share(kind: str, name: str) -> float | None:
        values = [score[name] for edit in edits for score in edit["scores"] if score["kind"] == kind]
        return statistics.fmean(values) if values else None

    lost_share = share("neighbourhood", "new_over_true")
    return {
        "argmax": share("statement", "match_new"),
        "likelier": share("statement", "new_over_true"),
        "paraphrases": share("paraphrase", "new_over_true"),
        "neighbours": None if lost_share is None else 1 - lost_share,
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, least and most."""
    return {"mean": statistics.fmean(values), "min": min(values), "max": max(values)}


def ratios(our_row: Mapping[str, Any], their_row: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many times more EasyEdit took than we did, of the same run."""
    step = (
        (their_row["cpu_a_step"] or 0) / our_row["cpu_a_step"]
        if our_row["cpu_a_step"] and their_row["cpu_a_step"]
        else None
    )
    return {
        "method": our_row["method"],
        "cpu": their_row["cpu"]["mean"] / our_row["cpu"]["mean"],
        "wall": their_row["wall"]["mean"] / our_row["wall"]["mean"],
        "cpu_a_step": step,
        "peak": their_row["peak"] / our_row["peak"],
    }


def _spread(form: str, scale: float = 1) -> Callable[[Any], str]:
    def text(value: Any) -> str:
        mean, minimum, maximum = (format(value[key] * scale, form) for key in ("mean", "min", "max"))
        return mean if minimum == maximum else f"{mean} ({minimum} to {maximum})"

    return text


def _number(form: str, scale: float = 1) -> Callable[[Any], str]:
    return lambda value: format(value * scale, form)


COLUMNS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "method": ("method", str),
    "side": ("side", str),
    "n": ("edits", str),
    "cpu": ("CPU s an edit", _spread(".2f")),
    "wall": ("wall s an edit", _spread(".2f")),
    "steps": ("steps", _spread(".1f")),
    "cpu_a_step": ("CPU s a step", _number(".3f")),
    "tokens_a_step": ("tokens a step", _number(".0f")),
    "suffix": ("suffix", _spread(".1f")),
    "forward": ("forward", _number(".0%")),
    "backward": ("backward", _number(".0%")),
    "rest": ("rest", _number(".0%")),
    "peak": ("peak MiB", _number(".0f", 1 / MIB)),
    "bytes": ("KiB an edit", _spread(".1f", 1 / 1024)),
    "preparing": ("preparing, CPU s", _number(".1f")),
    "argmax": ("argmax", _number(".2f")),
    "likelier": ("p(new) > p(true)", _number(".2f")),
    "paraphrases": ("on paraphrases", _number(".2f")),
    "neighbours": ("neighbours kept", _number(".2f")),
}

RATIOS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "method": ("method", str),
    "cpu": ("CPU an edit", _number(".1f")),
    "wall": ("wall an edit", _number(".1f")),
    "cpu_a_step": ("CPU a step", _number(".1f")),
    "peak": ("peak memory", _number(".1f")),
}


def markdown(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, Callable[[Any], str]]]) -> str:
    """Rows as a table of Markdown; what is not known is a dash."""
    lines = [[title for title, _ in columns.values()], ["---"] * len(columns)]
    for row in rows:
        lines.append(["-" if row.get(key) is None else text(row[key]) for key, (_, text) in columns.items()])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
