import naive_editing as naive
import pytest
import torch
from fabricated_edits import FACTS, TEXTS, method

from edit_robustness.editing.method import Corpus
from edit_robustness.editing.methods.rome import rank_one, solver


def spread(width=12, seed=0):
    torch.manual_seed(seed)
    keys = torch.randn(200, width).double() * torch.linspace(0.1, 3, width)
    return keys.T @ keys / 200


def test_the_solver_solves():
    moments, key = spread(), torch.randn(12)
    torch.testing.assert_close(moments @ solver(moments)(key), key.double())


def test_a_singular_moment_is_refused_with_the_way_out():
    key = torch.randn(1, 12)
    with pytest.raises(ValueError, match="take them from more text"):
        solver(key.T @ key - torch.eye(12) * 1e-9)


def test_of_all_rank_one_changes_it_disturbs_other_keys_least():
    """ROME minimises the change seen by the corpus: any other direction with the same effect on k does more."""
    moments, key, change = spread(), torch.randn(12), torch.randn(5)
    left, right = rank_one(change, key, solver(moments))
    torch.testing.assert_close(left @ right @ key, change, atol=1e-5, rtol=1e-4)

    def disturbance(direction):
        return float(direction.double() @ moments @ direction.double())

    ours = disturbance(right[0])
    for seed in range(20):
        torch.manual_seed(seed)
        other = right[0] + 0.1 * torch.randn(12)
        other = other / (other @ key)
        assert disturbance(other) > ours


def test_what_is_prepared_is_the_sites_moments_and_the_contexts(lab):
    rome = method("rome", context_lengths=[5, 9])
    prepared = rome.prepare(lab.model("llama"), Corpus(TEXTS))
    assert set(prepared.tensors) == {str(rome.site)}
    assert prepared.tensors[str(rome.site)].shape == (48, 48)
    assert len(prepared.texts) == 2


def test_a_layer_that_the_model_has_not_is_named(lab):
    with pytest.raises(ValueError, match="tiny-llama has layers 0 to 3; the setting asks for 9"):
        method("rome", layer=9).prepare(lab.model("llama"), Corpus(TEXTS))


def test_the_edit_makes_the_new_object_likelier(lab):
    for fact, edit in zip(FACTS, lab.edits("rome", "gpt2"), strict=True):
        lm = lab.model("gpt2")
        ids, target = naive.ids_of(lm, fact.statement), naive.ids_of(lm, " " + fact.target_new)
        before = naive.continuation(lm, ids, target)[0]
        with edit.applied(lm):
            assert naive.continuation(lm, ids, target)[0] > before
