"""Law 3: save then load gives the same Edit; the same seed gives the same Edit."""

import torch
from cells import every_cell, every_cell_in_dtypes, every_method, seen_by_asking
from fabricated_edits import FACTS, bits, corpus, method, same_bits, same_edit

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import EDITS
from edit_robustness.editing.files import read_artefact, read_edit, read_header, write_artefact, write_edit


@every_cell_in_dtypes
def test_a_file_gives_the_same_edit(name, architecture, dtype, lab, tmp_path):
    lm = lab.model(architecture, dtype)
    for number, edit in enumerate(lab.edits(name, architecture, dtype)[:2]):
        path = tmp_path / f"{number}.safetensors"
        write_edit(path, edit, {"seconds": 1.5})
        again = read_edit(path).with_artefact(lab.artefact(name, architecture, dtype))
        assert again.origin == edit.origin
        assert EDITS[edit.kind] is type(edit)
        assert same_edit(again, edit)
        assert edit.origin.facts == (FACTS[number].id,)
        assert (edit.origin.method, edit.origin.model) == (name, lm.fingerprint)
        assert read_header(path)["seconds"] == 1.5
        with edit.applied(lm):
            live = seen_by_asking(lm, edit, FACTS[number].statement)
        with again.applied(lm):
            assert torch.equal(seen_by_asking(lm, again, FACTS[number].statement), live)


@every_cell
def test_two_edits_are_one_after_the_other(name, architecture, lab, tmp_path):
    lm, artefact = lab.model(architecture), lab.artefact(name, architecture)
    history = EditHistory() + lab.edits(name, architecture)[0]
    with history.applied(lm):
        later = method(name).edit(lm, FACTS[1:2], artefact=artefact, history=history)
    total = lab.edits(name, architecture)[0] + later
    write_edit(tmp_path / "both.safetensors", total, {})
    again = read_edit(tmp_path / "both.safetensors").with_artefact(artefact)
    assert [part.origin for part in again.parts()] == [part.origin for part in total.parts()]
    with (history + later).applied(lm):
        one_by_one = bits(lm), seen_by_asking(lm, total, FACTS[1].statement)
    for chain in (total, again):
        with chain.applied(lm):
            assert same_bits(bits(lm), one_by_one[0])
            assert torch.equal(seen_by_asking(lm, chain, FACTS[1].statement), one_by_one[1])


@every_cell
def test_what_is_prepared_survives_its_file(name, architecture, lab, tmp_path):
    lm, artefact = lab.model(architecture), lab.artefact(name, architecture)
    write_artefact(tmp_path / "p.safetensors", artefact, {})
    again = read_artefact(tmp_path / "p.safetensors")
    assert again.texts == artefact.texts
    assert again.tensors.keys() == artefact.tensors.keys()
    assert all(torch.equal(again.tensors[key], tensor) for key, tensor in artefact.tensors.items())
    edit = method(name).edit(lm, FACTS[:1], artefact=again, history=EditHistory())
    assert same_edit(edit, lab.edits(name, architecture)[0])


@every_cell_in_dtypes
def test_editing_again_gives_the_same_edit_whatever_the_random_state(name, architecture, dtype, lab):
    lm = lab.model(architecture, dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = lab.edits(name, architecture, dtype)[0]
        torch.manual_seed(2)
        artefact = method(name).prepare(lm, corpus())
        again = method(name).edit(lm, FACTS[:1], artefact=artefact, history=EditHistory())
    assert same_edit(again, first)


@every_method
def test_edits_of_other_facts_differ(name, lab):
    if name == "none":
        return
    first, second, _ = lab.edits(name, "llama")
    assert not same_edit(first, second)
