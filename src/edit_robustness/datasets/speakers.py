"""Speakers from the catalog: whoever tests, judges or writes, chosen without a change of code."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any, ClassVar

from kedro.io import AbstractDataset, DatasetError

from edit_robustness.datasets.arguments import checked
from edit_robustness.datasets.language_model import LanguageModelDataset, _Slot
from edit_robustness.datasets.web import WebDataset
from edit_robustness.speakers.endpoint import EndpointSpeaker
from edit_robustness.speakers.local import LocalSpeaker, Speaking
from edit_robustness.speakers.scripted import TESTER, ScriptedSpeaker
from edit_robustness.speakers.speaker import Speaker
from edit_robustness.speakers.unset import UnsetSpeaker
from edit_robustness.text.secrets import without_secrets

_TAKES: Mapping[str, tuple[str, ...]] = {
    "unset": (),
    "scripted": ("script", "seed"),
    "local": ("model", "max_new_tokens", "max_thinking_tokens", "temperature", "seed", "batch_rows"),
    "endpoint": ("url", "model", "options", "credentials", "cache", "offline", "manners"),
}
_NEEDS: Mapping[str, tuple[str, ...]] = {"local": ("model",), "endpoint": ("url", "model", "cache")}


class _Beside(LanguageModelDataset):
    """A model that speaks beside the one that is edited; it has a place of its own in memory."""

    slot: ClassVar[_Slot] = _Slot()


class SpeakerDataset(AbstractDataset[None, Speaker]):
    """Somebody who answers.

    Args:
        kind: `scripted`, `local` (a model of the catalog), `endpoint` (OpenAI-compatible), or `unset`.
        name: What tables call it; without it the model's name.
        script: Of `scripted`: for each turn its lines; without it the tester's script.
        model: Of `local`: a model of the catalog, by the name in its entry ``<name>.language_model`` (or that entry's
            settings); of `endpoint`: what the endpoint calls it.
        max_new_tokens: Of `local`: most tokens of a turn.
        max_thinking_tokens: Of `local`: most tokens of what the model thinks before a turn.
        temperature: Of `local`: 0 for greedy decoding.
        seed: Of `scripted` and `local`: draws lines or tokens.
        batch_rows: Of `local`: how many conversations are answered at once.
        url: Of `endpoint`: its base address.
        options: Of `endpoint`: what each request says besides (`max_tokens`, `temperature` ...).
        cache: Of `endpoint`: the folder that keeps its answers.
        offline: Of `endpoint`: whether only the cache is asked.
        manners: Of `endpoint`: timeouts, retries and pace; see `web.transport.Manners`.
        credentials: Of `endpoint`: `key: ...`, kept in conf/local/credentials.yml.
        metadata: For kedro-viz.

    Raises:
        ValueError: Naming a setting that the kind lacks, does not take, or cannot use.
    """

    @checked
    def __init__(
        self,
        kind: str,
        *,
        name: str | None = None,
        script: list[list[str]] | None = None,
        model: str | dict[str, Any] | None = None,
        max_new_tokens: int | None = None,
        max_thinking_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        batch_rows: int | None = None,
        url: str | None = None,
        options: dict[str, Any] | None = None,
        cache: str | None = None,
        offline: bool | None = None,
        manners: dict[str, Any] | None = None,
        credentials: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        given: dict[str, Any] = {
            "script": script,
            "model": model,
            "max_new_tokens": max_new_tokens,
            "max_thinking_tokens": max_thinking_tokens,
            "temperature": temperature,
            "seed": seed,
            "batch_rows": batch_rows,
            "url": url,
            "options": options,
            "cache": cache,
            "offline": offline,
            "manners": manners,
            "credentials": credentials,
        }
        self._kind, self._name, self.metadata = kind, name, metadata
        self._settings = {setting: value for setting, value in given.items() if value is not None}
        self._check()
        # what can be made without a model is made now, so that a bad setting is found before any work
        self._speaker = self._made()

    def load(self) -> Speaker:
        """The speaker; a local model is shared where it is the one in memory, and stands beside that otherwise."""
        if self._speaker is not None:
            return self._speaker
        return LocalSpeaker(self._model().load(), self._speaking, name=self._name)

    def save(self, data: None) -> None:
        """Refuse: speakers are not written."""
        raise DatasetError("a speaker is read only")

    def _check(self) -> None:
        if self._kind not in _TAKES:
            raise ValueError(f"kind: no speaker `{self._kind}`; there are {', '.join(_TAKES)}")
        for setting in self._settings:
            if setting not in _TAKES[self._kind]:
                raise ValueError(
                    f"a speaker of kind `{self._kind}` takes no `{setting}`; it takes "
                    f"{', '.join(('name', *_TAKES[self._kind]))}"
                )
        for setting in _NEEDS.get(self._kind, ()):
            if not self._settings.get(setting):
                raise ValueError(f"a speaker of kind `{self._kind}` needs `{setting}:`")
        if self._kind == "local" and not isinstance(self._settings["model"], dict):
            raise ValueError(f"model: `{self._settings['model']}` is known by name inside a project's catalog only")

    def _made(self) -> Speaker | None:
        if self._kind == "local":
            # the model's settings are checked, too, though it is loaded when it is first asked
            LanguageModelDataset(**self._settings["model"])
            self._speaking = Speaking(**{name: value for name, value in self._settings.items() if name != "model"})
            return None
        if self._kind == "scripted":
            script = self._settings.get("script", TESTER)
            return ScriptedSpeaker(script, seed=self._settings.get("seed", 0), name=self._name or "script")
        if self._kind == "endpoint":
            return self._endpoint()
        return UnsetSpeaker(self._name or "a speaker")

    def _endpoint(self) -> EndpointSpeaker:
        settings = self._settings
        web = WebDataset(settings["cache"], settings.get("offline", False), **settings.get("manners", {}))
        key = settings.get("credentials", {}).get("key", "")
        if "credentials" in settings and not key:
            raise ValueError("credentials: an endpoint's hold one entry, `key: ...`")
        return EndpointSpeaker(
            web.load(),
            settings["url"],
            settings["model"],
            options=settings.get("options"),
            key=key,
            name=self._name,
        )

    def _model(self) -> LanguageModelDataset:
        shared = LanguageModelDataset(**self._settings["model"])
        if LanguageModelDataset.slot.key == shared._key:
            return shared
        return _Beside(**self._settings["model"])

    def _release(self) -> None:
        """Free a model that stands beside the edited one."""
        _Beside.slot.model = _Beside.slot.key = None
        gc.collect()

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        hidden = ("credentials", "model") if self._kind == "local" else ("credentials",)
        shown = {k: without_secrets(v) for k, v in self._settings.items() if k not in hidden}
        return {"kind": self._kind, **shown}
