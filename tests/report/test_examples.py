import json

import pandas as pd
import pytest
from fabricated_tables import SCRIPT, fabricate

from edit_robustness.report.examples import (
    EXAMPLE_COLUMNS,
    LONGEST,
    cell_examples,
    embed_examples,
    name_answer_file,
    write_answer_files,
)
from edit_robustness.tables import ANSWER_COLUMNS


@pytest.fixture(scope="module")
def tables():
    return fabricate(n_facts=8)


@pytest.fixture(scope="module")
def examples(tables):
    return cell_examples(tables.answers, tables.scores, 5)


def of(examples, method, kind, protocol="free"):
    return examples.query("method == @method and kind == @kind and protocol == @protocol")


def test_each_cell_has_so_many_answers_and_those_that_fail_come_first(tables, examples):
    assert list(examples.columns) == EXAMPLE_COLUMNS
    sizes = examples.groupby(["model", "protocol", "method", "kind"]).size()
    assert set(sizes) == {5}
    assert len(sizes) == 5 * (9 * 2 + 3 * 3)
    scores = tables.scores.query("metric == 'success' and protocol == 'free' and method == 'rome' and kind == 'doubt'")
    n_failed = min(5, int((scores["value"] == 0).sum()))
    assert list(of(examples, "rome", "doubt")["outcome"] != "new object") == [True] * n_failed + [False] * (
        5 - n_failed
    )


def test_answers_of_a_cell_are_about_different_facts(examples):
    for rows in (of(examples, "none", "paraphrase"), of(examples, "none", "neighbourhood")):
        assert rows["probe_id"].map(lambda name: name.split("/")[0]).is_unique


def test_specificity_has_the_answer_before_the_edit_beside_it(tables, examples):
    rows = of(examples, "rome", "neighbourhood")
    assert set(rows["outcome"]) <= {"changed", "unchanged"}
    before = tables.answers.query("method == 'none'").set_index("probe_id")["text"].str.strip()
    assert list(rows["text_before"]) == list(before[rows["probe_id"]])
    assert set(of(examples, "rome", "statement")["text_before"]) == {""}
    # the unedited model knows no prompt of this kind, so the cell shows its figure over all prompts
    assert len(of(examples, "rome", "unrelated")) == 5


def test_a_cut_answer_and_one_without_a_score_are_no_failures(tables):
    mask = (tables.scores["metric"] == "success") & (tables.scores["kind"] == "statement")
    scores = tables.scores.assign(value=tables.scores["value"].mask(mask))
    rows = of(cell_examples(tables.answers, scores, 3), "rome", "statement")
    assert set(rows["outcome"]) == {"no score"}
    cut_rows = scores[mask & (scores["protocol"] == "free")].assign(metric="cut", value=1.0)
    rows = of(cell_examples(tables.answers, pd.concat([scores, cut_rows]), 3), "rome", "statement")
    assert set(rows["outcome"]) == {"cut by the token limit"}


def test_a_conversation_is_shown_from_its_start(tables):
    assert "previous_turns" in ANSWER_COLUMNS
    turns = json.dumps([["user", "Where is it?"], ["assistant", "In Oslo."]])
    previous_turns = [turns if kind == "doubt" else "[]" for kind in tables.answers["kind"]]
    examples = cell_examples(tables.answers.assign(previous_turns=previous_turns), tables.scores, 1)
    assert of(examples, "rome", "doubt").iloc[0]["prompt"].startswith("user: Where is it?\nassistant: In Oslo.\nThe")
    assert of(examples, "rome", "statement").iloc[0]["prompt"].startswith("The capital")


def test_no_examples_and_no_scores_are_no_error(tables):
    assert cell_examples(tables.answers, tables.scores, 0).empty
    assert cell_examples(tables.answers.head(0), tables.scores.head(0), 5).empty
    assert json.loads(embed_examples(pd.DataFrame())) == {"texts": [], "cells": {}, "files": {}}


def test_texts_are_embedded_once_and_end_no_script_element(examples):
    text = embed_examples(examples)
    assert "<" not in text
    page_examples = json.loads(text)
    assert len(page_examples["texts"]) == len(set(page_examples["texts"]))
    places = page_examples["cells"]['["smollm2","free","rome","doubt"]']
    assert SCRIPT in {page_examples["texts"][place[5]] for place in places}


def test_a_long_prompt_keeps_its_end_and_a_long_answer_its_start(examples):
    row = examples.head(1).assign(prompt="x" * LONGEST + "?", text="!" + "x" * LONGEST)
    texts = json.loads(embed_examples(row))["texts"]
    assert "…" + "x" * (LONGEST - 1) + "?" in texts
    assert "!" + "x" * (LONGEST - 1) + "…" in texts


def read_answer_file(text):
    start, end = "receiveAnswers(", ");\n"
    assert text.startswith(start)
    assert text.endswith(end)
    return json.loads(f"[{text.removeprefix(start).removesuffix(end)}]")


def test_a_file_has_all_answers_of_a_cell_and_those_of_the_page_first(tables, examples):
    files = write_answer_files(tables.answers, tables.scores, 5)
    page = json.loads(embed_examples(examples))
    name, number = page["files"]['["smollm2","free","rome","doubt"]']
    assert number == 8
    file_name, content = read_answer_file(files[name])
    assert file_name == name == "smollm2.rome.doubt"
    answers = [[content["texts"][place] for place in row] for row in content["protocols"]["free"]]
    page_answers = [
        [page["texts"][place] for place in row] for row in page["cells"]['["smollm2","free","rome","doubt"]']
    ]
    assert answers[:5] == page_answers
    assert len(answers) == 8
    assert set(content["protocols"]) == {"free", "teacher_forced"}
    assert {name for name, _ in page["files"].values()} == set(files)


def test_a_cell_that_the_page_has_whole_needs_no_file(tables):
    assert write_answer_files(tables.answers, tables.scores, 1000) == {}
    assert write_answer_files(tables.answers, tables.scores, 0) == {}
    assert write_answer_files(tables.answers.head(0), tables.scores.head(0), 5) == {}
    all_examples = cell_examples(tables.answers, tables.scores, 1000)
    assert json.loads(embed_examples(all_examples))["files"] == {}


def test_names_of_files_are_safe_and_differ():
    names = [name_answer_file(model, "rome", "kind") for model in ("../a", "a.b", "a_b", "a b", "é")]
    assert len(set(names)) == 5
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_~.") for name in names)
    assert not any(".." in name for name in names)
