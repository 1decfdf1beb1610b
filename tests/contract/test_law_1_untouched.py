"""Law 1: editing leaves weights, requires_grad, hooks, train mode and padding side as they were."""

from contextlib import suppress

import pytest
import torch
from cells import every_cell, every_cell_in_dtypes, every_method
from fabricated_edits import FACTS, bits, corpus, hooks_on, method, same_bits

from edit_robustness.editing.edit_history import EditHistory


def state(lm):
    return {
        "requires_grad": [p.requires_grad for p in lm.model.parameters()],
        "grad": [p.grad is None for p in lm.model.parameters()],
        "hooks": hooks_on(lm),
        "training": [m.training for m in lm.model.modules()],
        "padding": (lm.tokenizer.padding_side, lm.tokenizer.truncation_side, lm.tokenizer.pad_token_id),
        "gradients": torch.is_grad_enabled(),
        "random": torch.get_rng_state().tolist(),
        "use_cache": lm.config.use_cache,
    }


@every_cell_in_dtypes
def test_preparing_and_editing_leave_the_model_as_it_was(name, architecture, dtype, lab):
    lm = lab.model(architecture, dtype)
    weights, before = bits(lm), state(lm)
    artefact = method(name).prepare(lm, corpus())
    method(name).edit(lm, FACTS[:1], artefact=artefact, history=EditHistory())
    list(method(name).edit_each(lm, FACTS[1:2], artefact=artefact))
    assert state(lm) == before
    assert same_bits(bits(lm), weights)


class Interrupted(Exception):
    """An exception in the middle of an edit."""


@every_cell
def test_an_edit_that_fails_or_is_not_finished_leaves_the_model_as_it_was(name, architecture, lab):
    lm, artefact = lab.model(architecture), lab.artefact(name, architecture)
    weights, before = bits(lm), state(lm)
    for calls in (1, 3):
        budget = iter(range(calls))

        def fail(*_, budget=budget):
            if next(budget, None) is None:
                raise Interrupted

        handle = lm.model.get_output_embeddings().register_forward_pre_hook(fail)
        with suppress(Interrupted):
            method(name).edit(lm, FACTS[:1], artefact=artefact, history=EditHistory())
        handle.remove()
        assert state(lm) == before
        assert same_bits(bits(lm), weights)
    edits = method(name).edit_each(lm, FACTS, artefact=artefact)
    next(edits)
    edits.close()
    assert state(lm) == before
    assert same_bits(bits(lm), weights)


@every_method
def test_more_facts_than_a_method_takes_are_refused_with_the_way_out(name, lab):
    editor = method(name)
    if editor.batch_size is None:
        pytest.skip("takes any number")
    with pytest.raises(ValueError, match=rf"{name} edits .* per call, .*sequence\.batch_size: {editor.batch_size}\)"):
        editor.edit(
            lab.model("llama"),
            FACTS[:2] * editor.batch_size,
            artefact=lab.artefact(name, "llama"),
            history=EditHistory(),
        )
