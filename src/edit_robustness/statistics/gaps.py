"""How much teacher forcing sees that free generation does not: both protocols on the same probes of the same edits.

Both were measured on every probe, so the gap is a mean of paired differences, and its interval is much narrower than
the distance of two intervals would suggest.
"""

from __future__ import annotations

import pandas as pd

from edit_robustness.statistics.intervals import mean, proportion

ALL_KINDS = "all"
"""The row that takes the probes of all kinds together."""

COLUMNS = [
    *("model", "method", "kind", "decoding", "n_probes", "n_facts", "both", "forced_only", "free_only", "neither"),
    *("cut", "forced", "free", "gap", "low", "high"),
]
_PROBE = ["model", "method", "decoding", "kind", "fact_id", "subject", "probe_id"]


def protocol_gaps(outcomes: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Success by teacher forcing against success by free generation, paired by probe.

    Args:
        outcomes: Scores with `subject`; those of the metric ``success`` under both protocols are used, and probes that
            lack one of them left out.
        confidence: Level of the interval.

    Returns:
        `COLUMNS`, a row for each model, method and kind, and one for all kinds together (`ALL_KINDS`): the counts of
        the four outcomes of a probe as in McNemar's table (`forced_only`: teacher forcing says yes and free generation
        no), how many answers of free generation a limit of tokens cut before they named an object (`cut`; they are
        among those that do not succeed), both shares, and their difference `gap` with its interval, which knows that
        probes share a subject.
    """
    both = _paired(outcomes)
    pooled = both.assign(kind=ALL_KINDS)
    rows = [
        {**dict(zip(["model", "method", "decoding", "kind"], key, strict=True)), **_gap(pairs, confidence)}
        for table in (both, pooled)
        for key, pairs in table.groupby(["model", "method", "decoding", "kind"], sort=False)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _paired(outcomes: pd.DataFrame) -> pd.DataFrame:
    """A row for each probe with the columns `forced`, `free` and `cut`, 0 or 1."""
    success = outcomes[(outcomes["metric"] == "success") & outcomes["value"].notna()]
    sides = {
        column: success[success["protocol"] == protocol].set_index(_PROBE)["value"].rename(column)
        for column, protocol in (("forced", "teacher_forced"), ("free", "free"))
    }
    cut = outcomes[(outcomes["metric"] == "cut") & (outcomes["protocol"] == "free")].set_index(_PROBE)["value"]
    pairs = pd.concat(sides.values(), axis=1, join="inner")
    return pairs.assign(cut=cut.reindex(pairs.index).fillna(0.0)).reset_index()


def _gap(pairs: pd.DataFrame, confidence: float) -> dict[str, float]:
    forced, free = pairs["forced"].astype(bool), pairs["free"].astype(bool)
    gap, low, high = _difference(pairs["forced"] - pairs["free"], pairs["subject"], confidence)
    return {
        "n_probes": len(pairs),
        "n_facts": pairs["fact_id"].nunique(),
        "both": int((forced & free).sum()),
        "forced_only": int((forced & ~free).sum()),
        "free_only": int((free & ~forced).sum()),
        "neither": int((~forced & ~free).sum()),
        "cut": int(pairs["cut"].sum()),
        "forced": float(forced.mean()),
        "free": float(free.mean()),
        "gap": gap,
        "low": low,
        "high": high,
    }


def _difference(gaps: pd.Series, subjects: pd.Series, confidence: float) -> tuple[float, float, float]:
    """The mean of -1, 0 and 1 with its interval.

    Where all are the same their spread says nothing, and the interval is from how many others could have gone unseen:
    Wilson's, of the share that is not 0.
    """
    found = mean(gaps, subjects, confidence)
    if gaps.nunique() > 1:
        return found.value, found.low, found.high
    share = proportion(gaps.abs(), subjects, confidence)
    if found.value == 0:
        return 0.0, -share.high, share.high
    return (1.0, share.low, 1.0) if found.value > 0 else (-1.0, -1.0, -share.low)
