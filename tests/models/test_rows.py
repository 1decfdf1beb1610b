import pytest
import torch

from edit_robustness.models.rows import Owners


def test_rows_follow_the_batch():
    owners = Owners([0, 1, 0, 2])
    rows = owners.rows(0)
    assert rows.index.tolist() == [0, 2]
    owners.select([2, 3])
    assert len(owners) == 2
    assert rows.index.tolist() == [0]
    assert owners.rows(1).index.tolist() == []


def test_rows_may_be_repeated():
    owners = Owners([0, 1])
    owners.select(torch.tensor([1, 1, 0, 1]))
    assert owners.rows(1).index.tolist() == [0, 1, 3]


def test_what_is_selected_inside_is_undone():
    owners = Owners([0, 1, 2])
    with pytest.raises(KeyError), owners.restore_after():
        owners.select([2])
        assert owners.rows(2).index.tolist() == [0]
        raise KeyError
    assert owners.rows(2).index.tolist() == [2]
    assert len(owners) == 3


def test_an_edit_without_rows_has_an_empty_index():
    index = Owners([0, 0]).rows(5).index
    assert index.shape == (0,)
    assert index.dtype == torch.long


def test_another_batch_may_be_taken_up():
    owners = Owners([0, 1])
    rows = owners.rows(1)
    owners.replace([1, 1, 0])
    assert rows.index.tolist() == [0, 1]
    with owners.restore_after():
        owners.replace([1])
    assert rows.index.tolist() == [0, 1]
