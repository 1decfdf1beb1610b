"""Folders of models and adapters as other tools leave them, for whatever reads such folders."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

from edit_robustness.models.language_model import LanguageModel

Shapes = dict[str, tuple[int, int]]
"""(d_out, d_in) of modules by their full names."""


def shapes_of(lm: LanguageModel, *ends: str) -> Shapes:
    """The modules whose names end so."""
    modules = {name: module for name, module in lm.model.named_modules() if name.endswith(ends)}
    is_transposed = {name: isinstance(module, Conv1D) for name, module in modules.items()}
    return {name: tuple(module.weight.shape[:: -1 if is_transposed[name] else 1]) for name, module in modules.items()}


def write_adapter(
    folder: Path, shapes: Shapes, *, seed: int = 0, ranks: dict[str, int] | None = None, **fields
) -> Path:
    """A random LoRA adapter of rank 2, or of the modules' own ranks, as PEFT writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    random, tensors, ranks = torch.Generator().manual_seed(seed), {}, ranks or {}
    for module, (d_out, d_in) in shapes.items():
        name, rank = f"base_model.model.{module}.lora_", ranks.get(module, 2)
        tensors[f"{name}A.weight"] = torch.randn(rank, d_in, generator=random) * 0.2
        tensors[f"{name}B.weight"] = torch.randn(d_out, rank, generator=random) * 0.2
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "bias": "none"}
    targets = {"target_modules": sorted(shapes), "rank_pattern": ranks, "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps({**settings, **targets, **fields}))
    return folder


def write_model(folder: Path, lm: LanguageModel, weight_name: str, by: float = 0.5) -> Path:
    """The model with random numbers added to one of its parameters, as transformers saves it."""
    weight = lm.model.get_parameter(weight_name).detach()
    original = weight.clone()
    random = torch.Generator().manual_seed(1)
    try:
        weight.add_(torch.randn(weight.shape, generator=random).to(weight.dtype) * by)
        lm.model.save_pretrained(folder)
    finally:
        weight.copy_(original)
    return folder
