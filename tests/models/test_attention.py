from types import SimpleNamespace

import pytest
import torch
from fabricated_edits import ARCHITECTURES
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from edit_robustness.models import attention, language_model
from edit_robustness.models.attention import BLOCKED, blocked_attention
from edit_robustness.models.decode import extend
from edit_robustness.models.tiny import tiny_model

LAYER = SimpleNamespace(is_causal=True, num_key_value_groups=3)
OTHERS = ("gptj", "gemma2")
"""Models that transformers runs with attention of its own."""

SDPA = ALL_ATTENTION_FUNCTIONS["sdpa"]


@pytest.fixture(autouse=True)
def few_queries(monkeypatch):
    monkeypatch.setattr(attention, "_QUERIES", 4)


def material(length, total, rows=2, dtype=torch.float32):
    """Queries of six heads, keys and values of two, and a mask under which each row begins with other padding."""
    torch.manual_seed(0)
    query = torch.randn(rows, 6, length, 8, dtype=dtype)
    key, value = torch.randn(2, rows, 2, total, 8, dtype=dtype)
    mask = torch.ones(length, total, dtype=torch.bool).tril(total - length).repeat(rows, 1, 1, 1)
    for row in range(rows):
        mask[row, :, :, : row + 1] = False
    return query, key, value, torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


@pytest.mark.parametrize(("length", "total"), [(11, 11), (3, 11), (8, 8), (4, 30), (2, 3)])
def test_it_is_torchs_own(length, total):
    query, key, value, mask = material(length, total)
    result, weights = blocked_attention(LAYER, query, key, value, mask, scaling=0.3)
    reference, _ = SDPA(LAYER, query, key, value, mask, scaling=0.3)
    assert weights is None
    assert result.shape == reference.shape == (2, length, 6, 8)
    # a token of padding sees nothing, and what comes of that is nobody's
    sees = (mask == 0).any(-1)[:, 0]
    torch.testing.assert_close(result[sees], reference[sees], atol=1e-6, rtol=1e-5)
    assert result.isfinite().all()


def test_gradients_are_torchs_own():
    def gradients(attend):
        query, key, value, mask = material(11, 11)
        inputs = [tensor.requires_grad_() for tensor in (query, key, value)]
        outputs = attend(LAYER, *inputs, mask)[0][(mask == 0).any(-1)[:, 0]]
        return torch.autograd.grad(outputs.pow(2).sum(), inputs)

    for result, reference in zip(gradients(blocked_attention), gradients(SDPA), strict=True):
        torch.testing.assert_close(result, reference, atol=1e-5, rtol=1e-5)


def test_no_key_after_the_last_of_some_queries_is_multiplied(monkeypatch):
    sizes, product = [], torch.Tensor.__matmul__

    def counted(left, right):
        sizes.append(right.shape[-1])
        return product(left, right)

    query, key, value, mask = material(12, 14)
    monkeypatch.setattr(torch.Tensor, "__matmul__", counted)
    blocked_attention(LAYER, query, key, value, mask)
    assert sizes[::2] == [6, 10, 14]


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"length": 1}, {}),
        ({"dtype": torch.bfloat16}, {}),
        ({}, {"is_causal": False}),
        ({}, {"dropout": 0.5}),
        ({}, {"position_bias": torch.zeros(1, 1, 3, 11)}),
        ({}, {"mask": None}),
        ({}, {"mask": torch.ones(1, 1, 3, 11, dtype=torch.bool)}),
    ],
)
def test_what_it_cannot_do_goes_to_torchs_own(monkeypatch, changes, options):
    arguments = {}
    monkeypatch.setitem(
        ALL_ATTENTION_FUNCTIONS, "sdpa", lambda *tensors, **keywords: arguments.update(keywords) or tensors
    )
    query, key, value, mask = material(**{"length": 3, "total": 11, **changes})
    options = {"mask": mask, **options}
    mask = options.pop("mask")
    got = blocked_attention(LAYER, query, key, value, mask, scaling=0.3, **options)
    assert got == (LAYER, query, key, value, mask)
    assert arguments["scaling"] == 0.3
    assert options.items() <= arguments.items()


@pytest.mark.parametrize("architecture", [model_type for model_type in ARCHITECTURES if model_type not in OTHERS])
def test_a_model_says_the_same(architecture):
    def said(name):
        lm = tiny_model(architecture)
        lm.model.set_attn_implementation(name)
        before, logits = extend(lm, [[5, 6, 7, 8, 9, 10], [11, 12]], columns=2)
        return logits, extend(lm, [[3, 4, 5, 6, 7], [8]], before, columns=1)[1]

    for result, reference in zip(said(BLOCKED), said("eager"), strict=True):
        torch.testing.assert_close(result, reference, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_models_use_it_where_products_are_fast(monkeypatch, architecture, fast):
    monkeypatch.setattr(language_model, "prefer_onednn", lambda: fast)
    usual = "eager" if architecture in OTHERS else BLOCKED if fast else "sdpa"
    assert tiny_model(architecture).model.config._attn_implementation == usual
