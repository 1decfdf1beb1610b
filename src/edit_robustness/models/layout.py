"""Paths of modules in each architecture: the only table of architectures in the project.

To add an architecture, add one row here. All other code reads the row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

RESIDUAL = "residual"
"""The part that is not a weight: the output of a whole block, where MEMIT optimises its value."""

Part = Literal[
    "mlp_in", "mlp_out", "attention_out", "mlp_gate", "attention_q", "attention_k", "attention_v", "attention_qkv"
]

PARTS: tuple[str, ...] = get_args(Part)
"""The weights that may be edited.

Those of the MLP are into it, out of it, and the gate of MLPs that have one. Phi-3 stores the gate and the weights into
the MLP in one matrix, which is its `mlp_in`; it has no `mlp_gate`. Those of attention are out of it, and into it: the
queries, keys and values. GPT-2, GPT-NeoX and Phi-3 compute all three by one matrix, `attention_qkv`, and the others by
three.
"""


@dataclass(frozen=True, order=True)
class Site:
    """A place in a model, by layer and part: a weight to edit (stored as the layout says) or a block."""

    layer: int
    part: str

    def __str__(self) -> str:
        return f"{self.layer}.{self.part}"

    @classmethod
    def parse(cls, text: str) -> Site:
        """Return the site that `str` wrote.

        Raises:
            ValueError: If the text does not name a site.
        """
        layer, _, part = text.partition(".")
        if part not in PARTS or not layer.isdigit():
            raise ValueError(f"`{text}` is not a site; sites look like `5.mlp_out`, parts are {', '.join(PARTS)}")
        return cls(int(layer), part)


@dataclass(frozen=True)
class Layout:
    """Module paths of one architecture.

    Architectures differ in where an output goes, and hooks at a site do not depend on it. In GPT-J and GPT-NeoX
    attention and MLP read the same residual and are added to it together. In Gemma 2 and 3 and OLMo 2 the outputs of
    both pass a norm before they are added. So there a change of `mlp_out`'s or `attention_out`'s output reaches the
    residual with another direction and length, and the block's contribution to the residual cannot be computed from
    them. A method that spreads a change of the residual over several MLPs (MEMIT, PMET) acts through that norm, and
    reaches the change only in part.

    Attributes:
        blocks: Path of the list of transformer blocks.
        parts: Path of each part inside a block; some of `PARTS` and the block itself.
        transposed: Whether weights are stored as (d_in, d_out), as GPT-2's Conv1D does.
    """

    blocks: str
    parts: Mapping[str, str]
    transposed: bool = False

    def module(self, site: Site) -> str:
        """Return the full name of a site's module."""
        return f"{self.blocks}.{site.layer}.{self.parts[site.part]}"

    def site(self, module: str) -> Site | None:
        """Return the site of a module by its full name, or None if the module is not a site."""
        match = re.fullmatch(rf"{re.escape(self.blocks)}\.(\d+)\.(.+)", module)
        part = next((part for part in PARTS if match and self.parts.get(part) == match[2]), None)
        return Site(int(match[1]), part) if match and part else None


def _parts(
    mlp_in: str, mlp_out: str, attention_out: str, attention_in: Sequence[str], mlp_gate: str = ""
) -> Mapping[str, str]:
    """Return the paths by part.

    Args:
        mlp_in: Path of the weights into the MLP.
        mlp_out: Path of the weights out of it.
        attention_out: Path of the weights out of attention.
        attention_in: Paths of those of queries, keys and values, or the one path of a matrix that computes all three.
        mlp_gate: Path of the MLP's gate, if it has one of its own.
    """
    paths = {"mlp_in": mlp_in, "mlp_out": mlp_out, "attention_out": attention_out}
    gate = {"mlp_gate": mlp_gate} if mlp_gate else {}
    names = ("attention_qkv",) if len(attention_in) == 1 else ("attention_q", "attention_k", "attention_v")
    return MappingProxyType({**paths, **gate, **dict(zip(names, attention_in, strict=True)), RESIDUAL: ""})


_SEPARATE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")

_LLAMA = Layout("model.layers", _parts("mlp.up_proj", "mlp.down_proj", "self_attn.o_proj", _SEPARATE, "mlp.gate_proj"))

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "llama": _LLAMA,
        "mistral": _LLAMA,
        "qwen2": _LLAMA,
        "qwen3": _LLAMA,
        "olmo2": _LLAMA,
        "smollm3": _LLAMA,
        "gemma": _LLAMA,
        "gemma2": _LLAMA,
        "gemma3_text": _LLAMA,
        # multimodal: a language model beside a vision model that text does not use
        "gemma3": replace(_LLAMA, blocks="model.language_model.layers"),
        "phi3": Layout(
            "model.layers",
            _parts("mlp.gate_up_proj", "mlp.down_proj", "self_attn.o_proj", ["self_attn.qkv_proj"]),
        ),
        "gpt2": Layout(
            "transformer.h", _parts("mlp.c_fc", "mlp.c_proj", "attn.c_proj", ["attn.c_attn"]), transposed=True
        ),
        "gpt_neox": Layout(
            "gpt_neox.layers",
            _parts("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "attention.dense", ["attention.query_key_value"]),
        ),
        "gptj": Layout(
            "transformer.h",
            _parts("mlp.fc_in", "mlp.fc_out", "attn.out_proj", ["attn.q_proj", "attn.k_proj", "attn.v_proj"]),
        ),
    }
)


def layout_of(model_type: str) -> Layout:
    """Return the layout of an architecture, by transformers' `model_type`.

    Raises:
        ValueError: If the architecture has no row.
    """
    if model_type not in LAYOUTS:
        raise ValueError(
            f"architecture `{model_type}` has no row in models/layout.py (rows: {', '.join(LAYOUTS)}); "
            "add one that says where its blocks and the weights of its MLP and attention are"
        )
    return LAYOUTS[model_type]
