"""The page of parity, from rows that a test can read."""

import pandas as pd
import pytest
from fabricated_pages import parity_row as row

from edit_robustness.report.parity import render_parity, summarise

PAIRS = {"tiny": {"rome": {"method": "ROME", "hparams": "mine<b>.yaml", "settings": {"variant": "rome"}}}}


NAN = float("nan")
FACTS = pd.DataFrame(
    [
        row("1"),
        row("2", cosine=0.5, relative=1.0, efficacy_easyedit=0.0, cpu_seconds_easyedit=8.0),
        row("3", cosine=NAN, relative=NAN, efficacy_easyedit=NAN, cpu_seconds_easyedit=NAN, failure_easyedit="<died>"),
    ]
)


def test_a_summary_counts_failures_and_leaves_them_out():
    (summary,) = summarise(FACTS).to_dict("records")
    assert (summary["n_facts"], summary["n_compared"]) == (3, 2)
    assert (summary["n_failed_ours"], summary["n_failed_easyedit"]) == (0, 1)
    assert (summary["cosine_median"], summary["cosine_lowest"]) == (0.75, 0.5)
    assert summary["relative_highest"] == 1.0
    assert (summary["efficacy_ours"], summary["efficacy_easyedit"]) == (1.0, 0.5)
    assert (summary["cpu_seconds_ours"], summary["cpu_seconds_easyedit"]) == (1.0, 6.0)


@pytest.mark.parametrize(
    ("share", "sentence"), [(True, "EasyEdit got this project"), (False, "Each code made its own")]
)
def test_the_page_has_all_figures_and_escapes_texts(share, sentence):
    page = render_parity(FACTS, summarise(FACTS), PAIRS, share=share)
    assert sentence in page
    assert "failed: 0 here, 1 by EasyEdit" in page
    assert "2 of 3" in page
    assert "1e-06" in page
    assert "variant: rome" in page
    assert "&lt;died&gt;" in page
    assert "mine&lt;b&gt;.yaml" in page
    assert "<i>Owl" not in page
