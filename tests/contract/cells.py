"""The cells that every law is tested on, and how a model is looked at in all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from itertools import product
from types import MappingProxyType

import pytest
import torch
from fabricated_edits import ARCHITECTURES, DTYPES, METHOD_NAMES
from torch import Tensor

from edit_robustness.editing.edits import Edit, NotRowwise, all_applied
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Owners
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "low_rank": "rome",
        "adam_trace": "ft",
        "prompt_prefix": "context",
        "codebook": "grace",
        "scoped": "serac",
        "fact_memory": "retrieve",
        "external": "external",
    }
)
"""For each kind of edit (`EDITS`) the method that stands for it: the laws are tested with it on every architecture.

What an architecture can break is the way in which an edit is computed from a model and applied to it: weights seen by
site, hooks, cached keys and values, text before a prompt. Methods of one kind share that code. ROME stands for its kind
because it reads keys and second moments and optimises a value. FT-L differs from FT in arithmetic only, and IKE from
`context` in its words only, of which it has ten times as many. Chains are edits of other kinds.

What other methods of a kind compute on an architecture is compared with their papers' formulas, on every architecture:
MEMIT, PMET, AlphaEdit and FT-L in law 5, KN and MEND in `tests/editing`.
"""

APART = ("gpt2", "gemma2")
"""The two architectures that every method is tested on: those that differ most.

GPT-2 stores weights as (d_in, d_out), has learned positions, as many keys as heads, no gate, biases, LayerNorm, and a
head tied to the embeddings. Gemma 2 stores them as (d_out, d_in), has rotary positions, grouped queries, heads that
together are wider than the residual, a gate, no biases, RMSNorm before and after each part, sliding windows in every
second layer, capped logits, attention of transformers' own, and a head of its own.
"""


def is_default(name: str, architecture: str) -> bool:
    """Whether a method is tested on an architecture by default; the other cells are `pytest -m slow`."""
    return name in KINDS.values() or architecture in APART


def methods_on(architecture: str) -> tuple[str, ...]:
    """The methods that are tested on an architecture by default."""
    return tuple(name for name in TOGETHER if is_default(name, architecture))


TOGETHER = tuple(sorted(METHOD_NAMES, key=lambda name: name == KINDS["scoped"]))
"""Every method; the one whose edits cannot share a batch comes last, so that it parts no batch of the others."""


def slow_unless(is_default_cell: bool) -> tuple[pytest.MarkDecorator, ...]:
    """The marks of a cell that is run by default, or else of one that `pytest -m slow` runs."""
    return () if is_default_cell else (pytest.mark.slow,)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


every_method = pytest.mark.parametrize("name", METHOD_NAMES)
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
every_cell = pytest.mark.parametrize(
    ("name", "architecture"),
    [
        pytest.param(name, architecture, marks=slow_unless(is_default(name, architecture)))
        for name in METHOD_NAMES
        for architecture in ARCHITECTURES
    ],
)
"""Every method on every architecture, each cell but those of `is_default` marked as slow."""


def _in_dtypes(is_default_cell: Callable[[str, str, torch.dtype], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("name", "architecture", "dtype"),
        [
            pytest.param(*cell, id=f"{cell[0]}-{cell[1]}-{_name(cell[2])}", marks=slow_unless(is_default_cell(*cell)))
            for cell in product(METHOD_NAMES, ARCHITECTURES, DTYPES)
        ],
    )


every_cell_in_dtypes = _in_dtypes(
    lambda name, architecture, dtype: (
        is_default(name, architecture) and (dtype is torch.float32 or architecture in APART)
    )
)
"""The cells of `every_cell` in float32, and those of the two architectures in bfloat16 too."""

every_cell_once = _in_dtypes(lambda name, architecture, dtype: dtype is torch.float32 or is_default(name, architecture))
"""Every method on every architecture by default, and the cells of `every_cell` in bfloat16 too: for one law.

It shows that a method and an architecture, and an architecture and a dtype, go together at all.
"""

every_mixture = pytest.mark.parametrize(
    ("architecture", "names"),
    [
        pytest.param(architecture, names, id=f"{architecture}-{size}", marks=slow_unless(size == "default"))
        for architecture in ARCHITECTURES
        for size, names in (("default", methods_on(architecture)), ("all", TOGETHER))
        if size == "default" or names != methods_on(architecture)
    ],
)
"""The methods that are tested together on an architecture."""

ALIKE = ("mistral", "qwen2", "gemma", "gemma3", "smollm3", "phi3")
"""Rows that are computed like another one: in bfloat16 they would only be rounded the same way once more."""

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=_name)


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
    """Log-probabilities after a prompt as asking puts it: the edit's text before it."""
    return logprobs(lm, prompt_ids(lm, RenderedPrompt(edit.text_before(text) + text)))[0, -1]
