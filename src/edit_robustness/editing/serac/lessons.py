"""What SERAC's networks are taught: facts with new objects, asked in many wordings, and what asks something else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from edit_robustness.editing.method import Corpus
from edit_robustness.editing.serac.networks import (
    Scope,
    announced,
    asking,
    squared_distances,
    states_at,
    subject_place,
)
from edit_robustness.editing.training import other_objects, split_by_subject
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import Rendered, last, pad, positions, prompt_ids, render_conversation, target_ids
from edit_robustness.records import Fact, Relation, Turn, fill

RUNNING_TEXT = -1
"""The number of no lesson: running text, which asks for none."""
_BEFORE_WORDS = 15
"""How many words of running text stand before a prompt at most."""
_TEXT_TOKENS = 60
_ELSEWHERE = 3
"""How many questions about a fact's subject ask for another relation's object."""
_OTHERS = 6
"""How many of a prompt's tokens before the last are shown to the scope as tokens that ask nothing yet."""
_SPAN_WORDS = 3
_NOT_A_TARGET = -100
"""The label that cross-entropy skips."""


@dataclass(frozen=True)
class Lesson:
    """One fact to learn from.

    Attributes:
        fact: The fact; its own new object is not used.
        statements: Wordings with a slot for the subject, any of which an edit may state the fact in.
        asked: Prompts that the new object follows; the first are the statements, filled.
        elsewhere: Prompts about the same subject that it does not follow.
        objects: The objects of the relation that are not true of the subject.
    """

    fact: Fact
    statements: tuple[str, ...]
    asked: tuple[Rendered, ...]
    elsewhere: tuple[Rendered, ...]
    objects: tuple[str, ...]


def lessons(
    lm: LanguageModel, corpus: Corpus, *, most: int, held_out: int, seed: int
) -> tuple[list[Lesson], list[Lesson]]:
    """Lessons to train on and lessons held out; no subject is in both.

    Args:
        lm: The model, for its chat template.
        corpus: Facts, the wordings of their relations, and texts to put before a prompt.
        most: How many facts to use at most.
        held_out: How many subjects are held out.
        seed: Of every choice.

    Raises:
        ValueError: If there are fewer than two subjects on either side.
    """
    rng = Random(seed)
    facts = rng.sample(corpus.facts, min(most, len(corpus.facts)))
    sides = split_by_subject(facts, held_out, seed, method="serac")
    taught, unseen = ([_lesson(lm, fact, own, corpus, rng) for fact in own] for own in sides)
    return taught, unseen


def _lesson(lm: LanguageModel, fact: Fact, facts: Sequence[Fact], corpus: Corpus, rng: Random) -> Lesson:
    relation = corpus.relations.get(fact.relation)
    statements = tuple(dict.fromkeys([fact.prompt, *(relation.paraphrases if relation else ())]))
    asked = [Rendered(fill(text, fact.subject), join=fact.join) for text in statements]
    if relation:
        asked += _questions(lm, relation, fact.subject)
    others = [other for name, other in sorted(corpus.relations.items()) if name != fact.relation]
    elsewhere = [
        Rendered(fill(rng.choice([other.statement, *other.paraphrases]), fact.subject))
        for other in rng.sample(others, min(_ELSEWHERE, len(others)))
    ]
    return Lesson(fact, statements, tuple(asked), tuple(elsewhere), tuple(other_objects(fact, facts)))


def _questions(lm: LanguageModel, relation: Relation, subject: str) -> list[Rendered]:
    """The relation's question, to an assistant and in running text."""
    question = fill(relation.question, subject)
    return [
        render_conversation(lm, [Turn("user", question)]),
        Rendered(f"Question: {question}\nAnswer:"),
        Rendered(f"{question} It is"),
    ]


def behind_text(rng: Random, texts: Sequence[str], prompt: str) -> str:
    """A prompt after some words of running text."""
    words = rng.choice(texts).split()
    start = rng.randrange(max(1, len(words)))
    return f"{' '.join(words[start : start + rng.randint(1, _BEFORE_WORDS)])} {prompt}"


@dataclass(frozen=True)
class View:
    """States of the base model at the tokens of one prompt, computed once.

    Attributes:
        lesson: Number of the lesson, or `RUNNING_TEXT`.
        subjects: (tokens, hidden) of all tokens, at the layer that tells what they are about.
        places: (places,) the tokens that the scope is shown.
        states: (places, hidden) of those, at the layer that tells what they ask for.
        asks: (places,) whether a token of the new object comes next.
        subject: Where the subject ends in a prompt that may state the fact in the memory; None in others.
    """

    lesson: int
    subjects: Tensor
    places: Tensor
    states: Tensor
    asks: Tensor
    subject: int | None


def views(
    lm: LanguageModel, layers: tuple[int, int], taught: Sequence[Lesson], texts: Sequence[str], rng: Random
) -> list[View]:
    """What the scope sees of the lessons' prompts, each with a new object, and of some running text."""
    prompts: list[tuple[int, list[int], range, int | None]] = []
    for number, lesson in enumerate(taught):
        target = rng.choice(lesson.objects)
        prompts += [(number, *asking(lm, prompt, target), end) for prompt, end in _shown(lm, lesson, texts, rng)]
        prompts += [(number, prompt_ids(lm, prompt), _NOWHERE, None) for prompt in lesson.elsewhere]
    prompts += [(RUNNING_TEXT, prompt_ids(lm, Rendered(text))[:_TEXT_TOKENS], _NOWHERE, None) for text in texts]
    prompts.sort(key=lambda prompt: len(prompt[1]))
    found = states_at(lm, layers, [ids for _, ids, _, _ in prompts])
    return [_view(*prompt, *states, rng) for prompt, states in zip(prompts, found, strict=True)]


def _shown(
    lm: LanguageModel, lesson: Lesson, texts: Sequence[str], rng: Random
) -> Iterator[tuple[Rendered, int | None]]:
    """All statements, at least one of them bare and the others half the time behind running text, and one question.

    With each prompt comes where the subject ends, if it may state the fact in the memory.
    """
    bare, subject = rng.randrange(len(lesson.statements)), lesson.fact.subject
    for number, statement in enumerate(lesson.statements):
        prompt = lesson.asked[number]
        if number == bare or not texts or rng.random() < 0.5:
            yield prompt, subject_place(lm, statement, subject)
        else:
            yield replace(prompt, text=behind_text(rng, texts, prompt.text)), None
    questions = lesson.asked[len(lesson.statements) :]
    if questions:
        yield rng.choice(questions), None


_NOWHERE = range(0)


def _view(
    lesson: int, ids: list[int], asks: range, subject: int | None, low: Tensor, high: Tensor, rng: Random
) -> View:
    before = range(1, asks.start if asks else len(ids))
    places = [*asks, *rng.sample(before, min(_OTHERS, len(before)))]
    marks = torch.arange(len(places), device=low.device) < len(asks)
    return View(lesson, low.float(), torch.tensor(places, device=low.device), high[places].float(), marks, subject)


def memorised(seen: Sequence[View], rng: Random) -> list[View]:
    """The views with one wording of each lesson left as the statement in the memory."""
    wordings: dict[int, list[int]] = {}
    for place, view in enumerate(seen):
        if view.subject is not None:
            wordings.setdefault(view.lesson, []).append(place)
    kept = {rng.choice(places) for places in wordings.values()}
    return [view if place in kept else replace(view, subject=None) for place, view in enumerate(seen)]


def scope_loss(scope: Scope, seen: Sequence[View]) -> Tensor:
    """Binary cross-entropy of p = exp(-d^2) with a memory of the prompts' facts (Mitchell et al. 2022, section 3.3).

    For a token that asks for its lesson's object, other than the statement's own, -log p of that fact; and for tokens
    that ask and tokens that do not, each kind with the same weight, -log(1 - p) of the nearest fact that it does not
    ask for.
    """
    distances, owners = memory_distances(scope, seen)
    asks = torch.cat([view.asks for view in seen])
    lesson = torch.cat([torch.full_like(view.places, view.lesson) for view in seen])
    stated = torch.cat([torch.full_like(view.asks, view.subject is not None) for view in seen])
    right = (lesson[:, None] == owners[None]) & asks[:, None]
    own = distances.masked_fill(~right, torch.inf).amin(1)[asks & ~stated]
    wrong = distances.masked_fill(right, torch.inf).amin(1).clamp_min(1e-6)
    refused = -torch.log(-torch.expm1(-wrong))
    return own.sum() / max(1, len(own)) + refused[asks].mean() + refused[~asks].sum() / max(1, int((~asks).sum()))


def memory_distances(scope: Scope, seen: Sequence[View]) -> tuple[Tensor, Tensor]:
    """d^2 of each view's places from each key of the statements among them, (places, keys), and the keys' lessons."""
    memory = [view for view in seen if view.subject is not None]
    subjects = scope.about(torch.stack([view.subjects[view.subject] for view in memory]))
    keys = scope.asks(torch.cat([view.states[view.asks] for view in memory]))
    counts = torch.tensor([int(view.asks.sum()) for view in memory], device=keys.device)
    numbers = torch.tensor([view.lesson for view in memory], device=keys.device)
    about = squared_distances(scope.about(torch.cat([view.subjects for view in seen])), subjects)
    spoken = about.split([len(view.subjects) for view in seen])
    nearest = torch.cat([own.cummin(0).values[view.places] for own, view in zip(spoken, seen, strict=True)])
    asked = squared_distances(scope.asks(torch.cat([view.states for view in seen])), keys)
    return asked + nearest.repeat_interleave(counts, dim=1), numbers.repeat_interleave(counts)


@dataclass(frozen=True)
class Exercise:
    """Rows of [sentence; prompt; new object] for the small model.

    Attributes:
        ids: (rows, tokens), padded on the left.
        mask: (rows, tokens), 0 where padded.
        labels: (rows, columns) the tokens that follow the last columns, -100 where none is taught.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor


def exercise(lm: LanguageModel, chosen: Sequence[Lesson], texts: Sequence[str], rng: Random) -> Exercise:
    """For each lesson a new object, told in the sentence of a statement and asked for in one of the wordings.

    Half of the prompts stand behind running text, if there is any.
    """
    rows, targets = [], []
    for lesson in chosen:
        target, prompt = _new_object(lesson, chosen, texts, rng), rng.choice(lesson.asked)
        if texts and prompt.special and rng.random() < 0.5:
            prompt = replace(prompt, text=behind_text(rng, texts, prompt.text))
        wanted = target_ids(lm, prompt, f"{target}.")
        statement = fill(rng.choice(lesson.statements), lesson.fact.subject)
        sentence = announced(lm, Rendered(statement, join=lesson.fact.join), target)
        rows.append([*sentence, *prompt_ids(lm, prompt), *wanted[:-1]])
        targets.append(wanted)
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    labels, _ = pad(targets, _NOT_A_TARGET, side="left", device=lm.device)
    return Exercise(ids, mask, labels)


def _new_object(lesson: Lesson, chosen: Sequence[Lesson], texts: Sequence[str], rng: Random) -> str:
    """An object of the lesson's relation or of another, a subject, or some words of running text.

    Only the first could be guessed from the prompt; all others must be copied from the sentence.
    """
    other = rng.choice(chosen)
    words = re.findall(r"\w+", rng.choice(texts)) if texts else []
    start = rng.randrange(len(words)) if words else 0
    span = " ".join(words[start : start + rng.randint(1, _SPAN_WORDS)])
    found = [rng.choice(lesson.objects), rng.choice(other.objects), other.fact.subject, span, span.title()]
    return rng.choice([name for name in found if name])


def copying_loss(model: torch.nn.Module, given: Exercise) -> Tensor:
    """Mean negative log-likelihood of the new objects' tokens, each with a full stop (Mitchell et al. 2022, 3.3)."""
    logits = model(
        input_ids=given.ids,
        attention_mask=given.mask,
        position_ids=positions(given.mask),
        use_cache=False,
        logits_to_keep=last(given.labels.shape[1]),
    ).logits
    return cross_entropy(logits.flatten(0, 1).float(), given.labels.flatten(), ignore_index=_NOT_A_TARGET)
