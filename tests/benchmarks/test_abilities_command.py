"""The harness beside our engine, on a tiny model and benchmarks of our own."""

import json
import sys

import pytest
import torch

from benchmarks import abilities
from benchmarks.abilities import COLUMNS, main, read_history, select_benchmarks
from benchmarks.tables import markdown
from edit_robustness.datasets.folders import Manifest, StoredItem
from edit_robustness.datasets.item_folders import EditsDataset
from edit_robustness.editing.edits import LowRank
from edit_robustness.models.attention import BLOCKED
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model

PRESETS = {
    "one": {"owls": {"task": "owls"}, "geese": {"task": "geese", "shots": 2}},
    "two": {"owls": {"task": "owls", "shots": 3}},
}


def test_benchmarks_are_found_in_the_presets():
    selection = select_benchmarks({"seed": 3, "presets": PRESETS}, ["geese", "two.owls:barn_owls"])
    assert selection["presets"] == {
        "chosen": {"geese": {"task": "geese", "shots": 2}, "barn_owls": {"task": "barn_owls", "shots": 3}}
    }
    assert (selection["tasks"], selection["seed"]) == ("chosen", 3)


@pytest.mark.parametrize(("name", "number"), [("owls", 2), ("ducks", 0)])
def test_what_no_preset_or_several_have_is_refused(name, number):
    with pytest.raises(ValueError, match=f"`{name}` names {number} benchmarks; there are one.owls, one.geese, two.owl"):
        select_benchmarks({"presets": PRESETS}, [name])


def test_both_sides_say_the_same(capsys, monkeypatch):
    load_benchmarks = abilities.load
    monkeypatch.setattr(abilities, "load", lambda *names: sys.stdout.write("loading") and load_benchmarks(*names))
    names = ["embedded.knowledge", "embedded.prose"]
    main([*names, "--model", "tiny:llama", "--documents", "2", "--batch-size", "2", "--json"])
    output = capsys.readouterr()
    assert output.err.startswith("loading")
    rows = json.loads(output.out)
    knowledge, prose = rows
    assert (knowledge["documents"], prose["documents"]) == (2, 2)
    assert knowledge["apart"] < 1e-3
    assert prose["apart"] < 1e-2
    assert knowledge["score_ours"] == knowledge["score_theirs"]
    assert prose["score_ours"] is None
    assert knowledge["ours"] > knowledge["planning"] > 0
    assert knowledge["ratio"] == pytest.approx(knowledge["theirs"] / knowledge["ours"])
    assert markdown(rows, COLUMNS).splitlines()[-1].endswith("| - | - | - |")


def test_the_model_may_be_edited(tmp_path):
    site, folder = Site(1, "mlp_out"), EditsDataset(str(tmp_path))
    edits = {
        f"0.0000{n}": StoredItem.of(str(n), LowRank({site: (torch.full((2, 1), float(n)), torch.ones(1, 3))}))
        for n in (1, 2)
    }
    folder.save(Manifest({key: item.fingerprint for key, item in edits.items()}))
    folder.save(edits)
    assert read_history(tmp_path).changes[site].tolist() == [[3.0] * 3] * 2
    assert read_history(None).changes == {}


def test_the_harness_runs_with_torch_as_it_comes(monkeypatch):
    lm, products = tiny_model("llama"), torch.backends.mkldnn.matmul
    lm.model.set_attn_implementation(BLOCKED)
    before, flash_attention = products.fp32_precision, torch.backends.cuda.flash_sdp_enabled()
    monkeypatch.setattr(abilities, "_CAME", "ieee")
    try:
        products.fp32_precision = "tf32"
        torch.backends.cuda.enable_flash_sdp(False)
        with pytest.raises(KeyError), abilities.as_torch_came(lm):
            assert (products.fp32_precision, torch.backends.cuda.flash_sdp_enabled()) == ("ieee", True)
            assert lm.model.config._attn_implementation == "sdpa"
            raise KeyError
        assert (products.fp32_precision, torch.backends.cuda.flash_sdp_enabled()) == ("tf32", False)
        assert lm.model.config._attn_implementation == BLOCKED
    finally:
        products.fp32_precision = before
        torch.backends.cuda.enable_flash_sdp(flash_attention)
