import sys

import numpy as np
import pytest
import torch
from fabricated_edits import FACTS, hooks_on, method

from benchmarks.metering import MeasuredOnce, Meter, forget_peak, peak_memory
from edit_robustness.models.tiny import tiny_model


def test_passes_steps_and_tokens_are_counted_and_the_model_is_left_alone():
    lm, grad, backward = tiny_model("llama"), torch.autograd.grad, torch.Tensor.backward
    meter, ft = Meter(), method("ft", steps=3, stop_loss=0.0)
    with meter.watch(lm.model):
        meter.lap()
        edit = ft.edit(lm, FACTS[:1])
        lap = meter.lap()
        with torch.no_grad():
            lm.model(input_ids=torch.tensor([[1, 2, 3]]))
        after = meter.lap()
    assert lap.steps == 3
    assert lap.tokens == 3 * len(edit.inputs)
    assert 0 < lap.forward + lap.backward < lap.cpu * 1.01
    assert (after.steps, after.tokens) == (0, 0)
    assert "forward" not in vars(lm.model)
    assert (torch.autograd.grad, torch.Tensor.backward) == (grad, backward)
    assert hooks_on(lm) == 0


def test_the_meter_is_taken_off_after_an_exception():
    lm, backward = tiny_model("llama"), torch.Tensor.backward
    with pytest.raises(KeyError), Meter().watch(lm.model):
        raise KeyError
    assert "forward" not in vars(lm.model)
    assert torch.Tensor.backward is backward


def test_a_model_is_watched_by_one_meter_at_a_time():
    lm = tiny_model("llama")
    with Meter().watch(lm.model), pytest.raises(MeasuredOnce), Meter().watch(lm.model):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is that of the process's whole life")
def test_the_peak_is_that_since_it_was_forgotten():
    big = np.ones(16 << 20)
    before = peak_memory()
    del big
    forget_peak()
    # A peak that was not forgotten never falls, however much the system takes back from the process meanwhile.
    assert peak_memory() < before
