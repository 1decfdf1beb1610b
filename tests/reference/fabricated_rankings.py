"""Made-up rankings and comparisons of methods, from which the sentences of the report are made."""

import numpy as np
import pandas as pd

from edit_robustness.statistics.comparisons import compare_methods, rank_methods, weakest_kinds

NAN = float("nan")


def make_tables(rates, n=40, outcome="generalization"):
    """The rankings and comparisons of methods that succeed on a share of the facts."""
    rows = [
        {
            "model": "m", "protocol": "free", "outcome": outcome, "method": method, "fact_id": f"f{i}",
            "subject": f"s{i}", "value": NAN if np.isnan(rate) else float(i < round(rate * n)),
        }
        for method, rate in rates.items()
        for i in range(n)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    comparisons = compare_methods(table)
    return rank_methods(table, comparisons), comparisons, weakest_kinds(table)


def join_tables(*tables):
    return tuple(pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
