"""Paired differences between the two protocols on the same probes.

Both protocols were measured on every probe, so a gap is a mean of paired differences. Its interval is much narrower
than two separate intervals suggest.
"""

from __future__ import annotations

import pandas as pd

from edit_robustness.statistics.intervals import paired_difference

ALL_KINDS = "all"
"""Kind of the row over all kinds of prompt together."""

COLUMNS = [
    *("model", "method", "kind", "decoding", "n_probes", "n_facts", "both", "forced_only", "free_only", "neither"),
    *("cut", "forced", "free", "gap", "low", "high"),
]
_PROBE = ["model", "method", "decoding", "kind", "fact_id", "subject", "probe_id"]


def protocol_gaps(outcomes: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Compare success by teacher forcing with success by free generation, paired by probe.

    Args:
        outcomes: Scores with `subject`; those of the metric ``success`` under both protocols are used, and probes that
            lack one of the two are left out.
        confidence: Level of the interval.

    Returns:
        `COLUMNS`, a row for each model, method and kind, and one for all kinds together (`ALL_KINDS`): the counts of
        the four outcomes of a probe as in McNemar's table (`forced_only`: success by teacher forcing but not by free
        generation), the number of free generations that the token limit cut before they named an object (`cut`; they
        count as no success), both shares, and their difference `gap` with its interval, clustered by subject.
    """
    probes = _pair_protocols(outcomes)
    all_kinds = probes.assign(kind=ALL_KINDS)
    rows = [
        {**dict(zip(["model", "method", "decoding", "kind"], key, strict=True)), **_gap(pairs, confidence)}
        for table in (probes, all_kinds)
        for key, pairs in table.groupby(["model", "method", "decoding", "kind"], sort=False)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _pair_protocols(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Build a row per probe with the columns `forced`, `free` and `cut`, each 0 or 1."""
    success = outcomes[(outcomes["metric"] == "success") & outcomes["value"].notna()]
    sides = {
        column: success[success["protocol"] == protocol].set_index(_PROBE)["value"].rename(column)
        for column, protocol in (("forced", "teacher_forced"), ("free", "free"))
    }
    cuts = outcomes[(outcomes["metric"] == "cut") & (outcomes["protocol"] == "free")].set_index(_PROBE)["value"]
    pairs = pd.concat(sides.values(), axis=1, join="inner")
    return pairs.assign(cut=cuts.reindex(pairs.index).fillna(0.0)).reset_index()


def _gap(pairs: pd.DataFrame, confidence: float) -> dict[str, float]:
    forced_success, free_success = pairs["forced"].astype(bool), pairs["free"].astype(bool)
    gap = paired_difference(pairs["forced"], pairs["free"], pairs["subject"], confidence)
    return {
        "n_probes": len(pairs),
        "n_facts": pairs["fact_id"].nunique(),
        "both": int((forced_success & free_success).sum()),
        "forced_only": int((forced_success & ~free_success).sum()),
        "free_only": int((free_success & ~forced_success).sum()),
        "neither": int((~forced_success & ~free_success).sum()),
        "cut": int(pairs["cut"].sum()),
        "forced": float(forced_success.mean()),
        "free": float(free_success.mean()),
        "gap": gap.value,
        "low": gap.low,
        "high": gap.high,
    }
