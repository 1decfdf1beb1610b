"""The assignment of a batch's rows to edits, while rows leave the batch and are repeated in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class Owners:
    """The edit of each row of the current batch.

    The decoding loop removes rows as they finish, and scoring repeats rows for several targets. The hooks of the edits
    read their present rows from it.

    Args:
        numbers: For each row the number of its edit.
    """

    def __init__(self, numbers: Sequence[int]):
        self.replace(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def replace(self, numbers: Sequence[int]) -> None:
        """Replace the batch by another one."""
        self._numbers = torch.as_tensor(numbers, dtype=torch.long)

    def select(self, index: Tensor | Sequence[int]) -> None:
        """Make row i of the batch what row index[i] was."""
        self._numbers = self._numbers[torch.as_tensor(index, dtype=torch.long).cpu()]

    @contextmanager
    def restore_after(self) -> Iterator[Owners]:
        """Undo on leaving the changes of `select` inside the block."""
        numbers = self._numbers
        try:
            yield self
        finally:
            self._numbers = numbers

    def rows(self, number: int) -> Rows:
        """Return the rows of one edit; the object follows later changes of the batch."""
        return Rows(self, number)

    def index(self, number: int) -> Tensor:
        """Return the present row numbers of an edit, (rows of the edit,)."""
        return (self._numbers == number).nonzero().squeeze(-1)


class Rows:
    """The rows of one edit; `index` follows the batch as it changes."""

    def __init__(self, owners: Owners, number: int):
        self._owners = owners
        self._number = number

    @property
    def index(self) -> Tensor:
        """Return the row numbers in the current batch."""
        return self._owners.index(self._number)
