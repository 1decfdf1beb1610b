"""Models and tokenizers from files in transformers' format: whole, or refused with the reason."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from jinja2 import TemplateError
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import render_conversation
from edit_robustness.records import Turn

logger = logging.getLogger(__name__)

INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
UNREADABLE = (
    *(SafetensorError, OSError, ValueError, RuntimeError, ImportError, TypeError, AttributeError, LookupError),
    StrictDataclassError,
)
"""What transformers raises for files that it cannot read."""

_BUFFERS = re.compile(r"(.+\.)?(inv_freq|position_ids|masked_bias|(attn|attention)\.bias)")
"""Constants that older files keep beside the weights; the model computes them."""

_SHOWN = 4


class UnusableFolder(ValueError):
    """Files that do not hold the model or adapter that they should."""


def read_model(where: str | Path, **options: Any) -> Any:
    """The model in a folder or on a hub, every weight of it from its files and every weight in them used.

    Args:
        where: A folder, or a model's id on a hub.
        **options: For `from_pretrained`.

    Raises:
        UnusableFolder: If weights are missing, left over, or of another shape, or the files cannot be read.
        OSError: If transformers does not find the files, or a hub cannot be reached.
    """
    if Path(where).is_dir() and "gguf_file" not in options:
        _check_files(Path(where))
    try:
        read: Any = AutoModelForCausalLM.from_pretrained(
            where,
            trust_remote_code=False,
            use_safetensors=True,
            # so that they are named below
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    except OSError:
        raise
    except UNREADABLE as error:
        raise UnusableFolder(_unread(where, "model", error)) from error
    model, info = read
    if getattr(model, "_hf_peft_config_loaded", False):  # also from a hub, where no file was looked at before
        raise UnusableFolder(_is_adapter(where))
    _check_whole(where, info)
    if not model.config.get_text_config().num_hidden_layers:
        raise UnusableFolder(f"{where}: config.json says `num_hidden_layers: 0`; a model has at least one layer")
    return model


def _unread(where: str | Path, what: str, error: Exception) -> str:
    """Why a model or tokenizer was not read, and what to do."""
    if "custom code" in str(error) or "trust_remote_code" in str(error):
        return (
            f"the {what} in {where} comes with code of its own (`auto_map` in its settings), and code from a model's "
            "files is never run: use a model of an architecture that transformers has itself"
        )
    reason = " ".join(str(error).split())
    return f"the {what} in {where} cannot be read ({reason}); write or download the files again"


def _is_adapter(where: str | Path) -> str:
    """Why an adapter is no model: transformers would read the base it names, wherever that is, and put it on."""
    return (
        f"{where} holds a PEFT adapter ({ADAPTER}), not a model of its own: merge it into its base "
        "(`merge_and_unload().save_pretrained(<new folder>)`) and give the new folder; or take its base as the model "
        "and the adapter as an edit, with the method `checkpoint`"
    )


def _check_files(folder: Path) -> None:
    """Refuse files that transformers would answer with an error of its own, or with weights from elsewhere."""
    if (folder / ADAPTER).exists():
        raise UnusableFolder(_is_adapter(folder))
    weights = sorted(folder.glob("*.safetensors"))
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if not weights and pickled:
        raise UnusableFolder(
            f"{folder} holds its weights in pickle ({_some(pickled)}), which can run any code when it is read and so "
            "is never read; no safetensors files are there. If you trust the files, convert them elsewhere, once: "
            f"`AutoModelForCausalLM.from_pretrained('{folder}').save_pretrained(<new folder>)`, copy the tokenizer's "
            "files beside them, and give the new folder"
        )
    if (folder / INDEX).exists():
        _check_index(folder)
    for path in weights:
        _check_weights(path)


def _check_weights(path: Path) -> None:
    """Refuse a file that is not whole, or whose weights are whole numbers: without their scales they say nothing."""
    try:
        with safe_open(path, "pt") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UnusableFolder(f"{path} cannot be read ({error}); write or download the file again") from error
    whole = [f"{name} {kind}" for name, kind in kinds.items() if kind[0] in "IUB" and kind != "BF16"]
    if whole := [name for name in whole if not _BUFFERS.fullmatch(name.split()[0])]:
        raise UnusableFolder(
            f"{path} has weights that are quantised or no numbers ({_some(whole)}); give the model in float32, float16 "
            "or bfloat16"
        )


def _check_index(folder: Path) -> None:
    """Refuse an index of shards that is not whole, that names a file outside its folder, or that is not the only one.

    transformers would take a `model.safetensors` beside it, and leave out the shards.
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
    single, others = folder / "model.safetensors", sorted(set(places.values()) - {"model.safetensors"})
    if single.exists() and others:
        raise UnusableFolder(
            f"{folder} holds two models: {single.name}, and the shards that {INDEX} names ({_some(others)}); remove one"
        )
    outside = sorted({name for name in places.values() if Path(name).name != name})
    if outside:
        raise UnusableFolder(f"{path} names files outside its folder ({_some(outside)}); every file must lie beside it")
    missing = sorted({name for name in places.values() if not (folder / name).is_file()})
    if missing:
        raise UnusableFolder(f"{folder} lacks {_some(missing)}, which {INDEX} names; download the folder again")


def _check_whole(where: str | Path, info: Mapping[str, Collection[Any]]) -> None:
    """Refuse weights that are missing, left over, or of another shape; a tied head is none of these."""
    missing = sorted(info["missing_keys"])
    left_over = sorted(name for name in info["unexpected_keys"] if not _BUFFERS.fullmatch(name))
    if missing:
        instead = f"; it holds weights that the model does not have: {_some(left_over)}" if left_over else ""
        raise UnusableFolder(
            f"{where} lacks the weights {_some(missing)}{instead}; they would be random numbers, so write or download "
            "the files again, with the config.json that belongs to them"
        )
    if info["mismatched_keys"]:
        wrong = [f"{name} {tuple(found)} for {tuple(size)}" for name, found, size in sorted(info["mismatched_keys"])]
        raise UnusableFolder(f"{where} has weights of another shape than config.json says: {_some(wrong)}")
    if left_over:
        raise UnusableFolder(
            f"{where} holds weights that the model does not have: {_some(left_over)}; they would be left out, so put "
            "the config.json that belongs to them beside them, or write the files without them"
        )


def check_tokenizer(lm: LanguageModel) -> None:
    """Refuse a tokenizer that writes ids for which the model has no embedding, or a chat template that is of no use.

    A special token that only its own name in a text calls up may be without an embedding: `LanguageModel.encode`
    refuses such a text.

    Raises:
        UnusableFolder: Says how many entries are too many, or what the template does.
    """
    rows = lm.model.get_input_embeddings().weight.shape[0]
    special = lm.without_embedding.keys()
    own = {lm.tokenizer.bos_token_id, lm.tokenizer.eos_token_id, lm.tokenizer.unk_token_id}
    outside = {
        i: token for token, i in lm.tokenizer.get_vocab().items() if i >= rows and (i not in special or i in own)
    }
    if outside:
        shown = [f"`{outside[i]}` is {i}" for i in sorted(outside)]
        raise UnusableFolder(
            f"{lm.name}: the tokenizer has {len(lm.tokenizer)} entries and the model embeddings for {rows}; "
            f"{len(outside)} have none ({_some(shown)}): use the tokenizer that belongs to the model"
        )
    if special:
        names = _some(list(lm.without_embedding.values()))
        logger.warning("%s has no embedding for %s; texts with them are refused", lm.name, names)
    if lm.appended:
        logger.info("%s: what the tokenizer appends to texts (%d tokens) is left out", lm.name, lm.appended)
    _check_template(lm)


def read_tokenizer(where: str | Path, template: str | None = None, **options: Any) -> Any:
    """The tokenizer in a folder or on a hub, with one chat template or none.

    Args:
        where: A folder, or a model's id on a hub.
        template: Name of the chat template, where there are several.
        **options: For `from_pretrained`.

    Raises:
        UnusableFolder: If the files cannot be read, or there is no template of that name.
        OSError: If transformers does not find the files, or a hub cannot be reached.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False, **options)
    except OSError:
        raise
    except UNREADABLE as error:
        raise UnusableFolder(_unread(where, "tokenizer", error)) from error
    _choose_template(tokenizer, template)
    return tokenizer


def _choose_template(tokenizer: Any, name: str | None) -> None:
    """Leave a tokenizer one chat template: the named one of several, or the one called `default`.

    Raises:
        UnusableFolder: If there is none of that name, or several and none is named.
    """
    templates = tokenizer.chat_template
    if not isinstance(templates, Mapping):
        if name is not None:
            raise UnusableFolder(
                f"`chat_template: {name}` is set, and the tokenizer has no templates by name; remove it"
            )
        return
    chosen = name or "default"
    if chosen not in templates:
        raise UnusableFolder(
            f"the tokenizer has no chat template `{chosen}`; set `chat_template` in the model's catalog entry to one "
            f"of {', '.join(sorted(templates))}"
        )
    tokenizer.chat_template = templates[chosen]


def _check_template(lm: LanguageModel) -> None:
    """Refuse a chat template that fails, or that writes the same whatever one of its messages says."""
    if lm.tokenizer.chat_template is None:
        return
    texts = ["Where is Rome?", "In Italy.", "And where is Oslo?"]
    for place, role in enumerate(("user", "assistant", "user")):
        changed = [*texts[:place], "The owl sleeps.", *texts[place + 1 :]]
        if _rendered(lm, texts) == _rendered(lm, changed):
            raise UnusableFolder(
                f"{lm.name}: the chat template ignores message {place + 1} of 3 (of the {role}), so questions would "
                "not reach the model: mend it in the folder of its tokenizer (chat_template.jinja, or `chat_template` "
                "in tokenizer_config.json), or remove it there to ask in plain lines"
            )


def _rendered(lm: LanguageModel, texts: Iterable[str]) -> str:
    turns = [Turn("assistant" if number % 2 else "user", text) for number, text in enumerate(texts)]
    try:
        return render_conversation(lm, turns).text
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise UnusableFolder(
            f"{lm.name}: the chat template cannot be used ({error}): mend it in the folder of its tokenizer, or remove "
            "it there to ask in plain lines"
        ) from error


def _some(names: Collection[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join([*list(names)[:_SHOWN], *([f"{more} more"] if more > 0 else [])])
