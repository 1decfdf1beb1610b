"""The cells that every law is tested on, and how a model is looked at in all of them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import pytest
import torch
from fabricated_edits import ARCHITECTURES, DTYPES, METHOD_NAMES
from torch import Tensor

from edit_robustness.editing.edits import Edit, NotRowwise, all_applied
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Owners
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids

every_method = pytest.mark.parametrize("name", METHOD_NAMES)
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
ALIKE = ("mistral", "qwen2", "gemma", "gemma3", "smollm3", "phi3")
"""Rows that are computed like another one: in bfloat16 they would only be rounded the same way once more."""

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


@contextmanager
def apply_to_rows(lm: LanguageModel, edits: list[Edit], numbers: list[int]):
    """Row i of the batch wears edits[numbers[i]], by hooks; skips the test where an edit cannot act on rows."""
    owners = Owners(numbers)
    with ExitStack() as stack:
        try:
            stack.enter_context(all_applied(lm, edits, [owners.rows(number) for number in range(len(edits))]))
        except NotRowwise:
            pytest.skip("the edit cannot act on single rows")
        yield lm


@torch.no_grad()
def logprobs(lm: LanguageModel, ids: list[int] | list[list[int]], **inputs) -> Tensor:
    """(rows, tokens, vocabulary) after each token of rows of equal length."""
    rows = ids if isinstance(ids[0], list) else [ids]
    return lm.model(input_ids=torch.tensor(rows), **inputs).logits.float().log_softmax(-1)


def seen_by_asking(lm: LanguageModel, edit: Edit, text: str) -> Tensor:
    """Log-probabilities after a prompt as asking puts it: the edit's words before it."""
    return logprobs(lm, prompt_ids(lm, RenderedPrompt(edit.prefix + text)))[0, -1]
