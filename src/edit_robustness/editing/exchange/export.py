"""Edits for use outside: low-rank ones as an adapter for PEFT, any change of weights as a model of its own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from edit_robustness.editing.edits import Checkpoint, Edit, LowRank
from edit_robustness.editing.exchange.card import Card, base_name, header
from edit_robustness.editing.exchange.lora import write_lora
from edit_robustness.editing.exchange.model_folders import CARD
from edit_robustness.editing.past import Past
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.storage import replace_folder

logger = logging.getLogger(__name__)


class NotLowRank(TypeError):
    """Edits of which one cannot be written as an adapter."""


class NotWeights(TypeError):
    """Edits of which one does something else than change weights."""


def export_lora(edit: Edit, lm: LanguageModel, folder: Path) -> None:
    """Write a low-rank edit, alone or a sum of several, as an adapter that `peft.PeftModel.from_pretrained` loads.

    Args:
        edit: The edit; `a + b` for several.
        lm: The model that it was made for.
        folder: Where to; what an earlier export left there is replaced.

    Raises:
        NotLowRank: If a part of the edit is not low rank; the error names it.
        ForeignFolder: If the folder holds anything else.
    """
    write = _adapter(edit, lm)
    replace_folder(folder, write)


def _adapter(edit: Edit, lm: LanguageModel) -> Callable[[Path], None]:
    """What writes the adapter of an edit into an empty folder.

    Raises:
        NotLowRank: If a part of the edit is not low rank.
    """
    whole = low_rank(edit)
    with edit.applied(lm):  # refuses a model that it does not fit
        factors = {lm.layout.module(site): product for site, product in whole.factors.items()}

    def write(folder: Path) -> None:
        write_lora(folder, factors, base=base_name(lm), transposed=lm.layout.transposed)
        (folder / CARD).write_text(f"{header(lm, 'peft')}\n", encoding="utf-8")

    return write


def low_rank(edit: Edit) -> LowRank:
    """One product of factors at each site that is the sum of all parts of an edit: their factors side by side.

    Raises:
        NotLowRank: If a part is not low rank, or there is nothing in it.
    """
    parts = [part.low_rank() if isinstance(part, Checkpoint) else part for part in edit.parts()]
    found = [part for part in parts if isinstance(part, LowRank)]
    others = Counter(_called(part) for part, same in zip(edit.parts(), parts, strict=True) if same not in found)
    if others:
        names = ", ".join(f"{number} of {name}" for name, number in others.items())
        raise NotLowRank(f"an adapter holds low-rank edits, and {names} are not: bake them into a model instead")
    sites = sorted({site for part in found for site in part.factors})
    if not sites:
        raise NotLowRank(f"this edit of {_called(edit)} changes no weight, so there is nothing to export")
    pairs = {site: [part.factors[site] for part in found if site in part.factors] for site in sites}
    return LowRank(
        {s: (torch.cat([left for left, _ in p], dim=1), torch.cat([right for _, right in p])) for s, p in pairs.items()}
    )


def bake(edit: Edit | Past, lm: LanguageModel, folder: Path, card: Card, *, adapter: str = "") -> None:
    """Write the edited model and its tokenizer as transformers does, in safetensors, with a model card.

    Where somebody put files of their own into an earlier folder, that is kept beside the new one.

    Args:
        edit: One edit, a sum, or a sequence that was replayed.
        lm: The unedited model.
        folder: Where to; what was baked there before is replaced once the new one is whole.
        card: What the model card says.
        adapter: Name of a folder in it for the edit as an adapter, where it is low rank; empty for none.

    Raises:
        NotWeights: If the edit acts by words or by hooks.
        ForeignFolder: If the folder holds anything else.
    """
    refuse_hooks_and_words(edit)
    write_adapter = _adapter_or_none(edit, lm) if adapter and not isinstance(edit, Past) else None

    def write(part: Path) -> None:
        lm.model.save_pretrained(part)
        lm.tokenizer.save_pretrained(part)
        (part / CARD).write_text(card.markdown(lm), encoding="utf-8")
        if write_adapter:
            (part / adapter).mkdir()
            write_adapter(part / adapter)

    with edit.applied(lm), _savable(lm.model):
        replace_folder(folder, write)


def _adapter_or_none(edit: Edit, lm: LanguageModel) -> Callable[[Path], None] | None:
    try:
        return _adapter(edit, lm)
    except NotLowRank as reason:
        logger.info("no adapter beside the model: %s", reason)
        return None


def refuse_hooks_and_words(edit: Edit | Past) -> None:
    """Refuse an edit that no file of weights can hold.

    Raises:
        NotWeights: If the edit acts by words or by hooks.
    """
    hooked = list(edit.hooked) if isinstance(edit, Past) else [p.kind for p in edit.parts() if p.acts_by_hooks]
    if edit.prefix or hooked:
        what = f"hooks ({', '.join(dict.fromkeys(hooked))})" if hooked else "words before the prompt"
        raise NotWeights(f"a model's files hold weights, and this edit acts by {what}: keep its file, and apply that")


@contextmanager
def _savable(model: Any) -> Iterator[None]:
    """Let a model be saved that was read from GGUF: its weights are float, but transformers takes it for quantised."""
    quantizer, settings = getattr(model, "hf_quantizer", None), vars(model.config).pop("quantization_config", None)
    model.hf_quantizer = None
    try:
        yield
    finally:
        model.hf_quantizer = quantizer
        if settings is not None:
            model.config.quantization_config = settings


def _called(edit: Edit) -> str:
    return f"{edit.origin.method} ({edit.kind})" if edit.origin else edit.kind
