"""Which rows of a batch belong to which edit, while rows leave the batch and are repeated in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class Owners:
    """The edit of each row of the current batch.

    The decoding loop narrows it as rows finish, and scoring repeats rows for several targets; the hooks of the
    edits read from it which rows are theirs at the moment.

    Args:
        numbers: For each row the number of its edit.
    """

    def __init__(self, numbers: Sequence[int]):
        self.become(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def become(self, numbers: Sequence[int]) -> None:
        """Take up another batch."""
        self._numbers = torch.as_tensor(numbers, dtype=torch.long)

    def select(self, index: Tensor | Sequence[int]) -> None:
        """Make row i of the batch what row index[i] was."""
        self._numbers = self._numbers[torch.as_tensor(index, dtype=torch.long).cpu()]

    @contextmanager
    def restored(self) -> Iterator[Owners]:
        """Undo on leaving what `select` did inside."""
        numbers = self._numbers
        try:
            yield self
        finally:
            self._numbers = numbers

    def rows(self, number: int) -> Rows:
        """The rows of one edit, always those of the present moment."""
        return Rows(self, number)

    def index(self, number: int) -> Tensor:
        """Where the rows of an edit now are, (rows of the edit,)."""
        return (self._numbers == number).nonzero().squeeze(-1)


class Rows:
    """The rows of one edit; `index` follows the batch as it changes."""

    def __init__(self, owners: Owners, number: int):
        self._owners = owners
        self._number = number

    @property
    def index(self) -> Tensor:
        """Row numbers in the current batch."""
        return self._owners.index(self._number)
