"""Fine-tuning in epochs against a transcription with torch's optimiser, and its stops."""

from random import Random

import naive_editing as naive
import pytest
import torch
from cells import every_architecture
from fabricated_edits import FACTS, method

from edit_robustness.editing.edits import AdamTrace, Dense
from edit_robustness.models.tiny import tiny_model
from edit_robustness.records import Fact

SHORT = Fact("letter", "Q", "P36", "{} is the seat of ", "x", "y")
"""A fact of so few tokens that a trace of one step is smaller than the weight."""


def naive_training(lm, tuned, facts):
    """LocFT-BF's loop: torch's Adam on the weight itself, batch by batch; returns the change and the epochs' losses."""
    weight = lm.weight(tuned.site).clone().float().requires_grad_()
    optimiser, means = torch.optim.Adam([weight], lr=tuned.lr), []
    before = lm.weight(tuned.site).clone()
    end = lm.tokenizer.eos_token_id
    for epoch in range(tuned.epochs):
        order, total = list(facts), 0.0
        if len(order) > tuned.step_facts:
            Random(f"{tuned.seed}/{epoch}").shuffle(order)
        for first in range(0, len(order), tuned.step_facts):
            losses = []
            for fact in order[first : first + tuned.step_facts]:
                ids = naive.ids_of(lm, fact.statement)
                target = [*naive.ids_of(lm, " " + fact.target_new), end]
                module, name = lm.module(tuned.site), "weight"
                parameter = weight if module.weight.shape == weight.shape else weight.T
                logits = torch.func.functional_call(
                    lm.model, {naive_name(lm, module) + "." + name: parameter}, (torch.tensor([ids + target[:-1]]),)
                ).logits[0, len(ids) - 1 :]
                losses.append(torch.nn.functional.cross_entropy(logits.float(), torch.tensor(target)))
            loss = torch.stack(losses).mean()
            total += loss.item() * len(losses)
            if loss.item() >= tuned.stop_loss:
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        means.append(total / len(facts))
        if means[-1] < tuned.stop_loss:
            break
    return weight.detach() - before.float(), means


def naive_name(lm, module):
    return next(name for name, candidate in lm.model.named_modules() if candidate is module)


@pytest.mark.parametrize("step_facts", [1, 2, 9], ids=lambda number: f"{number} per step")
@every_architecture
def test_the_change_is_that_of_the_released_loop(architecture, step_facts):
    lm, tuned = tiny_model(architecture), method("ft_epochs", step_facts=step_facts, epochs=2, lr=1e-3)
    change, means = naive_training(lm, tuned, FACTS)
    edit = tuned.edit(lm, FACTS)
    assert len(means) == 2
    # Adam's first steps are rates in the direction of a sign, so that rounding shows where a gradient is nearly 0
    assert (edit.dense()[tuned.site] - change).norm() < 0.02 * change.norm()
    assert edit.origin.unmet_losses == {fact.id: pytest.approx(means[-1], rel=1e-3) for fact in FACTS}


def test_the_training_ends_with_an_epoch_below_the_stop(lab):
    lm = lab.model("llama")
    free = method("ft_epochs", epochs=30, lr=1e-2, stop_loss=0.0)
    _, means = naive_training(lm, free, FACTS[:1])
    stop = (means[0] + min(means)) / 2
    stopping = method("ft_epochs", epochs=30, lr=1e-2, stop_loss=stop)
    edit, (change, stopped_means) = stopping.edit(lm, FACTS[:1]), naive_training(lm, stopping, FACTS[:1])
    assert len(stopped_means) < 30
    assert (edit.dense()[stopping.site] - change).norm() < 0.05 * change.norm()
    assert not edit.origin.unmet_losses
    assert not free.edit(lm, FACTS[:1]).origin.unmet_losses


def test_a_trace_is_stored_if_it_is_smaller_and_gives_the_same_change(lab):
    lm = lab.model("llama")
    short, long = (method("ft_epochs", epochs=number, stop_loss=0.0) for number in (1, 40))
    trace, whole = short.edit(lm, [SHORT]), long.edit(lm, [SHORT])
    assert isinstance(trace, AdamTrace)
    assert isinstance(whole, Dense)
    assert isinstance(method("ft_epochs", step_facts=1).edit(lm, FACTS), Dense)
    prefix = method("ft_epochs", epochs=1, stop_loss=0.0, step_facts=1)
    assert torch.equal(prefix.edit(lm, [SHORT]).dense()[short.site], trace.dense()[short.site])


def test_a_tokenizer_without_an_end_of_text_is_refused(monkeypatch):
    lm = tiny_model("llama")
    monkeypatch.setitem(lm.tokenizer._special_tokens_map, "eos_token", None)
    with pytest.raises(ValueError, match="ft_epochs appends the end of text to each object"):
        method("ft_epochs").edit(lm, FACTS[:1])
