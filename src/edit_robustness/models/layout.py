"""Where things are in each architecture: the only table of architectures in the project.

A new architecture is one row here; everything else reads the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

PARTS = ("mlp_in", "mlp_out", "attention_out")
"""The weights that may be edited: into the MLP, out of the MLP, and out of attention."""


@dataclass(frozen=True, order=True)
class Site:
    """A weight to edit, by layer and part; how it is stored is the layout's business."""

    layer: int
    part: str

    def __str__(self) -> str:
        return f"{self.layer}.{self.part}"

    @classmethod
    def parse(cls, text: str) -> Site:
        """The inverse of `str`.

        Raises:
            ValueError: If the text does not name a site.
        """
        layer, _, part = text.partition(".")
        if part not in PARTS or not layer.isdigit():
            raise ValueError(f"`{text}` is not a site; sites look like `5.mlp_out`, parts are {', '.join(PARTS)}")
        return cls(int(layer), part)


@dataclass(frozen=True)
class Layout:
    """One architecture.

    Attributes:
        blocks: Path of the list of transformer blocks.
        parts: Path of each editable module inside a block.
        transposed: Whether weights are stored (d_in, d_out), as GPT-2's Conv1D does.
    """

    blocks: str
    parts: Mapping[str, str]
    transposed: bool = False


def _parts(mlp_in: str, mlp_out: str, attention_out: str) -> Mapping[str, str]:
    return MappingProxyType(dict(zip(PARTS, (mlp_in, mlp_out, attention_out), strict=True)))


_LLAMA = Layout("model.layers", _parts("mlp.up_proj", "mlp.down_proj", "self_attn.o_proj"))

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "llama": _LLAMA,
        "mistral": _LLAMA,
        "gpt2": Layout("transformer.h", _parts("mlp.c_fc", "mlp.c_proj", "attn.c_proj"), transposed=True),
        "gpt_neox": Layout("gpt_neox.layers", _parts("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "attention.dense")),
    }
)


def layout_of(model_type: str) -> Layout:
    """The row of an architecture, by transformers' `model_type`.

    Raises:
        ValueError: If the architecture has no row.
    """
    if model_type not in LAYOUTS:
        raise ValueError(
            f"architecture `{model_type}` has no row in models/layout.py (rows: {', '.join(LAYOUTS)}); "
            "add one that says where its blocks, MLP and attention outputs are"
        )
    return LAYOUTS[model_type]
