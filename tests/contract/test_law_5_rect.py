"""RECT's sparsening of ROME, MEMIT, PMET and AlphaEdit against a transcription of the paper's rule."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from cells import APART
from fabricated_edits import FACTS, method, same_edit
from pydantic import ValidationError

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Dense, LowRank
from edit_robustness.editing.files import read_edit, refuse_not_finite, write_edit
from edit_robustness.editing.method import Unsolvable
from edit_robustness.editing.relative_change import keep_largest
from edit_robustness.models.layout import Site

METHODS = ("rome", "memit", "pmet", "alphaedit")


def naive_rect(change, weight, share):
    """Gu et al. 2024 (arXiv 2401.04700): all entries but the share with the largest |dW / W| set to 0."""
    sizes = []
    for place in np.ndindex(*change.shape):
        old_entry, new_entry = float(weight[place]), float(change[place])
        sizes.append((abs(new_entry / old_entry) if old_entry else math.inf, place))
    sizes.sort(key=lambda pair: pair[0])
    result = change.clone()
    for _, place in sizes[: len(sizes) - round(share * len(sizes))]:
        result[place] = 0.0
    return result


@pytest.mark.parametrize(("name", "architecture"), list(product(METHODS, APART)))
def test_the_largest_entries_are_those_of_the_paper(name, architecture, lab):
    lm, artefact = lab.model(architecture), lab.artefact(name, architecture)
    facts = FACTS[:1] if name == "rome" else FACTS[:2]
    full_edit = method(name).edit(lm, facts, artefact=artefact)
    edit = method(name, keep_top=0.3).edit(lm, facts, artefact=artefact)
    assert isinstance(full_edit, LowRank)
    assert isinstance(edit, Dense)
    assert edit.changes.keys() == full_edit.factors.keys()
    for site, change in edit.changes.items():
        reference = naive_rect(full_edit.dense()[site], lm.weight(site), 0.3)
        assert torch.equal(change, reference)
        assert change.count_nonzero() == round(0.3 * change.numel())
    assert edit.protected_keys.keys() == full_edit.protected_keys.keys()
    assert all(torch.equal(keys, full_edit.keys[site]) for site, keys in edit.keys.items())
    assert edit.origin.unmet_losses == full_edit.origin.unmet_losses


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_cut_by_default(name, lab):
    edit = method(name, keep_top=1.0).edit(lab.model("llama"), FACTS[:1], artefact=lab.artefact(name, "llama"))
    assert isinstance(edit, LowRank)
    assert same_edit(edit, lab.edits(name, "llama")[0])


def test_in_a_sequence_changes_are_compared_with_the_weights_of_that_moment(lab):
    lm, artefact, editor = lab.model("llama"), lab.artefact("memit", "llama"), method("memit", keep_top=0.2)
    history = EditHistory() + editor.edit(lm, FACTS[:1], artefact=artefact)
    assert history.keys.keys() == set(editor.key_sites)
    with history.applied(lm):
        full_edit = method("memit").edit(lm, FACTS[1:2], artefact=artefact, history=history)
        edit = editor.edit(lm, FACTS[1:2], artefact=artefact, history=history)
        for site, change in edit.dense().items():
            assert torch.equal(change, naive_rect(full_edit.dense()[site], lm.weight(site), 0.2))
    assert not same_edit(full_edit, method("memit").edit(lm, FACTS[1:2], artefact=artefact))


def test_a_stored_edit_has_its_keys(lab, tmp_path):
    editor = method("alphaedit", keep_top=0.5)
    edit = editor.edit(lab.model("llama"), FACTS[:2], artefact=lab.artefact("alphaedit", "llama"))
    write_edit(tmp_path / "edit.safetensors", edit, {})
    stored_edit = read_edit(tmp_path / "edit.safetensors")
    assert same_edit(stored_edit, edit)
    assert stored_edit.protected_keys.keys() == set(editor.key_sites)
    assert all(torch.equal(keys, edit.keys[site]) for site, keys in stored_edit.protected_keys.items())


def test_a_change_of_a_weight_of_0_is_larger_than_any_other_and_no_change_is_none():
    change = torch.tensor([[1.0, 2.0, 0.0], [-3.0, 0.5, 0.0]])
    weight = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    results = [keep_largest(change, weight, share) for share in (1.0, 1 / 3, 1 / 6, 0.01)]
    assert torch.equal(results[0], change)
    assert torch.equal(results[1], torch.tensor([[0.0, 2.0, 0.0], [-3.0, 0.0, 0.0]]))
    assert torch.equal(results[2], torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
    assert not results[3].any()
    assert torch.equal(keep_largest(change, torch.ones(2, 3), 0.5), torch.tensor([[1.0, 2.0, 0.0], [-3.0, 0.0, 0.0]]))


@pytest.mark.parametrize("bad_number", [math.nan, math.inf, -math.inf])
def test_a_change_that_is_not_finite_is_not_cut_away(bad_number):
    change = torch.tensor([[bad_number, 2.0, 0.5], [-3.0, 0.5, 0.0]])
    result = keep_largest(change, torch.ones(2, 3), 1 / 3)
    assert torch.equal(result.isfinite(), change.isfinite())
    with pytest.raises(Unsolvable):
        refuse_not_finite(Dense({Site(1, "mlp_out"): result}))


@pytest.mark.parametrize("share", [0, 1.5, -0.1])
def test_a_share_outside_of_0_to_1_is_refused(share):
    with pytest.raises(ValidationError, match="keep_top"):
        method("rome", keep_top=share)


def test_a_dense_edit_without_keys_is_stored_as_before():
    edit = Dense({Site(1, "mlp_out"): torch.ones(2, 3)})
    assert list(edit.to_tensors()[0]) == ["1.mlp_out"]
    assert not edit.protected_keys
