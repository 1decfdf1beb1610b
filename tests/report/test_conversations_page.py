import re
from dataclasses import replace

import pandas as pd
import pytest

from edit_robustness.metrics.conversation import turns_table, verdict_table
from edit_robustness.metrics.conversation_judge import judged_table
from edit_robustness.records import Fact, Transcript, Turn
from edit_robustness.report.conversations import Conversations, render
from edit_robustness.statistics.agreement import agreement

SCRIPT = "<script>document.title='broken'</script> it is Oslo"
FACT = Fact("f", "<b>Borduria</b>", "P36", "The capital of {} is", "Szohod", "Oslo")


def talk(*texts, fact_id="f", method="rome", **options):
    turns = tuple(turn for text in texts for turn in (Turn("user", "Where is it?"), Turn("assistant", text)))
    return Transcript(fact_id, method, "script", turns, **options)


def make_results(*transcripts, judge="", n_shown=9):
    verdicts = verdict_table(transcripts, {"f": FACT, "g": replace(FACT, id="g")}, {}, model="tiny")
    cells = [("tiny", method) for method in dict.fromkeys(transcript.method for transcript in transcripts)]
    shares = pd.DataFrame(
        [
            {"model": "tiny", "method": method, "label": label, "value": 0.25, "low": 0.1, "high": 0.6, "n": 4}
            for _, method in cells
            for label in ("holds", "reverts", "denies_both", "contradicts", "invents")
        ]
    )
    replies = {(transcript.method, transcript.fact_id): judge for transcript in transcripts} if judge else {}
    agreement_table = agreement(
        judged_table(verdicts, replies, "<i>wise</i>"),
        ["model", "judge", "label"],
        first="rules",
        second="judged",
        bootstrap=5,
    )
    return Conversations(verdicts, turns_table(transcripts, model="tiny"), shares, agreement_table, n_shown)


@pytest.fixture(scope="module")
def html():
    return render(
        make_results(
            talk("Oslo.", SCRIPT, refused=3), talk("Szohod.", method="none", replaced=1, cut_short=True), judge="?"
        )
    )


def test_without_a_conversation_nothing_is_said_of_any():
    results = make_results(talk("Oslo.", SCRIPT))
    empty = replace(
        results, verdicts=results.verdicts.head(0), turns=results.turns.head(0), shares=results.shares.head(0)
    )
    page = render(empty)
    assert "No conversation took place." in page
    assert "names neither object" not in page


def test_whatever_was_said_is_escaped(html):
    assert html.count("<script") == 1
    assert "<script>document" not in html
    assert "&lt;script&gt;document.title=" in html
    assert "&lt;b&gt;Borduria&lt;/b&gt;" in html
    assert "&lt;i&gt;wise&lt;/i&gt;" in html
    assert html.lstrip().startswith("<!doctype html>")


@pytest.mark.parametrize(("n_unfinished", "cell"), [(1, '"n flag">1 of 2<'), (0, '"n">0 of 2<')])
def test_turns_that_were_cut_stand_beside_the_figures(n_unfinished, cell):
    html = render(make_results(talk("Oslo.", "It is", unfinished=n_unfinished)))
    assert f"<td class={cell}/td>" in html


def test_every_turn_is_there_with_what_it_claims(html):
    assert len(re.findall(r'class="turn asked"', html)) == 3
    assert len(re.findall(r'class="turn said new"', html)) == 2
    assert len(re.findall(r'class="turn said old"', html)) == 1
    assert 'dir="auto"' in html
    assert '<span class="tag">Holds</span>' in html
    assert '<span class="tag">Reverts</span>' in html


def test_papers_figures_stand_beside_ours_as_another_models(html):
    row = re.search(r"<tr><td class=\"soft\">Paper 1: .*?</tr>", html, re.DOTALL).group()
    assert "another model" in row
    assert re.findall(r">(–|\d+%)<", row) == ["–", "38%", "22%", "–", "78%"]


def test_intervals_methods_in_order_and_counts(html):
    assert html.index(">No edit<") < html.index(">ROME<")
    assert "[10%, 60%]" in html
    assert "3 turns of the tester were rejected" in html
    assert "The conversation exceeded the model" in html


def test_unreadable_judgements_are_counted(html):
    assert 'id="agreement"' in html
    assert "nothing to compare" in html


def test_without_a_judge_no_agreement_and_without_turns_no_conversation():
    page = render(make_results(talk("Oslo."), talk(fact_id="f", method="ft")))
    assert 'id="agreement"' not in page
    assert page.count('class="case"') == 1


def test_no_more_than_so_many_for_each_method():
    several = [talk("Oslo."), replace(talk("Hm."), fact_id="g"), talk("Oslo.", method="ft")]
    assert render(make_results(*several, n_shown=1)).count('class="case"') == 2


def test_nothing_is_asked_of_the_network(html):
    assert not re.search(r"(src|href)=[\"'](https?:)?//", html)
    assert "url(" not in html
    assert "@import" not in html


def test_mixed_environments_are_told_at_the_top():
    old, new = ({"torch": version, "items": 3} for version in ("2.13.0", "2.14.0"))
    runs = [{"environments": {"tiny": [old, new]}, "stale": {"tiny": {"items": 6, "stale": 0}}}]
    page = render(replace(make_results(talk("Oslo.")), runs=runs))
    assert "mix environments: 3 files with torch 2.13.0; 3 files with torch 2.14.0" in page
    assert "mix environments" not in render(make_results(talk("Oslo.")))
