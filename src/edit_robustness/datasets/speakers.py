"""Speakers in the catalog: tester, judge and writer, which can be changed without a change of code."""

from __future__ import annotations

import gc
from typing import Any, ClassVar, Literal

from kedro.io import AbstractDataset, DatasetError

from edit_robustness.datasets.arguments import Kind, Kinds, validate_arguments_with
from edit_robustness.datasets.language_model import LanguageModelDataset, _Slot
from edit_robustness.datasets.web import WebDataset
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.speakers.endpoint import EndpointSpeaker
from edit_robustness.speakers.local import LocalSpeaker, LocalSpeakerSettings
from edit_robustness.speakers.scripted import TESTER, ScriptedSpeaker
from edit_robustness.speakers.speaker import Speaker
from edit_robustness.speakers.unset import UnsetSpeaker
from edit_robustness.text.secrets import without_secrets


class _Beside(LanguageModelDataset):
    """A model that speaks beside the one that is edited, in this process; it has a place of its own in memory."""

    slot: ClassVar[_Slot] = _Slot()
    hold = None


class _CatalogSpeaker(LocalSpeaker):
    """A local speaker that another process makes again from its entry, because models are not sent."""

    def __init__(self, entry: Local, lm: LanguageModel, name: str | None):
        super().__init__(lm, entry.speaker_settings(), name=name)
        self._entry = entry

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the entry and the name."""
        return Local.speaker, (self._entry, self.name)


class SpeakerKind(Kind):
    """One kind of speaker."""

    kind: str

    def ready(self, name: str | None) -> Speaker | None:
        """Return the speaker, or None if it is made when it is loaded; settings that no speaker can have are refused.

        Args:
            name: What tables call it; None for the name of its own.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return the settings that were given and are no secrets, for the description of the entry."""
        values = self.model_dump(exclude_unset=True, exclude={"kind", "credentials"})
        return {name: without_secrets(value) for name, value in values.items()}


class Unset(SpeakerKind):
    """Nobody: a place in the catalog that is not filled."""

    kind: Literal["unset"]

    def ready(self, name: str | None) -> Speaker:
        """Return a speaker that says, when it is asked, that it is not set."""
        return UnsetSpeaker(name or "a speaker")


class Script(SpeakerKind):
    """A script.

    Attributes:
        script: For each turn its lines; without it the tester's script.
        seed: Draws lines.
    """

    kind: Literal["scripted"]
    script: list[list[str]] | None = None
    seed: int = 0

    def ready(self, name: str | None) -> Speaker:
        """Return a speaker that reads its lines."""
        script = TESTER if self.script is None else self.script
        return ScriptedSpeaker(script, seed=self.seed, name=name or "script")


class Local(SpeakerKind):
    """A model of the catalog.

    Attributes:
        model: The model, by the name in its entry ``<name>.language_model`` (or that entry's settings).
        max_new_tokens: Most tokens of a turn.
        max_thinking_tokens: Most tokens of what the model thinks before a turn.
        temperature: 0 for greedy decoding.
        seed: Draws tokens.
        batch_rows: How many conversations are answered at once.
    """

    kind: Literal["local"]
    model: str | dict[str, Any]
    max_new_tokens: int | None = None
    max_thinking_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    batch_rows: int | None = None

    @property
    def model_settings(self) -> dict[str, Any]:
        """Return the model's entry in the catalog.

        Raises:
            ValueError: If the model is given by its name, which a project's catalog replaces.
        """
        if isinstance(self.model, str):
            raise ValueError(f"model: `{self.model}` is known by name inside a project's catalog only")
        return self.model

    def speaker_settings(self) -> LocalSpeakerSettings:
        """Return how it speaks."""
        return LocalSpeakerSettings(**self.model_dump(exclude_unset=True, exclude={"kind", "model"}))

    def ready(self, name: str | None) -> None:
        """Check the settings, those of the model too, which is loaded when it is first asked."""
        LanguageModelDataset(**self.model_settings)
        self.speaker_settings()

    def speaker(self, name: str | None) -> LocalSpeaker:
        """Load the model, and return it as a speaker."""
        return _CatalogSpeaker(self, self._dataset().load(), name)

    def describe(self) -> dict[str, Any]:
        """Return the settings without the model's entry."""
        return {name: value for name, value in super().describe().items() if name != "model"}

    def _dataset(self) -> LanguageModelDataset:
        dataset = LanguageModelDataset(**self.model_settings)
        is_here = LanguageModelDataset.hold is None and LanguageModelDataset.slot.key == dataset._key
        return dataset if is_here else _Beside(**self.model_settings)


class Endpoint(SpeakerKind):
    """A model behind an OpenAI-compatible endpoint.

    Attributes:
        url: Its base address.
        model: What the endpoint calls the model.
        cache: The folder that keeps its answers.
        options: What each request says besides (`max_tokens`, `temperature` ...).
        credentials: `key: ...`, kept in conf/local/credentials.yml.
        offline: Whether only the cache is asked.
        manners: Timeouts, retries and pace, the settings of `web.transport.RequestSettings`.
    """

    kind: Literal["endpoint"]
    url: str
    model: str
    options: dict[str, Any] | None = None
    credentials: dict[str, str] | None = None
    cache: str
    offline: bool = False
    manners: dict[str, Any] | None = None

    def ready(self, name: str | None) -> Speaker:
        """Return the speaker; nobody is asked yet."""
        web = WebDataset(self.cache, self.offline, **(self.manners or {}))
        key = (self.credentials or {}).get("key", "")
        if self.credentials is not None and not key:
            raise ValueError("credentials: an endpoint's hold one entry, `key: ...`")
        return EndpointSpeaker(web.load(), self.url, self.model, options=self.options, key=key, name=name)


KINDS: Kinds[SpeakerKind] = Kinds(Unset, Script, Local, Endpoint)


class SpeakerDataset(AbstractDataset[None, Speaker]):
    """Somebody who answers.

    Args:
        kind: `scripted`, `local` (a model of the catalog), `endpoint` (OpenAI-compatible), or `unset`.
        name: What tables call it; without it the model's name.
        metadata: For kedro-viz.
        **settings: The settings of this kind: the attributes of `Script`, `Local`, `Endpoint` or `Unset`.

    Raises:
        ValueError: Naming a setting that the kind lacks, does not take, or cannot use.
    """

    @validate_arguments_with(KINDS)
    def __init__(
        self,
        kind: str,
        *,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        **settings: Any,
    ):
        if kind not in KINDS.names:
            raise ValueError(f"kind: no speaker `{kind}`; there are {', '.join(KINDS.names)}")
        self._name, self.metadata = name, metadata
        self._settings = KINDS.read(kind, settings, f"a speaker of kind `{kind}`", common=("name",))
        # what can be made without a model is made now, so that a bad setting is found before any work
        self._speaker = self._settings.ready(name)

    def load(self) -> Speaker:
        """Return the speaker; a local model is shared if it is the one in memory, and stands beside that otherwise."""
        if isinstance(self._settings, Local):
            return self._settings.speaker(self._name)
        assert self._speaker is not None
        return self._speaker

    def save(self, data: None) -> None:
        """Refuse: speakers are not written."""
        raise DatasetError("a speaker is read only")

    def _release(self) -> None:
        """Free a model that stands beside the edited one."""
        _Beside.slot.model = _Beside.slot.key = None
        gc.collect()

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"kind": self._settings.kind, **self._settings.describe()}
