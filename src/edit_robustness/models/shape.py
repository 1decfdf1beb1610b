"""Sizes in a model's configuration, for checking settings before the model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edit_robustness.models.layout import RESIDUAL, layout_of


@dataclass(frozen=True)
class Shape:
    """The sizes of a model.

    Attributes:
        layers: Number of transformer blocks.
        parts: The weights of a block that may be edited.
        key_width: Number of inputs of an MLP's output weight: the width of a key.
        context: Context length in tokens.
        hidden: Number of outputs of a block; 0 if it is not known.
    """

    layers: int
    parts: tuple[str, ...]
    key_width: int
    context: int
    hidden: int = 0


def shape_of(config: Any) -> Shape:
    """Read the sizes from a configuration of transformers, that of the language model where it has several.

    Raises:
        ValueError: If the architecture has no layout.
    """
    text = config.get_text_config()
    width = getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * text.hidden_size
    parts = tuple(part for part in layout_of(config.model_type).parts if part != RESIDUAL)
    return Shape(text.num_hidden_layers, parts, width, text.max_position_embeddings, text.hidden_size)
