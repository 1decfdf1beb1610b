"""Record R's reference values of the regressions: python tests/reference/record_regressions.py (needs Rscript)."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pandas as pd
from regression_data import SLOPES, choose_edits, simulate

FOLDER = Path(__file__).parent
VALUES = FOLDER / "regressions.json"


def make_data() -> pd.DataFrame:
    """Return the outcomes of 80 facts, with effects of kinds and slopes per method."""
    return simulate(80, 8, slopes=SLOPES, cloze=-0.7, rome=0.5, seed=3)


def grade(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return the outcome new (2), neither (1), old (0) of each prompt."""
    new, old = choose_edits(outcomes), choose_edits(outcomes, "reversion")
    return new.assign(value=2 * new["value"] + (1 - new["value"]) * (1 - old["value"]))


def separate(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return outcomes in which every statement succeeds; weight: each subject counts once per kind."""
    rows = choose_edits(outcomes)
    rows.loc[rows["kind"] == "statement", "value"] = 1.0
    return rows.assign(weight=1 / rows.groupby(["subject", "kind"])["value"].transform("size"))


def main() -> None:
    """Write the data, run R, and keep its values."""
    outcomes = make_data()
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("success.csv", "graded.csv", "separated.csv")]
        tables = (choose_edits(outcomes), grade(outcomes), separate(outcomes))
        for path, table in zip(paths, tables, strict=True):
            table.to_csv(path, index=False)
        subprocess.run(["Rscript", str(FOLDER / "regressions.R"), *paths, str(VALUES)], check=True)


if __name__ == "__main__":
    main()
