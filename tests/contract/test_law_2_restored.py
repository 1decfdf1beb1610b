"""Law 2: `applied` visibly changes the model, then restores it bit for bit: after an exception and nested too."""

import pytest
import torch
from cells import apply_to_rows, every_cell, every_cell_in_dtypes, every_cell_once, every_method, seen_by_asking
from fabricated_edits import FACTS, bits, hooks_on, same_bits

from edit_robustness.editing.edits import LowRank, PromptPrefix, WrongModel
from edit_robustness.models.layout import Site
from edit_robustness.records import UNEDITED


@every_cell_once
def test_an_edit_changes_what_asking_sees_and_is_taken_off(name, architecture, dtype, lab):
    lm, edit = lab.model(architecture, dtype), lab.first_edit(name, architecture, dtype)
    weights = bits(lm)
    before = seen_by_asking(lm, PromptPrefix(), FACTS[0].statement)
    with edit.applied(lm) as edited_lm:
        assert edited_lm is lm
        assert same_bits(bits(lm), weights) == (not edit.dense())
        after = seen_by_asking(lm, edit, FACTS[0].statement)
    assert same_bits(bits(lm), weights)
    assert torch.equal(seen_by_asking(lm, PromptPrefix(), FACTS[0].statement), before)
    if name == UNEDITED:
        assert torch.equal(after, before)
    else:
        assert (after - before).abs().max() > 0.01


@every_cell_in_dtypes
def test_an_exception_inside_takes_the_edit_off(name, architecture, dtype, lab):
    lm, edit = lab.model(architecture, dtype), lab.edits(name, architecture, dtype)[0]
    weights = bits(lm)
    with pytest.raises(KeyError, match="inside"), edit.applied(lm):
        raise KeyError("inside")
    assert same_bits(bits(lm), weights)
    with pytest.raises(KeyError, match="inside"), apply_to_rows(lm, [edit], [0]):
        raise KeyError("inside")
    assert hooks_on(lm) == 0


@every_cell_in_dtypes
def test_nested_edits_come_off_in_order(name, architecture, dtype, lab):
    lm, (first, second, _) = lab.model(architecture, dtype), lab.edits(name, architecture, dtype)
    weights = bits(lm)
    with first.applied(lm):
        outer = bits(lm)
        with pytest.raises(ValueError, match="inner"), second.applied(lm):
            assert same_bits(bits(lm), outer) == (not second.dense())
            raise ValueError("inner")
        assert same_bits(bits(lm), outer)
        with first.applied(lm):
            pass
        assert same_bits(bits(lm), outer)
    assert same_bits(bits(lm), weights)


@every_cell
def test_hooks_come_off_in_any_nesting(name, architecture, lab):
    lm, edits = lab.model(architecture), lab.edits(name, architecture)
    with apply_to_rows(lm, edits[:2], [0, 1]):
        inside = hooks_on(lm)
        with apply_to_rows(lm, edits[2:], [0, 0]):
            pass
        assert hooks_on(lm) == inside
    assert hooks_on(lm) == 0


@every_method
def test_an_edit_of_another_model_is_refused_and_leaves_the_model_alone(name, lab):
    edit, lm = lab.edits(name, "llama")[0], lab.model("gpt_neox")
    weights = bits(lm)
    with pytest.raises(WrongModel, match=f"this {name} edit of {FACTS[0].id} .* tiny-gpt_neox has"), edit.applied(lm):
        pass
    with pytest.raises(WrongModel), (edit + edit).applied(lm):
        pass
    assert same_bits(bits(lm), weights)


def test_a_change_of_another_shape_is_refused(lab):
    edit, lm = LowRank({Site(1, "mlp_out"): (torch.ones(3, 1), torch.ones(1, 3))}), lab.model("gpt_neox")
    with pytest.raises(ValueError, match=r"changes 1.mlp_out by \(3, 3\), but tiny-gpt_neox has"), edit.applied(lm):
        pass
