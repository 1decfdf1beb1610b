"""The linear algebra of locate-and-edit methods: changes that give keys new values and disturb other keys least.

Everything is solved in float64 and in the span of the keys: a system as large as the number of facts, never as large
as a key is wide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from edit_robustness.editing.method import Unsolvable
from edit_robustness.models.layout import Site

RowMap = Callable[[Tensor], Tensor]
"""A symmetric positive matrix S, by what it does to rows: (n, d_in) to (n, d_in) in float64."""


def factored(moments: Tensor) -> Tensor:
    """The lower Cholesky factor of the second moments C of some keys, (d_in, d_in) in float64.

    Coordinates that are 0 in every key, such as those of pruned neurons, have no second moment. They are left out: the
    factor is that of the other coordinates, and 0 in their rows and columns. No text can mend them, and a change needs
    none there.

    Raises:
        Unsolvable: If C is not finite or singular in the other coordinates, or if there are no others.
    """
    wide = moments.double()
    if not bool(wide.isfinite().all()):
        raise Unsolvable("the second moments of the keys are not finite")
    live = live_coordinates(wide)
    if not bool(live.any()):
        raise Unsolvable("no coordinate of the keys ever fires: the layer puts out nothing that could be edited")
    part, failed = torch.linalg.cholesky_ex(wide[live][:, live])
    if failed:
        raise Unsolvable("the second moments of the keys are singular: take them from more text (mom2_tokens)")
    if bool(live.all()):
        return part.contiguous()
    factor = torch.zeros_like(wide)
    factor[live.nonzero(), live.nonzero().T] = part
    return factor


def live_coordinates(moments: Tensor) -> Tensor:
    """Return which coordinates of the keys are not 0 in all of them, (d_in,) of truths.

    Args:
        moments: Their second moments, or the factor of these.
    """
    return moments.diagonal() > 0


def dead_figures(moments: Mapping[Site, Tensor]) -> dict[str, dict[str, list[int]]]:
    """Return what a run notes of coordinates that are 0 in every key: for each site how many, and of how many.

    Empty if no site has any.
    """
    counts = {str(site): (~live_coordinates(moment)).sum() for site, moment in moments.items()}
    widths = {str(site): len(moment) for site, moment in moments.items()}
    dead = {site: [int(number), widths[site]] for site, number in counts.items() if number}
    return {"dead_coordinates": dead} if dead else {}


def solver(factor: Tensor) -> RowMap:
    """C^-1 by its Cholesky factor: solves C x = k for each row k, with 0 in the coordinates that are in no key."""
    live = live_coordinates(factor)
    if bool(live.all()):
        return lambda keys: torch.cholesky_solve(keys.double().T, factor).T
    part = factor[live][:, live]

    def solve(keys: Tensor) -> Tensor:
        solved = torch.zeros(keys.shape, dtype=torch.float64)
        solved[:, live] = torch.cholesky_solve(keys.double()[:, live].T, part).T
        return solved

    return solve


def rank_one(change: Tensor, key: Tensor, solve: RowMap, exact: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return `left` (d_out, 1) and `right` (1, d_in) with left @ right @ key = change, least disturbing to other keys.

    ROME, Meng et al. 2022, eq. 2.

    Args:
        change: What the output changes by, (d_out,).
        key: The key, (d_in,).
        solve: C^-1.
        exact: Another key whose output changes by exactly `change` instead, (d_in,); the direction stays.
    """
    direction = solve(key[None])
    right = direction / (direction @ (key if exact is None else exact).double())
    return change.float()[:, None], right.float()


def least_squares(keys: Tensor, shape: RowMap, before: Tensor | None = None) -> Tensor:
    """`right` (n, d_in) in float64, so that the change R @ right gives n keys the outputs R as well as it can.

    With K the keys and K_p those of `before` as columns, the change D = R @ right is the minimiser of
    |D K - R|^2 + |D K_p|^2 + tr(D S^-1 D^T) over the changes that S leaves room for (D = D' S):

        right = K^T (S^-1 + K_p K_p^T + K K^T)^-1

    or, with M = [K_p K] and by the Woodbury identity, the last n rows of (I + M^T S M)^-1 M^T S. With S = C^-1 / lambda
    this is MEMIT's eq. 14 (Meng et al. 2023); with S = P / lambda, where P projects and has no inverse, AlphaEdit's
    K^T P (K_p K_p^T P + K K^T P + lambda I)^-1 (Fang et al. 2025).

    Args:
        keys: (n, d_in), the keys as rows.
        shape: S.
        before: (m, d_in), keys whose outputs shall not change.
    """
    every = keys.double() if before is None else torch.cat([before, keys]).double()
    shaped = shape(every)
    eye = torch.eye(len(every), dtype=torch.float64)
    return torch.linalg.solve(eye + every @ shaped.T, eye[:, -len(keys) :]).T @ shaped


def null_space(moments: Tensor, *, threshold: float | None = None, energy: float | None = None) -> tuple[Tensor, bool]:
    """Return the null space of the second moments, held by whichever of it and its complement has fewer dimensions.

    Its dimensions are the eigenvectors of C with the smallest eigenvalues: those below `threshold`, or as many as
    together hold no more than the share `energy` of C's trace, which is the keys' mean squared length.

    Args:
        moments: C, (d_in, d_in).
        threshold: Eigenvalues of C below this count as zero.
        energy: The share of the trace; read where there is no threshold.

    Returns:
        An orthonormal basis (d_in, dimensions) in float32, and whether it spans the null space or the complement.

    Raises:
        ValueError: If no eigenvector qualifies.
    """
    values, vectors = torch.linalg.eigh(moments.double())
    values = values.clamp(min=0)
    shares = values.cumsum(0) / values.sum()
    inside = int((shares <= energy if threshold is None else values < threshold).sum())
    if not inside:
        setting = f"nullspace_threshold: {threshold}" if threshold is not None else f"nullspace_energy: {energy}"
        smallest = f"{float(values[0]):.2g}, {float(shares[0]):.2g} of the trace"
        raise ValueError(
            f"no eigenvalue of the second moments is below {setting} (the smallest is {smallest}), so that no change "
            "is allowed: raise it"
        )
    spans = 2 * inside <= len(values)
    basis = vectors[:, :inside] if spans else vectors[:, inside:]
    return basis.float().contiguous(), spans


def projector(basis: Tensor, spans: bool) -> RowMap:
    """The projection of rows onto the space that a basis spans, or onto its complement."""

    def project(rows: Tensor) -> Tensor:
        rows, wide = rows.double(), basis.double()
        along = (rows @ wide) @ wide.T
        return along if spans else rows - along

    return project
