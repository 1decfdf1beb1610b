import pandas as pd
import pytest

from edit_robustness.labels import KINDS
from edit_robustness.report import paper1


def ours(*rows):
    """row, method, value, and half the width of its interval."""
    return pd.DataFrame(
        [
            {"model": "m", "row": row, "method": method, "metric": "success", "value": value, "low": value - half,
             "high": value + half, "n_probes": 24, "n_facts": 24}
            for row, method, value, half in rows
        ]
    )  # fmt: skip


def find_orderings(*rows):
    table = paper1.orderings(paper1.beside(ours(*rows)))
    return {(row["within"], row["of"], row["higher"], row["lower"]): row["found"] for row in table.to_dict("records")}


def test_the_papers_figures():
    table = paper1.paper().set_index(["row", "method", "metric"])["paper"]
    assert len(table) == 6 * (10 + 9)
    assert table["doubts", "ike", "reversion"] == pytest.approx(0.493)
    assert table["cloze", "serac", "success"] == pytest.approx(0.014)
    assert ("plain", "rome", "reversion") not in table.index
    # sums of its columns, so that no figure is lost or slips to a neighbour unseen
    sums = (100 * table.groupby(["metric", "method"]).sum()).round(1)
    assert sums["success"].to_dict() == {
        "kn": 16.0, "mend": 151.8, "rome": 528.8, "memit": 683.2, "serac": 454.5, "ike": 848.3
    }  # fmt: skip
    assert sums["reversion"].to_dict() == {
        "kn": 404.8, "mend": 335.0, "rome": 193.7, "memit": 128.6, "serac": 199.8, "ike": 111.5
    }  # fmt: skip


def test_its_rows_are_kinds_of_ours():
    assert set(paper1.ROW_OF_KIND.values()) == set(paper1.ROWS)
    assert {"statement", "paraphrase", "cloze", "dialogue", "doubt"} <= set(paper1.ROW_OF_KIND) & set(KINDS)


def test_both_doubts_are_one_row_and_other_protocols_none():
    outcomes = pd.DataFrame(
        [
            {"kind": kind, "method": method, "metric": "success", "protocol": protocol}
            for kind in ("doubt", "doubt_old_object", "question")
            for method in ("rome", "ft")
            for protocol in ("free", "teacher_forced")
        ]
    )
    rows = paper1.select_rows(outcomes)
    assert rows[["row", "method", "protocol"]].to_numpy().tolist() == [["doubts", "rome", "free"]] * 2


def test_an_ordering_is_found_lost_or_open():
    # the paper: ROME 74.7 on rephrase and 21.3 on long+ref, IKE 98.0 and 83.5
    assert find_orderings(("rephrase", "rome", 0.8, 0.05), ("rephrase", "ike", 0.95, 0.05)) == {
        ("kind", "rephrase", "ike", "rome"): "agrees"
    }
    assert find_orderings(("rephrase", "rome", 0.95, 0.02), ("rephrase", "ike", 0.5, 0.1)) == {
        ("kind", "rephrase", "ike", "rome"): "disagrees"
    }
    assert find_orderings(("rephrase", "rome", 0.5, 0.2), ("long+ref", "rome", 0.4, 0.2)) == {
        ("method", "rome", "rephrase", "long+ref"): "cannot tell"
    }


def test_figures_that_are_near_in_the_paper_are_not_compared():
    # 74.7 and 78.2
    assert find_orderings(("rephrase", "rome", 0.9, 0.01), ("rephrase", "memit", 0.1, 0.01)) == {}


def test_what_was_not_asked_is_shown_and_not_compared():
    table = paper1.beside(ours(("plain", "rome", 1.0, 0.0)))
    assert len(table) == 19
    assert table["value"].notna().sum() == 1
    assert paper1.orderings(table).empty
    assert paper1.beside(ours(("plain", "ft", 1.0, 0.0))).empty


def test_orderings_are_counted():
    table = paper1.orderings(
        paper1.beside(
            ours(
                ("rephrase", "rome", 0.8, 0.05), ("rephrase", "ike", 0.95, 0.05),
                ("long+ref", "rome", 0.9, 0.01), ("long+ref", "ike", 0.94, 0.2),
            )
        )
    )  # fmt: skip
    counts = paper1.count_orderings(table).set_index("within")
    assert counts.loc["kind", ["agrees", "disagrees", "cannot tell", "pairs"]].tolist() == [1, 0, 1, 2]
    assert counts.loc["method", ["agrees", "disagrees", "cannot tell", "pairs"]].tolist() == [0, 1, 1, 2]
    assert paper1.count_orderings(table.head(0)).empty
