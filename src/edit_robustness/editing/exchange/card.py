"""The model card of a folder with edits in it: what was edited, how, and how the edits fared."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edit_robustness.editing.exchange.model_folders import TAG
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact


@dataclass(frozen=True)
class Card:
    """What a card says beside the model's own description.

    Attributes:
        method: Name of the editing method.
        settings: Its hyperparameters.
        facts: The facts that were edited.
        scores: For each fact's id its scores by name; facts may lack some.
        note: What a reader must know of how the edits were put together and of the scores.
    """

    method: str
    settings: Mapping[str, Any]
    facts: Sequence[Fact]
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""

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
            "\n".join(
                [_row(columns), _row(["---"] * len(columns), plain=True), *(self._fact(f, names) for f in self.facts)]
            ),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _fact(self, fact: Fact, names: Sequence[str]) -> str:
        scores = self.scores.get(fact.id, {})
        cells = [fact.id, fact.subject, fact.relation, fact.target_true, fact.target_new]
        return _row([*cells, *(f"{scores[name]:.2f}" if name in scores else "" for name in names)])


def header(lm: LanguageModel, library: str) -> str:
    """The card's YAML: base model, library, and the tag of what is written here."""
    return f"---\nbase_model: {json.dumps(base_name(lm))}\nlibrary_name: {library}\ntags: [{TAG}]\n---"


def base_name(lm: LanguageModel) -> str:
    """Where transformers finds the unedited model, or else its name."""
    return lm.model.name_or_path or lm.name


def escaped(text: str) -> str:
    """Text on one line in which no character means anything to Markdown or HTML."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _row(cells: Sequence[str], *, plain: bool = False) -> str:
    return "| " + " | ".join(cell if plain else escaped(cell) for cell in cells) + " |"
