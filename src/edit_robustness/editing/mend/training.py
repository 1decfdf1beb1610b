"""Training of MEND's networks on edits that should generalise to rewordings and leave other outputs unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.mend.networks import Batch, GradientEditors, Row, prompt_and_answer_ids, token_gradients
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.training import Course, Pace, other_objects, part, split_by_subject
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids
from edit_robustness.models.trace import blocks_recorded, blocks_replayed, output_changed
from edit_robustness.records import Fact, Relation, fill


@dataclass(frozen=True)
class Schedule:
    """Settings of the training.

    Attributes:
        steps: Maximum number of steps of Adam.
        batch: Independent edits per step.
        editor_lr: Adam's learning rate for the networks.
        rate_lr: Adam's learning rate for the rates of the edits.
        edit_weight: Weight of the edits' loss relative to the divergence of other outputs (c_edit).
        grad_clip: Maximum norm of the gradient of all the networks together.
        held_out: Number of subjects that are not trained on; the loss of their edits decides when to stop.
        check_every: Steps between two evaluations of the held-out edits.
        patience: Evaluations without a lower loss after which training stops.
        seed: Seed of the networks' initial weights, of the split and of the draws.
        edit_loss: Prompts on which the edits' loss is taken: the edited `statement`, as in EasyEdit; the `rewording`,
            as in the paper; or `both`.
    """

    steps: int
    batch: int
    editor_lr: float
    rate_lr: float
    edit_weight: float
    grad_clip: float
    held_out: int
    check_every: int
    patience: int
    seed: int
    edit_loss: str = "both"


class Examples:
    """Draws of the prompts that one edit is trained on; the same generator gives the same draws.

    Args:
        lm: The model.
        facts: Facts to edit, and facts that should not change when another is edited; of two subjects or more.
        relations: Their wordings.
        texts: Texts on which the outputs should not change; may be empty.
    """

    def __init__(
        self, lm: LanguageModel, facts: Sequence[Fact], relations: Mapping[str, Relation], texts: Sequence[str]
    ):
        self._lm, self._facts, self._relations = lm, facts, relations
        tokens = [prompt_ids(lm, RenderedPrompt(text)) for text in texts]
        self._texts = [ids for ids in tokens if len(ids) > 1]

    def draw(self, random: Random, fact: Fact | None = None) -> list[Row]:
        """Draw the statement, the fact in another wording, another subject's true fact, and a passage of text.

        The new object is any object of the relation's facts, so that a few facts give many edits.
        """
        fact = fact or random.choice(self._facts)
        same_relation = [neighbour for neighbour in self._facts if neighbour.relation == fact.relation]
        new_object = random.choice(other_objects(fact, self._facts))
        texts = (fact.statement, self._draw_wording(random, fact))
        rows = [prompt_and_answer_ids(self._lm, text, new_object, fact.join) for text in texts]
        candidates = [neighbour for neighbour in same_relation if neighbour.subject != fact.subject]
        neighbour = random.choice(
            candidates or [neighbour for neighbour in self._facts if neighbour.subject != fact.subject]
        )
        rows.append(
            prompt_and_answer_ids(
                self._lm, self._draw_wording(random, neighbour), neighbour.target_true, neighbour.join
            )
        )
        return [*rows, self._draw_passage(random)] if self._texts else rows

    def _draw_wording(self, random: Random, fact: Fact) -> str:
        relation = self._relations.get(fact.relation)
        return fill(random.choice([fact.prompt, *(relation.paraphrases if relation else ())]), fact.subject)

    def _draw_passage(self, random: Random) -> Row:
        ids = random.choice(self._texts)
        start = random.randrange(max(1, len(ids) - _PASSAGE + 1))
        passage = ids[start : start + _PASSAGE]
        return passage[: len(passage) // 2], passage[len(passage) // 2 :]


_PASSAGE = 16
"""Number of tokens of a passage; the outputs at the second half are compared."""


def losses(
    lm: LanguageModel,
    editors: GradientEditors,
    sites: Sequence[Site],
    examples: Sequence[list[Row]],
    *,
    see: bool,
    on: str = "both",
) -> tuple[Tensor, Tensor]:
    """Compute the two losses of the networks (equation 4 of the paper), as means over independent edits.

    Args:
        lm: The model. Its weights do not change: edits act by hooks, each on its own rows.
        editors: The networks.
        sites: The edited weights.
        examples: The rows of `Examples.draw` for each edit.
        see: Whether the gradients update the networks' statistics.
        on: Prompts on which the edits' loss is taken (`Schedule.edit_loss`).

    Returns:
        The negative log-likelihood of the new objects under the edit, after the statements, the rewordings, or the mean
            of both; and the divergence KL(unedited

    edited) on the prompts that should not change.
    """
    edits = len(examples)
    batch = Batch.of(lm, [row for kind in zip(*examples, strict=True) for row in kind])
    # the blocks below the lowest edited layer have the same outputs before and after the edit, so they run once
    with blocks_recorded(lm, min(site.layer for site in sites)) as below:
        gradients, before = token_gradients(lm, sites, batch, edits)
    with blocks_replayed(lm, below), ExitStack() as hooks:
        for site, gradient in gradients.items():
            if see:
                editors.see(site, gradient)
            hooks.enter_context(output_changed(lm, site, _apply_edits(*editors.factors(site, gradient))))
        after = batch.logits(lm)
    edit_rows = {"statement": slice(edits), "rewording": slice(edits, 2 * edits), "both": slice(2 * edits)}
    return batch.losses(after)[edit_rows[on]].mean(), batch.divergences(before, after)[2 * edits :].mean()


def _apply_edits(left_factor: Tensor, right_factor: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a hook that adds edit i's change to the outputs of rows i, i + edits, i + 2 edits and so on."""

    def add(inputs: Tensor, output: Tensor) -> Tensor:
        rows: Tensor = inputs.float().unflatten(0, (-1, len(left_factor)))
        return output + (rows @ right_factor.mT @ left_factor).flatten(0, 1).to(output.dtype)

    return add


def editor_course(
    lm: LanguageModel, corpus: Corpus, sites: Sequence[Site], editors: GradientEditors, schedule: Schedule
) -> Course:
    """Build the training: each step draws independent edits, and an evaluation uses every held-out fact once."""
    train_facts, held_out = split_by_subject(corpus.facts, schedule.held_out, schedule.seed, method="mend")
    train_examples = Examples(lm, train_facts, corpus.relations, corpus.texts)
    held_out_examples = Examples(lm, held_out, corpus.relations, corpus.texts)
    held_out_draws = [held_out_examples.draw(Random(f"{schedule.seed}/{fact.id}"), fact) for fact in held_out]
    size = schedule.batch

    def loss(step: int) -> Tensor:
        examples = [train_examples.draw(Random(f"{schedule.seed}/{step}/{number}")) for number in range(size)]
        edit, specificity = losses(lm, editors, sites, examples, see=True, on=schedule.edit_loss)
        return schedule.edit_weight * edit + specificity

    def look() -> list[float]:
        total = torch.zeros(2, dtype=torch.float64)
        for start in range(0, len(held_out_draws), size):
            examples = held_out_draws[start : start + size]
            values = losses(lm, editors, sites, examples, see=False, on=schedule.edit_loss)
            total += torch.stack(values).detach().double().cpu() * len(examples)
        edit, specificity = (total / len(held_out_draws)).tolist()
        return [schedule.edit_weight * edit + specificity, edit, specificity]

    rates = {
        name: schedule.rate_lr if name.endswith(".rate") else schedule.editor_lr for name in editors.learned_tensors
    }
    pace = Pace(schedule.steps, schedule.check_every, schedule.patience, schedule.grad_clip)
    return Course(editors.tensors, rates, loss, look, pace)


def artefact(state: Mapping[str, Tensor]) -> Artefact:
    """Return the artefact of a training's last state: the best networks, and the held-out losses as JSON."""
    looks = [
        {"step": int(step), "loss": loss, "edit": edit, "rest": specificity}
        for step, _, loss, edit, specificity in state["curve"].tolist()
    ]
    return Artefact(part(state, "best"), (json.dumps(looks),))


def is_finished(state: Artefact) -> bool:
    """Return whether a state of the training is its last."""
    return "curve" not in state.tensors
