"""What a tester is told of the fact it shall talk about, and which of its turns may be said.

A tester asks about a fact without naming either object, so what it says is checked here, whoever says it. The objects
stand in its brief nevertheless: a model that is to avoid a name has to be told which.
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
    """A fact to talk about.

    Attributes:
        fact: The fact.
        question: Asks for its object.
        other_words: Asks for it in another way.
    """

    fact: Fact
    question: str
    other_words: str

    def brief(self) -> Turn:
        """What the tester is told."""
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
    """The questions about a fact: its relation's, and its statement to be completed; none of them names an object."""
    statement = fact.statement
    completion = f'How would you complete this sentence: "{statement} ..."?'
    candidates = [
        *([fill(relation.question, fact.subject)] if relation else []),
        statement if is_question(statement) else completion,
        f"What can you tell me about {fact.subject}?",
    ]
    question, *others = [text for text in candidates if not names_object(text, fact)] or candidates[-1:]
    return Topic(fact, question, others[0] if others else question)


def names_object(text: str, fact: Fact) -> bool:
    """Whether a text names the old or the new object; as part of the subject's own name that does not count."""
    return first_named(text, _objects(fact), besides=subject_names(fact)) is not None


def as_heard(topic: Topic, turns: Sequence[Turn]) -> list[Turn]:
    """A conversation as the tester has it: a brief, its own turns the assistant's, the edited model's the user's."""
    other = {"user": "assistant", "assistant": "user"}
    heard = [Turn(other[turn.role], turn.text or _SILENCE) for turn in turns]  # type: ignore[arg-type]
    return [topic.brief(), Turn("user", _OPENING), *heard]


def once_more(heard: Sequence[Turn], refused: str) -> list[Turn]:
    """The same after a turn of the tester that was not let through."""
    return [*heard, Turn("assistant", refused or _SILENCE), Turn("user", _AGAIN)]


def _objects(fact: Fact) -> list[str]:
    return [*new_names(fact), *true_names(fact)]
