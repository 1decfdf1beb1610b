"""The prefix tree of token sequences, in which every shared token is run once.

Benchmarks have many shared prefixes: the few-shot examples before every document, and a document before each of its
options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

Ids = tuple[int, ...]
"""Token ids."""

_MIN_LENGTH = 6
_MIN_SAVED = 24
"""A prefix becomes a node if it has at least `_MIN_LENGTH` tokens and saves at least `_MIN_SAVED` tokens. Less does not
outweigh the cost of another pass."""

_MAX_PIECE = 1024
"""Maximum tokens per pass of one sequence, because the logits of a long sequence would not fit into memory."""


@dataclass(frozen=True)
class Node:
    """Tokens that some sequences share.

    Attributes:
        start: Number of tokens in the nodes above.
        ids: The token ids.
        rows: Numbers of the sequences that contain the node; one of them may end here.
        children: The nodes after it.
    """

    start: int
    ids: Ids
    rows: tuple[int, ...]
    children: tuple[Node, ...] = ()

    @property
    def end(self) -> int:
        """Return the number of tokens up to the end of the node."""
        return self.start + len(self.ids)


def tree(rows: Sequence[Ids]) -> tuple[Node, ...]:
    """Return the roots of the prefix tree of distinct sequences."""
    return tuple(_nodes(rows, sorted(range(len(rows)), key=rows.__getitem__), 0, 0))


def _nodes(rows: Sequence[Ids], order: Sequence[int], start: int, depth: int) -> Iterator[Node]:
    """Yield the nodes from token `start` on, for sequences in sorted order that are equal up to token `depth`."""
    for next_token, members in groupby(order, key=lambda row: rows[row][depth : depth + 1]):
        group = tuple(members)
        first_row, final_row = rows[group[0]], rows[group[-1]]
        if not next_token or len(group) == 1:
            yield from _pieces(first_row, group, start)
            continue
        pairs = zip(first_row, final_row, strict=False)
        end = next(
            (place for place, (first_token, final_token) in enumerate(pairs) if first_token != final_token),
            len(first_row),
        )
        if end - start >= _MIN_LENGTH and (end - start) * (len(group) - 1) >= _MIN_SAVED:
            yield Node(start, first_row[start:end], group, tuple(_nodes(rows, group, end, end)))
        else:
            yield from _nodes(rows, group, start, end)


def _pieces(ids: Ids, row: tuple[int, ...], start: int) -> Iterator[Node]:
    """Yield the nodes of the rest of one sequence; none if it ends with its shared prefix."""
    if start < len(ids):
        end = start + _MAX_PIECE
        yield Node(start, ids[start:end], row, tuple(_pieces(ids, row, end)))
