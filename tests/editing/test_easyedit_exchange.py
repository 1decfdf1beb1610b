"""Answers of a clone of EasyEdit, read as edits: beside its code run by itself, and beside this project's methods.

With a clone on this machine, set EASYEDIT_CLONE to its folder and EASYEDIT_PYTHON to the Python of its environment: the
answers are then asked for again.
"""

import os
from functools import cache

import parity
import pytest
import torch
import yaml
from easyedit_exchange import EXCHANGE, RECORDED, Replayed, clone_inputs, edit_all, hparams
from safetensors import safe_open

from edit_robustness.editing.easyedit.process import Installation, Session
from edit_robustness.editing.edits import Codebook, Dense, LowRank
from edit_robustness.models.layout import Site

KINDS = {"rome": LowRank, "memit": LowRank, "memit_batch": LowRank, "ft": Dense, "grace": Codebook}

every_case = pytest.mark.parametrize("name", RECORDED)


def tensors_of(edits):
    """The result of a case under the names of `parity.compute`."""
    last = edits[-1]
    if isinstance(last, Codebook):
        return {"keys": last.keys, "values": last.values, "radii": last.radii}
    return {str(site): change for site, change in last.dense().items()}


@cache
def replayed(name):
    case = RECORDED[name]
    return edit_all(Replayed(case, parity.tiny(case)), case)


@every_case
def test_an_edit_is_that_of_easyedits_code_run_by_itself(name):
    assert {type(edit) for edit in replayed(name)} == {KINDS[name]}
    reference = parity.results(RECORDED[name])
    assert parity.relative_difference(tensors_of(replayed(name)), reference) <= parity.TOLERANCE


@every_case
def test_an_edit_is_that_of_this_projects_method(name):
    case = RECORDED[name]
    assert parity.relative_difference(tensors_of(replayed(name)), parity.compute(case)) <= parity.TOLERANCE


def test_factors_are_as_thin_as_the_facts_are_many():
    (single,), (batch,) = replayed("memit"), replayed("memit_batch")
    assert {factor.shape[1] for factor, _ in single.factors.values()} == {1}
    assert {factor.shape[1] for factor, _ in batch.factors.values()} == {10}
    assert single.factors.keys() == {Site(layer, "mlp_out") for layer in (0, 1, 2)}


def test_grace_labels_its_entries_with_the_new_objects():
    case = RECORDED["grace"]
    assert replayed("grace")[-1].labels == tuple(fact.target_new for (fact,) in case)


def test_another_request_is_not_answered():
    case = RECORDED["rome"]
    session = Replayed(case, parity.tiny(case))
    with pytest.raises(ValueError, match="the request is not the recorded one"):
        session.edit([RECORDED["memit_batch"].edits and next(iter(RECORDED["grace"]))[0]] * 2, weights={})


def test_the_recording_holds_figures_and_requests_only():
    with safe_open(EXCHANGE, framework="pt") as file:
        assert set(file.metadata()) == {"exchange", "commit"}
    assert EXCHANGE.stat().st_size < 100_000


@every_case
@pytest.mark.skipif(not os.environ.get("EASYEDIT_CLONE"), reason="EASYEDIT_CLONE names no clone of EasyEdit")
def test_a_clone_on_this_machine_makes_this_edit(name, tmp_path):
    case, path = RECORDED[name], tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump(hparams(case)))
    clone, python = os.environ["EASYEDIT_CLONE"], os.environ.get("EASYEDIT_PYTHON", "python")
    with Session(
        Installation(clone, python, case.method.upper(), str(path)), parity.tiny(case), clone_inputs(case)
    ) as session:
        edits = edit_all(session, case)
    assert [type(edit) for edit in edits] == [KINDS[name]] * len(edits)
    result, reference = tensors_of(edits), tensors_of(replayed(name))
    assert all(torch.equal(result[key], reference[key]) for key in reference) or (
        parity.relative_difference(result, reference) <= parity.TOLERANCE
    )
