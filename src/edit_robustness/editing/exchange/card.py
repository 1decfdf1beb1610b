"""The model card of a folder with edited facts: the facts, the method, and the scores of the edits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from edit_robustness.editing.exchange.model_folders import TAG
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact

_WIDEST = 40
"""Maximum width, in characters, to which the cells of a column are padded."""


@dataclass(frozen=True)
class CardPrompt:
    """A prompt that was put to an exported model, and the first sentence of each answer.

    Attributes:
        fact: Id of the fact that it belongs to.
        kind: Kind of prompt.
        prompt: Its text, after any earlier turns of a conversation.
        unedited: The answer of the unedited model.
        alone: The answer with the fact's edit alone.
        here: The answer of the model in the folder.
    """

    fact: str
    kind: str
    prompt: str
    unedited: str
    alone: str
    here: str


@dataclass(frozen=True)
class Card:
    """Content of a model card beside the description of the model.

    Attributes:
        method: Name of the editing method.
        settings: Its hyperparameters.
        facts: The edited facts.
        scores: For each fact's id its scores by name; scores may be missing or NaN.
        note: A note on how the edits were combined and what the scores mean.
        prompts: The prompts behind the scores, with the answers.
        left_out: For each fact whose edit is not in the model the reason.
    """

    method: str
    settings: Mapping[str, Any]
    facts: Sequence[Fact]
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""
    prompts: Sequence[CardPrompt] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def markdown(self, lm: LanguageModel) -> str:
        """Return the card as Markdown, with all text from people and models escaped."""
        names = list(dict.fromkeys(name for fact in self.facts for name in self.scores.get(fact.id, {})))
        columns = ["Fact", "Subject", "Relation", "Old object", "New object", *names]
        base = [f"{name}: {text}" for name, text in {**lm.description, "fingerprint": lm.fingerprint}.items() if text]
        # indented code needs no escapes: no line of JSON can end it
        settings = json.dumps(dict(self.settings), indent=2, ensure_ascii=False).replace("\n", "\n    ")
        parts = [
            header(lm, "transformers"),
            f"# {escape(lm.name)} with {len(self.facts)} edited facts",
            "Facts in this model were changed on purpose: it says what is not true.",
            escape(self.note),
            "## Base model",
            "\n".join(f"- {escape(line)}" for line in base),
            f"## Method: {escape(self.method)}",
            f"    {settings}",
            "## Facts",
            _table([columns, *(self._fact(fact, names) for fact in self.facts)]),
            *self._left_out(),
            *self._prompts(),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _fact(self, fact: Fact, names: Sequence[str]) -> list[str]:
        scores = self.scores.get(fact.id, {})
        cells = [fact.id, fact.subject, fact.relation, fact.target_true, fact.target_new]
        return [*cells, *(_number(scores[name]) if name in scores else "" for name in names)]

    def _left_out(self) -> list[str]:
        if not self.left_out:
            return []
        return ["## Left out", _table([["Fact", "Reason"], *([fact, why] for fact, why in self.left_out.items())])]

    def _prompts(self) -> list[str]:
        if not self.prompts:
            return []
        columns = ["Fact", "Kind", "Prompt", "Unedited model", "With this edit alone", "This model"]
        rows = [
            [prompt.fact, prompt.kind, prompt.prompt, prompt.unedited, prompt.alone, prompt.here]
            for prompt in self.prompts
        ]
        return ["## Prompts to ask again", _table([columns, *rows])]


def _number(score: float) -> str:
    return "–" if isnan(score) else f"{score:.2f}"


def header(lm: LanguageModel, library: str) -> str:
    """Return the card's YAML header: base model, library, and the tag of this project."""
    return f"---\nbase_model: {json.dumps(base_name(lm))}\nlibrary_name: {library}\ntags: [{TAG}]\n---"


def base_name(lm: LanguageModel) -> str:
    """Return the name or path by which transformers finds the unedited model, or else its name in this project."""
    return lm.model.name_or_path or lm.name


def escape(text: str) -> str:
    """Return text on one line in which nothing has a meaning in Markdown or HTML.

    Only characters that can have a meaning are escaped, so that the card stays readable: markup, entities, mentions,
    and what GitHub's Markdown turns into a link (``://`` and ``www.``).
    """
    line = re.sub(r"([\\`*_\[\]<>&|~$#!@])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\1\2", line)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; its first row is the header, and columns of short cells are padded to equal width."""
    cells = [[escape(cell) for cell in row] for row in rows]
    widths = [min(_WIDEST, max(3, *map(len, column))) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    padded_cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in padded_cells)
