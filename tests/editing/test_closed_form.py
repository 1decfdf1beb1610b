import naive_memit
import numpy as np
import pytest
import torch

from edit_robustness.editing.closed_form import cholesky_factor, least_squares, null_space, projector, rank_one, solver

WIDTH, FACTS, HIDDEN = 12, 4, 5


def spread(seed=0):
    torch.manual_seed(seed)
    keys = torch.randn(200, WIDTH).double() * torch.linspace(0.1, 3, WIDTH)
    return keys.T @ keys / 200


def rows(count, seed=1):
    torch.manual_seed(seed)
    return torch.randn(count, WIDTH)


def test_the_solver_solves():
    moments, keys = spread(), rows(3)
    torch.testing.assert_close(solver(cholesky_factor(moments))(keys) @ moments, keys.double())


def test_a_singular_moment_is_refused_with_the_way_out():
    key = rows(1)
    with pytest.raises(ValueError, match="compute them from more text"):
        cholesky_factor(key.T @ key - torch.eye(WIDTH) * 1e-9)


def test_of_all_rank_one_changes_it_disturbs_other_keys_least():
    """ROME minimises the change seen by the corpus: any other direction with the same effect on k does more."""
    moments, key, change = spread(), rows(1)[0], torch.randn(HIDDEN)
    left, right = rank_one(change, key, solver(cholesky_factor(moments)))
    torch.testing.assert_close(left @ right @ key, change, atol=1e-5, rtol=1e-4)

    def disturbance(direction):
        return float(direction.double() @ moments @ direction.double())

    smallest = disturbance(right[0])
    for seed in range(20):
        torch.manual_seed(seed)
        alternative = right[0] + 0.1 * torch.randn(WIDTH)
        alternative = alternative / (alternative @ key)
        assert disturbance(alternative) > smallest


def test_another_key_may_get_the_output_while_the_direction_stays():
    solve, (key, other_key), change = solver(cholesky_factor(spread())), rows(2), torch.randn(HIDDEN)
    left, right = rank_one(change, key, solve, other_key)
    torch.testing.assert_close(left @ right @ other_key, change, atol=1e-5, rtol=1e-4)
    _, usual = rank_one(change, key, solve)
    torch.testing.assert_close(right / right.norm() * usual.norm(), usual * (usual @ right.T).sign())


@pytest.mark.parametrize("weight", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("facts", [1, FACTS, 3 * WIDTH], ids=["one", "some", "more than dimensions"])
def test_least_squares_is_memits_inverse(facts, weight):
    moments, keys = spread(), rows(facts)
    solve = solver(cholesky_factor(moments))
    right = least_squares(keys, lambda k: solve(k) / weight)
    reference = naive_memit.memit(np.eye(facts), keys.double().numpy().T, moments.numpy(), weight)
    assert right.shape == (facts, WIDTH)
    np.testing.assert_allclose(right.numpy(), reference, rtol=1e-6, atol=1e-9 * np.abs(reference).max())


def test_emmet_is_memit_with_the_product_of_its_weights():
    moments, keys = spread(), rows(FACTS)
    solve = solver(cholesky_factor(moments))
    right = least_squares(keys, lambda k: solve(k) / (20.0 * 0.1))
    reference = naive_memit.emmet(np.eye(FACTS), keys.double().numpy().T, moments.numpy(), 20.0, 0.1)
    np.testing.assert_allclose(right.numpy(), reference, rtol=1e-6, atol=1e-9 * np.abs(reference).max())


def test_least_squares_satisfies_its_normal_equation():
    moments, keys, residual = spread(), rows(FACTS).double(), torch.randn(HIDDEN, FACTS).double()
    solve = solver(cholesky_factor(moments))
    change = residual @ least_squares(keys, lambda k: solve(k) / 7)
    torch.testing.assert_close(change @ (7 * moments + keys.T @ keys), residual @ keys)


@pytest.mark.parametrize("earlier", [0, 1, 30])
@pytest.mark.parametrize("threshold", [0.2, 4.0], ids=["small null space", "large null space"])
def test_least_squares_is_alphaedits_inverse(threshold, earlier):
    moments, keys, before = spread(), rows(FACTS), rows(earlier, seed=2)
    basis, spans = null_space(moments, threshold=threshold)
    project = projector(basis, spans)
    right = least_squares(keys, lambda k: project(k) / 10, before)
    projection = naive_memit.projection(moments.numpy(), threshold)
    columns = before.double().numpy().T
    reference = naive_memit.alphaedit(np.eye(FACTS), keys.double().numpy().T, columns, projection, 10)
    np.testing.assert_allclose(right.numpy(), reference, atol=1e-6 * np.abs(reference).max())


@pytest.mark.parametrize("threshold", [0.2, 1.0, 4.0, 100.0])
def test_the_smaller_of_null_space_and_complement_is_held(threshold):
    moments = spread()
    inside = int((torch.linalg.eigvalsh(moments) < threshold).sum())
    basis, spans = null_space(moments, threshold=threshold)
    assert inside
    assert basis.shape == (WIDTH, min(inside, WIDTH - inside))
    assert spans == (inside <= WIDTH / 2)
    dense = projector(basis, spans)(torch.eye(WIDTH))
    np.testing.assert_allclose(dense.numpy(), naive_memit.projection(moments.numpy(), threshold), atol=1e-6)


def test_no_null_space_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"below nullspace_threshold: 1e-06 \(the smallest is .*raise it"):
        null_space(spread(), threshold=1e-6)
    with pytest.raises(
        ValueError, match=r"below nullspace_energy: 1e-06 \(the smallest is .* of the trace\).*raise it"
    ):
        null_space(spread(), energy=1e-6)
    with pytest.raises(ValueError, match=r"\(the smallest is 2, 0\.1 of the trace\)"):
        null_space(torch.diag(torch.tensor([10.0, 2.0, 5.0, 3.0])), threshold=1.0)


@pytest.mark.parametrize("energy", [0.01, 0.1, 0.5])
def test_a_null_space_by_energy_holds_no_more_than_its_share_of_the_trace(energy):
    moments = spread()
    basis, spans = null_space(moments, energy=energy)
    project = projector(basis, spans)
    share = float(torch.trace(project(moments.float()))) / float(torch.trace(moments))
    values, vectors = np.linalg.eigh(moments.numpy())
    inside = sum(np.cumsum(values) / values.sum() <= energy)
    assert 0 < share <= energy < share + values[inside] / values.sum()
    null = vectors[:, :inside]
    np.testing.assert_allclose(project(torch.eye(WIDTH)).numpy(), null @ null.T, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "bound", "inside"),
    [
        # an eigenvalue at the threshold is outside, and half of the dimensions are spanned themselves
        ([0, 1, 3, 6], {"threshold": 3.0}, 2),
        # shares of the trace: 0, .1, .4 and 1
        ([0, 1, 3, 6], {"energy": 0.4}, 3),
        # an eigenvalue that rounding made negative has no share: 0, .1, .5 and 1
        ([-1, 1, 4, 5], {"energy": 0.45}, 2),
    ],
)
def test_which_eigenvectors_are_in_the_null_space(values, bound, inside):
    moments, unit = torch.diag(torch.tensor(values, dtype=torch.float64)), torch.eye(4)
    basis, spans = null_space(moments, **bound)
    assert spans == (inside == 2)
    torch.testing.assert_close(basis.abs(), unit[:, :inside] if spans else unit[:, inside:])
    assert basis.dtype == torch.float32
