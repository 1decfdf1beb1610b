"""The optimisers of a value, on losses with a known minimum and against their formulas."""

from math import exp, log

import numpy as np
import pytest
import torch

from edit_robustness.editing.value_optimizers import LBFGS, OPTIMIZERS, Adam, Polyak, log_odds


class Bowl:
    """A problem whose loss is a curved bowl in two changes, with a clamp."""

    def __init__(self, *, stop_loss=0.1, clamp=None, norm=3.0):
        self.changes = [torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)]
        self.norms = [torch.tensor(norm), torch.tensor(norm)]
        self.stop_loss, self.clamp, self.points = stop_loss, clamp, []

    def loss(self):
        first, second = self.changes
        self.points.append(np.concatenate([first.detach().numpy(), second.detach().numpy()]))
        return (0.05 + (first - torch.tensor([2.0, -1.0])).square().sum() + 3 * (second - 1).square().sum()).sqrt()

    def is_met(self, loss):
        return loss < self.stop_loss

    @torch.no_grad()
    def project(self):
        for change in self.changes:
            if self.clamp is not None:
                change *= (self.clamp / change.norm()).clamp(max=1)


@pytest.mark.parametrize(("name", "rate", "steps"), [("adam", 0.3, 60), ("polyak", 1.0, 60), ("lbfgs", 1.0, 60)])
def test_each_optimiser_comes_to_the_loss_at_which_the_search_stops(name, rate, steps):
    problem = Bowl(stop_loss=0.3)
    losses = list(OPTIMIZERS[name](rate, steps).minimise(problem))
    assert losses[0] == pytest.approx((0.05 + 5 + 3) ** 0.5)
    assert losses[-1] < 0.3 <= min(losses[:-1])
    assert len(losses) == len(problem.points) < steps
    # the last loss is that of the changes that are left
    assert problem.loss().item() == pytest.approx(losses[-1])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_more_losses_are_computed_than_there_are_steps(name):
    for steps in (1, 2, 3):
        problem = Bowl(stop_loss=1e-6)
        losses = list(OPTIMIZERS[name](0.5, steps).minimise(problem))
        assert len(losses) == len(problem.points) == steps
        # L-BFGS returns its best point, because its last may be a trial of a line search
        assert problem.loss().item() == pytest.approx(min(losses) if name == "lbfgs" else losses[-1])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loss_below_the_stop_needs_no_step(name):
    problem = Bowl(stop_loss=9.0)
    assert len(list(OPTIMIZERS[name](0.5, 9).minimise(problem))) == 1
    assert not any(change.any() for change in problem.changes)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_changes_stay_in_their_balls(name):
    problem = Bowl(stop_loss=1e-6, clamp=0.5)
    list(OPTIMIZERS[name](1.0, 12).minimise(problem))
    assert all(change.norm() <= 0.5 + 1e-6 for change in problem.changes)


def test_polyaks_step_is_the_formula():
    problem = Bowl(stop_loss=0.2, norm=0.4)
    losses = list(Polyak(1.0, 4).minimise(problem))
    point = np.zeros(3)
    centre, curvature = np.array([2.0, -1.0, 1.0]), np.array([1.0, 1.0, 3.0])
    for step in range(1, 4):
        loss = losses[step - 1]
        p = exp(-loss)
        # the gradient of the log-odds of p, by the chain rule over L
        gradient = -(curvature * (point - centre) / loss) / (1 - p)
        aim = log(exp(-0.1) / (1 - exp(-0.1)))
        move = gradient * (aim - log(p / (1 - p))) / (gradient @ gradient)
        for part in (slice(0, 2), slice(2, 3)):
            move[part] *= min(1, 0.4 / np.linalg.norm(move[part]))
        point = point + move
        np.testing.assert_allclose(problem.points[step], point, rtol=1e-4)


@pytest.mark.parametrize("loss", [1e-6, 0.05, 0.7, 3.0, 40.0])
def test_log_odds_are_those_of_the_probability(loss):
    p = exp(-loss)
    assert log_odds(loss) == pytest.approx(log(p) - np.log1p(-p) if loss > 1e-3 else -log(loss), rel=1e-4)


def test_polyak_needs_a_stop_above_0():
    with pytest.raises(ValueError, match="v_optimizer: polyak aims at half of v_stop_loss, and that is 0"):
        list(Polyak(1.0, 4).minimise(Bowl(stop_loss=0)))


def test_polyak_stays_where_the_loss_is_flat():
    problem = Bowl()
    problem.loss = lambda: problem.changes[0].sum() * 0 + problem.changes[1].sum() * 0 + 2.0
    assert list(Polyak(1.0, 4).minimise(problem)) == [2.0]
    assert not any(change.any() for change in problem.changes)


@pytest.mark.parametrize("optimizer", [Adam(0.1, 5), Polyak(1.0, 5), LBFGS(1.0, 5)])
def test_a_loss_that_is_not_finite_leaves_no_change_that_looks_right(optimizer):
    problem = Bowl()
    true_loss = problem.loss
    problem.loss = lambda: true_loss() * (float("nan") if problem.points else 1.0)
    list(optimizer.minimise(problem))
    assert not all(change.isfinite().all() for change in problem.changes)


def test_the_first_trial_step_of_lbfgs_has_the_length_of_the_rate():
    problem = Bowl(stop_loss=1e-6)
    list(LBFGS(2.0, 2).minimise(problem))
    assert np.linalg.norm(problem.points[1]) == pytest.approx(2.0 * 3.0 * 2**0.5, rel=1e-4)
