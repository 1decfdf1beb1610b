"""A version for each room whose code decides what a kept file holds.

Code is in no fingerprint by itself: without these numbers a changed method would leave old edits in place. A test fails
when a room's code changes and its number does not (`tests/test_versions.py` says how to decide).
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

TEXT = 1
MODELS = 1
PROMPTS = 1
EDITING = 1
ASKING = 1
SPEAKERS = 1
ABILITIES = 1
PIPELINES = 1
"""Of the nodes that fill folders, and of `workers/answers.py` and `datasets/sequences.py`, which they share."""

ROOMS = {
    **{"text": TEXT, "models": MODELS, "prompts": PROMPTS, "editing": EDITING, "asking": ASKING},
    **{"speakers": SPEAKERS, "abilities": ABILITIES, "pipelines": PIPELINES},
}
"""All of them, for tables: what a table holds follows from several kinds of kept files."""

_EDITS = {"text": TEXT, "models": MODELS, "prompts": PROMPTS, "editing": EDITING, "pipelines": PIPELINES}
_ANSWERS = {**_EDITS, "asking": ASKING}
_SPEECH = {"text": TEXT, "models": MODELS, "prompts": PROMPTS, "speakers": SPEAKERS, "pipelines": PIPELINES}

ROOMS_OF_FILES: dict[str, dict[str, int]] = {
    "edits": _EDITS,
    "artefact": _EDITS,
    "answers": _ANSWERS,
    "texts": _SPEECH,
    "wordings": _SPEECH,
    "transcripts": {**_ANSWERS, "speakers": SPEAKERS},
    "documents": {**_EDITS, "abilities": ABILITIES},
}
"""For each kind of kept file the versions of the rooms that decide what it holds."""


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that every number goes through."""
    return {name: _version(name) for name in ("torch", "transformers")}


@cache
def _version(library: str) -> str:
    """Return the version of a library. It is in the header of every kept file, and takes a file to read."""
    return version(library)
