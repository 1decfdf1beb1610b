"""Law 8: what an edit does at a token depends on that token and those before it only."""

from contextlib import contextmanager

import pytest
import torch
from cells import apply_to_rows, every_cell, logprobs
from fabricated_edits import FACTS
from transformers import DynamicCache

from edit_robustness.models.tokens import RenderedPrompt, pad, positions, prompt_ids


@contextmanager
def by_weights(lm, edit, rows):
    with edit.applied(lm):
        yield


@contextmanager
def by_hooks(lm, edit, rows):
    with apply_to_rows(lm, [edit], [0] * rows):
        yield


every_way = pytest.mark.parametrize("apply_edit", [by_weights, by_hooks])
OTHERS = ("A short one", "Another row, longer than the one that is looked at, so that it must be padded a good deal")


@every_way
@every_cell
def test_the_same_in_every_form_of_the_same_text(name, architecture, apply_edit, lab):
    lm, edit = lab.model(architecture), lab.edits(name, architecture)[0]
    if apply_edit is by_hooks and not edit.acts_by_hooks and not edit.dense():
        pytest.skip("is text only, which no way of applying it changes")
    texts = [edit.text_before(text) + text for text in (FACTS[0].statement + " and so", *OTHERS)]
    ids, *other_ids = (prompt_ids(lm, RenderedPrompt(text)) for text in texts)
    with apply_edit(lm, edit, 1):
        reference = logprobs(lm, ids)[0]
        forms = {
            "with a mask": logprobs(lm, ids, attention_mask=torch.ones(1, len(ids), dtype=torch.long))[0],
            "in cached pieces, then token by token": run_in_steps(lm, ids),
            "padded left": pad_rows(lm, [ids], "left", room=7),
            "padded right": pad_rows(lm, [ids], "right", room=7),
            "cut short": torch.cat([logprobs(lm, ids[:9])[0], reference[9:]]),
        }
    with apply_edit(lm, edit, 3):
        forms["in a batch, padded left"] = pad_rows(lm, [ids, *other_ids], "left")
        forms["in a batch, padded right"] = pad_rows(lm, [ids, *other_ids], "right")
        forms["in a batch of its own kind"] = logprobs(lm, [ids, ids, ids])[2]
    far = {form: float((logprobs_of_form - reference).abs().max()) for form, logprobs_of_form in forms.items()}
    assert all(distance < 1e-4 for distance in far.values()), far


def pad_rows(lm, rows, side, room=0):
    """Log-probabilities of the first row's tokens, the rows padded by at least `room`."""
    width = max(len(row) for row in rows)
    ids, mask = pad([*rows, [0] * (width + room)], lm.pad_id, side=side, device=lm.device)
    ids, mask = ids[:-1], mask[:-1]
    rows_logprobs = logprobs(lm, ids.tolist(), attention_mask=mask, position_ids=positions(mask))
    return rows_logprobs[0][mask[0].bool()]


def run_in_steps(lm, ids):
    """Log-probabilities of tokens that come into a cache: many, some, the last ones one by one."""
    sizes = [len(ids) - 7, 3, *[1] * 4]
    cache = DynamicCache()
    pieces = torch.tensor(ids).split(sizes)
    return torch.cat([logprobs(lm, piece.tolist(), past_key_values=cache, use_cache=True)[0] for piece in pieces])
