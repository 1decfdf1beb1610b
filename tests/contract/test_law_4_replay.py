"""Law 4: the first step equals the first independent edit; a replay of files equals the live state, bit for bit."""

import pytest
import torch
from cells import every_architecture, every_dtype, every_method
from fabricated_edits import FACTS, bits, method, same_bits, same_edit

from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.editing.past import Past


@every_dtype
@every_architecture
@every_method
def test_independent_edits_are_those_of_the_unedited_model(name, architecture, dtype, lab):
    lm, prepared = lab.model(architecture, dtype), lab.prepared(name, architecture, dtype)
    for fact, edit in zip(FACTS, lab.edits(name, architecture, dtype), strict=True):
        assert same_edit(method(name).edit(lm, [fact], prepared=prepared, past=Past()), edit)


@every_dtype
@every_architecture
@every_method
def test_a_replay_of_files_equals_the_live_state(name, architecture, dtype, lab, tmp_path):
    lm, prepared = lab.model(architecture, dtype), lab.prepared(name, architecture, dtype)
    past, live = Past(), []
    for step, fact in enumerate(FACTS):
        with past.applied(lm):
            increment = method(name).edit(lm, [fact], prepared=prepared, past=past)
        write_edit(tmp_path / f"{step}.safetensors", increment, {})
        past = past + increment
        with past.applied(lm):
            live.append((bits(lm), past))
    replay = Past()
    for step, (weights, state) in enumerate(live):
        replay = replay + read_edit(tmp_path / f"{step}.safetensors").with_prepared(prepared)
        with replay.applied(lm):
            assert same_bits(bits(lm), weights)
        assert replay.prefix == state.prefix
        assert replay.changes.keys() == state.changes.keys()
        assert all(torch.equal(replay.changes[site], change) for site, change in state.changes.items())


@every_method
def test_later_steps_see_the_earlier_ones(name, lab):
    lm, prepared = lab.model("llama"), lab.prepared(name, "llama")
    first, alone, _ = lab.edits(name, "llama")
    if not first.dense():
        pytest.skip("changes no weights")
    if name == "checkpoint":
        pytest.skip("was made elsewhere")
    past = Past() + first
    with past.applied(lm):
        second = method(name).edit(lm, FACTS[1:2], prepared=prepared, past=past)
    assert not same_edit(second, alone)


@every_method
def test_then_is_ordered_and_leaves_its_left_side_alone(name, lab):
    first, second, _ = lab.edits(name, "llama")
    start = Past()
    after_first = start + first
    after_second = after_first + second
    assert not start.changes
    assert start.prefix == ""
    assert after_first.prefix == first.prefix
    assert after_second.prefix == first.prefix + second.prefix
    for site, change in after_first.changes.items():
        assert torch.equal(change, first.dense()[site])
        assert torch.equal(after_second.changes[site], change + second.dense()[site])
