"""Loading of models and tokenizers from files in transformers' format: completely, or refused with the reason."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from jinja2 import TemplateError
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.memory import without_weights
from edit_robustness.models.tokens import render_conversation
from edit_robustness.records import Turn

logger = logging.getLogger(__name__)

INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
UNREADABLE = (
    *(SafetensorError, OSError, ValueError, RuntimeError, ImportError, TypeError, AttributeError, LookupError),
    StrictDataclassError,
)
"""Exceptions that transformers raises for files that it cannot read."""

_BUFFERS = re.compile(r"(.+\.)?(inv_freq|position_ids|masked_bias|(attn|attention)\.bias)")
"""Constants that older files contain beside the weights; the model computes them."""

_SHOWN = 4


class UnusableFolder(ValueError):
    """Files do not contain the model or adapter that they should."""


def read_model(source: str | Path, **options: Any) -> Any:
    """Load the model in a folder or on a hub, with every weight from its files and every weight in them used.

    Args:
        source: A folder, or a model's id on a hub.
        **options: Arguments of `from_pretrained`.

    Raises:
        UnusableFolder: If weights are missing, unexpected, or of another shape, or the files cannot be read.
        OSError: If transformers does not find the files, or a hub cannot be reached.
    """
    if Path(source).is_dir() and "gguf_file" not in options:
        _check_files(Path(source))
    try:
        result: Any = AutoModelForCausalLM.from_pretrained(
            source,
            trust_remote_code=False,
            use_safetensors=True,
            # so that they can be listed below
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    except OSError:
        raise
    except UNREADABLE as error:
        raise UnusableFolder(_explain_unreadable(source, "model", error)) from error
    model, info = result
    if getattr(model, "_hf_peft_config_loaded", False):  # also from a hub, whose files were not checked before
        raise UnusableFolder(_explain_adapter(source))
    _check_whole(source, info)
    if not model.config.get_text_config().num_hidden_layers:
        raise UnusableFolder(f"{source}: config.json says `num_hidden_layers: 0`; a model has at least one layer")
    return model


def read_sizes(source: str | Path, config: Any, dtype: torch.dtype, **options: Any) -> Any:
    """Return the model in a folder or on a hub without its weights, on torch's device `meta`.

    Args:
        source: A folder, or a model's id on a hub.
        config: Its configuration.
        dtype: That of the weights.
        **options: Arguments of `from_pretrained`.
    """
    attention = options.pop("attn_implementation", None)
    model = without_weights(config, dtype=dtype, attn_implementation=attention)
    # without a file, that of the model's configuration holds
    with suppress(OSError):
        model.generation_config = GenerationConfig.from_pretrained(source, **options)
    return model


def _explain_unreadable(source: str | Path, kind: str, error: Exception) -> str:
    """Return why a model or tokenizer was not read, and what to do."""
    if "custom code" in str(error) or "trust_remote_code" in str(error):
        return (
            f"the {kind} in {source} comes with code of its own (`auto_map` in its settings), and code from a model's "
            "files is never run: use a model of an architecture that transformers has itself"
        )
    reason = " ".join(str(error).split())
    return f"the {kind} in {source} cannot be read ({reason}); write or download the files again"


def _explain_adapter(source: str | Path) -> str:
    """Return why an adapter is not a model: transformers would load its base, from anywhere, and apply it."""
    return (
        f"{source} holds a PEFT adapter ({ADAPTER}), not a model of its own: merge it into its base "
        "(`merge_and_unload().save_pretrained(<new folder>)`) and give the new folder; or take its base as the model "
        "and the adapter as an edit, with the method `external`"
    )


def _check_files(folder: Path) -> None:
    """Refuse files for which transformers would raise an error of its own, or load weights from another place."""
    if (folder / ADAPTER).exists():
        raise UnusableFolder(_explain_adapter(folder))
    weights = sorted(folder.glob("*.safetensors"))
    pickle_files = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if not weights and pickle_files:
        raise UnusableFolder(
            f"{folder} has its weights in pickle files ({_list_names(pickle_files)}), which can run any code when "
            "read and so is never read; no safetensors files are there. If you trust the files, convert them "
            "elsewhere, once: "
            f"`AutoModelForCausalLM.from_pretrained('{folder}').save_pretrained(<new folder>)`, copy the "
            "tokenizer's files beside them, and give the new folder"
        )
    if (folder / INDEX).exists():
        _check_index(folder)
    for path in weights:
        _check_weights(path)


def _check_weights(path: Path) -> None:
    """Refuse a file that is incomplete, or whose weights are integers, which mean nothing without their scales."""
    try:
        with safe_open(path, "pt") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UnusableFolder(f"{path} cannot be read ({error}); write or download the file again") from error
    integer_weights = [f"{name} {kind}" for name, kind in kinds.items() if kind[0] in "IUB" and kind != "BF16"]
    if integer_weights := [name for name in integer_weights if not _BUFFERS.fullmatch(name.split()[0])]:
        raise UnusableFolder(
            f"{path} has weights that are quantised or no numbers ({_list_names(integer_weights)}); give the model in "
            "float32, float16 or bfloat16"
        )


def _check_index(folder: Path) -> None:
    """Refuse an index of shards that is incomplete, names a file outside its folder, or is not the only model there.

    transformers would load a `model.safetensors` beside it, and ignore the shards.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnusableFolder(f"{path} cannot be read ({error}); write or download the file again") from error
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise UnusableFolder(f"{path} has no `weight_map` from weights to files; write or download the file again")
    if not isinstance(index.get("metadata"), dict):
        raise UnusableFolder(f'{path} has no `metadata`; add `"metadata": {{}}` beside `weight_map`')
    single, shards = folder / "model.safetensors", sorted(set(places.values()) - {"model.safetensors"})
    if single.exists() and shards:
        raise UnusableFolder(
            f"{folder} holds two models: {single.name}, and the shards that {INDEX} names ({_list_names(shards)}); "
            "remove one"
        )
    outside_files = sorted({name for name in places.values() if Path(name).name != name})
    if outside_files:
        raise UnusableFolder(
            f"{path} names files outside its folder ({_list_names(outside_files)}); every file must lie beside it"
        )
    missing_files = sorted({name for name in places.values() if not (folder / name).is_file()})
    if missing_files:
        raise UnusableFolder(
            f"{folder} lacks {_list_names(missing_files)}, which {INDEX} names; download the folder again"
        )


def _check_whole(source: str | Path, info: Mapping[str, Collection[Any]]) -> None:
    """Refuse weights that are missing, unexpected, or of another shape; a tied head is none of these."""
    missing_names = sorted(info["missing_keys"])
    unused_names = sorted(name for name in info["unexpected_keys"] if not _BUFFERS.fullmatch(name))
    if missing_names:
        hint = f"; it holds weights that the model does not have: {_list_names(unused_names)}" if unused_names else ""
        raise UnusableFolder(
            f"{source} lacks the weights {_list_names(missing_names)}{hint}; they would be random numbers, so write "
            "or download the files again, with the config.json that belongs to them"
        )
    if info["mismatched_keys"]:
        wrong = [f"{name} {tuple(shape)} for {tuple(size)}" for name, shape, size in sorted(info["mismatched_keys"])]
        raise UnusableFolder(f"{source} has weights of another shape than config.json says: {_list_names(wrong)}")
    if unused_names:
        raise UnusableFolder(
            f"{source} holds weights that the model does not have: {_list_names(unused_names)}; they would be left "
            "out, so put the config.json that belongs to them beside them, or write the files without them"
        )


def check_tokenizer(lm: LanguageModel) -> None:
    """Refuse a tokenizer with ids for which the model has no embedding, or an unusable chat template.

    A special token that only its own name in a text produces may be without an embedding: `LanguageModel.encode`
    refuses such a text.

    Raises:
        UnusableFolder: If there are such ids or the template is unusable; the message says how many, or why.
    """
    rows = lm.model.get_input_embeddings().weight.shape[0]
    special = lm.without_embedding.keys()
    base_ids = {lm.tokenizer.bos_token_id, lm.tokenizer.eos_token_id, lm.tokenizer.unk_token_id}
    outside_ids = {
        i: token for token, i in lm.tokenizer.get_vocab().items() if i >= rows and (i not in special or i in base_ids)
    }
    if outside_ids:
        examples = [f"`{outside_ids[i]}` is {i}" for i in sorted(outside_ids)]
        raise UnusableFolder(
            f"{lm.name}: the tokenizer has {len(lm.tokenizer)} entries and the model embeddings for {rows}; "
            f"{len(outside_ids)} have none ({_list_names(examples)}): use the tokenizer that belongs to the model"
        )
    if special:
        names = _list_names(list(lm.without_embedding.values()))
        logger.warning("%s has no embedding for %s; texts with them are refused", lm.name, names)
    if lm.n_appended:
        logger.info("%s: what the tokenizer appends to texts (%d tokens) is left out", lm.name, lm.n_appended)
    _check_template(lm)


def read_tokenizer(source: str | Path, template: str | None = None, **options: Any) -> Any:
    """Load the tokenizer in a folder or on a hub, with one chat template or none.

    Args:
        source: A folder, or a model's id on a hub.
        template: Name of the chat template, if there are several.
        **options: Arguments of `from_pretrained`.

    Raises:
        UnusableFolder: If the files cannot be read, or there is no template of that name.
        OSError: If transformers does not find the files, or a hub cannot be reached.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    except OSError:
        raise
    except UNREADABLE as error:
        raise UnusableFolder(_explain_unreadable(source, "tokenizer", error)) from error
    _choose_template(tokenizer, template)
    return tokenizer


def _choose_template(tokenizer: Any, name: str | None) -> None:
    """Leave a tokenizer one chat template: the named one of several, or the one called `default`.

    Raises:
        UnusableFolder: If there is none of that name, or several and no name is given.
    """
    templates = tokenizer.chat_template
    if not isinstance(templates, Mapping):
        if name is not None:
            raise UnusableFolder(
                f"`chat_template: {name}` is set, and the tokenizer has no templates by name; remove it"
            )
        return
    template_name = name or "default"
    if template_name not in templates:
        raise UnusableFolder(
            f"the tokenizer has no chat template `{template_name}`; set `chat_template` in the model's catalog entry "
            f"to one of {', '.join(sorted(templates))}"
        )
    tokenizer.chat_template = templates[template_name]


def _check_template(lm: LanguageModel) -> None:
    """Refuse a chat template that fails, or whose text does not depend on one of its messages."""
    if lm.tokenizer.chat_template is None:
        return
    texts = ["Where is Rome?", "In Italy.", "And where is Oslo?"]
    for place, role in enumerate(("user", "assistant", "user")):
        variant = [*texts[:place], "The owl sleeps.", *texts[place + 1 :]]
        if _render(lm, texts) == _render(lm, variant):
            raise UnusableFolder(
                f"{lm.name}: the chat template ignores message {place + 1} of 3 (of the {role}), so questions would "
                "not reach the model: correct it in the folder of its tokenizer (chat_template.jinja, or "
                "`chat_template` in tokenizer_config.json), or remove it there to ask in plain lines"
            )


def _render(lm: LanguageModel, texts: Iterable[str]) -> str:
    turns = [Turn("assistant" if number % 2 else "user", text) for number, text in enumerate(texts)]
    try:
        return render_conversation(lm, turns).text
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise UnusableFolder(
            f"{lm.name}: the chat template cannot be used ({error}): correct it in the folder of its tokenizer, or "
            "remove it there to ask in plain lines"
        ) from error


def _list_names(names: Collection[str]) -> str:
    """Return the first few names, and the number of the others."""
    extra = len(names) - _SHOWN
    return ", ".join([*list(names)[:_SHOWN], *([f"{extra} more"] if extra > 0 else [])])
