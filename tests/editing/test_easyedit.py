"""The method `easyedit`, on a folder in the shape of a clone: each way in, each kind of edit, and each message."""

import logging
import os
import re
import stat
import sys
from pathlib import Path

import pytest
import torch
from fabricated_edits import FACTS, bits, same_bits, same_edit
from fake_easyedit import Fork, settings_of
from pydantic import ValidationError

from edit_robustness.editing.easyedit import process
from edit_robustness.editing.easyedit.process import CloneInputs, EasyEditFailed, Session
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edit_sequence import edit_sequence
from edit_robustness.editing.edits import Codebook, Dense, LowRank
from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.editing.methods.easyedit import NOT_EXPRESSED, EasyEdit
from edit_robustness.models.layout import Site

SITE = Site(1, "mlp_out")
GPT2 = "transformer.h.{}.mlp.c_proj.weight"


@pytest.fixture(autouse=True)
def quick_processes(monkeypatch, request):
    """Fork this process, except in tests that want another Python to start."""
    if "other_python" not in request.fixturenames:
        monkeypatch.setattr(process, "Popen", Fork)


@pytest.fixture
def other_python():
    """Mark a test whose processes are started as for a user."""


@pytest.fixture
def easyedit(tmp_path):
    """Return a function from a method's name to `easyedit` with a clone in a folder of the test."""
    return lambda method, *args, **changes: EasyEdit(**settings_of(tmp_path, method, *args, **changes))


def one_edit(method, lm, fact=FACTS[0]):
    return method.edit(lm, [fact])


def test_single_edits_start_from_the_unedited_model_and_leave_ours_alone(easyedit, lab, other_python):
    lm, method = lab.model("llama"), easyedit("ROME")
    before = bits(lm)
    first, second = method.edit_each(lm, FACTS[:2])
    assert same_bits(bits(lm), before)
    assert not same_edit(first, second)
    assert same_edit(second, one_edit(method, lm, FACTS[1]))
    assert isinstance(first, LowRank)
    assert first.factors[SITE][0].shape == (32, 1)
    with first.applied(lm):
        assert not same_bits(bits(lm), before)
    assert same_bits(bits(lm), before)


@pytest.mark.parametrize(
    ("architecture", "weight"), [("llama", "model.layers.{}.mlp.down_proj.weight"), ("gpt2", GPT2)]
)
def test_a_change_is_the_difference_of_the_weights_as_this_project_sees_them(architecture, weight, easyedit, lab):
    lm = lab.model(architecture)
    change = one_edit(easyedit("FT", weight, layers=[1, 2]), lm).dense()
    assert {tuple(value.shape) for value in change.values()} == {tuple(lm.weight(SITE).shape)}
    assert set(change) == {SITE, Site(2, "mlp_out")}
    factors = one_edit(easyedit("ROME", weight), lm)
    assert isinstance(factors, LowRank)
    assert torch.linalg.matrix_rank(factors.dense()[SITE]) == 1


def test_a_change_of_full_rank_is_kept_whole_and_reads_back(easyedit, lab, tmp_path):
    lm, method = lab.model("llama"), easyedit("FT")
    edit = one_edit(method, lm)
    assert isinstance(edit, Dense)
    write_edit(tmp_path / "edit.safetensors", edit, {})
    assert same_edit(read_edit(tmp_path / "edit.safetensors"), edit)
    assert edit.origin.method == "easyedit"


def test_rows_that_are_replaced_are_kept_as_rows(easyedit, lab):
    lm = lab.model("llama")
    edit = one_edit(easyedit("KN"), lm)
    assert isinstance(edit, LowRank)
    assert edit.factors[SITE][0].shape[1] == 1
    with edit.applied(lm):
        torch.testing.assert_close(lm.weight(SITE)[3], torch.full((48,), 2.0), rtol=1e-6, atol=0)


def test_a_batch_is_one_edit_of_all_its_facts(easyedit, lab):
    lm, method = lab.model("llama"), easyedit("MEMIT")
    edit = method.edit(lm, FACTS)
    assert isinstance(edit, LowRank)
    assert edit.factors[SITE][0].shape == (32, 3)
    assert edit.origin.facts == tuple(fact.id for fact in FACTS)
    with pytest.raises(
        ValueError, match="ROME edits one fact per call and ignores the others, and was given 3: set seq"
    ):
        easyedit("ROME").edit(lm, FACTS)


def test_each_edit_of_a_sequence_is_made_on_the_weights_that_those_before_it_left(easyedit, lab):
    lm, method = lab.model("llama"), easyedit("ROME")
    steps = list(edit_sequence(lm, method, [[fact] for fact in FACTS]))
    assert [step.error for step in steps] == [None] * 3
    alone = list(method.edit_each(lm, FACTS))
    assert same_edit(steps[0].edit, alone[0])
    assert not same_edit(steps[1].edit, alone[1])
    stored_edits = {1: lambda: steps[0].edit, 2: lambda: steps[1].edit}
    *_, last_step = edit_sequence(lm, method, [[fact] for fact in FACTS], stored_edits=stored_edits)
    assert same_edit(last_step.edit, steps[2].edit)


def test_a_sequence_of_a_method_with_state_is_made_in_one_process(easyedit, lab):
    lm, method, groups = lab.model("llama"), easyedit("AlphaEdit"), [[fact] for fact in FACTS]
    steps = list(edit_sequence(lm, method, groups))
    assert [step.error for step in steps] == [None] * 3
    # the clone multiplies by the number of edits that its global cache has seen
    base = [edit.dense()[SITE] for edit in easyedit("ROME").edit_each(lm, FACTS)]
    torch.testing.assert_close(steps[0].edit.dense()[SITE], base[0])
    assert steps[2].edit.dense()[SITE].norm() > 2.5 * base[2].norm()
    stored_edits = {1: lambda: steps[0].edit}
    second = list(edit_sequence(lm, method, groups, stored_edits=stored_edits))[1]
    assert "this one has not made them: remove the sequence's stored edits" in str(second.error)


def test_the_global_cache_is_reset_between_single_edits(easyedit, lab):
    lm, method = lab.model("llama"), easyedit("AlphaEdit")
    *_, last = method.edit_each(lm, FACTS)
    assert same_edit(last, one_edit(method, lm, FACTS[2]))


def test_graces_entries_become_a_codebook(easyedit, lab):
    lm, method = lab.model("llama"), easyedit("GRACE")
    first, second = method.edit_each(lm, FACTS[:2])
    assert isinstance(first, Codebook)
    assert (first.site, first.labels, first.radii.tolist()) == (SITE, ("Oslo",), [0.5])
    assert second.labels == ("Bo Lind",)
    assert first.keys.shape == (1, 48)
    assert first.values.shape == (1, 32)
    *_, last = edit_sequence(lm, method, [[fact] for fact in FACTS[:2]])
    book = last.history.combined_edits["codebook"]
    assert book.labels == ("Oslo", "Bo Lind")
    assert torch.equal(book.keys, torch.cat([first.keys, second.keys]))


def test_the_edited_model_is_that_of_the_catalog_whatever_its_dtype(easyedit, lab):
    lm = lab.model("llama", torch.bfloat16)
    edit = one_edit(easyedit("ROME"), lm)
    assert edit.dense()[SITE].dtype == torch.float32
    assert not same_edit(edit, one_edit(easyedit("ROME"), lab.model("llama")))


def test_second_moments_and_contexts_can_be_this_projects(easyedit, lab):
    lm, installation = lab.model("llama"), easyedit("MEMIT").installation
    inputs = CloneInputs({SITE: torch.full((48, 48), 9.0)}, ["Rain. "])
    with Session(installation, lm) as clone, Session(installation, lm, inputs) as mine:
        plain, informed_edit = (session.edit(FACTS[:1], weights={}) for session in (clone, mine))
    assert informed_edit.edit.dense()[SITE].norm() > 3 * plain.edit.dense()[SITE].norm()
    assert informed_edit.cpu_seconds > 0
    other_inputs = CloneInputs({Site(3, "mlp_out"): torch.ones(48, 48)})
    with (
        Session(installation, lm, other_inputs) as session,
        pytest.raises(EasyEditFailed, match=r"no second moments of `model\.layers\.1\.mlp\.down_proj` were given"),
    ):
        session.edit(FACTS[:1], weights={})


def test_a_failure_costs_one_edit(easyedit, lab):
    method = easyedit("R-ROME")
    edits = method.edit_each(lab.model("llama"), FACTS)
    next(edits)
    with pytest.raises(EasyEditFailed, match=r"EasyEdit's R-ROME: RuntimeError: no value was found; the last lines of"):
        next(edits)
    assert one_edit(method, lab.model("llama"), FACTS[2]).dense()


def test_the_settings_of_an_edit_follow_the_contents_of_the_files(easyedit, tmp_path):
    method = easyedit("ROME")
    before = method.settings()
    assert method.settings() == before
    settings_of(tmp_path, "ROME", layers=[2])
    assert method.settings()["hparams_checksum"] != before["hparams_checksum"]
    (tmp_path / "clone/easyeditor/util/generate.py").write_text("")
    assert method.settings()["clone_checksum"] != before["clone_checksum"]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("Mine", "EasyEdit: Mine returned a Wrapper which has no parameters: only changed weights can be read"),
        ("Added", r"Added returned a LlamaForCausalLM whose parameter `extra\.bias` is not one of both: only"),
        (
            "Shaped",
            r"Shaped returned `model\.layers\.1\.mlp\.down_proj\.weight` of shape \(32, 47\); the model's is \(32, 48",
        ),
        ("Hooked", "Hooked left hooks on the model, which are no change of weights"),
        ("Embedded", r"Embedded changes `model\.embed_tokens\.weight`, and edits here are of the weights of MLPs and"),
        (
            "Dead",
            r"Dead: its process ended \(killed by SIGKILL\); the last lines of its output: .*the last thing that it s",
        ),
    ],
)
def test_what_is_no_change_of_weights_is_refused(method, message, easyedit, lab):
    with pytest.raises(EasyEditFailed, match=message):
        one_edit(easyedit(method), lab.model("llama"))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "EMMET",
            "EMMET returned no copy of `model.layers.1.mlp.down_proj.weight`, which it changed: EasyEdit's own editor",
        ),
        ("PMET", "pads its prompts on the left, which moves them; they are padded on the right here"),
        (
            "AlphaEdit",
            "AlphaEdit keeps the keys of earlier edits in a global cache, and EasyEdit's own editor lets them",
        ),
        ("Padded", "Padded left the tokenizer's padding on the right; every edit starts with it on the left"),
    ],
)
def test_faults_of_the_clone_that_are_mended_are_logged_once(method, message, easyedit, lab, caplog):
    with caplog.at_level(logging.WARNING):
        first, second = easyedit(method).edit_each(lab.model("llama"), FACTS[:2])
    assert [message in record.message for record in caplog.records] == [True]
    assert method == "Padded" or not same_edit(first, second)


@pytest.mark.parametrize("name", ["WISE", "serac", "LoRA", "MELO", "IKE", "FT-Api"])
def test_methods_that_cannot_be_expressed_are_refused_by_name(name, tmp_path):
    with pytest.raises(
        ValidationError, match=f"(?i)EasyEdit's {name} cannot be used here: it .*, which is no change of"
    ):
        EasyEdit(clone="a", python="b", method=name, hparams="c")
    assert name.casefold() in {other_name.casefold() for other_name in NOT_EXPRESSED}


def broken(tmp_path, setting, value):
    settings = {**settings_of(tmp_path, "ROME"), setting: str(value)}
    return list(EasyEdit(**settings).problems())


def test_paths_that_are_wrong_are_told_before_anything_is_started(tmp_path, lab):
    assert not broken(tmp_path, "method", "ROME")
    (message,) = broken(tmp_path, "clone", tmp_path / "nowhere")
    assert re.search(
        r"^clone: \S+nowhere is not a clone of EasyEdit \(there is no such folder\): git clone https", message
    )
    (message,) = broken(tmp_path, "clone", tmp_path)
    assert "(it has no easyeditor/util/alg_dict.py): git clone https" in message
    (message,) = broken(tmp_path, "clone", tmp_path / "clone/easyeditor")
    assert message.endswith(f": name {tmp_path / 'clone'}")
    (message,) = broken(tmp_path, "python", "no-such-python")
    assert message == "python: no-such-python cannot be run: give the path of the Python with which you run EasyEdit"
    (message,) = broken(tmp_path, "hparams", "ROME/llama.yaml")
    assert (
        message == "hparams: there is no file ROME/llama.yaml: paths begin at the project's folder, not at the clone's"
    )
    (tmp_path / "clone/hparams").mkdir()
    (tmp_path / "clone/hparams/mine.yaml").write_text("")
    (message,) = broken(tmp_path, "hparams", "hparams/mine.yaml")
    assert message.endswith(f"write {tmp_path / 'clone/hparams/mine.yaml'}")
    (tmp_path / "mine.yml").write_text("")
    assert "EasyEdit reads files that end in .yaml" in broken(tmp_path, "hparams", tmp_path / "mine.yml")[0]
    (tmp_path / "mine.yaml").write_text("a: [")
    assert "mine.yaml cannot be read (" in broken(tmp_path, "hparams", tmp_path / "mine.yaml")[0]
    (message,) = broken(tmp_path, "method", "MEMIT")
    assert message.endswith("ROME.yaml is of `alg_name: ROME`, and `method` is MEMIT: change one of them")
    (tmp_path / "clone/easyeditor-0.0.1.dev0.dist-info").mkdir()
    (message,) = broken(tmp_path, "method", "ROME")
    assert "holds the PyPI release of easyeditor, which is of 2023 and needs torch 2.0: clone https" in message
    with pytest.raises(EasyEditFailed, match=r"methods\.easyedit\.tiny-llama\.clone: \S+ holds the PyPI release"):
        one_edit(EasyEdit(**settings_of(tmp_path, "ROME")), lab.model("llama"))


def fails(tmp_path, lab, message, method="ROME", **changes):
    with pytest.raises(EasyEditFailed, match=message):
        EasyEdit(**{**settings_of(tmp_path, method), **changes}).check()


def test_an_import_that_fails_names_the_module_the_python_and_the_place(tmp_path, lab):
    settings_of(tmp_path, "ROME")
    place = tmp_path / "clone/easyeditor/util/generate.py"
    place.write_text("import einopsy\n")
    python = re.escape(sys.executable)
    fails(
        tmp_path,
        lab,
        f"`import easyeditor` fails in {python}: module `einopsy` is missing "
        rf"\({re.escape(str(place))}, line 1\): install what EasyEdit needs there \({python} -m pip install -r ",
    )
    place.write_text("raise OSError('a library')\n")
    fails(tmp_path, lab, r"fails in \S+: OSError: a library \(\S+generate\.py, line 1\)")


def test_a_clone_without_the_method_or_with_other_hyperparameters_is_told(tmp_path, lab):
    assert EasyEdit(**settings_of(tmp_path, "ROME")).check() is None
    fails(tmp_path, lab, r"this clone has no method `Rome`; it has ROME, MEMIT, FT", "Rome")
    settings_of(tmp_path, "ROME", mistake=1)
    hparams = tmp_path / "ROME.yaml"
    hparams.write_text(hparams.read_text() + "wrong: 1\n")
    with pytest.raises(EasyEditFailed, match=r"ROME\.yaml cannot be read as ROMEHyperParams \(TypeError: .*compare it"):
        method = EasyEdit(str(tmp_path / "clone"), sys.executable, "ROME", str(hparams))
        method.check()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(easyedit, lab):
    with pytest.raises(EasyEditFailed, match=r"name the device cuda:0, and .* has no GPU: set `device: cpu`"):
        one_edit(easyedit("ROME", device=0), lab.model("llama"))


def test_a_python_that_is_none_is_told(tmp_path, lab, other_python):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho this is no python >&2\nexit 3\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    fails(tmp_path, lab, r"its process ended \(exit status 3\); .*: this is no python", python=str(python))


def test_another_easyeditor_in_the_way_is_told(tmp_path, lab):
    settings = settings_of(tmp_path, "ROME")
    (tmp_path / "elsewhere").mkdir()
    os.rename(tmp_path / "clone/easyeditor", tmp_path / "elsewhere/easyeditor")
    (tmp_path / "clone/easyeditor").symlink_to(tmp_path / "elsewhere/easyeditor")
    with pytest.raises(EasyEditFailed, match=r"imports EasyEdit from \S+elsewhere\S+, and not from the clone"):
        EasyEdit(**settings).check()


def test_nothing_is_left_when_the_process_ends(easyedit, lab, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    edits = easyedit("ROME").edit_each(lab.model("llama"), FACTS)
    next(edits)
    assert len(set(tmp_path.iterdir()) - before) == 3  # the clone, its file of hyperparameters, the exchange
    edits.close()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("easyedit-")]


def test_the_script_imports_nothing_of_this_project():
    source = Path(sys.modules[Session.__module__].__file__).with_name("script.py").read_text("utf-8")
    assert not re.search(r"^\s*(from|import) edit_robustness", source, re.M)


def test_the_history_of_other_kinds_is_no_matter(easyedit, lab):
    lm, method = lab.model("llama"), easyedit("ROME")
    first = one_edit(method, lm)
    history = EditHistory() + first
    with history.applied(lm):
        second = method.edit(lm, FACTS[1:2], history=history)
    assert not same_edit(second, one_edit(method, lm, FACTS[1]))
