import naive_editing as naive
import pytest
import torch
from fabricated_edits import FACTS, method

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.models.layout import Site


def edit_of(lm, facts, **settings):
    return method("ft", **settings).edit(lm, facts, history=EditHistory())


def test_one_step_is_made_even_where_the_loss_is_low_enough(lab):
    assert len(edit_of(lab.model("llama"), FACTS[:1], stop_loss=1e6).gradients) == 1


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_all_facts_of_a_batch_become_likelier(architecture, lab):
    lm = lab.model(architecture)
    edit = edit_of(lm, FACTS, steps=20)
    for fact in FACTS:
        ids, target = naive.ids_of(lm, fact.statement), naive.ids_of(lm, " " + fact.target_new)
        before = naive.continuation(lm, ids, target)[0]
        with edit.applied(lm):
            assert naive.continuation(lm, ids, target)[0] > before + 1


def test_only_the_named_layer_is_tuned(lab):
    assert set(edit_of(lab.model("llama"), FACTS[:1], layer=3).dense()) == {Site(3, "mlp_out")}


def test_a_trace_holds_the_inputs_of_real_tokens_only(lab):
    lm = lab.model("llama")
    edit = edit_of(lm, FACTS, steps=3)
    real = sum(len(naive.ids_of(lm, f"{fact.statement} {fact.target_new}")) - 1 for fact in FACTS)
    assert edit.inputs.shape == (real, 48)
    assert edit.gradients.shape == (3, real, 32)


def test_a_layer_that_the_model_has_not_is_named(lab):
    with pytest.raises(ValueError, match="tiny-llama has layers 0 to 3; the setting asks for 9"):
        edit_of(lab.model("llama"), FACTS[:1], layer=9)


def test_the_blocks_below_run_once_and_the_last_loss_has_no_backward_pass(lab, monkeypatch):
    lm, runs, grad, backwards = lab.model("llama"), [], torch.autograd.grad, []
    monkeypatch.setattr(torch.autograd, "grad", lambda *args: backwards.append(1) or grad(*args))
    handles = [
        lm.module(Site(layer, "mlp_in")).register_forward_hook(lambda *_, n=layer: runs.append(n)) for layer in (1, 2)
    ]
    edit = edit_of(lm, FACTS[:1], layer=2, steps=60, stop_loss=3.0)
    for handle in handles:
        handle.remove()
    steps = len(edit.gradients)
    assert 1 < steps < 60
    assert (runs.count(1), runs.count(2), len(backwards)) == (1, steps + 1, steps)
