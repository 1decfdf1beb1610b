"""Law 6: rows of many edits equal one edit at a time; hooks equal copied weights."""

import pytest
import torch
from cells import every_architecture, every_dtype, every_method, logprobs, worn
from fabricated_edits import FACTS, FORMS, METHOD_NAMES, bits, hooks_on, probes, same_bits

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.models.tokens import Rendered, pad, positions, prompt_ids

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.2}


@every_dtype
@every_architecture
@every_method
def test_hooks_equal_copied_weights(name, architecture, dtype, lab):
    lm, edit = lab.model(architecture, dtype), lab.edits(name, architecture, dtype)[0]
    ids = prompt_ids(lm, Rendered(edit.prefix + FACTS[0].statement))
    with edit.applied(lm):
        copied = logprobs(lm, [ids, ids])
    with worn(lm, [edit], [0, 0]):
        hooked = logprobs(lm, [ids, ids])
    assert (copied - hooked).abs().max() < TOLERANCE[dtype]


@every_architecture
@every_method
def test_rows_of_many_edits_equal_one_at_a_time_at_equal_padding(name, architecture, lab):
    lm, edits = lab.model(architecture), lab.edits(name, architecture)
    numbers = [0, 1, 2, 1, 0, 3]
    rows = [prompt_ids(lm, Rendered(fact.statement)) for fact in (*FACTS, *FACTS)]
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    inputs = {"attention_mask": mask, "position_ids": positions(mask)}
    with worn(lm, edits, numbers):
        together = logprobs(lm, ids.tolist(), **inputs)
    for number, edit in enumerate(edits):
        with edit.applied(lm):
            alone = logprobs(lm, ids.tolist(), **inputs)
        own = torch.tensor([owner == number for owner in numbers])
        real = mask.bool() & own[:, None]
        assert (together[real] - alone[real]).abs().max() < 1e-4
    untouched = mask.bool() & torch.tensor([owner == 3 for owner in numbers])[:, None]
    assert torch.equal(together[untouched], logprobs(lm, ids.tolist(), **inputs)[untouched])


@every_architecture
def test_asking_many_edits_in_one_batch_equals_asking_each_by_itself(architecture, lab):
    lm = lab.model(architecture)
    asked = [
        (edit, probes(FORMS, fact))
        for name in METHOD_NAMES
        for edit, fact in zip(lab.edits(name, architecture)[:2], FACTS[:2], strict=True)
    ]
    weights, decoding = bits(lm), Decoding(max_new_tokens=6, batch_rows=64)
    together = list(ask(lm, asked, decoding))
    alone = list(ask(lm, asked, decoding, together=False))
    assert len(together) == len(alone) == len(asked)
    for (_, wanted), ours, theirs in zip(asked, together, alone, strict=True):
        assert [answer.probe for answer in ours] == list(wanted)
        for left, right in zip(ours, theirs, strict=True):
            assert (left.text, left.tokens, left.finished) == (right.text, right.tokens, right.finished)
            assert left.logprob_new == pytest.approx(right.logprob_new, abs=1e-3)
            assert left.logprob_true == pytest.approx(right.logprob_true, abs=1e-3)
            assert (left.match_new, left.match_true) == (right.match_new, right.match_true)
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_the_size_of_a_batch_does_not_change_the_answers(rows, lab):
    lm, kinds = lab.model("llama"), ("statement", "paraphrase", "question", "dialogue", "doubt")
    asked = [(edit, probes(kinds, fact)) for edit, fact in zip(lab.edits("rome", "llama"), FACTS, strict=True)]
    expected = list(ask(lm, asked, Decoding(max_new_tokens=6, batch_rows=40)))
    found = list(ask(lm, asked, Decoding(max_new_tokens=6, batch_rows=rows)))
    assert [[a.text for a in own] for own in found] == [[a.text for a in own] for own in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert [a.logprob_new for a in ours] == pytest.approx([a.logprob_new for a in theirs], abs=1e-3)
