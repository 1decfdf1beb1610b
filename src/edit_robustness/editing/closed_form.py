"""Linear algebra of locate-and-edit methods: weight changes that map keys to new values.

The changes disturb other keys as little as possible. Everything is solved in float64 and in the span of the keys, so
that a system has the size of the number of facts and not of the width of a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from edit_robustness.editing.method import Unsolvable
from edit_robustness.models.layout import Site

RowMap = Callable[[Tensor], Tensor]
"""Multiplication of rows by a symmetric positive matrix S: (n, d_in) to (n, d_in) in float64."""


def cholesky_factor(moments: Tensor) -> Tensor:
    """Compute the lower Cholesky factor of the keys' second moment C, (d_in, d_in) in float64.

    Coordinates that are 0 in every key, such as those of pruned neurons, have no second moment. They are left out: the
    factor is that of the other coordinates, with 0 in the rows and columns of those left out. More text cannot change
    this, and an edit needs no change there.

    Raises:
        Unsolvable: If C is not finite, is singular in the other coordinates, or is 0 in all of them.
    """
    matrix = moments.double()
    if not bool(matrix.isfinite().all()):
        raise Unsolvable("the second moments of the keys are not finite")
    live = live_coordinates(matrix)
    if not bool(live.any()):
        raise Unsolvable("every coordinate of the keys is 0 in all of the text: the layer has no output to edit")
    part: Tensor
    part, info = torch.linalg.cholesky_ex(matrix[live][:, live])
    if info:
        raise Unsolvable("the second moments of the keys are singular: compute them from more text (mom2_tokens)")
    if bool(live.all()):
        return part.contiguous()
    factor = torch.zeros_like(matrix)
    factor[live.nonzero(), live.nonzero().T] = part
    return factor


def live_coordinates(moments: Tensor) -> Tensor:
    """Return a mask of the coordinates that are not 0 in every key, (d_in,) of truth values.

    Args:
        moments: The second moment of the keys, or its Cholesky factor.
    """
    return moments.diagonal() > 0


def dead_figures(moments: Mapping[Site, Tensor]) -> dict[str, dict[str, list[int]]]:
    """Count the coordinates that are 0 in every key, for the record of a run.

    Returns:
        For each site that has any, how many there are and the width of its keys; empty if no site has any.
    """
    counts = {str(site): (~live_coordinates(moment)).sum() for site, moment in moments.items()}
    widths = {str(site): len(moment) for site, moment in moments.items()}
    dead_counts = {site: [int(number), widths[site]] for site, number in counts.items() if number}
    return {"dead_coordinates": dead_counts} if dead_counts else {}


def solver(factor: Tensor) -> RowMap:
    """Return a function that multiplies rows by C^-1, given the Cholesky factor of C.

    It solves C x = k for each row k, with 0 in the coordinates that are 0 in every key.
    """
    live = live_coordinates(factor)
    if bool(live.all()):
        return lambda keys: torch.cholesky_solve(keys.double().T, factor).T
    part = factor[live][:, live]

    def solve(keys: Tensor) -> Tensor:
        solutions = torch.zeros(keys.shape, dtype=torch.float64)
        solutions[:, live] = torch.cholesky_solve(keys.double()[:, live].T, part).T
        return solutions

    return solve


def rank_one(change: Tensor, key: Tensor, solve: RowMap, exact_key: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Compute the rank-one change `left` (d_out, 1) @ `right` (1, d_in) with left @ right @ key = change.

    Of all such changes it disturbs other keys least (ROME, Meng et al. 2022, eq. 2).

    Args:
        change: The change of the output, (d_out,).
        key: The key, (d_in,).
        solve: Multiplication by C^-1.
        exact_key: The key whose output changes by exactly `change`, (d_in,), if it is not `key`; the direction stays.
    """
    direction = solve(key[None])
    right = direction / (direction @ (key if exact_key is None else exact_key).double())
    return change.float()[:, None], right.float()


def least_squares(keys: Tensor, shape: RowMap, before: Tensor | None = None) -> Tensor:
    """Compute `right` (n, d_in) in float64, so that the change R @ right maps n keys to the outputs R by least squares.

    With K the keys and K_p those of `before` as columns, the change D = R @ right minimises |D K - R|^2 + |D K_p|^2 +
    tr(D S^-1 D^T) over the changes of the form D = D' S:

        right = K^T (S^-1 + K_p K_p^T + K K^T)^-1

    By the Woodbury identity and with M = [K_p K] this is the last n rows of (I + M^T S M)^-1 M^T S. With S = C^-1 /
    lambda it is MEMIT's eq. 14 (Meng et al. 2023). With S = P / lambda, where P is a projection and has no inverse, it
    is AlphaEdit's K^T P (K_p K_p^T P + K K^T P + lambda I)^-1 (Fang et al. 2025).

    Args:
        keys: The keys as rows, (n, d_in).
        shape: Multiplication of rows by S.
        before: Keys whose outputs should not change, (m, d_in).
    """
    all_keys = keys.double() if before is None else torch.cat([before, keys]).double()
    shaped_keys = shape(all_keys)
    eye = torch.eye(len(all_keys), dtype=torch.float64)
    solution: Tensor = torch.linalg.solve(eye + all_keys @ shaped_keys.T, eye[:, -len(keys) :])
    return solution.T @ shaped_keys


def null_space(moments: Tensor, *, threshold: float | None = None, energy: float | None = None) -> tuple[Tensor, bool]:
    """Compute the null space of the second moment, or its complement if that has fewer dimensions.

    The null space is spanned by the eigenvectors of C with the smallest eigenvalues: those below `threshold`, or as
    many as together have at most the share `energy` of C's trace, which is the keys' mean squared length.

    Args:
        moments: C, (d_in, d_in).
        threshold: Eigenvalues of C below this count as zero.
        energy: The share of the trace; used if there is no threshold.

    Returns:
        An orthonormal basis (d_in, dimensions) in float32, and whether it spans the null space (else its complement).

    Raises:
        ValueError: If no eigenvector qualifies.
    """
    values, vectors = torch.linalg.eigh(moments.double())
    values = values.clamp(min=0)
    shares = values.cumsum(0) / values.sum()
    dimensions = int((shares <= energy if threshold is None else values < threshold).sum())
    if not dimensions:
        setting = f"nullspace_threshold: {threshold}" if threshold is not None else f"nullspace_energy: {energy}"
        smallest = f"{float(values[0]):.2g}, {float(shares[0]):.2g} of the trace"
        raise ValueError(
            f"no eigenvalue of the second moments is below {setting} (the smallest is {smallest}), so that no change "
            "is allowed: raise it"
        )
    spans = 2 * dimensions <= len(values)
    basis = vectors[:, :dimensions] if spans else vectors[:, dimensions:]
    return basis.float().contiguous(), spans


def projector(basis: Tensor, spans: bool) -> RowMap:
    """Return the projection of rows onto the space that a basis spans, or onto its complement."""

    def project(rows: Tensor) -> Tensor:
        rows, matrix = rows.double(), basis.double()
        projection = (rows @ matrix) @ matrix.T
        return projection if spans else rows - projection

    return project
