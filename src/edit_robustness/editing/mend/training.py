"""Training of MEND's networks: edits of facts that are asked again in other words, and shall leave the rest alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from edit_robustness.editing.mend.networks import Batch, GradientEditors, Row, asked, token_gradients
from edit_robustness.editing.method import Corpus, Prepared
from edit_robustness.editing.training import Course, Pace, other_objects, part, split_by_subject
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import Rendered, prompt_ids
from edit_robustness.models.trace import blocks_recorded, blocks_replayed, output_changed
from edit_robustness.records import Fact, Relation, fill


@dataclass(frozen=True)
class Schedule:
    """How the networks are trained.

    Attributes:
        steps: Most steps of Adam.
        batch: Independent edits a step.
        editor_lr: Adam's rate for the networks.
        rate_lr: Adam's rate for the rates of the edits.
        edit_weight: Weight of the edits' loss beside the divergence of the rest (c_edit).
        grad_clip: Longest gradient of all the networks together.
        held_out: Subjects whose edits are not trained on but tell when to stop.
        check_every: Steps between two looks at the held-out edits.
        patience: Looks without a lower loss after which training ends.
        seed: Of the networks' start, the split and the draws.
        edit_loss: On what the edits' loss is taken: the edited `statement`, as in EasyEdit; the `rewording`, as in the
            paper; or `both`.
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
    """Draws what one edit is trained on; the same draw from the same generator.

    Args:
        lm: The model.
        facts: Facts to edit, and to leave alone when another is edited; of two subjects or more.
        relations: Their wordings.
        texts: Text to leave alone; may be empty.
    """

    def __init__(
        self, lm: LanguageModel, facts: Sequence[Fact], relations: Mapping[str, Relation], texts: Sequence[str]
    ):
        self._lm, self._facts, self._relations = lm, facts, relations
        tokens = [prompt_ids(lm, Rendered(text)) for text in texts]
        self._texts = [ids for ids in tokens if len(ids) > 1]

    def draw(self, random: Random, fact: Fact | None = None) -> list[Row]:
        """The statement, the fact in another wording, another subject's true fact, and a passage of text.

        The new object is any of those that the facts of the relation have, so that a few facts give many edits.
        """
        fact = fact or random.choice(self._facts)
        same = [other for other in self._facts if other.relation == fact.relation]
        new = random.choice(other_objects(fact, self._facts))
        rows = [asked(self._lm, fact.statement, new), asked(self._lm, self._worded(random, fact), new)]
        others = [other for other in same if other.subject != fact.subject]
        other = random.choice(others or [other for other in self._facts if other.subject != fact.subject])
        rows.append(asked(self._lm, self._worded(random, other), other.target_true))
        return [*rows, self._passage(random)] if self._texts else rows

    def _worded(self, random: Random, fact: Fact) -> str:
        relation = self._relations.get(fact.relation)
        return fill(random.choice([fact.prompt, *(relation.paraphrases if relation else ())]), fact.subject)

    def _passage(self, random: Random) -> Row:
        ids = random.choice(self._texts)
        start = random.randrange(max(1, len(ids) - _PASSAGE + 1))
        passage = ids[start : start + _PASSAGE]
        return passage[: len(passage) // 2], passage[len(passage) // 2 :]


_PASSAGE = 16
"""Tokens of a passage; the second half of them is compared."""


def losses(
    lm: LanguageModel,
    editors: GradientEditors,
    sites: Sequence[Site],
    examples: Sequence[list[Row]],
    *,
    see: bool,
    on: str = "both",
) -> tuple[Tensor, Tensor]:
    """What the networks are trained to lower (equation 4 of the paper), the mean over independent edits.

    Args:
        lm: The model; it is left alone: edits act by hooks, each on its own rows.
        editors: The networks.
        sites: The edited weights.
        examples: What `Examples.draw` gives for each edit.
        see: Whether the gradients go into the networks' statistics.
        on: See `Schedule.edit_loss`.

    Returns:
        The negative log-likelihood of the new objects after the statements, in other words, or the mean of both, under
        the edit; and the divergence KL(unedited || edited) on the rest.
    """
    edits = len(examples)
    batch = Batch.of(lm, [row for kind in zip(*examples, strict=True) for row in kind])
    # what lies below the lowest edited layer is the same before and after the edit, and runs once
    with blocks_recorded(lm, min(site.layer for site in sites)) as below:
        gradients, before = token_gradients(lm, sites, batch, edits)
    with blocks_replayed(lm, below), ExitStack() as hooks:
        for site, gradient in gradients.items():
            if see:
                editors.see(site, gradient)
            hooks.enter_context(output_changed(lm, site, _edited(*editors.factors(site, gradient))))
        after = batch.logits(lm)
    asked_first = {"statement": slice(edits), "rewording": slice(edits, 2 * edits), "both": slice(2 * edits)}
    return batch.losses(after)[asked_first[on]].mean(), batch.divergences(before, after)[2 * edits :].mean()


def _edited(left: Tensor, right: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Adds to the outputs of row i what edit i does, counting edits round and round."""

    def add(inputs: Tensor, output: Tensor) -> Tensor:
        rows = inputs.float().unflatten(0, (-1, len(left)))
        return output + (rows @ right.mT @ left).flatten(0, 1).to(output.dtype)

    return add


def editor_course(
    lm: LanguageModel, corpus: Corpus, sites: Sequence[Site], editors: GradientEditors, schedule: Schedule
) -> Course:
    """The networks in training: each step draws independent edits; a look asks every held-out fact once."""
    train, held_out = split_by_subject(corpus.facts, schedule.held_out, schedule.seed, method="mend")
    known = Examples(lm, train, corpus.relations, corpus.texts)
    unseen = Examples(lm, held_out, corpus.relations, corpus.texts)
    kept = [unseen.draw(Random(f"{schedule.seed}/{fact.id}"), fact) for fact in held_out]
    size = schedule.batch

    def loss(step: int) -> Tensor:
        examples = [known.draw(Random(f"{schedule.seed}/{step}/{number}")) for number in range(size)]
        edit, rest = losses(lm, editors, sites, examples, see=True, on=schedule.edit_loss)
        return schedule.edit_weight * edit + rest

    def look() -> list[float]:
        total = torch.zeros(2, dtype=torch.float64)
        for start in range(0, len(kept), size):
            examples = kept[start : start + size]
            found = losses(lm, editors, sites, examples, see=False, on=schedule.edit_loss)
            total += torch.stack(found).detach().double().cpu() * len(examples)
        edit, rest = (total / len(kept)).tolist()
        return [schedule.edit_weight * edit + rest, edit, rest]

    rates = {name: schedule.rate_lr if name.endswith(".rate") else schedule.editor_lr for name in editors.learned}
    pace = Pace(schedule.steps, schedule.check_every, schedule.patience, schedule.grad_clip)
    return Course(editors.tensors, rates, loss, look, pace)


def artefact(state: Mapping[str, Tensor]) -> Prepared:
    """What is left when all is done: the best networks, and the looks at the held-out edits as JSON."""
    looks = [
        {"step": int(step), "loss": loss, "edit": edit, "rest": rest}
        for step, _, loss, edit, rest in state["curve"].tolist()
    ]
    return Prepared(part(state, "best"), (json.dumps(looks),))


def is_finished(state: Prepared) -> bool:
    """Whether a state of the training is its last."""
    return "curve" not in state.tensors
