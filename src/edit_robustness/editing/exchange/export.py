"""Export of edits: low-rank ones as a PEFT adapter, any change of weights as a full model."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Edit, ExternalEdit, LowRank
from edit_robustness.editing.exchange.card import Card, base_name, header
from edit_robustness.editing.exchange.lora import write_lora
from edit_robustness.editing.exchange.model_folders import CARD
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.storage import replace_folder

logger = logging.getLogger(__name__)


class NotLowRank(TypeError):
    """A part of an edit cannot be written as an adapter."""


class NotWeights(TypeError):
    """A part of an edit does something other than change weights."""


def export_lora(edit: Edit, lm: LanguageModel, folder: Path) -> None:
    """Write a low-rank edit, or a sum of several, as an adapter that `peft.PeftModel.from_pretrained` loads.

    Args:
        edit: The edit; `a + b` for several.
        lm: The model that it was made for.
        folder: The target folder. An earlier export in it is replaced.

    Raises:
        NotLowRank: If a part of the edit is not low rank; the error names it.
        ForeignFolder: If the folder contains anything else.
    """
    write = _adapter(edit, lm)
    replace_folder(folder, write)


def _adapter(edit: Edit, lm: LanguageModel) -> Callable[[Path], None]:
    """Return a function that writes the adapter of an edit into an empty folder.

    Raises:
        NotLowRank: If a part of the edit is not low rank.
    """
    total = low_rank(edit)
    with edit.applied(lm):  # raises if the edit does not fit the model
        factors = {lm.layout.module(site): product for site, product in total.factors.items()}

    def write(folder: Path) -> None:
        write_lora(folder, factors, base=base_name(lm), is_transposed=lm.layout.transposed)
        (folder / CARD).write_text(f"{header(lm, 'peft')}\n", encoding="utf-8")

    return write


def low_rank(edit: Edit) -> LowRank:
    """Return the sum of all parts of an edit as one product of factors per site, by concatenating their factors.

    Raises:
        NotLowRank: If a part is not low rank, or the edit changes no weight.
    """
    candidates = [part.low_rank() if isinstance(part, ExternalEdit) else part for part in edit.parts()]
    low_rank_parts = [part for part in candidates if isinstance(part, LowRank)]
    counts = Counter(
        _describe(part)
        for part, candidate in zip(edit.parts(), candidates, strict=True)
        if candidate not in low_rank_parts
    )
    if counts:
        names = ", ".join(f"{number} of {name}" for name, number in counts.items())
        raise NotLowRank(f"an adapter contains low-rank edits only, and {names} are not: export a full model instead")
    sites = sorted({site for part in low_rank_parts for site in part.factors})
    if not sites:
        raise NotLowRank(f"this edit of {_describe(edit)} changes no weight, so there is nothing to export")
    pairs = {site: [part.factors[site] for part in low_rank_parts if site in part.factors] for site in sites}
    return LowRank(
        {
            site: (
                torch.cat([left_factor for left_factor, _ in products], dim=1),
                torch.cat([right_factor for _, right_factor in products]),
            )
            for site, products in pairs.items()
        }
    )


def bake(edit: Edit | EditHistory, lm: LanguageModel, folder: Path, card: Card, *, adapter: str = "") -> None:
    """Write the edited model and its tokenizer as transformers does, in safetensors, with a model card.

    If you added files of your own to an earlier folder, that folder is kept beside the new one.

    Args:
        edit: One edit, a sum, or a replayed sequence.
        lm: The unedited model.
        folder: The target folder. An earlier model in it is replaced once the new one is complete.
        card: Content of the model card.
        adapter: Name of a subfolder for the edit as an adapter, if it is low rank; empty for none.

    Raises:
        NotWeights: If the edit acts by text or by hooks.
        ForeignFolder: If the folder contains anything else.
    """
    refuse_hooks_and_words(edit)
    write_adapter = _adapter_or_none(edit, lm) if adapter and not isinstance(edit, EditHistory) else None

    def write(part: Path) -> None:
        save_model(lm, part)
        (part / CARD).write_text(card.markdown(lm), encoding="utf-8")
        if write_adapter:
            (part / adapter).mkdir()
            write_adapter(part / adapter)

    with edit.applied(lm):
        replace_folder(folder, write)


def save_model(lm: LanguageModel, folder: Path) -> None:
    """Write the model with its present weights, and its tokenizer, as transformers does, in safetensors."""
    with _allow_saving(lm.model):
        lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)


def _adapter_or_none(edit: Edit, lm: LanguageModel) -> Callable[[Path], None] | None:
    try:
        return _adapter(edit, lm)
    except NotLowRank as reason:
        logger.info("no adapter beside the model: %s", reason)
        return None


def refuse_hooks_and_words(edit: Edit | EditHistory) -> None:
    """Refuse an edit that a file of weights cannot contain.

    Raises:
        NotWeights: If the edit acts by text or by hooks.
    """
    parts = edit.combined_edits.values() if isinstance(edit, EditHistory) else edit.parts()
    hook_kinds = [part.kind for part in parts if part.acts_by_hooks]
    if hook_kinds or any(part.acts_in_context for part in parts):
        means = f"hooks ({', '.join(dict.fromkeys(hook_kinds))})" if hook_kinds else "text before the prompt"
        raise NotWeights(f"a model's files contain weights only, and this edit acts by {means}: use its own file")


@contextmanager
def _allow_saving(model: Any) -> Iterator[None]:
    """Allow saving a model that was read from GGUF.

    Its weights are floats, but transformers treats it as quantised.
    """
    quantizer, settings = getattr(model, "hf_quantizer", None), vars(model.config).pop("quantization_config", None)
    model.hf_quantizer = None
    try:
        yield
    finally:
        model.hf_quantizer = quantizer
        if settings is not None:
            model.config.quantization_config = settings


def _describe(edit: Edit) -> str:
    return f"{edit.origin.method} ({edit.kind})" if edit.origin else edit.kind
