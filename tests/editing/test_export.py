"""Edits leave the project: as adapters that plain peft loads, and as models that plain transformers loads."""

import copy
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import peft
import pytest
import torch
from external_models import shapes_of, write_adapter
from fabricated_edits import ARCHITECTURES, FACTS, bits, method, same_bits
from transformers import AutoModelForCausalLM, AutoTokenizer

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import ExternalEdit, LowRank, PromptPrefix
from edit_robustness.editing.exchange.card import Card, CardPrompt
from edit_robustness.editing.exchange.export import NotLowRank, NotWeights, bake, export_lora
from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import LAYOUTS, PARTS, Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.records import Fact

IDS = torch.arange(5, 40)[None]
CARD = Card("rome", {}, FACTS)
NEW_TOKENS = 12


@torch.no_grad()
def said(model):
    """Logits after every token, and the greedy answer."""
    mask = torch.ones_like(IDS)
    answer = model.generate(input_ids=IDS, attention_mask=mask, do_sample=False, max_new_tokens=NEW_TOKENS)
    return model(input_ids=IDS).logits.float(), answer


def assert_same(first, second):
    assert (first[0] - second[0]).abs().max() < 1e-4
    assert torch.equal(first[1], second[1])


def random_edit(lm, *sites, rank, seed=0):
    random = torch.Generator().manual_seed(seed)
    shapes = {site: lm.weight(site).shape for site in sites}
    factors = {
        site: (torch.randn(d_out, rank, generator=random) * 0.2, torch.randn(rank, d_in, generator=random) * 0.2)
        for site, (d_out, d_in) in shapes.items()
    }
    return LowRank(factors)


def several(lm):
    """Ranks 1, 3 and 4 on five modules, one of them changed twice."""
    return (
        random_edit(lm, Site(1, "mlp_out"), rank=1)
        + random_edit(lm, Site(1, "mlp_out"), Site(2, "mlp_in"), rank=3, seed=1)
        + random_edit(lm, Site(0, "attention_out"), Site(3, "mlp_out"), rank=1, seed=2)
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_edit_kept_exported_and_baked_says_the_same(architecture, tmp_path):
    lm = tiny_model(architecture, seed=3)
    write_edit(tmp_path / "e.safetensors", several(lm), {})
    edit, before = read_edit(tmp_path / "e.safetensors"), bits(lm)
    with edit.applied(lm):
        reference = said(lm.model)
    export_lora(edit, lm, tmp_path / "adapter")
    bake(edit, lm, tmp_path / "baked", CARD)
    assert same_bits(bits(lm), before)
    assert (reference[0] - said(lm.model)[0]).abs().max() > 0.1
    assert_same(said(peft.PeftModel.from_pretrained(copy.deepcopy(lm.model), tmp_path / "adapter")), reference)
    assert_same(said(AutoModelForCausalLM.from_pretrained(tmp_path / "baked")), reference)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "baked")
    for text in ("Île-de-Nœud is", "  two spaces\n"):
        assert tokenizer(text)["input_ids"] == lm.tokenizer(text)["input_ids"]


def test_a_merged_adapter_says_the_same(lab, tmp_path):
    lm = lab.model("gpt2")
    export_lora(several(lm), lm, tmp_path / "adapter")
    with several(lm).applied(lm):
        reference = said(lm.model)
    merged_model = peft.PeftModel.from_pretrained(copy.deepcopy(lm.model), tmp_path / "adapter").merge_and_unload()
    assert_same(said(merged_model), reference)


def test_an_adapter_is_read_back_as_the_edit_it_was(lab, tmp_path):
    lm = lab.model("gpt2")
    export_lora(several(lm), lm, tmp_path / "adapter")
    again = ExternalEdit.of(str(tmp_path / "adapter"), lm).dense()
    assert again.keys() == several(lm).dense().keys()
    for site, change in several(lm).dense().items():
        torch.testing.assert_close(again[site], change)


def test_only_the_ranks_that_differ_are_patterns(lab, tmp_path):
    lm = lab.model("llama")
    export_lora(several(lm), lm, tmp_path / "adapter")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    patterns = {"model.layers.1.mlp.down_proj": 4, "model.layers.2.mlp.up_proj": 3}
    assert (settings["r"], settings["rank_pattern"], settings["alpha_pattern"]) == (1, patterns, patterns)


IN_A_FRESH_PROCESS = """
import sys
from pathlib import Path
from edit_robustness.datasets import LanguageModelDataset
from edit_robustness.editing.exchange.card import Card
from edit_robustness.editing.exchange.export import bake, export_lora
from edit_robustness.editing.files import read_edit
folder = Path(sys.argv[1])
lm = LanguageModelDataset("tiny", folder=str(folder / "base"), device="cpu").load()
edit = read_edit(folder / "edit.safetensors")
export_lora(edit, lm, folder / "adapter")
bake(edit, lm, folder / "baked", Card("rome", edit.origin.settings, []))
"""


def test_an_edit_is_exported_and_baked_by_a_fresh_process(lab, tmp_path):
    tiny = lab.model("llama")
    tiny.model.save_pretrained(tmp_path / "base")
    tiny.tokenizer.save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    lm = LanguageModel(base, AutoTokenizer.from_pretrained(tmp_path / "base"), "tiny")
    edit = method("rome").edit(lm, FACTS[:1], artefact=lab.artefact("rome", "llama"))
    write_edit(tmp_path / "edit.safetensors", edit, {})
    with edit.applied(lm):
        reference = said(lm.model)
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 0, process.stderr
    assert_same(said(AutoModelForCausalLM.from_pretrained(tmp_path / "baked")), reference)
    assert_same(said(peft.PeftModel.from_pretrained(base, tmp_path / "adapter")), reference)


def test_what_is_not_low_rank_is_named(lab, tmp_path):
    lm, rome, ft = lab.model("llama"), lab.edits("rome", "llama")[0], lab.edits("ft", "llama")
    message = r"contains low-rank edits only, and 2 of ft \(adam_trace\), 1 of prompt_prefix are not: export"
    with pytest.raises(NotLowRank, match=message):
        export_lora(ft[0] + rome + ft[1] + PromptPrefix("Fact:"), lm, tmp_path / "adapter")
    with pytest.raises(NotLowRank, match="changes no weight, so there is nothing to export"):
        export_lora(LowRank({}), lm, tmp_path / "adapter")
    untied_lm = lab.model("mistral")
    adapter = write_adapter(tmp_path / "other", shapes_of(untied_lm, "lm_head"))
    with pytest.raises(NotLowRank, match="1 of external are not"):
        export_lora(ExternalEdit.of(str(adapter), untied_lm), untied_lm, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_an_adapter_made_elsewhere_is_summed_with_the_others(lab, tmp_path):
    lm, edit = lab.model("llama"), lab.edits("external", "llama")[0] + lab.edits("rome", "llama")[1]
    export_lora(edit, lm, tmp_path / "adapter")
    with edit.applied(lm):
        reference = said(lm.model)
    assert_same(said(peft.PeftModel.from_pretrained(copy.deepcopy(lm.model), tmp_path / "adapter")), reference)


def test_an_edit_of_another_model_is_neither_exported_nor_baked(lab, tmp_path):
    edit, other_lm = lab.edits("rome", "llama")[0], tiny_model("llama", seed=5)
    for write in (
        lambda: export_lora(edit, other_lm, tmp_path / "f"),
        lambda: bake(edit, other_lm, tmp_path / "f", CARD),
    ):
        with pytest.raises(ValueError, match="this rome edit of P36-borduria was made for the model"):
            write()
    assert list(tmp_path.iterdir()) == []


def test_what_no_weights_can_hold_is_not_baked(lab, tmp_path):
    lm = lab.model("llama")
    hook_edit = lab.edits("grace", "llama")[0]
    words, weights = lab.edits("ike", "llama")[0], lab.edits("rome", "llama")[0]
    for edit, reason in ((weights + words, "text before the prompt"), (weights + hook_edit, r"hooks \(")):
        for form in (edit, EditHistory() + edit):
            with pytest.raises(NotWeights, match=f"this edit acts by {reason}"):
                bake(form, lm, tmp_path / "baked", CARD)
    assert list(tmp_path.iterdir()) == []


def test_a_sequence_is_baked_as_it_was_replayed(lab, tmp_path):
    lm, history = lab.model("llama"), EditHistory()
    for edit in (*lab.edits("rome", "llama"), *lab.edits("ft", "llama")):
        history = history + edit
    with history.applied(lm):
        reference = bits(lm)
    bake(history, lm, tmp_path / "baked", CARD)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "baked")
    assert same_bits(dict(model.named_parameters()), reference)


def test_a_model_read_from_gguf_is_baked_and_stays_what_it_was(tmp_path):
    lm = tiny_model("llama")
    lm.model.hf_quantizer = quantizer = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="gguf"))
    lm.model.config.quantization_config = settings = {"quant_method": "gguf"}
    bake(several(lm), lm, tmp_path / "baked", CARD)
    assert "quantization_config" not in json.loads((tmp_path / "baked/config.json").read_text())
    assert lm.model.hf_quantizer is quantizer
    assert lm.model.config.quantization_config is settings


def test_a_folder_of_others_is_left_alone_and_an_own_one_is_replaced_whole(lab, tmp_path, monkeypatch):
    lm, edit = lab.model("llama"), lab.edits("rome", "llama")[0]
    foreign_folder, folder = tmp_path / "theirs", tmp_path / "ours"
    lm.model.save_pretrained(foreign_folder)
    before = sorted(foreign_folder.iterdir())
    for write in (lambda: bake(edit, lm, foreign_folder, CARD), lambda: export_lora(edit, lm, foreign_folder)):
        with pytest.raises(FileExistsError, match=r"holds other files, which would be lost .*: name another folder"):
            write()
    assert sorted(foreign_folder.iterdir()) == before

    for sibling in ("ours.part", "ours.old"):
        (tmp_path / sibling).mkdir()
        (tmp_path / sibling / "thesis.txt").write_text("theirs")
    bake(edit, lm, folder, CARD)
    first = (folder / "model.safetensors").read_bytes()

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lm.tokenizer.__class__, "save_pretrained", killed)
        with pytest.raises(KeyboardInterrupt):
            bake(edit + edit, lm, folder, CARD)
    assert (folder / "model.safetensors").read_bytes() == first
    bake(edit + edit, lm, folder, CARD)
    assert (folder / "model.safetensors").read_bytes() != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "ours.old", "ours.part", "theirs"]
    assert all((tmp_path / sibling / "thesis.txt").exists() for sibling in ("ours.part", "ours.old"))


def test_a_card_says_what_was_edited_and_shows_text_as_text(lab):
    lm = lab.model("llama")
    fact = Fact("a|b", "*Bold* <script>\nnew | line", "P36", "{} is", "[x](http://a)", "`code`")
    scores = {
        fact.id: {"statement": 1.0, "para|phrase": 0.5},
        FACTS[0].id: {"para|phrase": math.nan},
        "not in it": {"question": 1.0},
    }
    card = Card("my_method", {"note": "``` | <b>", "layers": [1, 2]}, [fact, FACTS[0]], scores, "_Summed_.")
    text = card.markdown(lm)
    lines = text.splitlines()
    assert lines[:2] == ["---", 'base_model: "tiny-llama"']
    assert "tags: [edit_robustness]" in lines
    assert "\\_Summed\\_." in lines
    assert f"- fingerprint: {lm.fingerprint}" in lines
    table = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table}) == 1
    assert [" ".join(line.split()) for line in table if "---" not in line] == [
        "| Fact | Subject | Relation | Old object | New object | statement | para\\|phrase |",
        "| a\\|b | \\*Bold\\* \\<script\\> new \\| line | P36 | \\[x\\](http\\://a) | \\`code\\` | 1.00 | 0.50 |",
        "| P36-borduria | Borduria | P36 | Szohod | Oslo | | – |",
    ]
    settings = [line[4:] for line in lines if line.startswith("    ")]
    assert json.loads("\n".join(settings)) == card.settings
    assert "question" not in text


def test_a_card_names_what_was_left_out_and_the_prompts_to_ask_again(lab):
    prompt = CardPrompt("a", "statement", "Bold is", "Sofia.", "Oslo.", "See www.b.org & @c")
    text = Card("rome", {}, FACTS[:1], prompts=[prompt], left_out={"b": "alone: 0.00"}).markdown(lab.model("llama"))
    flat = " ".join(text.split())
    assert "## Left out | Fact | Reason |" in flat
    assert "| b | alone: 0.00 |" in flat
    assert "| a | statement | Bold is | Sofia. | Oslo. | See www\\.b.org \\& \\@c |" in flat


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_site_is_found_by_its_modules_name(architecture, lab):
    layout, names = LAYOUTS[architecture], dict(lab.model(architecture).model.named_modules())
    for part in set(PARTS) & set(layout.parts):
        site = Site(3, part)
        assert layout.site(layout.module(site)) == site
        assert names[layout.module(site)] is lab.model(architecture).module(site)
    for name in ("", "lm_head", layout.blocks, f"{layout.blocks}.3", f"{layout.blocks}.x.{layout.parts['mlp_out']}"):
        assert layout.site(name) is None
    assert layout.site("other." + layout.module(Site(3, "mlp_out"))) is None
