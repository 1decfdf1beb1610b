"""`kedro run --pipeline=bake`: the edits of a run as a model that plain transformers and peft load."""

import copy
from dataclasses import replace

import pandas as pd
import peft
import pytest
import torch
from kedro.framework.project import pipelines
from kedro.io import DatasetError
from transformers import AutoModelForCausalLM, AutoTokenizer

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.configuration.grid import GridError
from edit_robustness.datasets import BakedDataset, EditsDataset, LanguageModelDataset
from edit_robustness.datasets.baked import BakedModel, NoBakedModel
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.editing.exchange.card import Card, escape
from edit_robustness.models.sentences import first_sentence
from edit_robustness.pipelines.bake import nodes
from edit_robustness.pipelines.bake.nodes import BakeParameters, _note_shared_edits, choose, put_together, sum_edits
from edit_robustness.pipelines.bake.selection import Selection, shortfall
from edit_robustness.storage import folder_damage
from edit_robustness.tables import answers_from_table

IDS = torch.arange(5, 40)[None]


def edits_of(project, method):
    return EditsDataset(str(project.data / "07_model_output/tiny" / method / "edits")).load()


@torch.no_grad()
def test_a_run_becomes_a_model_and_an_adapter(run_before):
    run_before.run(pipeline_names=["bake"])
    lm = LanguageModelDataset("tiny", random="llama", device="cpu").load()
    edits = [item.read() for item in edits_of(run_before, "rome").values()]
    total = sum(edits[1:], start=edits[0])
    with total.applied(lm):
        logits = lm.model(IDS).logits
    folder = run_before.data / "07_model_output/tiny_baked/rome"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert (model(IDS).logits - logits).abs().max() < 1e-4
    assert AutoTokenizer.from_pretrained(folder)("Île")["input_ids"] == lm.tokenizer("Île")["input_ids"]
    with_adapter = peft.PeftModel.from_pretrained(copy.deepcopy(lm.model), folder / "adapter")
    assert (with_adapter(IDS).logits - logits).abs().max() < 1e-4
    card = (folder / "README.md").read_text()
    for subject in run_before.table("edited_facts")["subject"]:
        assert f"| {subject} |" in " ".join(card.replace("\\", "").split())
    assert '"v_steps": 6' in card


def test_what_is_no_adapter_is_baked_without_one_and_words_are_not(run_before):
    run_before.run(pipeline_names=["bake"], parameters={"bake": {"method": "ft"}})
    folder = run_before.data / "07_model_output/tiny_baked/ft"
    assert (folder / "model.safetensors").exists()
    assert not (folder / "adapter").exists()
    with pytest.raises(Exception, match="acts by text before the prompt"):
        run_before.run(pipeline_names=["bake"], parameters={"bake": {"method": "ike"}})


NO_THRESHOLD = {"statement": 0.0}
DECODING = Decoding(max_new_tokens=8, batch_rows=64)


def answers_where(finished_project, fact_ids):
    """The answers of the finished run, in which the statements of these facts alone give the new object."""
    answers = finished_project.table("answers")
    is_statement = (answers["method"] == "rome") & (answers["kind"] == "statement")
    new = answers["target_new"].where(answers["fact_id"].isin(fact_ids), "nothing")
    return answers.assign(text=answers["text"].where(~is_statement, " " + new + "."))


def choose_edits(finished_project, lm, edits, answers, settings):
    return choose(lm, finished_project.table("edited_facts"), edits, answers, DECODING, settings)


@pytest.fixture
def lm(finished_project):
    return LanguageModelDataset("tiny", random="llama", device="cpu").load()


def test_an_edit_that_holds_alone_and_falls_in_the_sum_is_left_out(finished_project, lm, monkeypatch):
    edits, ids = edits_of(finished_project, "rome"), finished_project.table("edited_facts")["id"].tolist()
    sums = []

    def together(lm, requests, decoding, *, together):
        """In the sum the second fact falls, and without it all hold."""
        ((edit, probes),) = requests
        sums.append(tuple(part.origin.facts[0] for part in edit.parts()))
        names = {probe.fact_id: "nothing" if probe.fact_id == ids[1] else probe.target_new for probe in probes}
        yield [
            replace(answer, text=f" {names[answer.probe.fact_id]}.")
            for answer in answers_from_table(finished_project.table("answers").query("method == 'none'"))
            if answer.probe in probes
        ]

    monkeypatch.setattr(nodes, "ask", together)
    answers = answers_where(finished_project, ids[:3])
    selection, verdicts = choose_edits(finished_project, lm, edits, answers, BakeParameters("rome", {"statement": 1.0}))
    assert sums == [tuple(ids[:3]), (ids[0], ids[2])]
    states = selection.answers[["method", "condition"]].drop_duplicates()
    assert set(map(tuple, states.to_numpy())) == {("none", "no edit"), ("rome", "alone"), ("rome", "together")}
    assert selection.fact_ids == (ids[0], ids[2])
    rows = verdicts.set_index("fact_id")
    assert rows["baked"].tolist() == [True, False, True, False, False]
    assert rows["reason"].tolist() == [
        "",
        "together with 2 other edits: statement 0.00 of 1, below 1.00",
        "",
        *["alone: statement 0.00 of 1, below 1.00"] * 2,
    ]
    assert rows["statement_alone"].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert rows["statement_together"].tolist()[:3] == [1.0, 0.0, 1.0]
    result = put_together(
        lm, finished_project.table("edited_facts"), edits, selection, BakeParameters("rome", {"statement": 1.0})
    )
    assert [part.origin.facts[0] for part in result.edit.parts()] == [ids[0], ids[2]]
    assert list(result.card.left_out) == [ids[1], ids[3], ids[4]]
    scores = result.card.scores[ids[0]]
    assert (scores["statement alone"], scores["statement here"]) == (1.0, 1.0)
    assert "asked again 2 times" in result.card.note
    fact_kinds = {(prompt.fact, prompt.kind) for prompt in result.card.prompts}
    assert {(ids[0], "statement"), (ids[0], "paraphrase")} <= fact_kinds
    assert ids[1] not in {fact for fact, _ in fact_kinds}


def test_figures_of_the_card_are_those_of_the_baked_model(run_before, lm):
    run_before.run(pipeline_names=["bake"])
    text = (run_before.data / "07_model_output/tiny_baked/rome/README.md").read_text()
    assert "statement alone" in text
    assert "statement here" in text
    verdicts = pd.read_csv(run_before.data / "08_reporting/baked/tiny_rome/decisions.csv")
    assert verdicts["baked"].all()
    free_scores = run_before.table("scores").query("method == 'rome' and protocol == 'free'")
    n_cut = int(
        free_scores.loc[(free_scores["metric"] == "cut") & (free_scores["family"] == "specificity"), "value"].sum()
    )
    assert f"The shares leave out {n_cut} of \\`alone\\`" in text
    kinds = ("neighbourhood", "relation_specificity", "unrelated")
    n_asked = int((free_scores["metric"] == "specificity_all").sum())
    assert sum(verdicts[f"{kind}_n_alone"].sum() for kind in kinds) == n_asked - n_cut
    model = LanguageModelDataset(
        "tiny", folder=str(run_before.data / "07_model_output/tiny_baked/rome"), device="cpu"
    ).load()
    probes = [a.probe for a in answers_from_table(run_before.table("answers").query("method == 'none'"))]
    edit_probes = [probe for probe in probes if probe.kind in ("statement", "paraphrase")]
    (answers,) = ask(model, [(PromptPrefix(), edit_probes)], DECODING)
    for answer in answers:
        assert f"{escape(first_sentence(answer.text))} " in text


def test_nothing_left_is_an_error_after_its_verdicts_are_stored(run_before):
    with pytest.raises(Exception, match=r"none of 5 edits of tiny by rome held on statement: .*tiny\.rome_decisions"):
        run_before.run(pipeline_names=["bake"], parameters={"bake": {"thresholds": {"statement": 1.0}}})
    verdicts = pd.read_csv(run_before.data / "08_reporting/baked/tiny_rome/decisions.csv")
    assert not verdicts["baked"].any()
    assert verdicts["reason"].str.startswith("alone: statement 0.00 of 1").all()
    assert not (run_before.data / "07_model_output/tiny_baked/rome").exists()


def test_an_earlier_model_does_not_stand_as_that_of_a_run_that_baked_none(lab, tmp_path):
    dataset, folder = BakedDataset(str(tmp_path / "rome")), tmp_path / "rome"
    edit, lm = lab.edits("rome", "llama")[0], lab.model("llama")
    dataset.save(BakedModel(edit, lm, Card("rome", {}, [])))
    assert (folder / "adapter" / "adapter_model.safetensors").exists()
    assert folder_damage(folder) == ""
    with pytest.raises(DatasetError, match=r"none held\. The model that an earlier run baked is now in .*earlier-1"):
        dataset.save(NoBakedModel("none held"))
    assert not folder.exists()
    assert (tmp_path / "rome.earlier-1" / "model.safetensors").exists()
    folder.mkdir()
    (folder / "thesis.txt").touch()
    for data in (NoBakedModel("none held"), BakedModel(edit, lm, Card("rome", {}, []))):
        with pytest.raises(DatasetError, match=r"none held$|holds other files, which would be lost"):
            dataset.save(data)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_what_cannot_be_measured_is_told_with_the_way_out(finished_project, lm):
    answers, edits = finished_project.table("answers"), edits_of(finished_project, "rome")
    with pytest.raises(
        ValueError, match=r"no prompts of the kind persona were asked; there are statement.*probes\.kinds"
    ):
        choose_edits(finished_project, lm, edits, answers, BakeParameters("rome", {"persona": 0.5}))
    with pytest.raises(ValueError, match="has no edits by memit; run it with that cell of the grid"):
        choose_edits(finished_project, lm, {}, answers, BakeParameters("memit", NO_THRESHOLD))
    with pytest.raises(ValueError, match=r"were generated with other settings .*run edit_eval again"):
        choose_edits(
            finished_project,
            lm,
            edits,
            answers.assign(decoding="greedy, 3 new tokens"),
            BakeParameters("rome", NO_THRESHOLD),
        )
    with pytest.raises(ValueError, match=r"bake\.thresholds: no kind of prompt `riddle`"):
        BakeParameters("rome", {"riddle": 0.5})
    assert shortfall({"statement": (1.0, 1)}, {"statement": 1.0, "alias": 0.5}) == "no alias prompt was scored"


def test_equal_edits_are_put_on_once(lab):
    edit = lab.edits("external", "llama")[0]
    assert sum_edits({"a": edit, "b": edit}, ["a", "b"]).parts() == (edit,)


def test_a_fact_left_out_whose_edit_stays_for_another_is_told_so(lab):
    external_edit, rome_edit = lab.edits("external", "llama")[0], lab.edits("rome", "llama")[0]
    selection = Selection(("a",), {"b": "alone: too low", "c": "alone: too low"})
    reasons = _note_shared_edits(selection, {"a": external_edit, "b": external_edit, "c": rome_edit})
    assert reasons["b"] == "alone: too low; but facts that stay share its edit, so the model has it"
    assert reasons["c"] == "alone: too low"


def test_the_method_is_checked_before_a_model_is_loaded(project, no_model):
    with pytest.raises(GridError, match=r"bake\.method: no method `romee`; did you mean `rome`"):
        project.run(pipeline_names=["bake"], parameters={"bake": {"method": "romee"}})


def test_every_model_has_its_place(project):
    catalog = project.context().catalog
    _, node = pipelines["bake"].nodes
    assert (node.name, node.outputs) == ("tiny.bake", ["tiny.rome_baked"])
    assert catalog.get("tiny.rome_baked")._path.parts[-3:] == ("07_model_output", "tiny_baked", "rome")
