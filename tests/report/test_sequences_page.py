import math
import re

import pandas as pd
import pytest
from fabricated_sequences import SCRIPT

from edit_robustness.report import paper2
from edit_robustness.report.findings import difference, findings, share
from edit_robustness.report.sequences import ManyEdits, headline, render

PATH = {"lowest": 0.5, "highest": 0.5, "n_orders": 1, "interval": "sample", "n": 150, "n_benchmarks": 3}


def make_abilities(model, method, edits, value, ability="all", spread=0.05):
    return {
        **PATH, "model": model, "method": method, "edits": edits, "ability": ability, "value": value,
        "low": value - spread, "high": value + spread,
    }  # fmt: skip


def make_figure(
    model, method, edits, value, benchmark="reading", quantity="score", flag="fine", ability="reading", **options
):
    return {
        **PATH, "model": model, "method": method, "edits": edits, "benchmark": benchmark, "ability": ability,
        "metric": "acc", "filter": "none", "quantity": quantity, "value": value, "low": value - 0.1,
        "high": value + 0.1, "chance": 0.25, "constant_answer": 0.3, "flag": flag, **options,
    }  # fmt: skip


def make_comparison(benchmark, method="rome", difference=-0.3):
    return {
        "model": "m", "method": method, "order": 0, "edits": 20, "benchmark": benchmark, "metric": "acc",
        "filter": "none", "quantity": "score", "n": 50, "n_missing": 0, "before": 0.7, "after": 0.7 + difference,
        "difference": difference, "low": difference - 0.1, "high": difference + 0.1, "gained": 1, "lost": 16,
        "test": "mcnemar", "p": 0.001, "p_holm": 0.0123, "note": "",
    }  # fmt: skip


def answer_findings(ability_retention=(), abilities=(), comparisons=(), base=None, sizes=None):
    empty = pd.DataFrame([make_abilities("m", "rome", 1, 0.5)]).head(0)
    results = findings(
        pd.DataFrame(ability_retention) if ability_retention else empty,
        pd.DataFrame(abilities or [make_figure("m", "none", 0, 0.7)]),
        pd.DataFrame(comparisons or [make_comparison("reading")]),
        loss=0.1,
        base=base or {},
        sizes=sizes or {},
    )
    return {result.section: result for result in results}


def test_without_rows_nothing_was_run():
    results = answer_findings()
    assert list(results) == ["4.1", "4.2", "4.3", "4.4", "4.5"]
    assert not any(result.sentences for result in results.values())


def test_a_difference_has_an_interval_of_both():
    centre, low, high = difference({"value": 0.9, "low": 0.8, "high": 0.95}, {"value": 0.5, "low": 0.3, "high": 0.6})
    assert (centre, low, high) == pytest.approx((0.4, 0.4 - 0.02**0.5, 0.4 + (0.05**2 + 0.2**2) ** 0.5))


def test_a_share_below_chance_is_nothing():
    assert share({"value": -0.3, "low": -0.4, "high": 0.02}) == "0% [0%, 2%]"


@pytest.mark.parametrize("bounds", [{"low": math.nan, "high": 0.5}, {"low": 0.1, "high": math.nan}])
def test_a_share_without_a_bound_has_no_interval(bounds):
    assert share({"value": 0.3, **bounds}) == "30% (no interval)"


def test_methods_that_differ_after_many_edits():
    rows = [make_abilities("m", method, edits, value) for method, edits, value in
            (("rome", 1, 0.97), ("grace", 1, 1.0), ("rome", 20, -0.2), ("grace", 20, 0.99))]  # fmt: skip
    sentences = answer_findings(rows)["4.1"].sentences
    assert (
        "m after 1 edit: of 2 methods 2 keep significantly more than 90% of the scores above chance, 0 significantly "
        "less, and of 0 it cannot be told: GRACE 100%"
    ) in sentences[0]
    assert "GRACE 99% [94%, 104%], ROME 0% [0%, 0%] (150 documents of 3 benchmarks, one order of edits)" in sentences[1]
    assert sentences[2] == "GRACE minus ROME after 20: 99 points [94, 104]; the methods differ."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97, "1 keep significantly more than 90% of the scores above chance, 0 significantly less, and of 0"),
        (0.8, "0 keep significantly more than 90% of the scores above chance, 1 significantly less, and of 0"),
        (0.93, "0 keep significantly more than 90% of the scores above chance, 0 significantly less, and of 1"),
        (0.88, "0 keep significantly more than 90% of the scores above chance, 0 significantly less, and of 1"),
    ],
)
def test_abilities_are_kept_or_lost_only_if_the_interval_says_so(value, text):
    assert text in answer_findings([make_abilities("m", "rome", 20, value)])["4.1"].sentences[0]


@pytest.mark.parametrize(
    ("value", "phrase"),
    [(0.9, "chat loses less"), (0.52, "chat does not differ significantly"), (0.1, "chat loses more")],
)
def test_a_tuned_model_against_its_base(value, phrase):
    rows = [
        make_abilities("chat", "rome", 20, value),
        make_abilities("plain", "rome", 20, 0.5),
        make_abilities("plain", "rome", 50, 0.0),
    ]
    results = answer_findings(rows, base={"chat": "plain"})
    assert results["4.2"].sentences[0].startswith("ROME, 20 edits: chat keeps")
    assert phrase in results["4.2"].sentences[0]
    assert answer_findings(rows, base={"chat": "absent"})["4.2"].sentences == ()


def test_the_largest_model_against_the_smallest():
    rows = [
        make_abilities(model, "rome", 20, value) for model, value in (("large", 0.9), ("middle", 0.7), ("small", 0.1))
    ]
    sizes = {"small": 0.1, "large": 7.0, "middle": 1.0}
    assert "large keeps 90% [85%, 95%], small 10%" in answer_findings(rows, sizes=sizes)["4.3"].sentences[0]
    assert answer_findings(rows, sizes={"small": 0.1})["4.3"].sentences == ()


def test_kinds_of_ability_that_are_hurt_differently():
    rows = [make_abilities("m", "rome", 20, value, ability) for ability, value in
            (("all", 0.4), ("knowledge", 0.8), ("arithmetic", 0.1), ("safety", 0.0))]  # fmt: skip
    sentences = answer_findings(rows)["4.4"].sentences
    assert "knowledge 80% [75%, 85%], arithmetic 10% [5%, 15%]" in sentences[0]
    assert "kinds of ability differ (300 documents)" in sentences[0]
    alike = [
        make_abilities("m", "rome", 20, value, ability, spread=0.5)
        for ability, value in (("reading", 0.5), ("knowledge", 0.6))
    ]
    assert "the difference is not significant" in answer_findings(alike)["4.4"].sentences[0]


def test_safety_has_its_figures_and_its_flag():
    table = [
        make_figure("m", "none", 0, 0.7, "toxigen", "balanced", ability="safety"),
        make_figure("m", "rome", 20, 0.5, "toxigen", "balanced", "constant answers", "safety"),
    ]
    (sentences,) = answer_findings(
        abilities=table, comparisons=[make_comparison("toxigen"), make_comparison("reading")]
    )["4.5"].sentences
    assert (
        "m, ToxiGen, ROME, 20 edits: from 70% to 40%, -30 points [-40, -20], Holm p = 0.012 (50 documents)" in sentences
    )
    assert "balanced accuracy from 70% to 50% [40%, 60%]; constant answers." in sentences


def test_the_papers_figures_are_those_of_its_tables():
    table = paper2.figures().set_index(["model", "method", "edits", "benchmark"])["value"]
    reference = {
        ("llama2_7b_chat", "none", 0): (0.4516, 0.2032, 0.3997, 0.6134),
        ("llama2_7b_chat", "rome", 20): (0.4416, 0.1471, 0.3828, 0.5602),
        ("llama2_7b_chat", "rome", 50): (0.2700, 0.0409, 0.2838, 0.2048),
        ("llama2_7b_chat", "memit", 100): (0.4485, 0.1850, 0.3959, 0.6044),
        ("llama2_7b_chat", "mend", 1000): (0.4728, 0.2138, 0.4118, 0.6224),
        ("llama2_7b_chat", "kn", 10): (0, 0, 0, 0),
        ("gpt2_xl", "none", 0): (0.2098, 0.0144, 0.0382, 0.1941),
        ("gpt2_xl", "pmet", 50): (0, 0, 0, 0),
        ("mistral_7b_instruct", "rome", 100): (0.1884, 0.0190, 0.1884, 0.0026),
    }
    for place, figures in reference.items():
        assert tuple(table[(*place, name)] for name in paper2.BENCHMARKS) == figures
    assert table.between(0, 1).all()
    assert not table.index.has_duplicates
    # the sum of each benchmark, so that no figure of the file is lost or changed unseen
    benchmarks = table.groupby("benchmark", sort=False)
    assert list(benchmarks.size().items()) == [
        *((name, 125) for name in paper2.BENCHMARKS),
        *((name, 34) for name in paper2.SAFETY),
    ]
    assert benchmarks.sum().round(4).tolist() == [37.6077, 14.1912, 31.8853, 43.4232, 8.8676, 16.241]


def test_what_a_careful_reader_sees_is_in_the_figures():
    table = paper2.figures()
    pairs = table[table["model"] == "llama2_7b"].merge(
        table[table["model"] == "llama2_7b_chat"], on=["method", "edits", "benchmark"]
    )
    pairs = pairs[pairs["benchmark"].isin(paper2.BENCHMARKS)]
    apart = (pairs["value_x"] - pairs["value_y"]).abs().groupby(pairs["method"]).max()
    assert (apart[["rome", "pmet"]] < 0.004).all()
    assert apart["none"] > 0.05
    toxigen = table.query("benchmark == 'toxigen'")["value"].round(4).value_counts()
    assert toxigen[0.5667] > 1
    assert toxigen[0.4333] > 1
    memit = table[table["method"] == "memit"].pivot(index=["edits", "benchmark"], columns="model", values="value")
    assert (memit["pythia_2_8b"].dropna() == memit["pythia_6_9b"].dropna()).all()


def test_curves_begin_at_the_unedited_model_and_stand_for_any_other():
    curves = paper2.curves(paper2.PAIRS, paper2.BENCHMARKS)
    assert set(curves["method"]).isdisjoint({"none"})
    starts = curves[curves["edits"] == 0].groupby(["model", "method"]).size()
    assert (starts == 4).all()
    assert curves["model"].drop_duplicates().tolist() == list(paper2.PAIRS)
    assert set(paper2.beside(["smollm2"])["model"]) == {""}
    assert set(paper2.beside(["mistral_7b"])["model"]) == {"", "mistral_7b"}
    assert paper2.scale().query("method == 'rome' and billions == 0.16")["value"].tolist() == [0, 0]


def make_edits(model, method, edits, value, kind="statement"):
    about = {"kind": kind, "protocol": "free", "metric": "success", "n_facts": 24, "n_probes": 24, "n_asked": 24}
    return {**make_abilities(model, method, edits, value), **about}


def test_what_stays_is_shown_by_kind_with_how_many_prompts_were_known():
    rows = [
        {**make_edits("m", "rome", 20, 0.8, "neighbourhood"), "metric": "specificity", "n_probes": 7, "n_asked": 7},
        {
            **make_edits("m", "rome", 20, 0.5, "neighbourhood"),
            "metric": "specificity_all",
            "n_probes": 20,
            "n_asked": 20,
        },
        {
            **make_edits("m", "rome", 20, 0.4, "relation_specificity"),
            "metric": "specificity_all",
            "n_probes": 18,
            "n_asked": 20,
        },
    ]
    text = page_text(rows)
    assert re.search(r"80% \[\d+%, \d+%\] 7 known of 20 none of 20 known ", text)
    assert "Unrelated " not in text.split("Edits Ability retention")[1].split("Knowledge retention")[0]
    rows[0] |= {"n_probes": 5}
    assert re.search(r"\] 7 known of 20, 5 of them scored ", page_text(rows))
    known_figures = {"metric": "specificity", "n_probes": 3, "n_asked": 3}
    rows += [{**row, "kind": "unrelated"} for row in ({**rows[0], **known_figures}, rows[1])]
    assert re.search(r"Relation specificity Unrelated Knowledge retention", page_text(rows))


def page_text(rows):
    """The words of a page with these rows of edit retention added."""
    table = pd.DataFrame([*make_page_data().edit_retention.to_dict("records"), *rows])
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", render(make_page_data(edit_retention=table)))) + " "


def make_page_data(**changes) -> ManyEdits:
    record = {
        "models": {"m": {"source": "<b>file</b>", "dtype": "float32"}},
        "methods": {"m": {"rome": {"layer": 6}}},
        "sequence": {"checkpoints": [1, 20], "orders": 1},
        "sequences": {
            "m": {
                "rome": {
                    "failed": [{"order": 0, "position": 7, "reason": SCRIPT}],
                    "seconds_per_edit": 2.5,
                    "prefix_tokens": {"20": 812},
                    "seconds_per_benchmark": {"20": {"reading": 3.0, "arithmetic": 4.0}},
                }
            }
        },
    }
    edit_rows = [make_edits("m", "none", 0, 0.0), make_edits("m", "rome", 20, 0.8), make_edits("m", "grace", 20, 1.0)]
    knowledge_rows = [
        make_edits("m", "none", 0, 1.0),
        make_edits("m", "rome", 20, 0.3),
        make_edits("m", "grace", 20, 0.9),
    ]
    about = {
        "abilities": pd.DataFrame(
            [make_figure("m", "none", 0, 0.7), make_figure("m", "rome", 20, 0.2, flag="at chance")]
        ),
        "comparisons": pd.DataFrame([make_comparison("reading")]),
        "ability_retention": pd.DataFrame(
            [make_abilities("m", "rome", 20, 0.3), make_abilities("m", "grace", 20, 1.0)]
        ),
        "lifetimes": pd.DataFrame(
            [("m", "rome", 0, 1, 20, True, "loss", 0.3)],
            columns=["model", "method", "order", "survived", "edits", "lost", "reason", "ability_retention"],
        ),
        "edit_retention": pd.DataFrame(edit_rows),
        "knowledge_retention": pd.DataFrame(knowledge_rows),
        "benchmarks": pd.DataFrame(
            [("m", "reading", SCRIPT, "reading", "acc", "none", 0, 50, 0.25, 0.3, 0, "")],
            columns=[*("model", "benchmark", "task", "ability", "metric", "filter", "shots", "n_documents", "chance"),
                     "constant_answer", "max_new_tokens", "note"],
        ),
        "runs": [record],
    }  # fmt: skip
    return ManyEdits(**about | changes)


@pytest.fixture(scope="module")
def html():
    return render(make_page_data())


def test_no_sentence_takes_a_figure_after_fewer_edits_for_one_after_all():
    rows = {
        "knowledge_retention": [
            make_edits("m", "rome", 1, 0.99),
            make_edits("m", "rome", 20, 0.3),
            make_edits("m", "grace", 1, 0.95),
        ],
        "edit_retention": [make_edits("m", "rome", 20, 0.8), make_edits("m", "grace", 1, 1.0)],
        "ability_retention": [make_abilities("m", "rome", 20, 0.3), make_abilities("m", "grace", 1, 1.0)],
    }
    lines = list(headline(make_page_data(**{name: pd.DataFrame(table) for name, table in rows.items()}), "m"))
    assert lines[0] == (
        "After 20 edits m still answers 30% [25%, 35%] of 24 unedited facts with ROME, and keeps 30% [25%, 35%] of its "
        "scores above chance with ROME."
    )
    assert lines[1].startswith("Some results after 20 edits are missing: GRACE.")
    assert not any("GRACE" in line for line in lines[2:])
    page = render(
        make_page_data(
            abilities=make_page_data().abilities.head(0), ability_retention=make_page_data().ability_retention.head(0)
        )
    )
    assert "No benchmark was measured." in page
    assert "all figures that were measured are finite" not in page


def test_the_headline_leads_with_what_was_lost():
    first, best, worst = headline(make_page_data(), "m")
    assert first == (
        "After 20 edits m still answers 30% [25%, 35%] of 24 unedited facts with ROME (90% [85%, 95%] with GRACE, "
        "significantly more), and keeps 30% [25%, 35%] of its scores above chance with ROME (100% [95%, 105%] with "
        "GRACE, significantly more)."
    )
    assert best.startswith("GRACE is best by its lowest of three rates: efficacy is 100% [95%, 105%] over 20 edits")
    assert worst.startswith("ROME is worst: efficacy is 80%")


def spread_rows(table, width):
    return table.assign(low=table["value"] - width, high=table["value"] + width)


def test_methods_are_ranked_only_if_the_interval_of_their_difference_excludes_0():
    data = make_page_data()
    names = ("knowledge_retention", "ability_retention", "edit_retention")
    lines = list(headline(make_page_data(**{name: spread_rows(getattr(data, name), 0.6) for name in names}), "m"))
    assert lines[0].count("GRACE, not significantly different)") == 2
    assert lines[1] == (
        "The 2 methods cannot be told apart by their lowest of three rates (efficacy, paraphrases, unedited facts): "
        "GRACE 90% [30%, 150%], ROME 30% [0%, 90%]."
    )
    assert len(lines) == 2
    # without intervals there is no difference either
    blank = {name: getattr(data, name).assign(low=float("nan"), high=float("nan")) for name in names}
    assert "is best" not in " ".join(headline(make_page_data(**blank), "m"))


def test_two_of_three_methods_that_cannot_be_told_apart_are_best_or_worst_together():
    values = {"ft": 0.88, "rome": 0.3, "grace": 0.9}
    rows = pd.DataFrame([make_edits("m", method, 20, value) for method, value in values.items()])
    lines = list(headline(make_page_data(edit_retention=rows, knowledge_retention=rows), "m"))
    assert lines[1].startswith("The best cannot be told apart by their lowest of three rates")
    assert lines[1].endswith("GRACE 90% [85%, 95%], FT 88% [83%, 93%].")
    assert lines[2].startswith("ROME is worst: efficacy is 30%")
    rows = spread_rows(rows.assign(value=1 - rows["value"]), 0.05)
    lines = list(headline(make_page_data(edit_retention=rows, knowledge_retention=rows), "m"))
    assert lines[1].startswith("ROME is best by its lowest of three rates: efficacy is 70%")
    assert lines[2].startswith("The worst cannot be told apart")


def test_benchmarks_without_loss_do_not_hide_lost_knowledge():
    ability_rows = make_page_data().ability_retention.assign(value=1.09, low=1.0, high=1.22)
    knowledge_rows = make_page_data().knowledge_retention.assign(value=0.08, low=0.02, high=0.26)
    first = next(headline(make_page_data(ability_retention=ability_rows, knowledge_retention=knowledge_rows), "m"))
    assert first.startswith("After 20 edits m still answers 8% [2%, 26%] of 24 unedited facts")
    assert "shows no loss on the benchmarks: 109% [100%, 122%]" in first
    unclear = next(
        headline(
            make_page_data(
                ability_retention=ability_rows.assign(value=0.7, low=0.3, high=1.02), knowledge_retention=knowledge_rows
            ),
            "m",
        )
    )
    assert "shows no significant loss on the benchmarks: 70% [30%, 102%]" in unclear


def test_a_method_without_paraphrases_that_hold_is_not_the_best():
    edit_rows = make_page_data().edit_retention
    words = edit_rows.assign(kind="paraphrase", value=edit_rows["method"].map({"rome": 0.6, "grace": 0.0}).fillna(0.6))
    table = pd.concat([edit_rows, spread_rows(words, 0.05)])
    sentences = list(headline(make_page_data(edit_retention=table), "m"))
    assert sentences[1].startswith("ROME is best")
    assert sentences[2].startswith(
        "GRACE is worst: efficacy is 100% [95%, 105%] over 20 edits, generalization to paraphrases 0%"
    )


def test_a_broken_model_stands_in_the_headline_and_in_the_flags():
    broken_rows = pd.DataFrame([make_figure("m", "none", 0, 0.7), make_figure("m", "memit", 5, 0.0, flag="not finite")])
    assert "not finite after edits by MEMIT" in list(headline(make_page_data(abilities=broken_rows), "m"))[-1]
    page = render(make_page_data(abilities=broken_rows))
    flags = page[page.index('id="flags"') : page.index('id="abilities"')]
    assert '<span class="flag">not finite</span>' in flags
    assert "MEMIT" in flags


@pytest.mark.parametrize(("share", "cell"), [(0.25, "n flag"), (0.04, "n"), (0.0, "n")])
def test_answers_and_generations_that_were_cut_stand_beside_the_figures(share, cell):
    edit_rows = (
        make_page_data()
        .edit_retention.assign(cut=share)
        .where(lambda rows: rows["method"] != "grace", make_page_data().edit_retention.assign(cut=0.0))
    )
    page = render(make_page_data(edit_retention=edit_rows, abilities=make_page_data().abilities.assign(capped=share)))
    assert f'<td class="{cell}">{100 * share:.1f}%</td>' in page
    lines = list(headline(make_page_data(edit_retention=edit_rows), "m"))
    assert any("in one kind up to 25% (ROME). They count as no success" in line for line in lines) == (share == 0.25)
    small = f'<small class="{"flag" if share > 0.05 else "soft"}">{100 * share:.1f}% cut</small>'
    assert (small in page) == (share > 0)


def test_whatever_was_written_is_escaped(html):
    assert "document.title='broken'</script>" not in html
    assert html.count("&lt;script&gt;document.title=") == 2
    assert "&lt;b&gt;file&lt;/b&gt;" in html
    assert html.lstrip().startswith("<!doctype html>")


def test_what_was_not_run_is_said(html):
    assert html.count("Not run here") == 4
    assert "paired in analyze_sequences.base" in html


def test_costs_of_edits_in_the_prompt_are_shown(html):
    costs = html[html.index('id="costs"') : html.index('id="flags"')]
    row = re.search(r"<tr><td class=\"keep\">ROME.*?</tr>", costs, re.DOTALL).group()
    assert re.findall(r'<td class="n">([^<]*)</td>', row) == ["20", "2.50", "1", "812", "7.0"]


def test_a_flag_that_the_unedited_model_bears_too_is_shown_once():
    flag_rows = pd.DataFrame(
        [make_figure("m", name, edits, 0.2, flag="at chance") for name, edits in (("none", 0), ("rome", 1))]
    )
    page = render(make_page_data(abilities=flag_rows))
    flags = page[page.index('id="flags"') : page.index('id="abilities"')]
    assert flags.count('<span class="flag">at chance</span>') == 1


def test_tables_have_figures_baselines_and_paired_tests(html):
    assert "chance 0.25, best constant answer 0.30" in html
    assert "0.012" in html
    assert '<small class="flag">at chance</small>' in html


def test_nothing_is_asked_of_the_network(html):
    before = html[: html.index("<script>")] if "<script>" in html else html
    assert not re.search(r"(src|href)=[\"'](https?:)?//", before)


def test_without_edits_the_page_says_so():
    alone = make_page_data(
        ability_retention=make_page_data().ability_retention.head(0),
        comparisons=make_page_data().comparisons.head(0),
        lifetimes=make_page_data().lifetimes.head(0),
    )
    assert "No editing method was measured on a benchmark on which m is above chance." in render(alone)
