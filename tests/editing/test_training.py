"""Code shared by trained methods: the split by subject, the objects drawn from, and the training loop."""

from dataclasses import replace

import pytest
import torch
from fabricated_edits import POOL

from edit_robustness.editing.training import Course, Pace, other_objects, part, split_by_subject, with_prefix


@pytest.mark.parametrize("held_out", [2, 3])
def test_held_out_subjects_are_not_trained_on(held_out):
    twice = [*POOL, *(replace(fact, id=f"{fact.id}-2", relation="P50") for fact in POOL)]
    train, held_out_facts = split_by_subject(twice, held_out, 0, method="mend")
    assert not {fact.subject for fact in train} & {fact.subject for fact in held_out_facts}
    assert len({fact.subject for fact in held_out_facts}) == held_out
    assert sorted(fact.id for fact in train + held_out_facts) == sorted(fact.id for fact in twice)
    assert len({tuple(f.id for f in split_by_subject(twice, held_out, seed, method="")[1]) for seed in range(8)}) > 1


def test_objects_are_those_of_the_relation_but_the_true_one():
    other_fact = replace(POOL[1], relation="P50", target_new="Bo Lind")
    objects = other_objects(POOL[0], [*POOL, other_fact])
    assert objects == sorted({fact.target_new for fact in POOL} | {fact.target_true for fact in POOL[1:]})


def test_parts_of_named_tensors_come_back():
    tensors = {"a": torch.zeros(1), "a.b": torch.ones(1)}
    union = {**with_prefix("x", tensors), **with_prefix("xa", {"c": torch.ones(2)})}
    assert part(union, "x") == tensors


TARGETS = torch.tensor([[1.0, -2.0], [0.5, 3.0]])


def course(held_out=None, **pace):
    """Build a training of two points towards targets, one of them at a higher rate, with a count of the steps taken."""
    points = {"slow": torch.zeros(2), "fast": torch.zeros(2), "steps": torch.zeros(())}

    def loss(step):
        points["steps"].add_(1)
        noise = torch.randn(2, 2, generator=torch.Generator().manual_seed(step))
        return (torch.stack([points["slow"], points["fast"]]) - TARGETS - 0.1 * noise).square().sum()

    def look():
        with torch.no_grad():
            away = (torch.stack([points["slow"], points["fast"]]) - TARGETS).square().sum(1)
        return [float(away.sum()), *away.tolist()]

    settings = {"steps": 10, "check_every": 4, "patience": 9, **pace}
    return Course(points, {"slow": 0.01, "fast": 0.1}, loss, held_out or look, Pace(**settings))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def naive_adam(rates, steps, clip=None):
    """Kingma and Ba 2015, algorithm 1, on the course above; gradients together no longer than `clip`."""
    points, first, second, losses = torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(2, 2), []
    rates = torch.tensor(rates)[:, None]
    for step in range(steps):
        noise = torch.randn(2, 2, generator=torch.Generator().manual_seed(step))
        away = points - TARGETS - 0.1 * noise
        losses.append(float(away.square().sum()))
        gradient = 2 * away
        if clip is not None:
            gradient = gradient * min(1.0, clip / float(gradient.norm()))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        estimates = (first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1)))
        points = points - rates * estimates[0] / (estimates[1].sqrt() + 1e-8)
    return points, losses


@pytest.mark.parametrize("clip", [None, 0.5])
def test_the_course_is_adams_each_tensor_at_its_rate(clip):
    *_, state = course(grad_clip=clip).states("points")
    points, losses = naive_adam([0.01, 0.1], 10, clip)
    torch.testing.assert_close(torch.stack([state["now.slow"], state["now.fast"]]), points, rtol=1e-4, atol=1e-6)
    curve = state["curve"]
    assert curve[:, 0].tolist() == [4, 8, 10]
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 4), (4, 8), (8, 10))]
    torch.testing.assert_close(curve[:, 1], torch.tensor(means, dtype=torch.float64), rtol=1e-4, atol=0)
    torch.testing.assert_close(curve[:, 2], curve[:, 3] + curve[:, 4])
    assert state["now.steps"] == 10
    assert same(part(state, "now"), part(state, "best"))


@pytest.mark.parametrize("checkpoint", [0, 1, 2])
def test_going_on_from_any_state_is_never_having_stopped(checkpoint):
    states = list(course().states("points"))
    again = list(course().states("points", states[checkpoint]))
    assert len(again) == max(1, 2 - checkpoint)
    assert same(again[-1], states[-1])


def test_states_do_not_change_while_training_goes_on():
    training = course().states("points")
    first = next(training)
    copies = {name: tensor.clone() for name, tensor in first.items()}
    list(training)
    assert same(first, copies)


def test_training_stops_when_looks_no_longer_help_and_keeps_the_best():
    looks = iter([3.0, 1.0, 2.0, 1.0, 5.0])
    states = list(course(held_out=lambda: [next(looks)], steps=100, check_every=1, patience=2).states("points"))
    assert [look[2] for look in states[-1]["curve"].tolist()] == [3.0, 1.0, 2.0, 1.0]
    assert same(part(states[-1], "best"), part(states[1], "now"))
    assert not same(part(states[-1], "best"), part(states[-1], "now"))
