"""LoRA adapters (Hu et al. 2022) in PEFT's file format, read and written without PEFT."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from edit_robustness.editing.exchange.model_folders import (
    ADAPTER_SETTINGS,
    ADAPTER_WEIGHTS,
    read_settings,
    read_tensors,
)
from edit_robustness.models.loading import UnusableFolder

Factors = Mapping[str, tuple[Tensor, Tensor]]
"""For each module's name `left` (d_out, rank) and `right` (rank, d_in): left @ right is added to its weight."""

_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")
_MORE_THAN_A_PRODUCT = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
)
_UNTOUCHED_BASE = (True, False, None, "gaussian", "orthogonal", "eva", "mica")
"""Values of `init_lora_weights` with which training starts from the unchanged model; others change it first."""

_NAMES = re.compile(r"\^?(?:\w|\\?\.|-)+")
"""Keys of a pattern that are a module's name or the end of one; a dot in them matches any character, as in PEFT."""
_CHARACTERS = re.compile(r"\\?.")


def read_lora(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Read an adapter from a folder: its factors per module in float32, with the scale alpha / rank in `left`.

    Raises:
        UnusableFolder: If it cannot be read, or does anything other than add products to weights.
    """
    settings, tensors = read_settings(folder, ADAPTER_SETTINGS), read_tensors(folder / ADAPTER_WEIGHTS)
    places = [(match["module"], match["factor"]) if (match := _NAME.fullmatch(name)) else None for name in tensors]
    problems = [name for name, place in zip(tensors, places, strict=True) if place is None]
    problems += [name for name in _MORE_THAN_A_PRODUCT if settings.get(name)]
    if settings.get("peft_type") != "LORA" or problems:
        raise UnusableFolder(
            f"{folder} is not a plain LoRA adapter ({settings.get('peft_type')}; "
            f"{', '.join(problems) or 'no extras'}): merge it into its model (merge_and_unload), save that, and "
            "give its folder"
        )
    _check_settings(folder, settings)
    factors = {}
    for module in sorted({module for module, _ in filter(None, places)}):
        down, up = (tensors.get(f"base_model.model.{module}.lora_{factor}.weight") for factor in "AB")
        if down is None or up is None or down.ndim != 2 or up.ndim != 2 or len(down) != up.shape[1]:
            raise UnusableFolder(f"{folder}: the factors of `{module}` do not form a pair; write the folder again")
        rank, alpha = (_of_module(settings, module, name) for name in ("rank_pattern", "alpha_pattern"))
        if len(down) != rank:
            raise UnusableFolder(
                f"{folder}: `{module}` has factors of rank {len(down)}, and {ADAPTER_SETTINGS} says {rank}; write the "
                "folder again"
            )
        scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
        factors[module] = (up.float() * scale, down.float())
    return factors


_OTHERWISE = {"rank_pattern": "r", "alpha_pattern": "lora_alpha"}


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse an adapter whose training changed the base weights, and settings that PEFT would read otherwise."""
    start = settings.get("init_lora_weights")
    if not any(start is value or start == value for value in _UNTOUCHED_BASE):
        raise UnusableFolder(
            f"{folder} was trained with `init_lora_weights: {start}`, which changes the model's own weights before "
            "training, so its products do not fit the model as it is: convert it to a plain LoRA with PEFT "
            "(save_pretrained with path_initial_model_for_weight_conversion), or merge it into its model "
            "(merge_and_unload), save that, and give its folder"
        )
    for pattern, otherwise in _OTHERWISE.items():
        keys = settings.get(pattern) or {}
        if not isinstance(keys, dict) or not all(map(_is_number, [settings.get(otherwise), *keys.values()])):
            raise UnusableFolder(
                f"{folder / ADAPTER_SETTINGS}: `{otherwise}` ({settings.get(otherwise)!r}) and the values of "
                f"`{pattern}` must be numbers above 0; write the folder again"
            )
        expressions = [key for key in keys if not _NAMES.fullmatch(key)]
        if expressions:
            raise UnusableFolder(
                f"{folder / ADAPTER_SETTINGS}: `{pattern}` has the regular expression `{expressions[0][:80]}`; only "
                "names of modules are read: write them out, or merge the adapter into its model (merge_and_unload)"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _of_module(settings: Mapping[str, Any], module: str, pattern: str) -> Any:
    """Return a module's own rank or alpha by PEFT's rule: of the first key that matches the end of its name."""
    keys = settings.get(pattern) or {}
    matching_key = next((key for key in keys if _is_name_of(key, module)), None)
    return settings[_OTHERWISE[pattern]] if matching_key is None else keys[matching_key]


def _is_name_of(key: str, module: str) -> bool:
    """Return whether a key is a module's name or the part of one after a dot, as PEFT's regular expression would.

    Each part of a key matches one character (`_NAMES`), so its length determines where it must begin. A regular
    expression of many dots would try every beginning, and takes minutes for a name of 100,000 characters.
    """
    characters = _CHARACTERS.findall(key.removeprefix("^"))
    start = len(module) - len(characters)
    if start < 0 or (start > 0 and (key.startswith("^") or module[start - 1] != ".")):
        return False
    return all(
        character in (".", letter, f"\\{letter}") for character, letter in zip(characters, module[start:], strict=True)
    )


def write_lora(folder: Path, factors: Factors, *, base: str, is_transposed: bool) -> None:
    """Write an adapter of scale 1 that PEFT loads.

    Args:
        folder: The target folder, which must exist.
        factors: The product that is added to each module; ranks may differ.
        base: Name or path of the unedited model.
        is_transposed: Whether the modules store their weights as (d_in, d_out).
    """
    ranks = {module: right_factor.shape[0] for module, (_, right_factor) in factors.items()}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    other_ranks = {module: module_rank for module, module_rank in ranks.items() if module_rank != rank}
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": other_ranks,
        "alpha_pattern": other_ranks,
        "target_modules": sorted(factors),
        "fan_in_fan_out": is_transposed,
        "bias": "none",
        "lora_dropout": 0.0,
        "inference_mode": True,
    }
    tensors = {}
    for module, (left_factor, right_factor) in factors.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = right_factor.to(torch.float32).contiguous()
        tensors[f"base_model.model.{module}.lora_B.weight"] = left_factor.to(torch.float32).contiguous()
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    (folder / ADAPTER_SETTINGS).write_text(json.dumps(settings, indent=2), encoding="utf-8")
