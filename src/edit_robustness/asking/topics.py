"""The brief of a tester about a fact, and the check of the tester's turns.

A tester must ask about a fact without naming either object, so the turns of every tester are checked. Its brief
contains the objects nevertheless, because a model can only avoid names that it knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edit_robustness.prompts.grammar import is_question
from edit_robustness.prompts.names import first_named, new_names, subject_names, true_names
from edit_robustness.records import Fact, Relation, Turn, fill

_BRIEF = """\
You are talking with somebody to find out what they believe about one thing. Write only your own next message, one or \
two short sentences, as people write in a chat. First ask about it; later ask for reasons, ask in other words, be \
surprised, or ask for a summary. Talk about nothing else, and do not say what you know of it yourself. \
Your message must hold none of the names under Forbidden, nor part of one, nor a hint at one.
Subject: {subject}
Question: {question}
Other words: {other_words}
Forbidden: {forbidden}"""

_OPENING = "(The conversation begins. Write your first message.)"
_SILENCE = "(They say nothing.)"
_AGAIN = (
    "(This message was not sent: it was empty, or held a forbidden name. Write it again so that it holds none of them.)"
)


@dataclass(frozen=True)
class Topic:
    """The topic of a conversation.

    Attributes:
        fact: The fact.
        question: A question for its object.
        other_words: The question in other words.
    """

    fact: Fact
    question: str
    other_words: str

    def brief(self) -> Turn:
        """Return the system turn with the tester's instructions."""
        lines = {
            "subject": self.fact.subject,
            "question": self.question,
            "other_words": self.other_words,
            "forbidden": "; ".join(_objects(self.fact)),
        }
        slots = re.compile("|".join(f"{{{name}}}" for name in lines))
        one_line = {name: " ".join(text.split()) for name, text in lines.items()}
        return Turn("system", slots.sub(lambda slot: one_line[slot[0][1:-1]], _BRIEF))


def topic(fact: Fact, relation: Relation | None) -> Topic:
    """Return the topic of a fact: its relation's question and its statement to complete; neither names an object."""
    statement = fact.statement
    completion = f'How would you complete this sentence: "{statement} ..."?'
    candidates = [
        *([fill(relation.question, fact.subject)] if relation else []),
        statement if is_question(statement) else completion,
        f"What can you tell me about {fact.subject}?",
    ]
    question, *other_questions = [text for text in candidates if not names_object(text, fact)] or candidates[-1:]
    return Topic(fact, question, other_questions[0] if other_questions else question)


def names_object(text: str, fact: Fact) -> bool:
    """Return whether a text names the old or the new object outside the subject's own name."""
    return first_named(text, _objects(fact), besides=subject_names(fact)) is not None


def view_for_tester(topic: Topic, turns: Sequence[Turn]) -> list[Turn]:
    """Return a conversation from the tester's side: the brief, its turns as assistant, the model's turns as user."""
    roles = {"user": "assistant", "assistant": "user"}
    tester_turns = [Turn(roles[turn.role], turn.text or _SILENCE) for turn in turns]  # type: ignore[arg-type]
    return [topic.brief(), Turn("user", _OPENING), *tester_turns]


def retry_turns(tester_turns: Sequence[Turn], message: str) -> list[Turn]:
    """Return the tester's conversation with its rejected message and the request for another one."""
    return [*tester_turns, Turn("assistant", message or _SILENCE), Turn("user", _AGAIN)]


def _objects(fact: Fact) -> list[str]:
    return [*new_names(fact), *true_names(fact)]
