"""What SERAC's networks are taught: facts with new objects, asked in many wordings, and what asks something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import Rendered, last, pad, positions, prompt_ids, render_conversation, target_ids
from edit_robustness.records import Fact, Turn, fill

RUNNING_TEXT = -1
"""The number of no lesson: running text, which asks for none."""
_CONTEXT_WORDS = 30
_OTHERS = 4
"""How many of a prompt's tokens before the last are shown to the scope as tokens that ask nothing yet."""
_NOT_A_TARGET = -100
"""The label that cross-entropy skips."""


@dataclass(frozen=True)
class Lesson:
    """One fact to learn from.

    Attributes:
        fact: The fact; its own new object is not used.
        asked: Prompts that the new object follows; the first is the bare statement.
        elsewhere: Prompts about the same subject that it does not follow.
        objects: The objects of the relation that are not true of the subject, one of which is drawn at each step.
    """

    fact: Fact
    asked: tuple[Rendered, ...]
    elsewhere: tuple[Rendered, ...]
    objects: tuple[str, ...]


def lessons(
    lm: LanguageModel, corpus: Corpus, *, most: int, held_out: float, seed: int
) -> tuple[list[Lesson], list[Lesson]]:
    """Lessons to train on and lessons held out; no subject is in both.

    Args:
        lm: The model, for its chat template.
        corpus: Facts, the wordings of their relations, and texts to put before a prompt.
        most: How many facts to use at most.
        held_out: The share of the subjects that is held out, at least one.
        seed: Of every choice.

    Raises:
        ValueError: If there are fewer than two subjects.
    """
    rng = Random(seed)
    facts = rng.sample(corpus.facts, min(most, len(corpus.facts)))
    subjects = list(dict.fromkeys(fact.subject for fact in facts))
    if len(subjects) < 2:
        raise ValueError(f"serac trains on unedited facts of two subjects at least; there are {len(subjects)}")
    kept = set(subjects[max(1, round(held_out * len(subjects))) :])
    sides = [[fact for fact in facts if (fact.subject in kept) == taught] for taught in (True, False)]
    taught, unseen = ([_lesson(lm, fact, own, corpus, rng) for fact in own] for own in sides)
    return taught, unseen


def _lesson(lm: LanguageModel, fact: Fact, facts: Sequence[Fact], corpus: Corpus, rng: Random) -> Lesson:
    relation = corpus.relations.get(fact.relation)
    plain = [fact.statement, *(fill(text, fact.subject) for text in (relation.paraphrases if relation else ()))]
    asked = [Rendered(text) for text in dict.fromkeys(plain)]
    if corpus.texts:
        before = " ".join(rng.choice(corpus.texts).split()[:_CONTEXT_WORDS])
        asked.append(Rendered(f"{before} {rng.choice(plain)}"))
    if relation:
        asked.append(render_conversation(lm, [Turn("user", fill(relation.question, fact.subject))]))
    others = [other for name, other in sorted(corpus.relations.items()) if name != fact.relation]
    elsewhere = [Rendered(fill(rng.choice(others).statement, fact.subject))] if others else []
    objects = {name for one in facts if one.relation == fact.relation for name in (one.target_true, one.target_new)}
    wrong = sorted(objects - {fact.target_true}) or [fact.target_new]
    return Lesson(fact, tuple(asked), tuple(elsewhere), tuple(wrong))


@dataclass(frozen=True)
class View:
    """States of the base model at the tokens of one prompt, computed once.

    Attributes:
        lesson: Number of the lesson, or `RUNNING_TEXT`.
        subjects: (tokens, hidden) of all tokens, at the layer that tells what they are about.
        places: (places,) the tokens that the scope is shown.
        states: (places, hidden) of those, at the layer that tells what they ask for.
        asks: (places,) whether a token of the new object comes next.
        subject: Where the subject ends, in a bare statement, which the memory holds; None in other prompts.
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
        target, fact = rng.choice(lesson.objects), lesson.fact
        for wording, prompt in enumerate(lesson.asked):
            subject = subject_place(lm, fact.prompt, fact.subject) if wording == 0 else None
            prompts.append((number, *asking(lm, prompt, target), subject))
        prompts += [(number, prompt_ids(lm, prompt), _NOWHERE, None) for prompt in lesson.elsewhere]
    prompts += [(RUNNING_TEXT, prompt_ids(lm, Rendered(text))[: 2 * _CONTEXT_WORDS], _NOWHERE, None) for text in texts]
    prompts.sort(key=lambda prompt: len(prompt[1]))
    found = states_at(lm, layers, [ids for _, ids, _, _ in prompts])
    return [_view(*prompt, *states, rng) for prompt, states in zip(prompts, found, strict=True)]


_NOWHERE = range(0)


def _view(
    lesson: int, ids: list[int], asks: range, subject: int | None, low: Tensor, high: Tensor, rng: Random
) -> View:
    before = range(1, asks.start if asks else len(ids))
    places = [*asks, *rng.sample(before, min(_OTHERS, len(before)))]
    marks = torch.arange(len(places), device=low.device) < len(asks)
    return View(lesson, low.float(), torch.tensor(places, device=low.device), high[places].float(), marks, subject)


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


def exercise(lm: LanguageModel, chosen: Sequence[Lesson], rng: Random) -> Exercise:
    """For each lesson a new object, told in the statement's sentence and asked in one of the wordings."""
    rows, targets = [], []
    for lesson in chosen:
        target, prompt = rng.choice(lesson.objects), rng.choice(lesson.asked)
        wanted = target_ids(lm, prompt, f"{target}.")
        sentence = announced(lm, lesson.fact.statement, target)
        rows.append([*sentence, *prompt_ids(lm, prompt), *wanted[:-1]])
        targets.append(wanted)
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    labels, _ = pad(targets, _NOT_A_TARGET, side="left", device=lm.device)
    return Exercise(ids, mask, labels)


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
