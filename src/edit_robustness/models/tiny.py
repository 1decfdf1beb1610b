"""Tiny random models of every architecture, for trying a graph in seconds and for tests. They have no knowledge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Tokenizer,
    Qwen3Config,
    SmolLM3Config,
)

from edit_robustness.models.language_model import LanguageModel

_CONTEXT = 2048
_CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_ROTARY: Mapping[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": _CONTEXT,
}

# Gemma and Qwen3 have heads that together are wider than the residual. Gemma's embeddings are tied, but tied ones this
# small repeat the last token forever. The window is wider than any text; tests that need a narrow one set it.
_WIDE: Mapping[str, Any] = {**_ROTARY, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": False}
_SLIDING: Mapping[str, Any] = {
    **_WIDE,
    "query_pre_attn_scalar": 16,
    "sliding_window": _CONTEXT,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}

_VISION: Mapping[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "image_size": 8,
    "patch_size": 4,
}


def _build_gemma3(**options: Any) -> Gemma3Config:
    """Build a configuration with a language model beside a vision model."""
    text = Gemma3TextConfig(**_SLIDING, **options)
    return Gemma3Config(text_config=text, vision_config=dict(_VISION), mm_tokens_per_image=4, tie_word_embeddings=False)


CONFIGS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "llama": lambda **kw: LlamaConfig(**_ROTARY, num_key_value_heads=2, tie_word_embeddings=True, **kw),
        "mistral": lambda **kw: MistralConfig(**_ROTARY, num_key_value_heads=2, sliding_window=None, **kw),
        "gpt2": lambda **kw: GPT2Config(n_embd=32, n_inner=48, n_layer=4, n_head=4, n_positions=_CONTEXT, **kw),
        "gpt_neox": lambda **kw: GPTNeoXConfig(**_ROTARY, **kw),
        "gptj": lambda **kw: GPTJConfig(
            n_embd=32, n_inner=48, n_layer=4, n_head=4, n_positions=_CONTEXT, rotary_dim=4, **kw
        ),
        "qwen2": lambda **kw: Qwen2Config(**_ROTARY, num_key_value_heads=2, **kw),
        "qwen3": lambda **kw: Qwen3Config(**_WIDE, **kw),
        "gemma": lambda **kw: GemmaConfig(**_WIDE, **kw),
        "gemma2": lambda **kw: Gemma2Config(**_SLIDING, **kw),
        "gemma3_text": lambda **kw: Gemma3TextConfig(**_SLIDING, **kw),
        "gemma3": lambda **kw: _build_gemma3(**kw),
        "olmo2": lambda **kw: Olmo2Config(**_ROTARY, num_key_value_heads=2, **kw),
        # every second layer has no rotary positions
        "smollm3": lambda **kw: SmolLM3Config(
            **_ROTARY, num_key_value_heads=2, no_rope_layer_interval=2, tie_word_embeddings=True, **kw
        ),
        "phi3": lambda **kw: Phi3Config(**_ROTARY, num_key_value_heads=2, **kw),
    }
)
"""One small configuration for each row of the table of architectures."""

_SPREADS = {"olmo2": 0.1}
"""Standard deviations of random weights. OLMo 2 has no norm before its MLP, so usual ones make its keys too large."""


def tiny_tokenizer(model_type: str = "llama") -> PreTrainedTokenizerFast:
    """Build a tokenizer of bytes with a chat template; it round-trips any text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(["<end>", *letters])}
    if model_type == "qwen2":
        # transformers loads every Qwen2 folder with this class, whichever class the folder names
        special = dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<end>")
        return Qwen2Tokenizer(vocab=vocabulary, merges=[], chat_template=_CHAT, **special)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>")
    tokenizer.chat_template = _CHAT
    return tokenizer


def tiny_config(model_type: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    """Return the configuration of a tiny model.

    Raises:
        ValueError: If there is none of the architecture.
    """
    if model_type not in CONFIGS:
        raise ValueError(f"no tiny `{model_type}`; there are {', '.join(CONFIGS)}")
    return CONFIGS[model_type](
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def tiny_model(model_type: str, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """Build a random model of four layers, 32 wide, with a tokenizer of bytes.

    Args:
        model_type: A row of `models/layout.py`.
        seed: Seed of the weights; the state of torch's generator does not change.
        dtype: Dtype of the weights.

    Raises:
        ValueError: If there is no tiny configuration of the architecture.
    """
    tokenizer = tiny_tokenizer(model_type)
    config = tiny_config(model_type, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            # larger than usual initial values, so that logits differ clearly from token to token
            if parameter.ndim > 1:
                parameter.data.normal_(0, _SPREADS.get(model_type, 0.15))
    return LanguageModel(model.to(dtype), tokenizer, f"tiny-{model_type}")
