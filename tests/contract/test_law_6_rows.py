"""Law 6: rows of many edits equal one edit at a time; hooks equal copied weights. Asking is in the file of law 7."""

import pytest
import torch
from cells import apply_to_rows, every_cell, every_cell_in_dtypes, logprobs
from fabricated_edits import FACTS, probes

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.models.tokens import RenderedPrompt, pad, positions, prompt_ids

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.2}


@every_cell_in_dtypes
def test_hooks_equal_copied_weights(name, architecture, dtype, lab):
    lm, edit = lab.model(architecture, dtype), lab.edits(name, architecture, dtype)[0]
    ids = prompt_ids(lm, RenderedPrompt(edit.text_before(FACTS[0].statement) + FACTS[0].statement))
    with edit.applied(lm):
        with_weights = logprobs(lm, [ids, ids])
    with apply_to_rows(lm, [edit], [0, 0]):
        with_hooks = logprobs(lm, [ids, ids])
    assert (with_weights - with_hooks).abs().max() < TOLERANCE[dtype]


@every_cell
def test_rows_of_many_edits_equal_one_at_a_time_at_equal_padding(name, architecture, lab):
    lm, edits = lab.model(architecture), lab.edits(name, architecture)
    numbers = [0, 1, 2, 1, 0, 3]
    rows = [prompt_ids(lm, RenderedPrompt(fact.statement)) for fact in (*FACTS, *FACTS)]
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    inputs = {"attention_mask": mask, "position_ids": positions(mask)}
    with apply_to_rows(lm, edits, numbers):
        together = logprobs(lm, ids.tolist(), **inputs)
    for number, edit in enumerate(edits):
        with edit.applied(lm):
            alone = logprobs(lm, ids.tolist(), **inputs)
        edit_rows = torch.tensor([owner == number for owner in numbers])
        real = mask.bool() & edit_rows[:, None]
        assert (together[real] - alone[real]).abs().max() < 1e-4
    unedited_tokens = mask.bool() & torch.tensor([owner == 3 for owner in numbers])[:, None]
    assert torch.equal(together[unedited_tokens], logprobs(lm, ids.tolist(), **inputs)[unedited_tokens])


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_the_size_of_a_batch_does_not_change_the_answers(rows, lab):
    lm, kinds = lab.model("llama"), ("statement", "paraphrase", "question", "dialogue", "doubt")
    requests = [(edit, probes(kinds, fact)) for edit, fact in zip(lab.edits("rome", "llama"), FACTS, strict=True)]
    large_batches = list(ask(lm, requests, Decoding(max_new_tokens=3, batch_rows=40)))
    small_batches = list(ask(lm, requests, Decoding(max_new_tokens=3, batch_rows=rows)))
    assert [[a.text for a in answers] for answers in small_batches] == [
        [a.text for a in answers] for answers in large_batches
    ]
    for small_answers, large_answers in zip(small_batches, large_batches, strict=True):
        assert [a.logprob_new for a in small_answers] == pytest.approx([a.logprob_new for a in large_answers], abs=1e-3)
