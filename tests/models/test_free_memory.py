"""Memory that weights want and that is free."""

import pytest
import torch
from fabricated_edits import ARCHITECTURES, DTYPES

from edit_robustness.models import memory
from edit_robustness.models.memory import (
    TooLittleMemory,
    check_memory,
    free_bytes,
    gigabytes,
    loaded_bytes,
    weight_bytes,
)
from edit_robustness.models.tiny import tiny_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_count_is_that_of_the_loaded_weights(architecture, dtype):
    lm = tiny_model(architecture, dtype=dtype)
    tensors = {tensor.data_ptr(): tensor.nbytes for tensor in lm.model.state_dict().values()}
    buffers = {buffer.data_ptr() for buffer in lm.model.buffers()}
    loaded = sum(size for place, size in tensors.items() if place not in buffers)
    assert weight_bytes(lm.model.config, dtype) == loaded_bytes(lm.model) == loaded


def test_what_does_not_fit_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 7_000_000_000)
    check_memory(7_000_000_000, CPU, "llama: its weights")
    with pytest.raises(TooLittleMemory, match=r"llama: its weights need 13\.5 GB, and 7 GB are free on cpu: "):
        check_memory(13_500_000_000, CPU, "llama: its weights")


def test_memory_that_is_not_known_refuses_nothing():
    assert free_bytes(torch.device("meta")) is None
    check_memory(10**18, torch.device("meta"), "llama: its weights")


def test_a_container_may_have_less_than_its_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    machine = free_bytes(CPU)
    states = "anon 5\ninactive_file 300000\nactive_file 100000\n"
    for name, text in {"max": "3000000", "current": "2500000", "stat": states}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert free_bytes(CPU) == 900_000
    (tmp_path / "memory.max").write_text("max\n")
    assert abs(free_bytes(CPU) - machine) < 1 << 30


def test_memory_that_torch_keeps_of_an_earlier_model_is_free(monkeypatch):
    numbers = {"mem_get_info": (2, 24), "memory_reserved": 20, "memory_allocated": 3}
    for name, number in numbers.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, number=number: number)
    assert free_bytes(torch.device("cuda")) == 2 + 20 - 3


def test_bytes_are_written_in_gb():
    assert [gigabytes(number) for number in (538_000_000, 13_476_831_232)] == ["0.538 GB", "13.5 GB"]
