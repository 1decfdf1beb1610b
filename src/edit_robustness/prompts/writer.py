"""Wordings by a writer, which is a language model: the requests, and the handling of replies.

A reply that fails the checks is sent back to the writer with the reason, so that the next reply differs. All replies
are stored in the table of wordings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edit_robustness.prompts.checks import problem
from edit_robustness.prompts.grammar import is_question, quote
from edit_robustness.prompts.names import new_names, true_names
from edit_robustness.prompts.relations import BLANK, Templates
from edit_robustness.prompts.wordings import WRITER, Wording, claim, claim_join
from edit_robustness.records import Fact, Turn
from edit_robustness.speakers.speaker import Speaker
from edit_robustness.text.joining import join_prompt

_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")

_SYSTEM = (
    "You write short English texts, each exactly as it is asked for. Answer with the text alone: no introduction, no "
    "explanation, no quotation marks around it."
)
_SHAPES = (
    "that opens with {}",
    "that has {} in its middle",
    "in the form of an entry in a questionnaire",
    "in the form of something that one person says to another",
)
_TASKS = {
    "question": f"Write a question that names {{subject}} and whose answer is what {BLANK} stands for.",
    "cloze": f"Write another sentence that names {{subject}}, with {BLANK} once, not at the end, for the same thing.",
    "profile": (
        "Write 200 to 300 words about {subject}, as an encyclopaedia would, without a heading. Name {subject} in the "
        f"first sentence. Leave out what {BLANK} stands for."
    ),
    "dialogue": (
        "Write a conversation about {subject} of four lines. The first and the third begin with `User:`, the second "
        f"and the fourth with `Assistant:`. Name {{subject}} in the first line. Leave out what {BLANK} stands for."
    ),
    "reversed_question": "Write a question that names {new} and whose answer would be {subject}. Leave {subject} out.",
}


@dataclass(frozen=True)
class Request:
    """A request for one text of a writer.

    Attributes:
        fact_id: The fact.
        part: The kind of text.
        number: Number within the part.
        conversation: The turns that are sent to the writer.
    """

    fact_id: str
    part: str
    number: int
    conversation: tuple[Turn, ...]


def requests(fact: Fact, templates: Templates) -> list[Request]:
    """Return all requests to a writer about a fact.

    A question for the subject is requested only if the relation has one. Otherwise many subjects would be right.
    """
    relation = templates.relations.get(fact.relation)
    tasks = [("paraphrase", number, _paraphrase_task(fact, shape)) for number, shape in enumerate(_SHAPES)]
    for part, task in _TASKS.items():
        if part != "reversed_question" or (relation is not None and relation.reversed_question):
            text = task.replace("{subject}", fact.subject).replace("{new}", fact.target_new)
            tasks.append((part, 0, f"{text} {_forbidden_names(fact, part)}"))
    context = f"A sentence with a blank: {quote(f'{join_prompt(claim(fact, relation), BLANK, claim_join(fact))}.')}"
    return [
        Request(fact.id, part, number, (Turn("system", _SYSTEM), Turn("user", f"{context}\n{task}")))
        for part, number, task in tasks
    ]


def write(facts: Sequence[Fact], templates: Templates, writer: Speaker, tries: int) -> dict[str, list[Wording]]:
    """Ask a writer for the wordings of some facts in one batch, and return all its replies as wordings by fact.

    Args:
        facts: A small batch of facts.
        templates: The templates of the relations.
        writer: The speaker that writes.
        tries: Maximum number of requests per text.
    """
    wordings: dict[str, list[Wording]] = {fact.id: [] for fact in facts}
    by_id = {fact.id: fact for fact in facts}
    queue = [request for fact in facts for request in requests(fact, templates)]
    for _ in range(tries):
        if not queue:
            break
        retries = []
        for request, reply in zip(queue, writer.replies([item.conversation for item in queue]), strict=True):
            wording = _check_reply(request, reply, by_id[request.fact_id])
            wordings[request.fact_id].append(wording)
            if not wording.accepted:
                retries.append(_retry_request(request, reply, wording.reason))
        queue = retries
    return wordings


def _check_reply(request: Request, reply: str, fact: Fact) -> Wording:
    text = tidy(request.part, reply)
    reason = problem(request.part, text, fact)
    return Wording(fact.id, request.part, request.number, text, WRITER, not reason, reason)


def tidy(part: str, reply: str) -> str:
    """Clean a reply: remove fences, quotation marks, control characters, and the blank at the end of a paraphrase."""
    lines = [
        _NO_TEXT.sub("", line).strip()
        for line in reply.splitlines()
        if line.strip() and not line.strip().startswith("```")
    ]
    if part == "dialogue":
        return "\n".join(lines)
    text = " ".join(lines)
    if part == "paraphrase":
        text = re.sub(r"\s*_{2,}[\s.\"”]*$", "", text.removeprefix('"').removeprefix("“"))
    quotation = re.fullmatch(r'"([^"]*)"|“([^”]*)”', text)
    return next(filter(None, quotation.groups()), "").strip() if quotation else text


def _retry_request(request: Request, reply: str, reason: str) -> Request:
    feedback = (
        Turn("assistant", reply.strip() or "-"),
        Turn("user", f"That cannot be used ({reason}). Write it once more."),
    )
    return Request(request.fact_id, request.part, request.number, (*request.conversation, *feedback))


def _paraphrase_task(fact: Fact, shape: str) -> str:
    manner = shape.replace("{}", fact.subject)
    if is_question(fact.prompt):
        task = f"The question is {quote(fact.statement)} Ask the same question in other words, and name {fact.subject}."
    else:
        task = f"Write another sentence {manner}. It names {fact.subject}, means the same, and ends with {BLANK} too."
    return f"{task} {_forbidden_names(fact, 'paraphrase')}"


def _forbidden_names(fact: Fact, part: str) -> str:
    names = [*true_names(fact), *(() if part == "reversed_question" else new_names(fact))]
    return f"Do not use these names: {', '.join(names)}." if names else ""
