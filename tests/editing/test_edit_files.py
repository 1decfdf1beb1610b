import pytest
import torch
from safetensors.torch import save_file

from edit_robustness.editing import files
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import AdamTrace, LowRank, PromptPrefix
from edit_robustness.editing.files import (
    FORMAT,
    read_artefact,
    read_edit,
    read_header,
    write_artefact,
    write_edit,
)
from edit_robustness.editing.method import Unsolvable
from edit_robustness.models.layout import Site
from edit_robustness.storage import CorruptFile

SITE = Site(5, "mlp_out")


def low_rank(value=1.0):
    return LowRank({SITE: (torch.full((4, 1), value), torch.ones(1, 6))})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "Île de l'owl.safetensors"


def test_a_header_holds_what_was_given_and_the_format(path):
    write_edit(path, low_rank(), {"method": "rome", "facts": ["Île"], "seconds": 0.25})
    header = read_header(path)
    assert header["format"] == FORMAT
    assert (header["method"], header["facts"], header["seconds"]) == ("rome", ["Île"], 0.25)
    assert header["kind"] == "low_rank"


def test_a_file_is_renamed_into_place(path, monkeypatch):
    write_edit(path, low_rank(1.0), {})
    assert list(path.parent.iterdir()) == [path]

    def killed(*args, **kwargs):
        path.with_name(path.name + ".part").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("edit_robustness.editing.files.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        write_edit(path, low_rank(2.0), {})
    assert torch.equal(read_edit(path).dense()[SITE], torch.ones(4, 6))


@pytest.mark.parametrize("keep", [0, 4, 30, -1])
def test_a_truncated_file_is_named_with_the_way_out(path, keep):
    write_edit(path, low_rank(), {})
    path.write_bytes(path.read_bytes()[:keep])
    for reader in (read_edit, read_header, read_artefact):
        with pytest.raises(CorruptFile, match=r"cannot be read") as error:
            reader(path)
        assert str(path) in str(error.value)


def test_a_missing_file_is_named(path):
    with pytest.raises(CorruptFile, match=r"Île de l'owl.safetensors cannot be read"):
        read_edit(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(path, bad):
    trace = AdamTrace(SITE, torch.ones(2, 6), torch.ones(3, 2, 4), 0.1)
    trace.gradients[1, 0, 2] = bad
    with pytest.raises(Unsolvable, match="the edit's numbers are not finite"):
        write_edit(path, trace, {})
    assert not path.exists()


def test_large_numbers_are_finite(path):
    write_edit(path, LowRank({SITE: (torch.full((4, 1), 1e30), torch.ones(1, 6))}), {})
    assert read_edit(path).dense()[SITE][0, 0] == 1e30


def test_a_file_of_another_program_is_refused(path):
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(CorruptFile, match="has no header of this project"):
        read_edit(path)


@pytest.mark.parametrize("kind", ["grace", None])
def test_another_kind_is_refused(path, kind):
    files._write(path, {"weight": torch.ones(2)}, {"kind": kind, "texts": {}} if kind else {"texts": {}})
    with pytest.raises(
        CorruptFile, match=rf"holds no edit \(kind {kind!r}; kinds are low_rank, dense, adam_trace, prompt_prefix"
    ):
        read_edit(path)


def test_a_prepared_file_is_no_edit(path):
    write_artefact(path, Artefact({"5.mlp_out": torch.eye(3).double()}, ("a", "b")), {"method": "rome"})
    with pytest.raises(CorruptFile, match="holds no edit"):
        read_edit(path)
    again = read_artefact(path)
    assert again.texts == ("a", "b")
    assert torch.equal(again.tensors["5.mlp_out"], torch.eye(3).double())


def test_nothing_but_words_can_be_kept(path):
    write_edit(path, PromptPrefix('Fact: "Île"\n{}\u2028'), {})
    assert read_edit(path) == PromptPrefix('Fact: "Île"\n{}\u2028')
    write_artefact(path, Artefact(), {})
    assert (read_artefact(path).tensors, read_artefact(path).texts) == ({}, ())
