"""A tiny model whose tokenizer merges letters, so that a subject's tokens depend on what stands before it."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tiny import tiny_model
from edit_robustness.records import Fact

SHORT = Fact("P36-short", "Qu", "P36", "{} is the seat of", "Strelsau", "Lima")
"""Two tokens at the beginning of a text (`Q`, `u`), one after a space (`ĠQu`), as `Athens` has with SmolLM2."""

_MERGES = [("Ġ", "Q"), ("ĠQ", "u")]
_UNUSED = ("ÿ", "þ")
"""Letters that no text here has; the merged tokens take their place, for a tiny model has no more embeddings."""


def merging_model(model_type: str = "llama", *, dropped_text: str = "", seed: int = 0) -> LanguageModel:
    """A tiny model with merges.

    Args:
        model_type: A row of `models/layout.py`.
        dropped_text: Text that the tokenizer drops wherever it stands.
        seed: Of the weights.
    """
    return LanguageModel(
        tiny_model(model_type, seed=seed).model, _tokenizer(_MERGES, dropped_text), f"merging-{model_type}"
    )


def _tokenizer(merges: Sequence[tuple[str, str]], dropped_text: str) -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merge_tokens = dict(zip(_UNUSED, (left + right for left, right in merges), strict=True))
    vocabulary = {merge_tokens.get(letter, letter): i for i, letter in enumerate(["<end>", *letters])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if dropped_text:
        splitter = pre_tokenizers.Split(dropped_text, behavior="removed")
        core.pre_tokenizer = pre_tokenizers.Sequence([splitter, core.pre_tokenizer])
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>")
