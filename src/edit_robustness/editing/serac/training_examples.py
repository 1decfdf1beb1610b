"""Training examples of SERAC's networks: facts with new objects in many wordings, and prompts out of scope."""

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
    sentence_ids,
    squared_distances,
    states_at,
    subject_place,
    target_positions,
)
from edit_robustness.editing.training import other_objects, split_by_subject
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import (
    RenderedPrompt,
    last,
    pad,
    positions,
    prompt_ids,
    render_conversation,
    target_ids,
)
from edit_robustness.records import Fact, Relation, Turn, fill

RUNNING_TEXT = -1
"""Stands for running text in place of an example's number."""
_BEFORE_WORDS = 15
"""Maximum number of words of running text before a prompt."""
_TEXT_TOKENS = 60
_ELSEWHERE = 3
"""Number of prompts about a fact's subject that ask for another relation's object."""
_OTHERS = 6
"""Number of a prompt's earlier tokens that the scope is trained on as tokens that do not ask yet."""
_SPAN_WORDS = 3
_NOT_A_TARGET = -100
"""The label that cross-entropy ignores."""


@dataclass(frozen=True)
class TrainingExample:
    """One fact to train on.

    Attributes:
        fact: The fact; its own new object is not used.
        statements: Wordings with a slot for the subject, in any of which an edit may state the fact.
        prompts: Prompts that the new object follows; the first are the statements, filled.
        elsewhere: Prompts about the same subject that it does not follow.
        objects: The objects of the relation that are not true of the subject.
    """

    fact: Fact
    statements: tuple[str, ...]
    prompts: tuple[RenderedPrompt, ...]
    elsewhere: tuple[RenderedPrompt, ...]
    objects: tuple[str, ...]


def training_examples(
    lm: LanguageModel, corpus: Corpus, *, limit: int, held_out: int, seed: int
) -> tuple[list[TrainingExample], list[TrainingExample]]:
    """Build examples to train on and held-out examples, with no subject in common.

    Args:
        lm: The model, for its chat template.
        corpus: Facts, the wordings of their relations, and texts to put before a prompt.
        limit: Maximum number of facts.
        held_out: Number of held-out subjects.
        seed: Seed of every choice.

    Raises:
        ValueError: If there are fewer than two subjects on either side.
    """
    rng = Random(seed)
    facts = rng.sample(corpus.facts, min(limit, len(corpus.facts)))
    sides = split_by_subject(facts, held_out, seed, method="serac")
    train_examples, held_out_examples = (
        [_build_example(lm, fact, side, corpus, rng) for fact in side] for side in sides
    )
    return train_examples, held_out_examples


def _build_example(
    lm: LanguageModel, fact: Fact, facts: Sequence[Fact], corpus: Corpus, rng: Random
) -> TrainingExample:
    relation = corpus.relations.get(fact.relation)
    statements = tuple(dict.fromkeys([fact.prompt, *(relation.paraphrases if relation else ())]))
    prompts = [RenderedPrompt(fill(text, fact.subject), join=fact.join) for text in statements]
    if relation:
        prompts += _render_questions(lm, relation, fact.subject)
    other_relations = [
        other_relation for name, other_relation in sorted(corpus.relations.items()) if name != fact.relation
    ]
    elsewhere = [
        RenderedPrompt(fill(rng.choice([other_relation.statement, *other_relation.paraphrases]), fact.subject))
        for other_relation in rng.sample(other_relations, min(_ELSEWHERE, len(other_relations)))
    ]
    return TrainingExample(fact, statements, tuple(prompts), tuple(elsewhere), tuple(other_objects(fact, facts)))


def _render_questions(lm: LanguageModel, relation: Relation, subject: str) -> list[RenderedPrompt]:
    """Return the relation's question, as a conversation and in running text."""
    question = fill(relation.question, subject)
    return [
        render_conversation(lm, [Turn("user", question)]),
        RenderedPrompt(f"Question: {question}\nAnswer:"),
        RenderedPrompt(f"{question} It is"),
    ]


def behind_text(rng: Random, texts: Sequence[str], prompt: str) -> str:
    """Return a prompt after some words of running text."""
    words = rng.choice(texts).split()
    start = rng.randrange(max(1, len(words)))
    return f"{' '.join(words[start : start + rng.randint(1, _BEFORE_WORDS)])} {prompt}"


@dataclass(frozen=True)
class View:
    """States of the base model at the tokens of one prompt, computed once.

    Attributes:
        example: Number of the example, or `RUNNING_TEXT`.
        subjects: (tokens, hidden), states of all tokens at the layer that represents the subject.
        places: (places,) the tokens that the scope is trained on.
        states: (places, hidden), their states at the layer that represents the question.
        asks: (places,) whether a token of the new object comes next.
        subject: Position of the subject's end in a prompt that may state the fact in the memory; None in others.
    """

    example: int
    subjects: Tensor
    places: Tensor
    states: Tensor
    asks: Tensor
    subject: int | None


def views(
    lm: LanguageModel,
    layers: tuple[int, int],
    example_list: Sequence[TrainingExample],
    texts: Sequence[str],
    rng: Random,
) -> list[View]:
    """Compute the views of the examples' prompts, each with a new object, and of some running text."""
    prompts: list[tuple[int, list[int], range, int | None]] = []
    for number, example in enumerate(example_list):
        target = rng.choice(example.objects)
        prompts += [
            (number, *target_positions(lm, prompt, target), end)
            for prompt, end in _draw_prompts(lm, example, texts, rng)
        ]
        prompts += [(number, prompt_ids(lm, prompt), _NOWHERE, None) for prompt in example.elsewhere]
    prompts += [(RUNNING_TEXT, prompt_ids(lm, RenderedPrompt(text))[:_TEXT_TOKENS], _NOWHERE, None) for text in texts]
    prompts.sort(key=lambda prompt: len(prompt[1]))
    state_pairs = states_at(lm, layers, [ids for _, ids, _, _ in prompts])
    return [_build_view(*prompt, *states, rng) for prompt, states in zip(prompts, state_pairs, strict=True)]


def _draw_prompts(
    lm: LanguageModel, example: TrainingExample, texts: Sequence[str], rng: Random
) -> Iterator[tuple[RenderedPrompt, int | None]]:
    """Yield all statements, at least one bare and the others half the time after running text, and one question.

    With each prompt comes the position of the subject's end, if it may state the fact in the memory.
    """
    bare, subject = rng.randrange(len(example.statements)), example.fact.subject
    for number, statement in enumerate(example.statements):
        prompt = example.prompts[number]
        if number == bare or not texts or rng.random() < 0.5:
            yield prompt, subject_place(lm, statement, subject)
        else:
            yield replace(prompt, text=behind_text(rng, texts, prompt.text)), None
    questions = example.prompts[len(example.statements) :]
    if questions:
        yield rng.choice(questions), None


_NOWHERE = range(0)


def _build_view(
    example: int, ids: list[int], asks: range, subject: int | None, low: Tensor, high: Tensor, rng: Random
) -> View:
    before = range(1, asks.start if asks else len(ids))
    places = [*asks, *rng.sample(before, min(_OTHERS, len(before)))]
    marks = torch.arange(len(places), device=low.device) < len(asks)
    return View(example, low.float(), torch.tensor(places, device=low.device), high[places].float(), marks, subject)


def choose_statements(scope_views: Sequence[View], rng: Random) -> list[View]:
    """Return the views with one wording of each example left as the statement in the memory."""
    wordings: dict[int, list[int]] = {}
    for place, view in enumerate(scope_views):
        if view.subject is not None:
            wordings.setdefault(view.example, []).append(place)
    chosen_places = {rng.choice(places) for places in wordings.values()}
    return [view if place in chosen_places else replace(view, subject=None) for place, view in enumerate(scope_views)]


def scope_loss(scope: Scope, scope_views: Sequence[View]) -> Tensor:
    """Compute the binary cross-entropy of p = exp(-d^2) with a memory of the prompts' facts (SERAC, section 3.3).

    For a token that asks for its example's object, other than the statement's own, this is -log p of that fact. For
    tokens that ask and tokens that do not, each kind with the same weight, it is -log(1 - p) of the nearest fact that
    the token does not ask for.
    """
    distances, owners = memory_distances(scope, scope_views)
    asks = torch.cat([view.asks for view in scope_views])
    example = torch.cat([torch.full_like(view.places, view.example) for view in scope_views])
    is_statement = torch.cat([torch.full_like(view.asks, view.subject is not None) for view in scope_views])
    right = (example[:, None] == owners[None]) & asks[:, None]
    right_distances = distances.masked_fill(~right, torch.inf).amin(1)[asks & ~is_statement]
    wrong = distances.masked_fill(right, torch.inf).amin(1).clamp_min(1e-6)
    wrong_losses = -torch.log(-torch.expm1(-wrong))
    return (
        right_distances.sum() / max(1, len(right_distances))
        + wrong_losses[asks].mean()
        + wrong_losses[~asks].sum() / max(1, int((~asks).sum()))
    )


def memory_distances(scope: Scope, scope_views: Sequence[View]) -> tuple[Tensor, Tensor]:
    """Compute the squared distances of the views' tokens from the keys of the statements among them.

    Returns:
        d^2 of each view's places from each key, (places, keys), and the example of each key, (keys,).
    """
    memory = [view for view in scope_views if view.subject is not None]
    subjects = scope.about(torch.stack([view.subjects[view.subject] for view in memory]))
    keys = scope.asks(torch.cat([view.states[view.asks] for view in memory]))
    counts = torch.tensor([int(view.asks.sum()) for view in memory], device=keys.device)
    numbers = torch.tensor([view.example for view in memory], device=keys.device)
    about = squared_distances(scope.about(torch.cat([view.subjects for view in scope_views])), subjects)
    about_per_view = about.split([len(view.subjects) for view in scope_views])
    nearest = torch.cat(
        [distances.cummin(0).values[view.places] for distances, view in zip(about_per_view, scope_views, strict=True)]
    )
    ask_distances = squared_distances(scope.asks(torch.cat([view.states for view in scope_views])), keys)
    return ask_distances + nearest.repeat_interleave(counts, dim=1), numbers.repeat_interleave(counts)


@dataclass(frozen=True)
class Exercise:
    """Rows of [sentence; prompt; new object] for the small model.

    Attributes:
        ids: (rows, tokens), padded on the left.
        mask: (rows, tokens), 0 where padded.
        labels: (rows, columns) the tokens that follow the last columns, -100 where there is no label.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor


def exercise(lm: LanguageModel, example_list: Sequence[TrainingExample], texts: Sequence[str], rng: Random) -> Exercise:
    """Build for each example a row with a new object, stated in a statement and asked for in one of the wordings.

    Half of the prompts come after running text, if there is any.
    """
    rows, targets = [], []
    for example in example_list:
        target, prompt = _draw_object(example, example_list, texts, rng), rng.choice(example.prompts)
        if texts and prompt.special and rng.random() < 0.5:
            prompt = replace(prompt, text=behind_text(rng, texts, prompt.text))
        target_tokens = target_ids(lm, prompt, f"{target}.")
        statement = fill(rng.choice(example.statements), example.fact.subject)
        sentence = sentence_ids(lm, RenderedPrompt(statement, join=example.fact.join), target)
        rows.append([*sentence, *prompt_ids(lm, prompt), *target_tokens[:-1]])
        targets.append(target_tokens)
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    labels, _ = pad(targets, _NOT_A_TARGET, side="left", device=lm.device)
    return Exercise(ids, mask, labels)


def _draw_object(
    example: TrainingExample, example_list: Sequence[TrainingExample], texts: Sequence[str], rng: Random
) -> str:
    """Draw an object of the example's relation or of another one, a subject, or some words of running text.

    Only the first could be guessed from the prompt. All others must be copied from the sentence.
    """
    other_example = rng.choice(example_list)
    words = re.findall(r"\w+", rng.choice(texts)) if texts else []
    start = rng.randrange(len(words)) if words else 0
    span = " ".join(words[start : start + rng.randint(1, _SPAN_WORDS)])
    names = [
        rng.choice(example.objects),
        rng.choice(other_example.objects),
        other_example.fact.subject,
        span,
        span.title(),
    ]
    return rng.choice([name for name in names if name])


def copying_loss(model: torch.nn.Module, batch: Exercise) -> Tensor:
    """Compute the mean negative log-likelihood of the new objects' tokens and full stops (SERAC, section 3.3)."""
    logits = model(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        position_ids=positions(batch.mask),
        use_cache=False,
        logits_to_keep=last(batch.labels.shape[1]),
    ).logits
    return cross_entropy(logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=_NOT_A_TARGET)
