"""What token sequences have in common, as a tree: each token of it is run once, whoever shares it.

Benchmarks repeat themselves: their examples before every document, a document before each of its options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

Ids = tuple[int, ...]
"""Token ids."""

_LEAST = 6
_SAVED = 24
"""A beginning is shared from so many tokens on, and if that saves so many: a pass of its own has its cost."""

_LONGEST = 1024
"""A sequence of its own is run in pieces of so many tokens, for logits of all of them would not fit into memory."""


@dataclass(frozen=True)
class Node:
    """Tokens that some sequences share.

    Attributes:
        start: How many tokens stand before, those of the nodes above.
        ids: The tokens.
        rows: Numbers of the sequences that run through it; one may end here.
        children: What comes after it.
    """

    start: int
    ids: Ids
    rows: tuple[int, ...]
    children: tuple[Node, ...] = ()

    @property
    def end(self) -> int:
        """How many tokens stand before and in it."""
        return self.start + len(self.ids)


def tree(rows: Sequence[Ids]) -> tuple[Node, ...]:
    """The roots of the tree of some sequences, no two of which are alike."""
    return tuple(_nodes(rows, sorted(range(len(rows)), key=rows.__getitem__), 0, 0))


def _nodes(rows: Sequence[Ids], order: Sequence[int], start: int, at: int) -> Iterator[Node]:
    """Nodes from token `start` on, of sequences in sorted order that do not differ before token `at`."""
    for following, same in groupby(order, key=lambda row: rows[row][at : at + 1]):
        group = tuple(same)
        first, final = rows[group[0]], rows[group[-1]]
        if not following or len(group) == 1:
            yield from _pieces(first, group, start)
            continue
        pairs = zip(first, final, strict=False)
        end = next((i for i, (one, other) in enumerate(pairs) if one != other), len(first))
        if end - start >= _LEAST and (end - start) * (len(group) - 1) >= _SAVED:
            yield Node(start, first[start:end], group, tuple(_nodes(rows, group, end, end)))
        else:
            yield from _nodes(rows, group, start, end)


def _pieces(ids: Ids, row: tuple[int, ...], start: int) -> Iterator[Node]:
    """The rest of one sequence; nothing where it ended with what it shares."""
    if start < len(ids):
        end = start + _LONGEST
        yield Node(start, ids[start:end], row, tuple(_pieces(ids, row, end)))
