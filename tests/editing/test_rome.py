import naive_editing as naive
import pytest
import torch
from fabricated_edits import FACTS, TEXTS, corpus, method, same_edit

from edit_robustness.editing import second_moments
from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.editing.keys import mean_key
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.methods import rome as rome_module
from edit_robustness.editing.target import optimise_value, split_prompts
from edit_robustness.models.tokens import positions
from edit_robustness.models.trace import output_at


def test_what_is_prepared_is_the_sites_moments_and_the_contexts(lab):
    rome = method("rome", context_lengths=[5, 9])
    artefact = rome.prepare(lab.model("llama"), Corpus(TEXTS))
    assert set(artefact.tensors) == {str(rome.site)}
    assert artefact.tensors[str(rome.site)].shape == (48, 48)
    assert len(artefact.texts) == 2


def test_a_layer_that_the_model_has_not_is_named(lab):
    with pytest.raises(ValueError, match="tiny-llama has layers 0 to 3; the setting asks for 9"):
        method("rome", layer=9).prepare(lab.model("llama"), Corpus(TEXTS))


def test_the_edit_makes_the_new_object_likelier(lab):
    lm = lab.model("gpt2")
    # with fewer steps the change may still be where the first, longest step has thrown it
    edits = method("rome", v_steps=6).edit_each(lm, FACTS, artefact=lab.artefact("rome", "gpt2"))
    for fact, edit in zip(FACTS, edits, strict=True):
        ids, target = naive.ids_of(lm, fact.statement), naive.ids_of(lm, " " + fact.target_new)
        before = naive.continuation(lm, ids, target)[0]
        with edit.applied(lm):
            assert naive.continuation(lm, ids, target)[0] > before


def test_without_second_moments_the_change_is_along_the_key_and_nothing_is_taken(lab, monkeypatch):
    lm, rome = lab.model("llama"), method("rome", mom2_adjustment=False)
    with monkeypatch.context() as patch:
        patch.setattr(second_moments, "second_moments", None)
        artefact = rome.prepare(lm, corpus())
    assert not artefact.tensors
    assert not rome.key_sites
    edit = rome.edit(lm, FACTS[:1], artefact=artefact)
    key = mean_key(lm, rome.site, split_prompts(lm, FACTS[0], artefact.texts))
    value = optimise_value(lm, [rome.site], FACTS[0], artefact.texts, rome.objective).changes[rome.site]
    torch.testing.assert_close(edit.dense()[rome.site], torch.outer(value, key) / (key @ key))
    assert not same_edit(edit, lab.edits("rome", "llama")[0])
    (only_edit,) = rome.edit_each(lm, FACTS[:1], artefact=artefact)
    assert same_edit(edit, only_edit)


@pytest.mark.parametrize("variant", ["r_rome", "rome"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_with_shares_the_search_gives_each_prompt_what_the_edit_gives_it(architecture, variant, lab, monkeypatch):
    lm, searches = lab.model(architecture), []
    monkeypatch.setattr(rome_module, "optimise_value", lambda *a, **k: searches.append(k) or optimise_value(*a, **k))
    rome = method("rome", variant=variant, v_shares=True, v_steps=3)
    artefact = lab.artefact("rome", architecture)
    edit = rome.edit(lm, FACTS[:1], artefact=artefact)
    prompts = split_prompts(lm, FACTS[0], artefact.texts)
    (shares,) = (search["shares"] for search in searches)
    assert len(shares) == len(prompts.head)
    change = edit.factors[rome.site][0][:, 0]
    ids = torch.cat([prompts.head, prompts.tail[:, :1]], dim=1)
    mask = torch.cat([prompts.head_mask, prompts.tail_mask[:, :1]], dim=1)
    batch = {"input_ids": ids, "attention_mask": mask, "position_ids": positions(mask)}
    before = output_at(lm, rome.site, **batch)[:, -1]
    with edit.applied(lm):
        moves = output_at(lm, rome.site, **batch)[:, -1] - before
    torch.testing.assert_close(moves, shares[:, None] * change, atol=1e-4, rtol=1e-3)
    own_shares = shares[:1] if variant == "rome" else shares[:-1].mean()[None]
    torch.testing.assert_close(own_shares, torch.ones(1), atol=1e-5, rtol=0)
    assert shares.std() > 1e-3


def test_an_edit_that_used_up_its_steps_says_so(lab, tmp_path):
    lm, artefact = lab.model("llama"), lab.artefact("rome", "llama")
    edit = method("rome", v_steps=2, v_stop_loss=1e-3).edit(lm, FACTS[:1], artefact=artefact)
    assert edit.origin.unmet_losses.keys() == {FACTS[0].id}
    write_edit(tmp_path / "edit.safetensors", edit, {})
    stored_edit = read_edit(tmp_path / "edit.safetensors")
    assert stored_edit.origin.unmet_losses == edit.origin.unmet_losses
    assert method("rome", v_stop_loss=50.0).edit(lm, FACTS[:1], artefact=artefact).origin.unmet_losses == {}
