"""The model card of a folder with edits in it: what was edited, how, and how the edits fared."""

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
"""Characters up to which the cells of a column are padded to one width."""


@dataclass(frozen=True)
class AskedPrompt:
    """A prompt that a baked model was asked, and the first sentence of each answer.

    Attributes:
        fact: Id of the fact that it belongs to.
        kind: Kind of prompt.
        prompt: Its text, earlier turns of a conversation before it.
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
    """What a card says beside the model's own description.

    Attributes:
        method: Name of the editing method.
        settings: Its hyperparameters.
        facts: The facts that were edited.
        scores: For each fact's id its scores by name; facts may lack some, or have NaN.
        note: What a reader must know of how the edits were put together and of the scores.
        prompts: The prompts behind the scores, with the answers.
        left_out: For each fact whose edit is not in the model the reason.
    """

    method: str
    settings: Mapping[str, Any]
    facts: Sequence[Fact]
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""
    prompts: Sequence[AskedPrompt] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def markdown(self, lm: LanguageModel) -> str:
        """The card as Markdown, everything that people or models wrote escaped."""
        names = list(dict.fromkeys(name for fact in self.facts for name in self.scores.get(fact.id, {})))
        columns = ["Fact", "Subject", "Relation", "Old object", "New object", *names]
        base = [f"{name}: {text}" for name, text in {**lm.description, "fingerprint": lm.fingerprint}.items() if text]
        # indented code needs no escapes: no line of JSON can end it
        settings = json.dumps(dict(self.settings), indent=2, ensure_ascii=False).replace("\n", "\n    ")
        parts = [
            header(lm, "transformers"),
            f"# {escaped(lm.name)} with {len(self.facts)} edited facts",
            "Facts in this model were changed on purpose: it says what is not true.",
            escaped(self.note),
            "## Base model",
            "\n".join(f"- {escaped(line)}" for line in base),
            f"## Method: {escaped(self.method)}",
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
        rows = [[one.fact, one.kind, one.prompt, one.unedited, one.alone, one.here] for one in self.prompts]
        return ["## Prompts to ask again", _table([columns, *rows])]


def _number(score: float) -> str:
    return "–" if isnan(score) else f"{score:.2f}"


def header(lm: LanguageModel, library: str) -> str:
    """The card's YAML: base model, library, and the tag of what is written here."""
    return f"---\nbase_model: {json.dumps(base_name(lm))}\nlibrary_name: {library}\ntags: [{TAG}]\n---"


def base_name(lm: LanguageModel) -> str:
    """Where transformers finds the unedited model, or else its name."""
    return lm.model.name_or_path or lm.name


def escaped(text: str) -> str:
    """Return text on one line in which nothing means anything to Markdown or HTML.

    Only what can mean something is escaped, so that the card can be read as text: markup, entities, mentions, and what
    GitHub's Markdown makes a link of (``://`` and ``www.``).
    """
    line = re.sub(r"([\\`*_\[\]<>&|~$#!@])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\1\2", line)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, the first row its header, in columns of one width as long as cells are short."""
    cells = [[escaped(cell) for cell in row] for row in rows]
    widths = [min(_WIDEST, max(3, *map(len, column))) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in padded)
