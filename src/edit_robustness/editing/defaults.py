"""Default hyperparameters of a method for a model without its own, from those of the most similar tuned model.

The settings of the tuned models are in `conf/base/parameters/methods/`, with their sources: published configurations
(ROME's, MEMIT's, AlphaEdit's, PMET's and EasyEdit's repositories; arXiv 2410.18785), or our own choice for SmolLM2.
Models differ in their number of layers, so layers are moved by depth: the published ones are in the first half for
ROME and MEMIT and in the second for FT and GRACE, whatever the model. A default is a starting point, and no substitute
for trying settings on facts that are not evaluated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import ceil, log
from types import MappingProxyType
from typing import Any

from edit_robustness.editing.method import Method
from edit_robustness.models.shape import Shape

_SEPARATE = ("attention_q", "attention_k", "attention_v")
_PLAIN = ("mlp_in", "mlp_out", "attention_out")
_GATED = (*_PLAIN, "mlp_gate", *_SEPARATE)
_FUSED = (*_PLAIN, "attention_qkv")

TUNED: Mapping[str, Shape] = MappingProxyType(
    {
        "smollm2": Shape(30, _GATED, 1536, 8192, 576),
        "llama2_7b": Shape(32, _GATED, 11008, 4096, 4096),
        "llama2_13b_chat": Shape(40, _GATED, 13824, 4096, 5120),
        "llama3_1_8b": Shape(32, _GATED, 14336, 131072, 4096),
        "llama3_2_3b_instruct": Shape(28, _GATED, 8192, 131072, 3072),
        "qwen2_5_7b_instruct": Shape(28, _GATED, 18944, 32768, 3584),
        "mistral_7b": Shape(32, _GATED, 14336, 32768, 4096),
        "gpt2_xl": Shape(48, _FUSED, 6400, 1024, 1600),
        "gpt_j_6b": Shape(28, (*_PLAIN, *_SEPARATE), 16384, 2048, 4096),
        "pythia_160m": Shape(12, _FUSED, 3072, 2048, 768),
        "pythia_410m": Shape(24, _FUSED, 4096, 2048, 1024),
        "pythia_1b": Shape(16, _FUSED, 8192, 2048, 2048),
        "pythia_2_8b": Shape(32, _FUSED, 10240, 2048, 2560),
        "pythia_6_9b": Shape(32, _FUSED, 16384, 2048, 4096),
        "pythia_12b": Shape(36, _FUSED, 20480, 2048, 5120),
    }
)
"""The sizes of the tuned models, by their names in the catalogs of this project, from their published config.json."""

_LAYER = ("layer", "subject_layer")
_RUN = "layers"
"""A run of neighbouring layers; it keeps its length, and its last layer is moved."""

_RUNS_BY_PART = "layers_by_part"
"""Runs of neighbouring layers for each part of a layer."""

_CHOICE = "blocks"
"""A selection of blocks."""

_BY_KEY_WIDTH = ("mom2_tokens", "mom2_update_weight")
"""Read against the number of dimensions of a key: second moments take several tokens per dimension, and MEMIT's lambda
weighs a key against as many (`conf/base/parameters/methods/memit.yml`)."""

_DEMONSTRATIONS = ("copy", "update", "retain")
_ROOM = 2048
"""Tokens of context that the 32 demonstrations of IKE's paper need with the longest prompts and answers."""

_DIGITS = 3


@dataclass(frozen=True)
class Default:
    """Hyperparameters that were derived from another model's.

    Attributes:
        settings: The hyperparameters, as in a file of parameters.
        source: The tuned model that they are derived from.
    """

    settings: Mapping[str, Any]
    source: str


def default_settings(shape: Shape, settings_by_model: Mapping[str, Mapping[str, Any] | None]) -> Default | None:
    """Return one method's hyperparameters for a model, derived from those of the most similar tuned model.

    The rule: take all settings of that model (`most_alike`), and change these.

    - `layer`, `subject_layer`: the layer at the same share of the depth. `layers` keeps its length, and its last layer
      is moved (empty, which means all layers, it stays so); so does `layers_by_part`, without the parts that the model
      does not have. Of `blocks`, a block is kept if the block at the same share of the tuned model's depth is.
    - `mom2_tokens`, `mom2_update_weight`: in proportion to the width of a key.
    - `rank`: no more than the inputs of MEND's networks are wide.
    - `part`, `parts`: those that the model has. Empty `parts` of LoRA are those usual in the architecture.
    - `copy`, `update`, `retain`: in proportion to the context, if it is shorter than 2,048 tokens.

    Args:
        shape: The model's sizes.
        settings_by_model: For each model with hyperparameters of the method these; models without a row in `TUNED` are
            ignored.

    Returns:
        The hyperparameters and their source; None if no tuned model has any.
    """
    source = most_alike(shape, [name for name in settings_by_model if name in TUNED])
    if source is None:
        return None
    settings = settings_by_model[source] or {}
    return Default(
        {name: _scale_setting(name, value, TUNED[source], shape) for name, value in settings.items()}, source
    )


def most_alike(shape: Shape, names: Collection[str]) -> str | None:
    """Return the tuned model most similar to a model: of those with the same parts, the one nearest in size.

    Size is the number of weights in the blocks, compared as a ratio. If no model has the same parts, all are compared.

    Args:
        shape: The model's sizes.
        names: Rows of `TUNED`.

    Returns:
        The name; None if there are no names.
    """
    has_gate = "mlp_gate" in shape.parts
    alike = [name for name in names if ("mlp_gate" in TUNED[name].parts) == has_gate]
    return min(
        alike or names, key=lambda name: abs(log(_count_weights(TUNED[name]) / _count_weights(shape))), default=None
    )


def _count_weights(shape: Shape) -> int:
    """Estimate the number of weights in the blocks: four square matrices of attention, and those of the MLP."""
    width = shape.hidden or shape.key_width // 4
    matrices = sum(part.startswith("mlp") for part in shape.parts)
    return max(1, shape.layers * (4 * width**2 + matrices * width * shape.key_width))


def _move_run(layers: Collection[int], source: Shape, shape: Shape) -> list[int]:
    last = _scale_layer(max(layers), source.layers, shape.layers)
    return [layer for layer in range(last - len(layers) + 1, last + 1) if layer >= 0]


def _scale_setting(name: str, value: Any, source: Shape, shape: Shape) -> Any:
    """Return the value of one setting for another model."""
    if name in _LAYER:
        return _scale_layer(int(value), source.layers, shape.layers)
    if name == _RUN:
        return _move_run(value, source, shape) if value else []
    if name == _RUNS_BY_PART:
        runs = {part: _move_run(layers, source, shape) for part, layers in value.items() if part in shape.parts}
        return runs or {"mlp_out": _move_run(next(iter(value.values())), source, shape)}
    if name == _CHOICE:
        return [block for block in range(shape.layers) if _scale_layer(block, shape.layers, source.layers) in value]
    if name in _BY_KEY_WIDTH:
        return _round_up(value * shape.key_width / source.key_width)
    if name == "rank":
        return min(value, shape.hidden + shape.key_width)
    if name == "part":
        return value if value in shape.parts else "mlp_out"
    if name == "parts":
        return [part for part in value if part in shape.parts]
    if name in _DEMONSTRATIONS:
        room = min(_ROOM, source.context)
        return value if shape.context >= room else max(1, value * shape.context // room)
    return value


def _scale_layer(layer: int, old: int, new: int) -> int:
    """Return the layer of `new` layers whose middle is nearest to the same share of the depth as that of `old`."""
    return min(new - 1, int((layer + 0.5) * new / old))


def _round_up(number: float) -> int:
    """Return a whole number of three digits that is not smaller, such as 12,700 for 12,667."""
    unit: int = 10 ** max(0, len(str(ceil(number))) - _DIGITS)
    return ceil(number / unit) * unit


def missing_settings(method: type[Method], settings: Mapping[str, Any]) -> list[str]:
    """Return the required hyperparameters of a method that are not given."""
    fields: Mapping[str, Any] = method.__pydantic_fields__  # type: ignore[attr-defined]
    return [name for name, field in fields.items() if field.is_required() and name not in settings]


def complete_settings(settings: Mapping[str, Any], default: Default) -> dict[str, Any]:
    """Return hyperparameters with the missing ones taken from the default.

    If a method takes only one of several settings, the default's is left out if `settings` has another of them.
    """
    alternatives = {name for group in _ONE_OF if group & settings.keys() for name in group}
    return {**{name: value for name, value in default.settings.items() if name not in alternatives}, **settings}


_ONE_OF = (frozenset({"nullspace_energy", "nullspace_threshold"}),)
