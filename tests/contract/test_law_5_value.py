"""Laws 5 and 7 of the value: its objective is the paper's, and the fast path finds what the slow one finds."""

from dataclasses import replace

import naive_editing as naive
import pytest
import torch
from cells import APART, every_architecture, every_dtype, slow_unless
from fabricated_edits import ARCHITECTURES, FACTS, TEXTS, hooks_on, method
from merging import SHORT, merging_model

from edit_robustness.editing.contexts import statement_contexts
from edit_robustness.editing.target import (
    optimise_value,
    split_prompts,
    with_cached_head,
)
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact

LETTER = Fact("letter", "Q", "P36", "{} is the seat of ", "x", "y")
"""A subject of one token at the prompt's beginning: nothing stands before it; and a target of one token."""

CASES = {
    "subject inside": (FACTS[0], True),
    "subject first": (FACTS[1], True),
    "several bytes": (FACTS[2], True),
    "subject last": (replace(FACTS[0], prompt="Maps of {}"), True),
    "no contexts": (FACTS[0], False),
    "empty before in some rows": (LETTER, True),
    "empty before in all rows": (LETTER, False),
    "many target tokens": (replace(FACTS[0], target_new="a town whose name is very long indeed"), True),
}
every_case = pytest.mark.parametrize(("fact", "with_contexts"), CASES.values(), ids=CASES.keys())

OBJECTIVE = replace(method("rome").objective, steps=3, stop_loss=0.0)
"""Three losses: of no change, after a first step, and after one with moments of two gradients.

No step is taken after the last loss, so that it is the loss of the changes that are returned.
"""

SITE = method("rome").site


def contexts(lm, with_contexts):
    return statement_contexts(lm, TEXTS, (5, 10, 20)) if with_contexts else ()


PLACES = {
    "an MLP's output": [SITE],
    "a block's output": [Site(2, "residual")],
    "attention's and MLP's": [Site(1, "attention_out"), Site(1, "mlp_out")],
    "the first block": [Site(0, "mlp_out")],
}
LAID_OUT = ("subject inside", "empty before in some rows", "subject last")
"""Cases that differ in what attention sees, or in the columns whose logits are asked for."""

every_search = pytest.mark.parametrize(
    ("architecture", "fact", "with_contexts", "places"),
    [
        pytest.param(
            architecture, *case, PLACES[place], id=f"{architecture}-{name}-{place}", marks=slow_unless(is_fast)
        )
        for architecture in ARCHITECTURES
        for name, case in CASES.items()
        for place in PLACES
        for is_fast in [
            architecture in APART or name == "subject inside" or (name in LAID_OUT and place == "an MLP's output")
        ]
    ],
)
"""On two architectures every case with every place; on the others every place, and the cases that they may lay out."""

every_objective = pytest.mark.parametrize(
    ("architecture", "fact", "with_contexts"),
    [
        pytest.param(architecture, *case, id=f"{architecture}-{name}", marks=slow_unless(is_fast))
        for architecture in ARCHITECTURES
        for name, case in CASES.items()
        for is_fast in [architecture in APART or name in LAID_OUT]
    ],
)
"""Every case on two architectures; on the others those of `LAID_OUT`."""


@every_search
def test_the_fast_path_equals_the_slow_one(architecture, fact, with_contexts, places, lab):
    lm = lab.model(architecture)
    before = contexts(lm, with_contexts)
    fast = optimise_value(lm, places, fact, before, OBJECTIVE)
    slow = optimise_value(lm, places, fact, before, OBJECTIVE, use_cache=False)
    assert fast.changes.keys() == set(places)
    for place, change in slow.changes.items():
        assert change.norm() > 0.01
        assert (fast.changes[place] - change).norm() < 1e-4 * change.norm()
        torch.testing.assert_close(fast.outputs[place], slow.outputs[place], atol=1e-5, rtol=1e-4)
    assert fast.losses == pytest.approx(slow.losses, rel=1e-4)
    assert len(fast.losses) == OBJECTIVE.steps
    assert hooks_on(lm) == 0


@every_case
def test_the_cached_head_is_what_stands_before_the_subjects_last_token(fact, with_contexts, lab):
    lm = lab.model("llama")
    prompts = split_prompts(lm, fact, contexts(lm, with_contexts))
    prefix = with_cached_head(lm, prompts)
    empty = fact is LETTER and not with_contexts
    assert (prefix.states is None) == empty
    assert prefix.subject_column == 0
    subject_last = lm.tokenizer(fact.subject)["input_ids"][-1]
    assert (prompts.tail[:, 0] == subject_last).all()
    assert len(prompts.tail) == (5 if with_contexts else 2)
    if not empty:
        assert all(torch.isfinite(part).all() for layer in prefix.states for part in layer)


@every_objective
def test_the_losses_are_the_papers_objective(architecture, fact, with_contexts, lab):
    lm = lab.model(architecture)
    before = contexts(lm, with_contexts)
    value = optimise_value(lm, [SITE], fact, before, OBJECTIVE)
    weights = {"kl_factor": OBJECTIVE.kl_factor, "weight_decay": OBJECTIVE.weight_decay}
    change = value.changes[SITE]
    for loss, loss_change in ((value.losses[0], torch.zeros_like(change)), (value.losses[-1], change)):
        formula = naive.value_loss(lm, lm.module(SITE), fact, before, loss_change, **weights)
        assert loss == pytest.approx(formula, rel=1e-4)


@every_architecture
def test_the_divergence_is_part_of_the_objective(architecture, lab):
    lm, heavy = lab.model(architecture), replace(OBJECTIVE, kl_factor=500.0, steps=2)
    value = optimise_value(lm, [SITE], FACTS[0], (), heavy)
    change = value.changes[SITE]
    other_weights = {"weight_decay": heavy.weight_decay}
    with_it = naive.value_loss(lm, lm.module(SITE), FACTS[0], (), change, kl_factor=500.0, **other_weights)
    without = naive.value_loss(lm, lm.module(SITE), FACTS[0], (), change, kl_factor=0.0, **other_weights)
    assert value.losses[-1] == pytest.approx(with_it, rel=1e-4)
    assert with_it - without > 0.01


@every_dtype
@every_architecture
def test_the_value_stays_in_its_ball_and_makes_the_object_likelier(architecture, dtype, lab):
    lm = lab.model(architecture, dtype)
    tight = replace(OBJECTIVE, clamp=0.5, steps=4)
    value = optimise_value(lm, [SITE], FACTS[0], (), tight)
    place = naive.subject_place(lm, FACTS[0].prompt, FACTS[0].subject)
    key = naive_output(lm, place)
    assert value.changes[SITE].norm() <= 0.5 * key.norm() * 1.01
    assert value.losses[-1] < value.losses[0]


def naive_output(lm, place):
    outputs = []
    handle = lm.module(SITE).register_forward_hook(lambda _, args, output: outputs.append(output[0, place].float()))
    with torch.no_grad():
        naive.forward(lm, naive.ids_of(lm, FACTS[0].statement))
    handle.remove()
    return outputs[0]


def test_optimising_stops_below_the_stated_loss(lab):
    lm = lab.model("llama")
    free = optimise_value(lm, [SITE], FACTS[0], (), replace(OBJECTIVE, steps=20)).losses
    stop = (free[0] + min(free)) / 2
    losses = optimise_value(lm, [SITE], FACTS[0], (), replace(OBJECTIVE, steps=20, stop_loss=stop)).losses
    assert losses == free[: len(losses)]
    assert losses[-1] < stop
    assert all(loss >= stop for loss in losses[:-1])


BEFORE = ("It rained. ", "A bell rang in the fog, ")
every_position = pytest.mark.parametrize("position", ["prompt_end", "subject_last"])


@every_position
@every_architecture
def test_a_subject_with_other_tokens_in_contexts_keeps_both_laws(architecture, position):
    lm, objective = merging_model(architecture), replace(OBJECTIVE, kl_position=position, kl_factor=5.0)
    assert set(split_prompts(lm, SHORT, BEFORE).tail[:-1, 0].tolist()) > {lm.tokenizer("Qu")["input_ids"][-1]}
    fast = optimise_value(lm, [SITE], SHORT, BEFORE, objective)
    slow = optimise_value(lm, [SITE], SHORT, BEFORE, objective, use_cache=False)
    assert (fast.changes[SITE] - slow.changes[SITE]).norm() < 1e-4 * slow.changes[SITE].norm()
    assert fast.losses == pytest.approx(slow.losses, rel=1e-4)
    weights = {"kl_factor": 5.0, "weight_decay": objective.weight_decay, "kl_at_subject": position == "subject_last"}
    formula = naive.value_loss(lm, lm.module(SITE), SHORT, BEFORE, fast.changes[SITE], **weights)
    assert fast.losses[-1] == pytest.approx(formula, rel=1e-4)


@every_case
def test_the_divergence_may_be_taken_at_the_subject(fact, with_contexts, lab):
    lm, before = lab.model("llama"), contexts(lab.model("llama"), with_contexts)
    at_subject = replace(OBJECTIVE, kl_position="subject_last", kl_factor=50.0)
    value = optimise_value(lm, [SITE], fact, before, at_subject)
    losses, change = value.losses, value.changes[SITE]
    slow = optimise_value(lm, [SITE], fact, before, at_subject, use_cache=False).losses
    weights = {"kl_factor": 50.0, "weight_decay": OBJECTIVE.weight_decay}
    loss_at_subject = naive.value_loss(lm, lm.module(SITE), fact, before, change, **weights, kl_at_subject=True)
    loss_at_end = naive.value_loss(lm, lm.module(SITE), fact, before, change, **weights)
    assert losses == pytest.approx(slow, rel=1e-4)
    assert losses[-1] == pytest.approx(loss_at_subject, rel=1e-4)
    assert abs(loss_at_subject - loss_at_end) > 1e-3


@pytest.mark.parametrize("name", ["polyak", "lbfgs"])
@every_architecture
def test_every_optimiser_finds_on_the_fast_path_what_it_finds_on_the_slow_one(architecture, name, lab):
    lm, before = lab.model(architecture), contexts(lab.model(architecture), True)
    objective = replace(OBJECTIVE, optimizer=name, lr=1.0, stop_loss=0.01)
    fast = optimise_value(lm, [SITE], FACTS[0], before, objective)
    slow = optimise_value(lm, [SITE], FACTS[0], before, objective, use_cache=False)
    assert fast.losses == pytest.approx(slow.losses, rel=1e-3)
    assert (fast.changes[SITE] - slow.changes[SITE]).norm() < 1e-3 * slow.changes[SITE].norm()
    weights = {"kl_factor": objective.kl_factor, "weight_decay": objective.weight_decay}
    formula = naive.value_loss(lm, lm.module(SITE), FACTS[0], before, fast.changes[SITE], **weights)
    assert min(fast.losses) == pytest.approx(formula, rel=1e-3)
    assert min(fast.losses) < fast.losses[0]


@every_architecture
def test_each_prompt_gets_its_share_of_the_change(architecture, lab):
    lm, before = lab.model(architecture), contexts(lab.model(architecture), True)
    shares = torch.linspace(0.2, 1.1, 2 + len(before))
    value = optimise_value(lm, [SITE], FACTS[0], before, OBJECTIVE, shares=shares)
    slow = optimise_value(lm, [SITE], FACTS[0], before, OBJECTIVE, shares=shares, use_cache=False)
    assert value.losses == pytest.approx(slow.losses, rel=1e-4)
    weights = {"kl_factor": OBJECTIVE.kl_factor, "weight_decay": OBJECTIVE.weight_decay}
    change = value.changes[SITE]
    formula = naive.value_loss(lm, lm.module(SITE), FACTS[0], before, change, **weights, shares=shares.tolist())
    assert value.losses[-1] == pytest.approx(formula, rel=1e-4)
    equal_parts = naive.value_loss(lm, lm.module(SITE), FACTS[0], before, change, **weights)
    assert abs(formula - equal_parts) > 4e-4 * equal_parts


def test_whether_a_search_reached_its_goal_is_told(lab):
    lm = lab.model("llama")
    free = optimise_value(lm, [SITE], FACTS[0], (), replace(OBJECTIVE, steps=20)).losses
    stop = (free[0] + min(free)) / 2
    assert optimise_value(lm, [SITE], FACTS[0], (), replace(OBJECTIVE, steps=20, stop_loss=stop)).is_met
    assert not optimise_value(lm, [SITE], FACTS[0], (), replace(OBJECTIVE, steps=2, stop_loss=stop / 4)).is_met
    # the loss of the last step may be the first below the stop
    number = next(n for n, loss in enumerate(free, 1) if loss < stop)
    assert optimise_value(lm, [SITE], FACTS[0], (), replace(OBJECTIVE, steps=number, stop_loss=stop)).is_met
    # without a stop there is nothing to reach
    assert optimise_value(lm, [SITE], FACTS[0], (), replace(OBJECTIVE, steps=2, stop_loss=0.0)).is_met


def test_passes_in_bfloat16_find_nearly_the_same_value(lab):
    lm = lab.model("llama")
    value = optimise_value(lm, [SITE], FACTS[0], (), OBJECTIVE)
    rounded = optimise_value(lm, [SITE], FACTS[0], (), replace(OBJECTIVE, precision="bfloat16"))
    assert rounded.losses != value.losses
    assert rounded.losses == pytest.approx(value.losses, rel=0.05)
    assert rounded.changes[SITE].dtype == torch.float32
    cosine = torch.cosine_similarity(rounded.changes[SITE], value.changes[SITE], dim=0)
    assert cosine > 0.9
