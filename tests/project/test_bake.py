"""`kedro run --pipeline=bake`: the edits of a run as a model that plain transformers and peft load."""

import copy

import peft
import pytest
import torch
from kedro.framework.project import pipelines
from transformers import AutoModelForCausalLM, AutoTokenizer

from edit_robustness.datasets import EditsDataset, LanguageModelDataset
from edit_robustness.grid import GridError
from edit_robustness.pipelines.bake.nodes import Baking, put_together

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
        expected = lm.model(IDS).logits
    folder = run_before.data / "06_models/tiny_baked/rome"
    baked = AutoModelForCausalLM.from_pretrained(folder)
    assert (baked(IDS).logits - expected).abs().max() < 1e-4
    assert AutoTokenizer.from_pretrained(folder)("Île")["input_ids"] == lm.tokenizer("Île")["input_ids"]
    with_adapter = peft.PeftModel.from_pretrained(copy.deepcopy(lm.model), folder / "adapter")
    assert (with_adapter(IDS).logits - expected).abs().max() < 1e-4
    card = (folder / "README.md").read_text()
    for subject in run_before.table("edited_facts")["subject"]:
        assert f"| {subject} |" in card.replace("\\", "")
    assert "statement" in card
    assert '"v_steps": 6' in card


def test_what_is_no_adapter_is_baked_without_one_and_words_are_not(run_before):
    run_before.run(pipeline_names=["bake"], parameters={"bake": {"method": "ft"}})
    folder = run_before.data / "06_models/tiny_baked/ft"
    assert (folder / "model.safetensors").exists()
    assert not (folder / "adapter").exists()
    with pytest.raises(Exception, match="acts by words before the prompt"):
        run_before.run(pipeline_names=["bake"], parameters={"bake": {"method": "ike"}})


def test_only_what_held_is_baked(finished, lab):
    facts, scores = finished.table("edited_facts"), finished.table("scores")
    edits, held = edits_of(finished, "rome"), facts["id"].tolist()[1:3]
    success = (scores["metric"] == "success") & (scores["protocol"] == "free") & (scores["method"] == "rome")
    asked = success & (scores["kind"] == "statement")
    scores.loc[asked, "value"] = scores.loc[asked, "fact_id"].isin(held).astype(float)
    made = put_together(lab.model("llama"), facts, edits, scores, Baking("rome"))
    assert [fact.id for fact in made.card.facts] == held
    assert [part.origin.facts for part in made.edit.parts()] == [(fact,) for fact in held]
    assert made.card.scores[held[0]]["statement"] == 1.0
    assert made.card.note.startswith(f"2 of the {len(edits)} edits")


def test_nothing_to_bake_is_told_with_the_way_out(finished, lab):
    facts, scores, edits = finished.table("edited_facts"), finished.table("scores"), edits_of(finished, "rome")
    lm = lab.model("llama")
    nothing = scores.assign(value=0.0)
    with pytest.raises(ValueError, match=r"none of 5 edits of tiny-llama by rome held on statement: .*bake\.must_hold"):
        put_together(lm, facts, edits, nothing, Baking("rome"))
    with pytest.raises(ValueError, match="no prompts of the kind riddle were asked; there are statement"):
        put_together(lm, facts, edits, scores, Baking("rome", ("statement", "riddle")))
    with pytest.raises(ValueError, match="has no edits by memit; run it with that cell of the grid"):
        put_together(lm, facts, {}, scores, Baking("memit"))


def test_equal_edits_are_put_on_once(finished, lab):
    facts, scores = finished.table("edited_facts"), finished.table("scores")
    shared = lab.edits("checkpoint", "llama")[0]
    edits = {fact: type(item)(item.fingerprint, lambda: shared) for fact, item in edits_of(finished, "rome").items()}
    assert put_together(lab.model("llama"), facts, edits, scores, Baking("checkpoint", ())).edit.parts() == (shared,)


def test_the_method_is_checked_before_a_model_is_loaded(project, no_model):
    with pytest.raises(GridError, match=r"bake\.method: no method `romee`; there are none, context"):
        project.run(pipeline_names=["bake"], parameters={"bake": {"method": "romee"}})


def test_every_model_has_its_place(project):
    catalog = project.context().catalog
    (node,) = pipelines["bake"].nodes
    assert (node.name, node.outputs) == ("tiny.bake", ["tiny.rome_baked"])
    assert catalog.get("tiny.rome_baked")._path.parts[-3:] == ("06_models", "tiny_baked", "rome")
