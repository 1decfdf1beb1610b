"""Hold conversations of a tester with edited models (research question 1 of arXiv 2402.05827).

A tester talks with a model about the edited fact for some rounds and names neither object. Many edits run in one batch,
each applied to its own row. An edit that cannot be applied to single rows runs alone. The tester always runs without
the edits, even if it uses the same model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as validated

from edit_robustness.asking.queries import dialogue_query
from edit_robustness.asking.topics import Topic, names_object, retry_turns, view_for_tester
from edit_robustness.editing.edits import Edit, NotRowwise, all_applied
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Owners
from edit_robustness.models.thinking import LIMIT
from edit_robustness.records import Transcript, Turn
from edit_robustness.setting_types import STRICT
from edit_robustness.speakers.local import Reply, conversation_ids, most_tokens, speak
from edit_robustness.speakers.scripted import FOLLOW_UP, ScriptedSpeaker
from edit_robustness.speakers.speaker import Speaker

Talk = tuple[Edit, Topic]
"""An edit and the topic of a conversation under it."""


@validated(frozen=True, config=STRICT)
class ConversationSettings:
    """Settings for conversations.

    Attributes:
        rounds: Maximum turns of the tester, each followed by one of the edited model.
        retries: How often the tester is asked again for a turn that was rejected, before a neutral turn replaces it.
        max_new_tokens: Maximum tokens per turn of the edited model. It is greedy and usually ends its turn earlier.
        max_thinking_tokens: Maximum thinking tokens before a turn, if thinking cannot be switched off.
        batch_rows: Number of conversations per batch.
        seed: Seed for drawing the neutral turns.
    """

    rounds: PositiveInt = 5
    retries: NonNegativeInt = 2
    max_new_tokens: PositiveInt = 96
    max_thinking_tokens: PositiveInt = LIMIT
    batch_rows: PositiveInt = 16
    seed: int = 0


@dataclass
class _Conversation:
    """The state of a conversation."""

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
    settings: ConversationSettings,
    *,
    method: str,
    together: bool = True,
) -> Iterator[Transcript]:
    """Yield the transcripts of the conversations, in order, as soon as they are finished.

    Args:
        lm: The unedited model.
        talks: Edits and topics.
        tester: The speaker that asks.
        settings: Settings for conversations.
        method: Row of METHODS, stored in the transcripts.
        together: Whether many edits run in one batch. Otherwise the weights of one edit at a time are copied in.
    """
    for start in range(0, len(talks), settings.batch_rows):
        conversations = [_Conversation(edit, topic) for edit, topic in talks[start : start + settings.batch_rows]]
        for _ in range(settings.rounds):
            open_conversations = [conversation for conversation in conversations if not conversation.cut_short]
            _ask(open_conversations, tester, settings)
            _answer(lm, open_conversations, settings, together=together)
        yield from (conversation.transcript(method, tester.name) for conversation in conversations)


def _ask(conversations: Sequence[_Conversation], tester: Speaker, settings: ConversationSettings) -> None:
    """Add a turn of the tester to each conversation; a rejected turn is requested again and finally replaced."""
    tester_turns = [view_for_tester(conversation.topic, conversation.turns) for conversation in conversations]
    texts = _replies(tester, tester_turns)
    for retries_left in range(settings.retries, -1, -1):
        bad_places = [
            place
            for place, conversation in enumerate(conversations)
            if not texts[place] or names_object(texts[place], conversation.topic.fact)
        ]
        if not bad_places:
            break
        for place in bad_places:
            conversations[place].refused += 1
            conversations[place].replaced += not retries_left
        # a greedy tester would repeat its turn, so it is shown the rejected one
        speaker = tester if retries_left else ScriptedSpeaker(FOLLOW_UP, seed=settings.seed)
        retries = [
            retry_turns(tester_turns[place], texts[place]) if retries_left else tester_turns[place]
            for place in bad_places
        ]
        for place, text in zip(bad_places, _replies(speaker, retries), strict=True):
            texts[place] = text
    for conversation, text in zip(conversations, texts, strict=True):
        conversation.turns.append(Turn("user", text))


def _replies(speaker: Speaker, conversations: Sequence[Sequence[Turn]]) -> list[str]:
    return [text.strip() for text in speaker.replies(conversations)] if conversations else []


def _answer(
    lm: LanguageModel, conversations: Sequence[_Conversation], settings: ConversationSettings, *, together: bool
) -> None:
    """Add a turn of the edited model to each conversation; if no turn fits into the context, remove the question."""
    prompts = {id(conversation): conversation_ids(lm, _prompt_turns(conversation)) for conversation in conversations}
    for conversation in conversations:
        conversation.cut_short = len(prompts[id(conversation)]) + most_tokens(lm, settings) > lm.max_length
        if conversation.cut_short:
            conversation.turns.pop()
    fitting_prompts = [
        (conversation.edit, prompts[id(conversation)]) for conversation in conversations if not conversation.cut_short
    ]
    replies = _speak(lm, fitting_prompts, settings, together=together)
    for conversation, reply in zip(
        (conversation for conversation in conversations if not conversation.cut_short), replies, strict=True
    ):
        conversation.turns.append(Turn("assistant", reply.text))
        conversation.unfinished += not reply.finished


def _speak(
    lm: LanguageModel, prompts: Sequence[tuple[Edit, list[int]]], settings: ConversationSettings, *, together: bool
) -> list[Reply]:
    """Generate the model's reply to each prompt under its edit."""
    limit, thinking_limit = settings.max_new_tokens, settings.max_thinking_tokens
    if together and prompts:
        owners = Owners(range(len(prompts)))
        rows = [owners.rows(number) for number in range(len(prompts))]
        try:
            with all_applied(lm, [edit for edit, _ in prompts], rows):
                prompt_ids = [ids for _, ids in prompts]
                return speak(lm, prompt_ids, limit=limit, thinking_limit=thinking_limit, owners=owners)
        except NotRowwise:
            pass
    replies = []
    for edit, ids in prompts:
        with edit.applied(lm):
            replies += speak(lm, [ids], limit=limit, thinking_limit=thinking_limit)
    return replies


def _prompt_turns(conversation: _Conversation) -> list[Turn]:
    """Return the turns with the edit's text at the start of the first; it follows all turns of the user so far."""
    first, *later_turns = conversation.turns
    before = conversation.edit.text_before(dialogue_query(conversation.turns))
    return [Turn(first.role, before + first.text), *later_turns]
