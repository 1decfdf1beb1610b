"""Law 4: the first step equals the first independent edit; a replay of files equals the live state, bit for bit."""

import pytest
import torch
from cells import every_cell_in_dtypes, every_method
from fabricated_edits import FACTS, bits, method, same_bits, same_edit

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.files import read_edit, write_edit


@every_cell_in_dtypes
def test_independent_edits_are_those_of_the_unedited_model(name, architecture, dtype, lab):
    lm, artefact = lab.model(architecture, dtype), lab.artefact(name, architecture, dtype)
    # the last one, before which the others were made
    edit = method(name).edit(lm, FACTS[-1:], artefact=artefact, history=EditHistory())
    assert same_edit(edit, lab.edits(name, architecture, dtype)[-1])


@every_cell_in_dtypes
def test_a_replay_of_files_equals_the_live_state(name, architecture, dtype, lab, tmp_path):
    lm, artefact = lab.model(architecture, dtype), lab.artefact(name, architecture, dtype)
    history, live = EditHistory(), []
    for step, fact in enumerate(FACTS):
        with history.applied(lm):
            increment = method(name).edit(lm, [fact], artefact=artefact, history=history)
        write_edit(tmp_path / f"{step}.safetensors", increment, {})
        history = history + increment
        with history.applied(lm):
            live.append((bits(lm), history))
    replay = EditHistory()
    for step, (weights, state) in enumerate(live):
        replay = replay + read_edit(tmp_path / f"{step}.safetensors").with_artefact(artefact)
        with replay.applied(lm):
            assert same_bits(bits(lm), weights)
        assert all(replay.text_before(fact.statement) == state.text_before(fact.statement) for fact in FACTS)
        assert replay.changes.keys() == state.changes.keys()
        assert all(torch.equal(replay.changes[site], change) for site, change in state.changes.items())


@every_method
def test_later_steps_see_the_earlier_ones(name, lab):
    lm, artefact = lab.model("llama"), lab.artefact(name, "llama")
    first, alone, _ = lab.edits(name, "llama")
    if not first.dense():
        pytest.skip("changes no weights")
    if name == "external":
        pytest.skip("was made elsewhere")
    history = EditHistory() + first
    with history.applied(lm):
        second = method(name).edit(lm, FACTS[1:2], artefact=artefact, history=history)
    assert not same_edit(second, alone)


@every_method
def test_then_is_ordered_and_leaves_its_left_side_alone(name, lab):
    first, second, _ = lab.edits(name, "llama")
    start = EditHistory()
    after_first = start + first
    after_second = after_first + second
    assert not start.changes
    texts = [[edit.text_before(fact.statement) for fact in FACTS[:2]] for edit in (first, second, first + second)]
    assert [[state.text_before(fact.statement) for fact in FACTS[:2]] for state in (start, after_first)] == [
        ["", ""],
        texts[0],
    ]
    assert [after_second.text_before(fact.statement) for fact in FACTS[:2]] == texts[2]
    assert texts[2] == [before + after for before, after in zip(*texts[:2], strict=True)]
    for site, change in after_first.changes.items():
        assert torch.equal(change, first.dense()[site])
        assert torch.equal(after_second.changes[site], change + second.dense()[site])
