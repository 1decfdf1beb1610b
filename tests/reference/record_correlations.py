"""Record R's numbers for rank correlations: `python tests/reference/record_correlations.py` needs R with metafor.

The tests make the same tables and read `correlations.json`.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
RECORDED = HERE / "correlations.json"


def facts(seed: int = 15) -> pd.DataFrame:
    """60 facts with ties: a feature, a graded and a binary outcome, two other features, and a relation."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 9, 60).astype(float), rng.normal(size=60)
    x = np.round(first / 4 + rng.normal(size=60), 1)
    grades = np.round(np.clip(0.5 + 0.15 * x + 0.2 * rng.normal(size=60), 0, 1) * 3) / 3
    binary = (0.4 * x + 0.3 * second + rng.normal(size=60) > 0.5).astype(float)
    return pd.DataFrame(
        {"x": x, "graded": grades, "binary": binary, "first": first, "second": second.round(3),
         "relation": [f"P{i % 5}" for i in range(60)]}
    )  # fmt: skip


def effects(seed: int = 16) -> pd.DataFrame:
    """Correlations within twelve relations of different size, with Fisher's z and its variance."""
    rng = np.random.default_rng(seed)
    n = rng.integers(12, 120, 12)
    rho = np.tanh(0.15 + 0.15 * rng.normal(size=12) + rng.normal(size=12) / np.sqrt(n - 3))
    return pd.DataFrame({"rho": rho, "n_subjects": n, "z": np.arctanh(rho), "variance": (1 + rho**2 / 2) / (n - 3)})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        tables = {"facts.csv": facts(), "effects.csv": effects()}
        for name, table in tables.items():
            table.to_csv(Path(folder) / name, index=False)
        files = [str(Path(folder) / name) for name in tables]
        subprocess.run(["Rscript", str(HERE / "correlations.R"), *files, str(RECORDED)], check=True)
