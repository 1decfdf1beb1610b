"""Checks that a method's settings fit a model: that it has the layers and parts, and that there is enough text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edit_robustness.editing.method import Method
from edit_robustness.editing.second_moments import count_tokens
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.shape import Shape

LAYERS = ("layer", "layers", "layers_by_part", "blocks", "subject_layer")
"""Settings whose values are layers."""

_PARTS = ("part", "parts", "layers_by_part")


@dataclass(frozen=True)
class TextNeed:
    """How much running text the methods of a model read.

    Attributes:
        tokens: Tokens for second moments: the largest number that one method reads.
        texts: Number of texts that contexts are taken from.
        setting: The setting that asks for the tokens, ``methods.rome.smollm2.mom2_tokens``.
    """

    tokens: int = 0
    texts: int = 0
    setting: str = ""


def text_need(methods: Mapping[str, Method]) -> TextNeed:
    """Return how much text some methods read; the names are those of their settings, ``methods.rome.smollm2``."""
    if not methods:
        return TextNeed()
    settings_name = max(methods, key=lambda name: methods[name].corpus_tokens)
    texts = max(method.corpus_texts for method in methods.values())
    return TextNeed(methods[settings_name].corpus_tokens, texts, f"{settings_name}.mom2_tokens")


def refuse_short_corpus(lm: LanguageModel, texts: Sequence[str], need: TextNeed) -> None:
    """Refuse a corpus that has less text than the methods read.

    Raises:
        ValueError: If there is too little text; the message says how much there is and how much is needed.
    """
    tokens = count_tokens(lm, texts, need.tokens)
    if tokens < need.tokens:
        raise ValueError(
            f"corpus_source: its texts have {tokens} tokens for {lm.name} (each text counts up to 256), and "
            f"{need.setting} reads {need.tokens}: give it more text, or lower {need.setting}; without a `path` the "
            "model writes enough"
        )
    if len(texts) < need.texts:
        raise ValueError(
            f"corpus_source: it has {len(texts)} texts, and {need.texts} contexts are taken from the beginnings of as "
            "many: give it more texts, or shorten `context_lengths` of the methods"
        )


def misfits(settings_name: str, method: Method, name: str, shape: Shape) -> Iterator[str]:
    """Yield one message for each setting that asks for something that the model or this machine does not have.

    Args:
        settings_name: The name of the settings, ``methods.rome.smollm2``.
        method: The method.
        name: The model's name.
        shape: The model's sizes.
    """
    yield from (f"{settings_name}.{problem}" for problem in method.problems())
    for setting in LAYERS:
        layers = [layer for layer in _layers(method, setting) if layer >= shape.layers]
        if layers:
            yield f"{settings_name}.{setting}: there is no layer {layers[0]}; {name} has layers 0 to {shape.layers - 1}"
    for setting in _PARTS:
        parts = [part for part in _values(method, setting) if part not in shape.parts]
        if parts:
            yield f"{settings_name}.{setting}: {name} has no part `{parts[0]}`; it has {', '.join(shape.parts)}"
    if method.key_sites and method.corpus_tokens <= shape.key_width:
        yield (
            f"{settings_name}.mom2_tokens: it is {method.corpus_tokens}, and {name}'s keys are {shape.key_width} wide: "
            f"their second moments need more than {shape.key_width} tokens; several times as many are better"
        )


def _layers(method: Method, setting: str) -> tuple[int, ...]:
    value = getattr(method, setting, ())
    if isinstance(value, Mapping):
        return tuple(layer for layers in value.values() for layer in layers)
    return value if isinstance(value, tuple) else (value,)


def _values(method: Method, setting: str) -> tuple[Any, ...]:
    """Return the values of a setting; of a mapping its keys."""
    value = getattr(method, setting, ())
    return tuple(value) if isinstance(value, tuple | Mapping) else (value,)
