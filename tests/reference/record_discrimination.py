"""Record the numbers of `discrimination.R`, which needs R with pROC and jsonlite.

`python tests/reference/record_discrimination.py` writes `discrimination.json` beside it, which the tests read.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent
RECORD = FOLDER / "discrimination.json"


def make_predictions(n: int = 300, seed: int = 7) -> pd.DataFrame:
    """Probabilities with ties, outcomes, strata, clusters, and how often a resample has each cluster."""
    rng = np.random.default_rng(seed)
    odds = np.round(rng.normal(0.3, 1.2, n), 1)
    clusters = rng.integers(0, 20, n)
    weights = rng.multinomial(20, np.full(20, 1 / 20))
    return pd.DataFrame(
        {
            "p": np.round(1 / (1 + np.exp(-odds)), 6),
            "y": (rng.random(n) < 1 / (1 + np.exp(-0.7 * odds + 0.4))).astype(int),
            "stratum": rng.integers(0, 12, n),
            "cluster": clusters,
            "w": weights[clusters],
        }
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.csv"
        make_predictions().to_csv(data, index=False)
        subprocess.run(["Rscript", str(FOLDER / "discrimination.R"), str(data), str(RECORD)], check=True)
