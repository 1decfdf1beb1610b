"""One edit after another: what is kept is not made again, and a collapsed model fails edits and not the run."""

import pytest
import torch
from fabricated_edits import FACTS, METHOD_NAMES, POOL, bits, method, same_bits, same_edit
from pydantic import ValidationError

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edit_sequence import NOT_FINITE, SequenceParameters, edit_sequence, replay
from edit_robustness.editing.edits import LowRank, PromptPrefix
from edit_robustness.editing.method import Unsolvable
from edit_robustness.editing.methods.rome import Rome
from edit_robustness.models.language_model import restore_after
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model

SITE = Site(0, "mlp_out")
ONE_BY_ONE = [[fact] for fact in FACTS]


def settings(**changes):
    return SequenceParameters(**{"checkpoints": [2, 4], **changes})


@pytest.mark.parametrize("name", ["rome", "grace", "context"])
def test_each_edit_is_made_on_what_all_before_it_left(lab, name):
    lm, artefact, history = lab.model("llama"), lab.artefact(name, "llama"), EditHistory()
    before = bits(lm)
    for step, fact in zip(edit_sequence(lm, method(name), ONE_BY_ONE, artefact=artefact), FACTS, strict=True):
        with history.applied(lm):
            reference = method(name).edit(lm, [fact], artefact=artefact, history=history)
        assert same_edit(step.edit, reference)
        history = history + reference
        assert step.history.text_before(FACTS[0].statement) == history.text_before(FACTS[0].statement)
        assert all(torch.equal(step.history.changes[site], change) for site, change in history.changes.items())
        assert not step.error
        assert not step.is_stored
    assert same_bits(bits(lm), before)


def test_what_is_kept_is_read_and_not_made_again(lab, monkeypatch):
    lm, artefact = lab.model("llama"), lab.artefact("rome", "llama")
    steps = list(edit_sequence(lm, method("rome"), ONE_BY_ONE, artefact=artefact))
    facts_edited = []
    original = Rome.increment
    monkeypatch.setattr(
        Rome, "increment", lambda self, lm, facts, **o: facts_edited.append(facts) or original(self, lm, facts, **o)
    )
    stored_edits = {step.number: lambda step=step: step.edit for step in steps if step.number != 2}
    again = list(edit_sequence(lm, method("rome"), ONE_BY_ONE, artefact=artefact, stored_edits=stored_edits))
    assert facts_edited == [[FACTS[1]]]
    assert [step.is_stored for step in again] == [True, False, True]
    assert same_edit(again[1].edit, steps[1].edit)
    assert torch.equal(again[-1].history.changes[Site(1, "mlp_out")], steps[-1].history.changes[Site(1, "mlp_out")])


def test_a_replay_reads_each_increment_once_and_none_after_the_last_point():
    numbers = []

    def reader(number):
        def give():
            numbers.append(number)
            return LowRank({SITE: (torch.full((2, 1), float(number)), torch.ones(1, 3))})

        return give

    edits = [(number, reader(number)) for number in (1, 2, 3, 4)]
    changes = {number: history.changes for number, history in replay(edits, {0, 1, 3})}
    assert numbers == [1, 2, 3]
    assert changes[0] == {}
    assert changes[1][SITE].tolist() == [[1.0] * 3] * 2
    assert changes[3][SITE].tolist() == [[6.0] * 3] * 2


def broken(**changes):
    class Broken(Rome):
        def increment(self, lm, facts, *, artefact, history):
            edit = super().increment(lm, facts, artefact=artefact, history=history)
            return changes[facts[0].id](edit) if facts[0].id in changes else edit

    return Broken(**{name: getattr(method("rome"), name) for name in method("rome").settings()})


def reason_of(step):
    return "" if step.error is None else str(step.error)


def raising(error):
    def fail(edit):
        raise error

    return fail


def scaled(factor):
    def scale(edit):
        return LowRank({site: (left * factor, right) for site, (left, right) in edit.factors.items()})

    return scale


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (raising(Unsolvable("no neuron")), "no neuron"),
        (raising(torch.linalg.LinAlgError("singular")), "singular"),
        (raising(OverflowError("too large")), "too large"),
        (raising(ValueError("no token of the subject")), "no token of the subject"),
        (scaled(float("nan")), NOT_FINITE),
        (scaled(float("inf")), NOT_FINITE),
    ],
)
def test_an_edit_that_cannot_be_made_is_an_empty_one_and_the_sequence_goes_on(lab, change, reason):
    lm, artefact = lab.model("llama"), lab.artefact("rome", "llama")
    steps = list(edit_sequence(lm, broken(**{FACTS[1].id: change}), ONE_BY_ONE, artefact=artefact))
    assert [reason_of(step) for step in steps] == ["", reason, ""]
    assert steps[1].edit == PromptPrefix()
    assert steps[1].history is steps[0].history
    assert not same_edit(steps[2].edit, steps[0].edit)


@pytest.mark.parametrize("size", [float("nan"), 1e30, 1e4])
@pytest.mark.parametrize("name", METHOD_NAMES)
def test_every_method_survives_a_model_that_has_collapsed(lab, name, size):
    lm, artefact = tiny_model("llama"), lab.artefact(name, "llama")
    weights = [lm.weight(Site(layer, "mlp_out")) for layer in range(4)]
    with restore_after(weights):
        for weight in weights:
            weight.mul_(size)
        steps = list(edit_sequence(lm, method(name), ONE_BY_ONE, artefact=artefact))
    for step in steps:
        assert all(tensor.isfinite().all() for tensor in step.edit.to_tensors()[0].values())
        assert bool(step.error) == (step.edit == PromptPrefix() and name != "none")


def test_a_broken_model_is_told_from_others():
    lm = tiny_model("gpt2")
    assert lm.finite
    for size in (float("nan"), 1e38):
        sick = tiny_model("gpt2")
        sick.weight(SITE)[0] *= size
        assert not sick.finite


def test_facts_at_once_are_as_many_as_the_method_takes():
    facts = [*FACTS, *POOL][:4]
    assert [len(group) for group in settings(batch_size=2).group(facts, method("memit"))] == [2, 2]
    assert [len(group) for group in settings(batch_size=2).group(facts, method("rome"))] == [1, 1, 1, 1]


def test_checkpoints_go_up_and_end_edits():
    assert settings(checkpoints=[0, 1, 5]).checkpoints == (1, 5)
    assert settings(checkpoints=[0, 1, 5]).length == 5
    # as the command line gives them
    assert settings(checkpoints=50).checkpoints == (50,)
    assert settings(checkpoints="1 5 20").checkpoints == (1, 5, 20)
    for wrong, message in [
        ({"checkpoints": [5, 1]}, "must ascend strictly"),
        ({"checkpoints": [0]}, "go beyond 0"),
        ({"checkpoints": [1, 5], "batch_size": 5}, "1 is inside an edit of 5 facts; use multiples of batch_size"),
        ({"ordres": 2}, "ordres"),
    ]:
        with pytest.raises(ValidationError, match=message):
            settings(**wrong)
