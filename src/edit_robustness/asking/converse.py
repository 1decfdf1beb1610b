"""Conversations of a tester with edited models: paper 1's first question (arXiv 2402.05827, RQ1).

A tester talks with a model about the edited fact for some rounds and names neither object. Many edits talk in one
batch, each acting on its own row; one that cannot talks by itself. The tester always speaks beside the edits, never
under them, also where it is the very model that is edited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as validated

from edit_robustness.asking.topics import Topic, as_heard, names_object, once_more
from edit_robustness.editing.edits import Edit, NotRowwise, all_applied
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Owners
from edit_robustness.models.thinking import LIMIT
from edit_robustness.records import Transcript, Turn
from edit_robustness.setting_types import STRICT
from edit_robustness.speakers.local import Spoken, conversation_ids, most_tokens, speak
from edit_robustness.speakers.scripted import FOLLOW_UP, ScriptedSpeaker
from edit_robustness.speakers.speaker import Speaker

Talk = tuple[Edit, Topic]
"""An edit, and what is talked about under it."""


@validated(frozen=True, config=STRICT)
class Conversing:
    """How conversations are held.

    Attributes:
        rounds: Most turns of the tester, each followed by one of the edited model.
        retries: How often a tester's turn that may not be said is asked for again before a neutral one takes its place.
        max_new_tokens: Most tokens of a turn of the edited model; it is greedy, and ends its turn by itself before.
        max_thinking_tokens: Most tokens of what it thinks before a turn, where that cannot be switched off.
        batch_rows: How many conversations are held at once.
        seed: Draws the neutral turns.
    """

    rounds: PositiveInt = 5
    retries: NonNegativeInt = 2
    max_new_tokens: PositiveInt = 96
    max_thinking_tokens: PositiveInt = LIMIT
    batch_rows: PositiveInt = 16
    seed: int = 0


@dataclass
class _Held:
    """A conversation while it is held."""

    edit: Edit
    topic: Topic
    turns: list[Turn] = field(default_factory=list)
    refused: int = 0
    replaced: int = 0
    unfinished: int = 0
    cut_short: bool = False

    def transcript(self, method: str, tester: str) -> Transcript:
        return Transcript(
            self.topic.fact.id,
            method,
            tester,
            tuple(self.turns),
            self.refused,
            self.replaced,
            self.unfinished,
            self.cut_short,
        )


def converse(
    lm: LanguageModel,
    talks: Sequence[Talk],
    tester: Speaker,
    settings: Conversing,
    *,
    method: str,
    together: bool = True,
) -> Iterator[Transcript]:
    """The transcripts of the talks, in order, as soon as they are there.

    Args:
        lm: The unedited model.
        talks: Edits and topics.
        tester: Who asks.
        settings: How.
        method: Row of METHODS, for the transcripts.
        together: Let the edits act on rows of one batch; otherwise one at a time, with its weights copied in.
    """
    for start in range(0, len(talks), settings.batch_rows):
        held = [_Held(edit, topic) for edit, topic in talks[start : start + settings.batch_rows]]
        for _ in range(settings.rounds):
            going = [one for one in held if not one.cut_short]
            _ask(going, tester, settings)
            _answer(lm, going, settings, together=together)
        yield from (one.transcript(method, tester.name) for one in held)


def _ask(held: Sequence[_Held], tester: Speaker, settings: Conversing) -> None:
    """A turn of the tester in each; one that may not be said is asked for again, then replaced."""
    heard = [as_heard(one.topic, one.turns) for one in held]
    texts = _said_by(tester, heard)
    for left in range(settings.retries, -1, -1):
        bad = [i for i, one in enumerate(held) if not texts[i] or names_object(texts[i], one.topic.fact)]
        if not bad:
            break
        for i in bad:
            held[i].refused += 1
            held[i].replaced += not left
        # a greedy tester would say the same once more, so it is shown what was not let through
        speaker = tester if left else ScriptedSpeaker(FOLLOW_UP, seed=settings.seed)
        again = [once_more(heard[i], texts[i]) if left else heard[i] for i in bad]
        for i, text in zip(bad, _said_by(speaker, again), strict=True):
            texts[i] = text
    for one, text in zip(held, texts, strict=True):
        one.turns.append(Turn("user", text))


def _said_by(speaker: Speaker, conversations: Sequence[Sequence[Turn]]) -> list[str]:
    return [text.strip() for text in speaker.replies(conversations)] if conversations else []


def _answer(lm: LanguageModel, held: Sequence[_Held], settings: Conversing, *, together: bool) -> None:
    """A turn of the edited model in each; where none would fit any more, the question is taken back."""
    prompts = {id(one): conversation_ids(lm, _framed(one)) for one in held}
    for one in held:
        one.cut_short = len(prompts[id(one)]) + most_tokens(lm, settings) > lm.max_length
        if one.cut_short:
            one.turns.pop()
    fitting = [(one.edit, prompts[id(one)]) for one in held if not one.cut_short]
    said = _spoken(lm, fitting, settings, together=together)
    for one, spoken in zip((one for one in held if not one.cut_short), said, strict=True):
        one.turns.append(Turn("assistant", spoken.text))
        one.unfinished += not spoken.finished


def _spoken(
    lm: LanguageModel, prompts: Sequence[tuple[Edit, list[int]]], settings: Conversing, *, together: bool
) -> list[Spoken]:
    """What the model says to each prompt under its edit."""
    limit, thinking_limit = settings.max_new_tokens, settings.max_thinking_tokens
    if together and prompts:
        owners = Owners(range(len(prompts)))
        rows = [owners.rows(number) for number in range(len(prompts))]
        try:
            with all_applied(lm, [edit for edit, _ in prompts], rows):
                rendered = [ids for _, ids in prompts]
                return speak(lm, rendered, limit=limit, thinking_limit=thinking_limit, owners=owners)
        except NotRowwise:
            pass
    said = []
    for edit, ids in prompts:
        with edit.applied(lm):
            said += speak(lm, [ids], limit=limit, thinking_limit=thinking_limit)
    return said


def _framed(one: _Held) -> list[Turn]:
    """The turns as the edited model gets them: an edit's words open the first."""
    first, *rest = one.turns
    return [Turn(first.role, one.edit.prefix + first.text), *rest]
