"""Two settings of a method on the same facts: the tables of two runs compared prompt by prompt.

    kedro run --params=grid.smollm2.ft=false
    kedro run --params=grid.smollm2.ft=false,methods.rome.smollm2.v_optimizer=polyak
    python -m benchmarks.paired data/08_reporting/FIRST data/08_reporting/SECOND --method rome

The folders are those of runs (docs/how-to/runs.md). Both runs must have edited facts of the same model, and asked the
same prompts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.tables import markdown
from edit_robustness.statistics.intervals import paired_difference

KEY = ["model", "probe_id", "kind", "protocol", "metric"]
"""A score of one run and the same score of another one."""

METRICS = {
    "free": ("success", "reversion", "cut", "specificity", "specificity_all"),
    "teacher_forced": ("success", "preference", "specificity"),
    "next_token": ("kl", "top_token"),
}
"""Metrics that are compared, by protocol. Divergence is no share, so it has means and no interval."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare two runs and write the table as Markdown."""
    options = parser().parse_args(arguments)
    rows = compare(*(read_scores(folder, options.method) for folder in (options.first, options.second)))
    labels = ("kind", "protocol", "metric", "first", "second", "difference", "gained", "lost", "n", "unpaired")
    records: Any = rows.to_dict("records")
    text = markdown(records, {name: (name, str) for name in labels})
    costs = [describe_cost(folder, options.method) for folder in (options.first, options.second)]
    sys.stdout.write("\n".join([text, "", *costs, ""]))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.paired")
    options.add_argument("first", type=Path, help="folder of a run")
    options.add_argument("second", type=Path, help="folder of the other run")
    options.add_argument("--method", required=True)
    return options


def read_scores(folder: Path, method: str) -> pd.DataFrame:
    """Return the scores of a method in a run, with the subject of each fact.

    Raises:
        ValueError: If the run has no scores of the method.
    """
    scores = pd.read_parquet(folder / "scores.parquet").query("method == @method")
    if scores.empty:
        raise ValueError(f"{folder / 'scores.parquet'} has no scores of {method}: name a method of the run (--method)")
    facts = pd.read_parquet(folder / "edited_facts.parquet", columns=["model", "id", "subject"])
    return scores.merge(facts.rename(columns={"id": "fact_id"}), on=["model", "fact_id"], validate="many_to_one")


def compare(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Compare scores per kind of prompt, protocol and metric.

    Args:
        first: Scores of one method in a run, with `subject`.
        second: Those of the other run.

    Returns:
        Means, and of shares the difference second - first in points with its 95% interval, paired by prompt and
        clustered by subject. `gained` and `lost` count the prompts whose share is larger or smaller in the second run;
        `unpaired` counts scores that only one of the runs has.
    """
    pairs = first.merge(
        second[[*KEY, "value"]], on=KEY, how="outer", suffixes=("", "_second"), indicator=True, validate="one_to_one"
    )
    groups = {
        (kind, protocol, metric): group
        for (kind, protocol, metric), group in pairs.groupby(["kind", "protocol", "metric"], sort=False)
    }
    kinds = list(dict.fromkeys([*first["kind"], *second["kind"]]))
    return pd.DataFrame(
        _compare(groups[kind, protocol, metric], kind, protocol, metric)
        for kind in kinds
        for protocol, metrics in METRICS.items()
        for metric in metrics
        if (kind, protocol, metric) in groups
    )


def _compare(group: pd.DataFrame, kind: str, protocol: str, metric: str) -> dict[str, Any]:
    pairs = group[group["_merge"] == "both"].dropna(subset=["value", "value_second"])
    before, after = pairs["value"], pairs["value_second"]
    row = {"kind": kind, "protocol": protocol, "metric": metric, "n": len(pairs), "unpaired": len(group) - len(pairs)}
    if pairs.empty or not pairs["unit"].eq("share").all():
        return {
            **row,
            "first": f"{before.mean():.3g}",
            "second": f"{after.mean():.3g}",
            "difference": "",
        } | dict.fromkeys(("gained", "lost"), "")
    difference = paired_difference(after, before, pairs["subject"])
    points = [100 * value for value in (difference.value, difference.low, difference.high)]
    return {
        **row,
        "first": f"{100 * before.mean():.0f}",
        "second": f"{100 * after.mean():.0f}",
        "difference": "{:+.1f} [{:.1f}, {:.1f}]".format(*points),
        "gained": int((after > before).sum()),
        "lost": int((after < before).sum()),
    }


def describe_cost(folder: Path, method: str) -> str:
    """Return a line with the settings of a method in a run and the seconds of one edit."""
    records = json.loads((folder / "runs.json").read_text("utf-8"))
    lines = [
        f"{folder.name}: {model}, {record['seconds_per_edit'][model][method]:.3g} s per edit "
        f"({record['machine']}), {settings}"
        for record in records
        for model, methods in record["methods"].items()
        if (settings := methods.get(method)) is not None
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
