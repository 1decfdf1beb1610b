"""Law 5 of FT-L: the edit is Adam on the weight, clamped after each step, with the loss at the prompt's last token."""

import naive_ft_l as naive
import pytest
import torch
from cells import every_architecture
from fabricated_edits import FACTS, method, same_edit

from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids

BOUND = 2e-3


@pytest.mark.parametrize("facts", [FACTS[:1], FACTS], ids=["one fact", "a batch"])
@every_architecture
def test_ft_l_is_clamped_adam_on_the_weight(architecture, facts):
    lm, ft = tiny_model(architecture), method("ft_l", lr=1e-3, norm_constraint=BOUND, stop_loss=0.0)
    ((site, change),) = ft.edit(lm, facts).dense().items()
    formula, _ = naive.fine_tune_near(lm, lm.module(site), list(facts), lr=ft.lr, steps=ft.steps, bound=BOUND)
    formula = formula.T if lm.layout.transposed else formula
    # where a gradient is rounding error only, Adam's step is of its size and of either sign
    assert ((change - formula).abs() < 1e-5).float().mean() > 0.999
    assert change.abs().max() == pytest.approx(BOUND)
    assert (change.abs() > 0.999 * BOUND).float().mean() > 0.2


def test_the_moments_go_on_where_the_weight_is_clamped():
    """A weight at the bound comes back as soon as Adam's own step turns round, not before."""
    lm, facts = tiny_model("llama"), FACTS[:1]
    tight, loose = (method("ft_l", lr=1e-2, steps=12, norm_constraint=bound) for bound in (5e-3, 1e9))
    near, far = (next(iter(ft.edit(lm, facts).dense().values())) for ft in (tight, loose))
    assert near.abs().max() <= 5e-3 < far.abs().max()
    assert not torch.allclose(near, far.clamp(-5e-3, 5e-3), atol=1e-4)


def test_the_loss_is_taken_after_the_prompts_last_token_only(lab):
    """No token of the object is among the inputs, so its own beginning does not help to say the rest."""
    lm = lab.model("llama")
    edit = lab.edits("ft_l", "llama")[0]
    assert len(edit.inputs) == len(prompt_ids(lm, RenderedPrompt(FACTS[0].statement)))
    assert (edit.gradients[0].abs().sum(-1) > 0).sum() > 1


def test_the_bound_is_in_the_file(lab, tmp_path):
    edit = lab.edits("ft_l", "llama")[0]
    write_edit(tmp_path / "e.safetensors", edit, {})
    again = read_edit(tmp_path / "e.safetensors")
    assert again.bound == edit.bound == method("ft_l").norm_constraint
    assert same_edit(again, edit)
    assert lab.edits("ft", "llama")[0].bound is None
