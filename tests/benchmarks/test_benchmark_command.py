"""The command on a tiny model; EasyEdit's part where EASYEDIT and EASYEDIT_PYTHON name a clone and its Python."""

import json
import os

import pytest
import torch
from fabricated_edits import FACTS

from benchmarks.__main__ import main
from benchmarks.jobs import Job, SideFailed, run
from benchmarks.material import change_settings, draw, load, select_methods
from benchmarks.scoring import score_target, scores
from edit_robustness.editing.edits import NO_EDIT, PromptPrefix
from edit_robustness.models.tiny import tiny_model

SETTINGS = {"none": {}, "ft": {"lr": 1.0}, "rome": {"layer": 1}, "mend": {}}


def test_by_default_all_methods_that_edit_and_do_not_train_are_measured():
    assert select_methods([], SETTINGS) == ["ft", "rome"]
    assert select_methods(["mend"], SETTINGS) == ["mend"]
    with pytest.raises(ValueError, match="pmet has no hyperparameters for this model; there are some of none, ft"):
        select_methods(["pmet"], SETTINGS)


def test_hyperparameters_are_changed_by_name():
    assert change_settings(SETTINGS, ["rome.layer=3", "ft.lr=1.0e-3"])["rome"] == {"layer": 3}
    assert SETTINGS["rome"] == {"layer": 1}


@pytest.mark.parametrize("change", ["rome.layer", "layer=3", "pmet.layer=3", ""])
def test_a_change_of_nothing_is_refused(change):
    with pytest.raises(ValueError, match=r"changes nothing: write method.name=value"):
        change_settings(SETTINGS, [change])


def test_facts_are_drawn_by_seed_and_others_have_other_subjects():
    (first, pool), (again, _), (second_seed, _) = draw(3, 0), draw(3, 0), draw(3, 1)
    assert first == again != second_seed
    assert not {row["subject"] for row in first} & {row["subject"] for row in pool}
    assert {"statement", "paraphrase", "neighbourhood"} == {probe["kind"] for probe in first[0]["probes"]}
    with pytest.raises(ValueError, match=r"--facts must be 1 to \d+ \(it is 0\)"):
        draw(0, 0)


def test_a_model_that_the_catalog_has_not_is_named():
    with pytest.raises(ValueError, match=r"the catalog has no owl.language_model; there are a, and tiny:llama"):
        load("owl", {"a.language_model": {}})


def test_scoring_is_the_probability_of_the_target_after_the_prompt():
    lm = tiny_model("llama")
    ids, target = lm.tokenizer("An owl")["input_ids"], lm.tokenizer(" sat")["input_ids"]
    with torch.no_grad():
        logprobs = lm.model(input_ids=torch.tensor([ids + target])).logits[0].log_softmax(-1)
    logprob = sum(float(logprobs[len(ids) - 1 + i, token]) for i, token in enumerate(target))
    assert score_target(lm.model, lm.tokenizer, "An owl", " sat") == (pytest.approx(logprob, abs=1e-4), False)
    probe = {"kind": "statement", "text": FACTS[0].statement, "new": " Oslo", "true": " Szohod"}
    (without_prefix,), (with_prefix,) = (
        scores(lm.model, lm.tokenizer, [probe], edit.text_before) for edit in (NO_EDIT, PromptPrefix("Oh! "))
    )
    assert without_prefix.keys() == with_prefix.keys() == {"kind", "new_over_true", "match_new"}


def test_a_side_that_fails_says_why(tmp_path):
    job = Job(str(tmp_path), "gone", "ft", {}, [], [], [], [])
    with pytest.raises(SideFailed, match=r"benchmarks.gone failed on ft:(.|\n)*No module named benchmarks.gone"):
        run(job, tmp_path, module="benchmarks.gone", threads=1)


def test_the_command_measures_a_tiny_model(tmp_path):
    options = ["--model", "tiny:llama", "--methods", "ft", "--facts", "2", "--texts", "2", "--json"]
    main([*options, "--output", str(tmp_path / "found.json"), "--work", str(tmp_path)])
    (row,) = json.loads((tmp_path / "found.json").read_text("utf-8"))["rows"]
    assert (row["method"], row["side"], row["n"]) == ("ft", "ours", 2)
    assert 0 < row["cpu"]["min"] <= row["cpu"]["mean"] <= row["cpu"]["max"]
    assert row["steps"]["max"] <= 5
    assert row["bytes"]["min"] > 1000
    assert row["peak"] > 1 << 20
    assert row["versions"]["threads"] == 1


def test_easyedit_is_given_whole_or_not_at_all(tmp_path):
    with pytest.raises(SystemExit, match="given together, or neither"):
        main(["--easyedit", str(tmp_path)])


@pytest.mark.slow
@pytest.mark.skipif("EASYEDIT" not in os.environ, reason="no clone of EasyEdit is given")
def test_easyedit_does_the_same_work(tmp_path):
    options = ["--model", "tiny:llama", "--methods", "rome", "ft", "ft_l", "grace", "memit", "--facts", "1", "--json"]
    peer = ["--easyedit", os.environ["EASYEDIT"], "--easyedit-python", os.environ["EASYEDIT_PYTHON"]]
    main([*options, *peer, "--texts", "40", "--output", str(tmp_path / "found.json"), "--work", str(tmp_path)])
    report = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert report["statistics"]["apart"] < 1e-5
    assert [row["method"] for row in report["ratios"]] == ["rome", "ft", "ft_l", "grace", "memit"]
    steps = {(row["method"], row["side"]): row["steps"]["mean"] for row in report["rows"]}
    for name in ("rome", "ft", "grace", "memit"):
        assert steps[name, "ours"] == steps[name, "EasyEdit"]
