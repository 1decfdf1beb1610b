"""Causal language models from the catalog: package data, a local folder, a hub, or a tiny random one."""

from __future__ import annotations

import gc
import importlib.util
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, RLock
from typing import Any, ClassVar

import torch
import transformers
from kedro.io import AbstractDataset, DatasetError

from edit_robustness.datasets.arguments import validate_arguments_with
from edit_robustness.datasets.model_sources import SOURCES, Folder, Hub, Package, Random, Source
from edit_robustness.models.language_model import LanguageModel, RemoteWeights
from edit_robustness.models.loading import (
    UNREADABLE,
    UnusableFolder,
    check_tokenizer,
    read_model,
    read_sizes,
    read_tokenizer,
)
from edit_robustness.models.memory import TooLittleMemory, check_memory, weight_bytes
from edit_robustness.models.placement import place, weight_bytes_per_device
from edit_robustness.models.shape import Shape
from edit_robustness.models.tiny import tiny_model
from edit_robustness.storage import ForeignFolder, file_sha256, folder_damage, is_ours, note, read_note, replace_folder
from edit_robustness.text.secrets import redact

logger = logging.getLogger(__name__)

NOT_FINITE = "some weights, or what the model says, are not finite numbers, so no method is tried on it"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class _Slot:
    """The one model in memory."""

    key: tuple[tuple[str, str], ...] | None = None
    model: LanguageModel | None = None
    loads: int = 0


class LanguageModelDataset(AbstractDataset[None, LanguageModel]):
    """One causal language model with its tokenizer. At most one is in memory: loading another frees it.

    Args:
        name: What tables and figures call it.
        dtype: float32, bfloat16 or float16.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1` ...; `split` spreads the blocks over all
            GPUs that this process sees, and `cuda:0,cuda:1` over these.
        attn_implementation: sdpa, eager, flash_attention_2 ...; without it the best that the architecture has.
        chat_template: Name of the chat template to use of a tokenizer that has several; `default` without it.
        note: What a reader of results must know about the model.
        metadata: For kedro-viz.
        **source: The settings of one kind of source, as in `model_sources`: `package` (with `file`, `sha256` and
            `converted`), `folder`, `hub` (with `revision` and `credentials`), or `random` (with `seed`).

    Raises:
        ValueError: Unless exactly one source is given, or if it does not take a setting or has no such value.
    """

    slot: ClassVar[_Slot] = _Slot()

    hold: ClassVar[Callable[[Mapping[str, Any]], RemoteWeights] | None] = None
    """Lets another process load the model of an entry, and returns what that tells of it. Then models have no weights
    in this process, and any number of them may be in memory."""

    _outlines: ClassVar[dict[Any, LanguageModel]] = {}
    """The models without weights."""

    _loading: ClassVar[RLock] = RLock()
    """With workers, several threads may load models into this process; a slot has one only."""

    _locks: ClassVar[defaultdict[Any, Lock]] = defaultdict(Lock)

    @validate_arguments_with(SOURCES)
    def __init__(
        self,
        name: str,
        *,
        dtype: str = "float32",
        device: str = "auto",
        attn_implementation: str | None = None,
        chat_template: str | None = None,
        note: str = "",
        metadata: dict[str, Any] | None = None,
        **source: Any,
    ):
        self._name, self._source = name, _source(name, source)
        if dtype not in _DTYPES:
            raise ValueError(f"{name}: dtype `{dtype}` is not one of {', '.join(_DTYPES)}")
        self._dtype, self._device, self._attention = dtype, device, attn_implementation
        self._template = chat_template
        self._note, self.metadata = note, metadata
        self._entry = {
            **{"name": name, "dtype": dtype, "device": device, "attn_implementation": attn_implementation},
            **{"chat_template": chat_template, "note": note, **source},
        }

    @property
    def label(self) -> str:
        """Return the model's name in figures and reports, which is that in the catalog."""
        return self._name

    @property
    def description(self) -> str:
        """Return the entry's `note`, or where the model comes from."""
        return self._note or str(self._describe()["source"])

    def load(self) -> LanguageModel:
        """Return the model, from memory if it is the last one loaded; without weights if another process holds them."""
        if (hold := type(self).hold) is not None:
            return self._load_outline(hold)
        return self._load_whole()

    def _load_whole(self) -> LanguageModel:
        slot = type(self).slot
        with self._loading:
            if slot.model is None or slot.key != self._key:
                slot.model = slot.key = None
                gc.collect()
                slot.model, slot.key = self._describe_model(self._from_source()), self._key
                slot.loads += 1
            return slot.model

    def _load_outline(self, hold: Callable[[Mapping[str, Any]], RemoteWeights]) -> LanguageModel:
        """Return the model without weights."""
        # threads of several models load at once, but each model only once
        with self._locks[self._key]:
            lm = self._outlines.get(self._key)
            if lm is None:
                if isinstance(self._source, Package) and (damage := self._damage()):
                    # once, before several processes read it
                    self._convert_again(self._source, damage)
                lm = self._outlines[self._key] = self._describe_model(self._read_outline(hold(self._entry)))
            return lm

    def _read_outline(self, remote_weights: RemoteWeights) -> LanguageModel:
        dtype = _DTYPES[self._dtype]
        if isinstance(self._source, Random):
            lm = tiny_model(self._source.random, seed=self._source.seed, dtype=dtype)
            return LanguageModel(lm.model.to("meta"), lm.tokenizer, self._name, remote_weights)
        where, options = self._source.location, self._source.options
        model = read_sizes(where, self._config(), dtype, attn_implementation=self._attention, **options)
        return LanguageModel(model, read_tokenizer(where, self._template, **options), self._name, remote_weights)

    def _describe_model(self, lm: LanguageModel) -> LanguageModel:
        lm.description, lm.entry = self._describe(), self._entry
        if not lm.finite:
            logger.warning("%s: %s", self._name, NOT_FINITE)
            lm.description["note"] = f"{self._note} {NOT_FINITE.capitalize()}.".strip()
        return lm

    @classmethod
    def with_weights(cls, lm: LanguageModel) -> LanguageModel:
        """Return a model with its weights in this process, for what workers do not do.

        Raises:
            DatasetError: If the files that this process reads are of another model.
        """
        if lm.has_weights:
            return lm
        local_model = cls(**lm.entry)._load_whole()
        if local_model.fingerprint != lm.fingerprint:
            raise DatasetError(f"{lm.name}: a worker loads another model than this process: the model's files differ")
        return local_model

    @classmethod
    def forget_outlines(cls) -> None:
        """Forget the models without weights: another process may hold another version of them."""
        cls._outlines.clear()

    def shape(self, *, download: bool = False) -> Shape | None:
        """Return the model's sizes from files on this machine; None if they are not known without loading it.

        Nothing is converted, and files that cannot be read are left for `load` to refuse.

        Args:
            download: Whether config.json of a model on a hub may be downloaded.
        """
        try:
            return self._source.shape(download=download)
        except UNREADABLE:
            return None

    def save(self, data: None) -> None:
        """Refuse: edits are values, and models are not written."""
        raise DatasetError(f"{self._name} is read only")

    @property
    def _key(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((k, str(v)) for k, v in self._describe().items()))

    def _from_source(self) -> LanguageModel:
        devices = _read_devices(self._device)
        if isinstance(self._source, Random):
            lm = tiny_model(self._source.random, seed=self._source.seed, dtype=_DTYPES[self._dtype])
            place(lm.model, devices)
            lm.name = self._name
            return lm
        logger.info("loading %s on %s", self._name, ", ".join(map(str, devices)))
        if isinstance(self._source, Package):
            return self._converted_model(self._source, devices)
        if isinstance(self._source, Folder) and not Path(self._source.folder).is_dir():
            raise DatasetError(f"{self._name}: there is no folder {self._source.folder}")
        return self._read(devices)

    def _read(self, devices: Sequence[torch.device]) -> LanguageModel:
        where, options = self._source.location, self._source.options
        self._check_memory(devices)
        try:
            model = read_model(where, dtype=_DTYPES[self._dtype], attn_implementation=self._attention, **options)
            tokenizer = read_tokenizer(where, self._template, **options)
            lm = LanguageModel(place(model, devices), tokenizer, self._name)
            check_tokenizer(lm)
        except UnusableFolder as error:
            raise DatasetError(f"{self._name}: {redact(str(error))}") from error
        except OSError as error:
            reason = redact(str(error))
            raise DatasetError(f"{self._name}: cannot load {where} ({reason}); {self._way_out()}") from error
        return lm

    def _check_memory(self, devices: Sequence[torch.device]) -> None:
        config, dtype, what = self._config, _DTYPES[self._dtype], f"{self._name}: its weights in {self._dtype}"
        try:
            if len(devices) == 1:
                needs = [weight_bytes(config(), dtype)]
            else:
                needs, what = weight_bytes_per_device(config(), dtype, len(devices)), f"{what} on this device"
        except UNREADABLE:
            return  # reading the model refuses the files with their own reason
        try:
            for need, device in zip(needs, devices, strict=True):
                check_memory(need, device, what)
        except TooLittleMemory as error:
            raise DatasetError(str(error)) from error

    def _config(self) -> Any:
        """Read config.json, from a hub only if no copy is here: one that does not answer is tried for half a minute."""
        try:
            return self._source.config()
        except UNREADABLE:
            return self._source.config(download=True)

    def _converted_model(self, source: Package, devices: Sequence[torch.device]) -> LanguageModel:
        """Return the package's model, never from files that are not those that were written.

        A change that keeps the size and time of a file shows in the model's fingerprint, or because the files cannot
        be read. Then every file is hashed.
        """
        if damage := self._damage():
            self._convert_again(source, damage)
        folder = source.converted
        key = f"fingerprint, {self._dtype}, {self._template}, {self._attention}"
        try:
            lm = self._read(devices)
        except (DatasetError, ValueError):
            if not (damage := self._damage(thorough=True)):
                raise
        else:
            if read_note(folder, key) == lm.fingerprint:
                return lm
            if not (damage := self._damage(thorough=True)):
                note(folder, key, lm.fingerprint)
                return lm
        self._convert_again(source, damage)
        lm = self._read(devices)
        note(folder, key, lm.fingerprint)
        return lm

    def _way_out(self) -> str:
        """Return what to do if the files are not found."""
        if isinstance(self._source, Hub):
            return (
                "without a network use `folder` with a local copy; a model without safetensors files must be converted "
                "to them first (save_pretrained), since pickled weights are never read"
            )
        return "the folder must hold config.json, *.safetensors and the tokenizer's files, as by save_pretrained"

    def _damage(self, *, thorough: bool = False) -> str:
        """Return what is wrong with the converted model; empty if nothing."""
        source = self._source
        return folder_damage(source.converted, source.sha256, thorough=thorough) if isinstance(source, Package) else ""

    def _convert_again(self, source: Package, damage: str) -> None:
        spec = importlib.util.find_spec(source.package)
        if spec is None or spec.origin is None:
            raise DatasetError(
                f"{self._name}: package {source.package} is not installed; pip install it, or change the source"
            )
        package_folder, file = Path(spec.origin).parent, source.file
        digest = file_sha256(package_folder / file)
        if digest != source.sha256:
            raise DatasetError(f"{self._name}: {file} has sha256 {digest}, not {source.sha256}")
        # the mark of earlier releases; they kept no checksums, so that their folder is converted again
        earlier = f"{source.sha256}.done"
        if is_ours(source.converted):
            logger.warning("%s: converting %s again: %s", self._name, file, damage)
        else:
            logger.info("converting %s to safetensors, once", file)
        try:
            replace_folder(
                source.converted, lambda part: _convert(package_folder, file, part), of=source.sha256, names=(earlier,)
            )
        except ForeignFolder as error:
            raise DatasetError(f"{self._name}: `converted`: {error}") from error

    def _release(self) -> None:
        """Free the model if it is this one."""
        self._outlines.pop(self._key, None)
        slot = type(self).slot
        if slot.key == self._key:
            slot.model = slot.key = None
            gc.collect()

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "source": f"{self._source.kind}: {self._source.description}",
            "dtype": self._dtype,
            "device": self._device,
            "attention": self._attention or "the architecture's own",
            **({"chat_template": self._template} if self._template else {}),
            "note": self._note,
        }


def _source(name: str, settings: Mapping[str, Any]) -> Source:
    """Return the one source that is given."""
    kinds = [kind for kind in SOURCES.names if settings.get(kind)]
    if len(kinds) != 1:
        raise ValueError(f"{name}: give one source of {', '.join(SOURCES.names)} (given: {', '.join(kinds) or 'none'})")
    if kinds == ["package"] and not all(settings.get(setting) for setting in Package.required_settings()):
        raise ValueError(f"{name}: a package needs file, sha256 and converted beside it")
    # an empty text chooses no source
    values = {setting: value for setting, value in settings.items() if value or setting not in SOURCES.names}
    return SOURCES.read(kinds[0], values, f"{name}: a model of the source `{kinds[0]}`")


def _convert(source: Path, file: str, target: Path) -> None:
    model = read_model(source, gguf_file=file, dtype=torch.float32, local_files_only=True)
    tokenizer = read_tokenizer(source, gguf_file=file, local_files_only=True)
    # transformers refuses to save what it takes for a quantised model, though the weights are float by now
    del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


SPLIT = "split"
"""The device of a model whose blocks are spread over all GPUs."""


def _read_devices(setting: str) -> list[torch.device]:
    """Return the devices of a setting, one or several with commas between them."""
    if setting != SPLIT:
        return [_device(name.strip()) for name in setting.split(",")]
    if not torch.cuda.is_available():
        raise DatasetError(f"device: {SPLIT} needs GPUs, and torch sees none; use `device: auto` or `cpu`")
    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DatasetError(f"device: {name} is asked for, and torch sees no GPU; use `device: auto` or `cpu`")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DatasetError(f"device: torch knows no `{name}`; use `auto`, `cpu`, `cuda` or `cuda:1`") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DatasetError(f"device: {name} is asked for, and torch sees {torch.cuda.device_count()} GPUs, from cuda:0")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DatasetError(
            f"device: {name} is asked for, and torch sees no such device; use `device: auto` or `cpu`"
        ) from error
    return device


transformers.utils.logging.disable_progress_bar()
