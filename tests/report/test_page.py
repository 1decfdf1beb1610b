import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml
from fabricated_page import make_findings
from fabricated_tables import RIGHT_TO_LEFT, SCRIPT
from plotly.offline import get_plotlyjs_version

from edit_robustness.editing.registry import ENTRIES
from edit_robustness.labels import REGRESSIONS
from edit_robustness.report import paper1, render, specificity
from edit_robustness.report.answers import QUESTIONS
from edit_robustness.report.heat import heat_tables
from edit_robustness.report.overview import overviews
from edit_robustness.report.page import read_vendored
from edit_robustness.report.runs import (
    in_bytes,
    list_contexts,
    list_methods,
    list_mixed,
    list_models,
    list_unmet,
    summary,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def findings():
    return make_findings()


@pytest.fixture(scope="module")
def html(findings):
    return render(findings)


def test_prompts_that_no_test_uses_stand_beside_the_rejected_facts(findings):
    line = {"row": 0, "id": "", "subject": "", "relation": "", "reason": "left out: 3 prompts of 2 rows: locality <F>"}
    page = render(replace(findings, rejects=pd.concat([findings.rejects, pd.DataFrame([line])])))
    assert "<li>left out: 3 prompts of 2 rows: locality &lt;F&gt;</li>" in page
    assert "<p>1 in total.</p>" in page
    assert "that no probe uses" not in render(replace(findings, rejects=findings.rejects))


@pytest.fixture(scope="module")
def body(html):
    """The page without plotly.js, which is long and not ours."""
    return re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)


class Elements(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_what_a_model_said_is_escaped(findings, body):
    assert SCRIPT in set(findings.failure_examples["text"])
    assert "document.title=" in body
    assert "<script>document" not in body
    assert "<b>Nowhere</b>" not in body
    assert "&lt;b&gt;Nowhere&lt;/b&gt;" in body


def test_right_to_left_text_finds_its_own_direction(findings, body):
    assert RIGHT_TO_LEFT in set(findings.failure_examples["text"])
    match = re.search(rf'<div class="turn[^>]*>(?:(?!<div).)*{RIGHT_TO_LEFT}', body, re.DOTALL)
    assert 'dir="auto"' in match.group()


def test_a_name_cannot_end_the_figures_script(findings):
    figure = go.Figure(go.Scatter(x=[1], y=[1], name="</script><script>alert(1)</script>"))
    html = render(replace(findings, figures={"robustness": figure}))
    assert "<script>alert(1)" not in html


def test_nothing_is_asked_of_the_network(body):
    for tag, attributes in Elements(body).found:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name) or ""
            assert not re.match(r"(https?:)?//", value), (tag, value)
    style = re.search(r"<style>(.*?)</style>", body, re.DOTALL).group(1)
    assert "@import" not in style
    assert "url(" not in style


def test_plotly_stands_in_the_file_once(html):
    assert 1e6 < len(html.encode()) < 2e6
    assert html.count("* plotly.js (basic - minified)") == 1


def test_links_and_ids_fit(body):
    elements = Elements(body).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for _, a in elements if a.get("href", "").startswith("#")} <= set(ids)
    assert {f"plot-{a['data-figure']}" for _, a in elements if "data-figure" in a} <= set(ids)


def test_numbers_on_the_page_are_the_tables(findings, body):
    rows = findings.headline.set_index(["method", "kind", "protocol", "metric"])
    row = rows.loc[("ike", "paraphrase", "teacher_forced", "success")]
    assert f"<b>{row['value']:.0%}</b> <span>[{row['low']:.0%}, {row['high']:.0%}]</span>" in body
    power = findings.power.iloc[0]
    assert power["n_tests"] > 1
    assert f"{power['n_needed']:,} facts" in body
    assert f"after Holm’s correction over {power['n_tests']} tests" in body
    assert "The 4-bit file made float again" in body
    assert "24 facts: cannot tell" in body
    changed_headline = findings.headline.assign(
        value=findings.headline["value"].where(findings.headline["method"] != "rome", 0.5)
    )
    assert f"<b>{0.5:.0%}</b>" in render(replace(findings, headline=changed_headline, figures={}))


def test_kinds_stand_down_by_family_and_methods_across(findings):
    free, teacher_forcing, next_token = heat_tables(findings.headline)["smollm2"]
    assert (free.label, teacher_forcing.label, next_token.label) == ("Free generation", "Teacher forcing", "Next token")
    edit, local = free.sections
    assert [section.label for section in free.sections] == ["Efficacy and generalization", "Specificity"]
    assert [row.label for row in edit.rows][:2] == ["Statement", "Paraphrase"]
    assert [row.label for row in local.rows] == ["Neighbourhood", "Relation specificity", "Unrelated"]
    assert [section.label for section in next_token.sections] == ["Specificity"]
    assert [column.label for column in free.methods] == ["No edit", "Fact in context", "FT", "ROME", "IKE"]
    assert (edit.rows[1].counts, local.rows[0].counts) == ("72 probes of 24 facts", "48 probes of 24 facts")
    one_cell = replace(edit.rows[1].cells[0], n_probes=1, n_facts=1)
    assert one_cell.counts == "1 probe of 1 fact"
    cell = edit.rows[0].cells[3]
    assert cell.value + cell.old + cell.neither == pytest.approx(1)
    assert "old object" in cell.tooltip
    assert teacher_forcing.sections[0].rows[0].cells[3].preference is not None


def test_thirty_kinds_and_what_follows_from_an_edit_have_their_rows(findings):
    statement_rows = findings.headline.query("kind == 'statement'")
    kind_rows = pd.concat([statement_rows.assign(kind=f"kind_{number}") for number in range(30)])
    follows = kind_rows.query("metric == 'success'").assign(family="portability", metric="portability")
    headline = pd.concat([findings.headline, kind_rows, follows])
    free = heat_tables(headline)["smollm2"][0]
    assert [len(section.rows) for section in free.sections] == [39, 30, 3]
    page = render(replace(findings, headline=headline, figures={}))
    assert page.count("kind 29<small>24 probes of 24 facts</small>") == 4


def test_the_second_copies_of_a_family_stand_apart_from_kinds(findings):
    overview = overviews(findings.overview)["smollm2"]
    assert [column.label for column in overview.columns] == [
        "Neighbourhood: known answers unchanged", "Relation specificity: known answers unchanged",
        "Unrelated: known answers unchanged",
        "Neighbourhood: divergence", "Relation specificity: divergence", "Unrelated: divergence", "N-gram entropy",
    ]  # fmt: skip
    assert overview.columns[3].remark == "next token, nats"
    rome = next(line for line in overview.lines if line.label == "ROME")
    row = findings.overview.query("method == 'rome' and metric == 'kl' and kind == 'neighbourhood'").iloc[0]
    assert rome.cells[3] == (f"{row['value']:.2f}", f"[{row['low']:.2f}, {row['high']:.2f}]")
    assert rome.cells[0][1].endswith("] 48 known of 72")
    assert rome.cells[2] == ("–", "0 known of 24")
    alone = overviews(findings.overview.query("method != 'rome' or metric != 'kl'"))["smollm2"]
    assert next(line for line in alone.lines if line.label == "ROME").cells[3] is None


def test_side_effects_are_a_narrow_table_and_one_of_the_rest(findings, body):
    overview = overviews(findings.overview)["smollm2"]
    assert [overview.columns[place].label for place in overview.main_places] == [
        "Neighbourhood: known answers unchanged", "Relation specificity: known answers unchanged",
        "Unrelated: known answers unchanged",
    ]  # fmt: skip
    assert sorted([*overview.main_places, *overview.other_places]) == list(range(len(overview.columns)))
    section = body.partition('<section id="beside">')[2].partition("</section>")[0]
    main, others, *_ = re.findall(r"<table.*?</table>", section, re.DOTALL)
    assert main.count("<th") - 1 == 1 + len(overview.main_places)
    assert re.findall(r'<td class="name"[^>]*>([^<]*)<', others) == [
        overview.columns[place].label for place in overview.other_places
    ]
    assert section.index("<details>") > section.index("</table>")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", section))
    for value, interval in (cell for line in overview.lines for cell in line.cells if cell):
        assert " ".join(f"{value} {interval}".replace("]", "] ").split()) in text


def test_without_specificity_the_other_measures_are_not_folded_away(findings):
    rows = findings.overview[findings.overview["family"] != "specificity"]
    section = render(replace(findings, overview=rows, figures={})).partition('<section id="beside">')[2]
    assert section.index('<td class="name"') < section.index("<details>")


def test_a_metric_that_is_declared_nowhere_is_shown_last(findings):
    rows = findings.overview.query("metric == 'entropy'").assign(metric="word_count", protocol="mine", unit="words")
    columns = overviews(pd.concat([rows, findings.overview]))["smollm2"].columns
    assert (columns[-1].label, columns[-1].remark, columns[-1].description) == ("word count", "mine, words", "")
    assert columns[3].description.endswith("Lower is better.")


def test_gaps_and_the_papers_table_are_on_the_page(findings, body):
    gap = findings.gaps.query("method == 'rome' and kind == 'all'").iloc[0]
    assert f"{100 * gap['gap']:.1f} [{100 * gap['low']:.1f}, {100 * gap['high']:.1f}]" in body
    rome = findings.paper_1.query("method == 'rome' and row == 'rephrase'")
    assert "paper 74.7% / 2.2%" in body
    for row in rome.to_dict("records"):
        interval = f'<span class="interval">[{row["low"]:.0%}, {row["high"]:.0%}]</span>'
        assert f"<div>{row['value']:.0%} {interval}</div>" in body
        assert f'<small class="soft count">n = {row["n_probes"]:.0f}, {row["n_facts"]:.0f} facts</small>' in body
    assert paper1.MODEL in body
    assert "not asked in this run" in body


def test_a_judge_is_a_third_table(findings):
    judge_rows = findings.headline.query("protocol == 'free' and metric == 'success'").assign(
        protocol="judge", n_missing=1
    )
    tables = heat_tables(pd.concat([findings.headline, judge_rows]))["smollm2"]
    assert [table.label for table in tables] == ["Free generation", "Teacher forcing", "Judge", "Next token"]
    page = render(replace(findings, headline=pd.concat([findings.headline, judge_rows])))
    assert f"{len(judge_rows)} scores were left out because the judge’s reply could not be read (judge)" in page
    assert "<dt>Judge</dt>" in page
    assert "<dt>Judge</dt>" not in render(findings)


def test_the_first_screen_answers_the_questions_from_the_tables(findings, body):
    questions = re.findall(r"<h2>([^<]*\?)</h2>\s*<p class=\"lead\">", body)
    assert questions == list(QUESTIONS)
    row = findings.method_rankings.query("protocol == 'free' and outcome == 'generalization' and rank == 1").iloc[0]
    interval = f'<span class="interval">[{row["low"]:.0%}, {row["high"]:.0%}]</span>'
    assert f"{row['value']:.0%} {interval}" in body
    with_turned_ranks = findings.method_rankings.assign(value=0.125)
    assert "12% " in render(replace(findings, method_rankings=with_turned_ranks, figures={}))


@pytest.fixture(scope="module")
def page_without_texts(findings):
    empty = {name: getattr(findings, name).head(0) for name in ("examples", "failure_examples", "specificity_failures")}
    return re.sub(r"<script>.*?</script>", "", render(replace(findings, **empty, has_answers=False)), flags=re.DOTALL)


def test_tables_without_answers_offer_none_and_claim_nothing_about_cases(page_without_texts, body):
    sentence = "computed from tables without texts, so it shows no answers and no failure cases."
    assert page_without_texts.count(sentence) == 1
    assert sentence not in body
    for text in ('href="#failures"', "answers.csv", "answers.parquet", "some of its answers", "Answers behind"):
        assert text in body
        assert text not in page_without_texts
    assert 'id="failures"' not in page_without_texts
    assert "data-figures-only" in page_without_texts
    assert "data-figures-only" not in body


def test_the_first_screen_names_the_model_the_facts_and_the_methods(body):
    (line,) = re.findall(r'<p class="scope">([^<]*)</p>', body)
    assert line.startswith("Model: smollm2")
    assert "Facts: 24" in line
    assert line.endswith("Methods: FT, ROME and IKE. Compared with: No edit and Fact in context.")
    assert body.index(line) < body.index(QUESTIONS[0])


def test_the_reading_flow_has_no_commands(findings, page_without_texts):
    for page in (page_without_texts, render(replace(findings, headline=with_cut(findings, 0.25), figures={}))):
        first_part, _, explanation = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL).partition(
            '<section id="read">'
        )
        assert "kedro run" not in first_part
        assert "raise <code>" not in first_part
        assert "kedro run --pipeline=sequential_eval" in explanation
        assert "decoding.max_new_tokens" in explanation


def test_a_feature_that_was_not_measured_has_no_importance(findings):
    feature = findings.importance["feature"].iloc[0]
    summary_rows = findings.feature_summary
    is_feature = summary_rows["feature"] == feature
    absent = summary_rows.assign(
        n_edited_missing=summary_rows["n_edited_missing"].mask(is_feature, summary_rows["n_edited"])
    )
    pages = [
        render(replace(findings, figures={}, feature_summary=table)).partition("Importance of features")[2]
        for table in (summary_rows.assign(n_edited_missing=0), absent)
    ]
    assert [page.partition("</table>")[0].count("not measured") for page in pages] == [0, 1]


def test_each_method_is_described(findings, body):
    explanation = body.partition('<section id="read">')[2]
    assert f"<dt>ROME</dt><dd>{ENTRIES['rome'].description}</dd>" in explanation


def test_page_views_of_several_sources_are_a_caution_beside_their_figures(findings):
    summary_rows = findings.feature_summary
    assert "from several sources" not in render(replace(findings, figures={}))
    mixed_summary = summary_rows.assign(
        source=summary_rows["source"].mask(summary_rows["feature"] == "log_views", "MIXED: a; b")
    )
    page = render(replace(findings, feature_summary=mixed_summary, figures={}))
    section = page.partition('<section id="popularity">')[2]
    assert section.index("from several sources, which count different things: a; b.") < section.index("<h3>")


def test_the_map_does_not_say_that_a_model_knows(findings, body):
    heat_map = body[body.index('class="card heat"') : body.index('<section id="beside">')]
    assert "knows" not in heat_map
    assert "over the known prompts: those that the unedited model answers with a stable object" in heat_map


def test_questions_stand_under_each_of_several_models(findings):
    tables = ("headline", "method_rankings", "method_comparisons", "weakest_kinds")
    pairs = {
        name: pd.concat([table, table.assign(model="gpt2")]) for name in tables for table in [getattr(findings, name)]
    }
    page = render(replace(findings, **pairs, figures={}))
    assert page.count(f"<h3>{QUESTIONS[0]}</h3>") == 2
    assert page.index("<h2>smollm2</h2>") < page.index("<h2>gpt2</h2>")


def test_a_cell_says_how_many_prompts_the_unedited_model_knows(findings, body):
    free = heat_tables(findings.headline)["smollm2"][0]
    neighbourhood, _, unrelated_cell = (row.cells[3] for row in free.sections[1].rows)
    assert neighbourhood.known == "48 known of 72"
    assert "known prompts: 48 known of 72" in neighbourhood.tooltip
    assert unrelated_cell.text == "0 known of 24"
    assert "48 known of 72" in body
    assert "0 known of 24" in body


def without_scores(table, number, metric):
    """The table with so many answers of ROME about neighbours unscored, because they were cut."""
    mask = (table["method"] == "rome") & (table["kind"] == "neighbourhood") & (table["protocol"] == "free")
    mask &= table["metric"] == metric
    n_left = table["n_probes"] - number
    changed_table = table.assign(
        n_probes=table["n_probes"].mask(mask, n_left), n_missing=table["n_missing"].mask(mask, number)
    )
    return changed_table.assign(value=changed_table["value"].mask(mask & (n_left == 0)))


@pytest.mark.parametrize(
    ("n_cut", "known_text"), [(3, "48 known of 72, 45 of them scored"), (48, "48 known of 72, 0 of them scored")]
)
def test_prompts_whose_answers_were_cut_stay_known(findings, n_cut, known_text):
    headline, overview = (
        without_scores(without_scores(table, n_cut, "specificity"), n_cut, "specificity_all")
        for table in (with_cut(findings, n_cut / 72, kind="neighbourhood", family="specificity"), findings.overview)
    )
    cell = heat_tables(headline)["smollm2"][0].sections[1].rows[0].cells[3]
    assert (cell.known, cell.has_value) == (known_text, n_cut < 48)
    rome = next(line for line in overviews(overview)["smollm2"].lines if line.label == "ROME")
    assert rome.cells[0][1].endswith(known_text)
    rows = headline[(headline["method"] == "rome") & (headline["protocol"] == "free")]
    sentence = next(specificity.sentences("ROME", rows))
    assert f": {known_text}. " in sentence
    assert f"of the {72 - n_cut} of 72 that could be scored are unchanged." in sentence
    assert known_text in render(replace(findings, headline=headline, figures={}))


def test_what_was_run_may_lack_anything():
    assert (list_models([{}]), list_methods([{}]), summary([{}])) == ([], [], [])
    record = {
        "methods": {"m": {"rome": {"layer": 5}}},
        "seconds_per_edit": {"m": {"rome": 1.5}},
        "bytes_per_edit": {"rome": 2048},
        "probes_per_second": {"m": {"rome": 12.34, "ft": None}},
    }
    assert list_methods([record]) == [
        {
            "model": "m", "method": "ROME", "settings": "layer: 5", "note": "", "seconds": "1.50 s", "size": "2.0 KiB",
            "speed": "12.3",
        }
    ]  # fmt: skip
    assert in_bytes(5 * 1024**3) == "5.0 GiB"


def test_contexts_that_could_not_be_used_stand_under_the_methods(findings):
    counts = {"facts": 24, "contexts": 144, "unused": 0, "facts_short": 0}
    runs = [{"contexts": {"m": {"memit": {**counts, "unused": 7, "facts_short": 2}, "rome": counts, "none": None}}}, {}]
    lines = list_contexts(runs)
    assert lines == [
        "m, ROME: all 144 contexts of 24 facts were used",
        "m, MEMIT: 7 of 144 contexts could not be used, in 2 of 24 facts",
    ]
    page = render(replace(findings, runs=[*findings.runs, *runs]))
    assert all(line in page for line in lines)
    assert "contexts could not be used" not in render(findings)


def test_optimisations_that_used_up_their_steps_stand_under_the_methods(findings):
    counts = {"facts": 24, "unmet": 0, "stop_loss": 0.1}
    runs = [{"unmet": {"m": {"memit": {**counts, "unmet": 7}, "rome": counts, "none": None}}}, {}]
    lines = list_unmet(runs)
    assert lines == ["m, ROME: 0 of 24 (at 0.1)", "m, MEMIT: 7 of 24 (at 0.1)"]
    page = render(replace(findings, runs=[*findings.runs, *runs]))
    assert all(line in page for line in lines)
    assert "used up their steps" not in render(findings)


def test_mixed_environments_and_files_of_another_version_are_told_at_the_top(findings):
    old, new = ({"torch": version, "device": "cpu", "items": 12} for version in ("2.13.0", "2.14.0"))
    record = {"environments": {"m": [old, new]}, "stale": {"m": {"items": 24, "stale": 7}}}
    lines = list_mixed([record, {"environments": {"m": [new]}, "stale": {"m": {"items": 24, "stale": 0}}}, {}])
    assert len(lines) == 2
    assert "12 files with torch 2.13.0; 12 files with torch 2.14.0" in lines[0]
    assert "7 of 24 files were made by another version" in lines[1]
    page = render(replace(findings, runs=[*findings.runs, record]))
    assert page.index("mix environments") < page.index("7 of 24 files") < page.index("Run details</h2>")
    assert "mix environments" not in render(findings)


def test_an_empty_analysis_still_makes_a_page(findings):
    empty_table = pd.DataFrame()
    page = render(
        replace(
            findings, overview=empty_table, gaps=empty_table, 
            method_comparisons=empty_table,
            method_rankings=empty_table, weakest_kinds=empty_table, paper_1=empty_table,
            orderings=empty_table, correlations=empty_table,
            regression=empty_table, prediction=empty_table, failure_examples=findings.failure_examples.head(0),
            specificity_failures=findings.specificity_failures.head(0), rejects=empty_table,
            runs=[{}], figures={}, power=empty_table,
        )
    )  # fmt: skip
    assert "None: every row of the fact table was usable." in page
    assert "Every edit succeeds" not in page
    assert "The largest share of failures is" in page
    assert "analyze.max_failures is 0" in render(
        replace(findings, failure_examples=findings.failure_examples.head(0), max_failures=0)
    )


def test_enough_facts_are_not_called_too_few(findings):
    page = render(findings)
    assert "are too few to detect a correlation of 0.1" in page
    n_needed = findings.power["n_needed"].iloc[0]
    enough = render(replace(findings, power=findings.power.assign(n_facts=n_needed)))
    assert f"{n_needed} edited facts with page views are enough to detect a correlation of 0.1" in enough
    assert "too few to detect" not in enough


def test_explanations_claim_no_more_than_the_tables(body):
    assert "everything else held equal" not in body
    assert "agree in the others of its formula" in body
    assert "the easier test hides" not in body
    assert not re.search(r"<small>\d+ of \d+</small>", body)


def with_cut(findings, share, kind="statement", method="rome", family="edit"):
    """The headline with a share of cut answers in every cell, the given one in a single cell."""
    rows = findings.headline[findings.headline["protocol"] == "free"]
    rows = rows.drop_duplicates(["method", "kind"]).assign(metric="cut", unit="share", value=0.0, n_missing=0)
    mask = (rows["kind"] == kind) & (rows["method"] == method) & (rows["family"] == family)
    return pd.concat([findings.headline, rows.assign(value=rows["value"].mask(mask, share))], ignore_index=True)


@pytest.mark.parametrize(("share", "is_flagged"), [(0.0, False), (0.04, False), (0.25, True)])
def test_cut_answers_stand_in_the_cell_and_are_flagged_where_they_are_many(findings, share, is_flagged):
    headline = with_cut(findings, share)
    cell = heat_tables(headline)["smollm2"][0].sections[0].rows[0].cells[3]
    assert (cell.cut, cell.much_cut) == (share, is_flagged)
    assert f"cut by the token limit before naming an object {share:.1%}" in cell.tooltip
    page = render(replace(findings, headline=headline, figures={}))
    assert page.count(f"{100 * share:.1f}% cut</small>") == bool(share)
    assert ("⚠ " in page) == is_flagged
    number = round(share * cell.n_probes)
    assert f"smollm2: {number} of " in page


def test_a_cell_in_which_all_was_cut_is_not_one_that_was_not_asked(findings):
    headline = with_cut(findings, 1.0, kind="unrelated", family="specificity")
    mask = (headline["kind"] == "unrelated") & (headline["method"] == "rome") & (headline["protocol"] == "free")
    mask &= headline["metric"] == "specificity_all"
    probes = int(headline.loc[mask, "n_probes"].iloc[0])
    no_figures = {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n_probes": 0, "n_missing": probes}
    headline = headline.assign(**{name: headline[name].mask(mask, number) for name, number in no_figures.items()})
    cell = heat_tables(headline)["smollm2"][0].sections[1].rows[2].cells[3]
    assert not cell.has_value
    assert cell.tooltip.endswith("; no answer could be scored")
    page = render(replace(findings, headline=headline, figures={}))
    assert "–<small>⚠ 100% cut</small>" in page
    assert "the value was not finite" not in page


def test_what_follows_from_an_edit_has_its_cut_answers_beside_it(findings):
    row = findings.overview.query("method == 'rome' and metric == 'entropy'").iloc[[0]]
    shares = [
        row.assign(family=family, kind="all", metric=metric, unit="share", value=value)
        for family, metric, value in (
            ("portability", "portability", 0.5),
            ("portability", "cut", 0.4),
            ("edit", "cut", 0.3),
        )
    ]
    overview = overviews(pd.concat([findings.overview, *shares]))["smollm2"]
    rome = next(line for line in overview.lines if line.label == "ROME")
    cells = {column.label: cell for column, cell in zip(overview.columns, rome.cells, strict=True)}
    assert [cells[name][0] for name in ("Portability", "Portability: cut off", "Cut off")] == ["50%", "40%", "30%"]


def test_analyses_that_count_cut_answers_as_no_success_say_so(findings):
    sentence = "count as no success, here and in the prediction below"
    assert sentence in render(replace(findings, headline=with_cut(findings, 0.25), figures={}))
    assert sentence not in render(replace(findings, headline=with_cut(findings, 0.0), figures={}))


def test_the_papers_table_shows_what_was_cut(findings):
    paper_rows = findings.paper_1.assign(cut=0.25)
    page = render(replace(findings, paper_1=paper_rows, figures={}))
    assert '<small class="flag count">25.0% cut</small>' in page
    assert "25.0% cut" not in render(replace(findings, figures={}))


def test_links_to_tables_name_files_that_a_run_writes():
    catalogs = [yaml.safe_load(path.read_text()) for path in (ROOT / "conf/base").glob("catalog*.yml")]
    entries = [entry for catalog in catalogs for entry in catalog.values() if "filepath" in entry]
    entries = [entry for entry in entries if entry["type"].endswith("ReportTable")]
    tables = {entry["filepath"].partition("/latest/")[2].removesuffix(".parquet") for entry in entries}
    templates = (ROOT / "src/edit_robustness/report/templates").glob("*.j2")
    links = set(re.findall(r"'([\w/]+)\.(?:csv|parquet)'", "".join(path.read_text() for path in templates)))
    assert len(links) > 15
    assert links <= tables


def test_without_script_the_page_has_its_tables_and_no_answers_behind_cells(body):
    attributes = 'role="region" aria-label="Answers behind a cell of smollm2" data-heading="h3" hidden'
    assert f'<div class="answers" {attributes}></div>' in body
    assert "<button" not in body


@pytest.mark.parametrize("name", ["tablesort", "plotly-basic"])
def test_a_library_has_its_licence_and_cannot_end_its_script_element(name):
    text = read_vendored(name)
    assert "Permission is hereby granted" in text
    assert "</script" not in text


def test_figures_are_drawn_by_the_version_that_they_were_written_for(html):
    assert f"plotly.js (basic - minified) v{get_plotlyjs_version()}" in read_vendored("plotly-basic")[:2000]
    assert len(html.encode()) < 3e6


def test_a_regression_of_the_default_configuration_has_its_question(findings):
    names = yaml.safe_load((ROOT / "conf/base/parameters.yml").read_text(encoding="utf-8"))["analyze"]["models"]
    assert REGRESSIONS.keys() == names.keys()
    page = render(replace(findings, figures={}))
    regression_names = set(findings.regression["name"])
    assert all((question in page) == (name in regression_names) for name, question in REGRESSIONS.items())
