"""Batches of like length: padding costs as much as words do, so that what is about equally long is run together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def batched_by_length(
    items: Iterable[T],
    length: Callable[[T], int],
    takes: Callable[[Sequence[T], T], bool],
    *,
    longest_first: bool = False,
) -> list[list[T]]:
    """Return items in batches, ordered by length; those of equal length keep their order.

    Args:
        items: Prompts, or whatever is run.
        length: The length of an item, in tokens.
        takes: Whether a batch, which has an item already, takes one more: the next by length.
        longest_first: Whether the longest items come first, so that a batch's first item says what memory it needs.
    """
    batches: list[list[T]] = []
    for item in sorted(items, key=length, reverse=longest_first):
        if batches and takes(batches[-1], item):
            batches[-1].append(item)
        else:
            batches.append([item])
    return batches


def up_to(size: int) -> Callable[[Sequence[object], object], bool]:
    """Return the rule of batches that hold so many items."""
    return lambda batch, item: len(batch) < size
