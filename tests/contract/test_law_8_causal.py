"""Law 8: what an edit does at a token depends on that token and those before it only."""

from contextlib import contextmanager

import pytest
import torch
from cells import every_architecture, every_method, logprobs, worn
from fabricated_edits import FACTS
from transformers import DynamicCache

from edit_robustness.models.tokens import Rendered, pad, positions, prompt_ids


@contextmanager
def by_weights(lm, edit, rows):
    with edit.applied(lm):
        yield


@contextmanager
def by_hooks(lm, edit, rows):
    with worn(lm, [edit], [0] * rows):
        yield


every_way = pytest.mark.parametrize("wearing", [by_weights, by_hooks])
OTHERS = ("A short one", "Another row, longer than the one that is looked at, so that it must be padded a good deal")


@every_way
@every_architecture
@every_method
def test_the_same_in_every_form_of_the_same_text(name, architecture, wearing, lab):
    lm, edit = lab.model(architecture), lab.edits(name, architecture)[0]
    ids = prompt_ids(lm, Rendered(edit.prefix + FACTS[0].statement + " and so"))
    other = [prompt_ids(lm, Rendered(edit.prefix + text)) for text in OTHERS]
    with wearing(lm, edit, 1):
        expected = logprobs(lm, ids)[0]
        forms = {
            "with a mask": logprobs(lm, ids, attention_mask=torch.ones(1, len(ids), dtype=torch.long))[0],
            "token by token": stepwise(lm, ids, 1),
            "in cached pieces": stepwise(lm, ids, 5),
            "padded left": padded(lm, [ids], "left", room=7),
            "padded right": padded(lm, [ids], "right", room=7),
            "cut short": torch.cat([logprobs(lm, ids[:9])[0], expected[9:]]),
        }
    with wearing(lm, edit, 3):
        forms["in a batch, padded left"] = padded(lm, [ids, *other], "left")
        forms["in a batch, padded right"] = padded(lm, [ids, *other], "right")
        forms["in a batch of its own kind"] = logprobs(lm, [ids, ids, ids])[2]
    far = {form: float((found - expected).abs().max()) for form, found in forms.items()}
    assert all(distance < 1e-4 for distance in far.values()), far


def padded(lm, rows, side, room=0):
    """Log-probabilities of the first row's tokens, the rows padded by at least `room`."""
    width = max(len(row) for row in rows)
    ids, mask = pad([*rows, [0] * (width + room)], lm.pad_id, side=side, device=lm.device)
    ids, mask = ids[:-1], mask[:-1]
    found = logprobs(lm, ids.tolist(), attention_mask=mask, position_ids=positions(mask))
    return found[0][mask[0].bool()]


def stepwise(lm, ids, size):
    """Log-probabilities of tokens that come a few at a time into a cache."""
    cache, found = DynamicCache(), []
    for first in range(0, len(ids), size):
        found.append(logprobs(lm, ids[first : first + size], past_key_values=cache, use_cache=True)[0])
    return torch.cat(found)
