"""Sources of language models in the catalog: the settings of each kind, and how its files are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from transformers import AutoConfig

from edit_robustness.datasets.arguments import Kind, Kinds
from edit_robustness.models.shape import Shape, shape_of
from edit_robustness.models.tiny import tiny_config, tiny_tokenizer


class Source(Kind):
    """One kind of source."""

    kind: str

    @property
    def location(self) -> str:
        """Return the folder, or the id on a hub, from which transformers reads."""
        raise NotImplementedError

    @property
    def description(self) -> str:
        """Return what tells this source from others of its kind."""
        return self.location

    @property
    def options(self) -> dict[str, Any]:
        """Return arguments of `from_pretrained`."""
        return {"local_files_only": True}

    def config(self, *, download: bool = False) -> Any:
        """Read the model's config.json.

        Args:
            download: Whether that of a model on a hub may be downloaded.
        """
        options = {**self.options, "local_files_only": not (download and isinstance(self, Hub))}
        return AutoConfig.from_pretrained(self.location, trust_remote_code=False, **options)

    def shape(self, *, download: bool = False) -> Shape:
        """Read the model's sizes from its config.json.

        Args:
            download: As in `config`.
        """
        return shape_of(self.config(download=download))


class Package(Source):
    """A GGUF file that an installed package ships as data.

    Attributes:
        package: Name of the package.
        file: The file's name in the package.
        sha256: The file's checksum.
        converted: Folder for the model as safetensors, made once.
    """

    kind: Literal["package"]
    package: str
    file: str
    sha256: str
    converted: Path

    @property
    def location(self) -> str:
        """Return the folder of the converted model."""
        return str(self.converted)

    @property
    def description(self) -> str:
        """Return the package and the file."""
        return f"{self.package}/{self.file}"


class Folder(Source):
    """A local folder in the format of transformers.

    Attributes:
        folder: The folder.
    """

    kind: Literal["folder"]
    folder: str

    @property
    def location(self) -> str:
        """Return the folder."""
        return self.folder


class Hub(Source):
    """A model on a hub.

    Attributes:
        hub: Its id.
        revision: Its revision; pin a commit to be reproducible.
        credentials: Of the hub (`token: ...`, kept in conf/local).
    """

    kind: Literal["hub"]
    hub: str
    revision: str | None = None
    credentials: dict[str, str] | None = None

    @property
    def location(self) -> str:
        """Return the id."""
        return self.hub

    @property
    def description(self) -> str:
        """Return the id and the revision."""
        return f"{self.hub}@{self.revision or 'main'}"

    @property
    def options(self) -> dict[str, Any]:
        """Return the revision and the token."""
        return {"revision": self.revision, "token": (self.credentials or {}).get("token")}


class Random(Source):
    """A tiny model of random weights, for trying a graph.

    Attributes:
        random: Its architecture.
        seed: Of its weights.
    """

    kind: Literal["random"]
    random: str
    seed: int = 0

    @property
    def description(self) -> str:
        """Return the architecture and the seed."""
        return f"{self.random}, seed {self.seed}"

    def config(self, *, download: bool = False) -> Any:
        """Make the configuration; there are no files."""
        return tiny_config(self.random, tiny_tokenizer(self.random))


SOURCES: Kinds[Source] = Kinds(Package, Folder, Hub, Random)
"""Each kind is named like the setting that chooses it."""
