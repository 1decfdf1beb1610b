"""Edits made elsewhere: adapters against peft, whole models against transformers, and folders that cannot be used."""

import copy
import json
import re
import time

import peft
import pytest
import torch
from external_models import shapes_of, write_adapter, write_model
from fabricated_edits import ARCHITECTURES, FACTS, bits, method, probes, same_bits
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import ExternalEdit, NotCombined, NotRowwise, WrongModel
from edit_robustness.editing.exchange import lora
from edit_robustness.editing.exchange.model_folders import UnusableFolder
from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Owners
from edit_robustness.models.tiny import tiny_model

IDS = torch.arange(5, 40)[None]
UNTIED = ("mistral", "gptj", "gpt_neox", "gemma2")
"""Architectures whose head has a weight of its own, which is no site."""

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS).logits.float()


def with_peft(lm, folder):
    return logits(peft.PeftModel.from_pretrained(copy.deepcopy(lm.model), folder))


def site_shapes(lm):
    return shapes_of(
        lm, *(lm.layout.module(Site(layer, part)) for layer, part in ((0, "mlp_out"), (2, "attention_out")))
    )


def head_adapter(lm, folder):
    return write_adapter(folder, shapes_of(lm, "lm_head"))


def any_parameter(lm):
    """Return a parameter that is not a site: a norm's, at the top."""
    return [name for name, weight in lm.model.named_parameters() if weight.ndim == 1][-1]


@pytest.mark.parametrize("way", ["plain", "rank stabilised", "ranks and alphas of their own"])
@every_architecture
def test_an_adapter_does_what_it_does_under_peft(architecture, way, lab, tmp_path):
    lm = lab.model(architecture)
    shapes = site_shapes(lm)
    first, end = next(iter(shapes)), lm.layout.parts["attention_out"]
    settings = {
        "plain": {},
        "rank stabilised": {"use_rslora": True, "lora_alpha": 3},
        "ranks and alphas of their own": {"ranks": {first: 3}, "alpha_pattern": {first: 9, end: 1}},
    }[way]
    folder = write_adapter(tmp_path / "a", shapes, fan_in_fan_out=lm.layout.transposed, **settings)
    edit = ExternalEdit.of(str(folder), lm)
    with edit.applied(lm):
        result = logits(lm.model)
    assert (result - with_peft(lm, folder)).abs().max() < 1e-4
    assert (result - logits(lm.model)).abs().max() > 0.01
    assert edit.dense().keys() == {Site(0, "mlp_out"), Site(2, "attention_out")}


def test_an_adapter_adds_alpha_by_rank_times_b_a(lab, tmp_path):
    lm = lab.model("gpt2")
    name, _ = next(iter(site_shapes(lm).items()))
    folder = write_adapter(tmp_path / "a", site_shapes(lm), lora_alpha=5)
    tensors = load_file(folder / "adapter_model.safetensors")
    b, a = (tensors[f"base_model.model.{name}.lora_{letter}.weight"] for letter in "BA")
    before = lm.model.get_parameter(f"{name}.weight").detach().clone()
    with ExternalEdit.of(str(folder), lm).applied(lm):
        torch.testing.assert_close(lm.model.get_parameter(f"{name}.weight"), before + 5 / 2 * (b @ a).T)


@every_architecture
def test_an_adapter_of_the_weights_into_attention_is_one_of_sites(architecture, lab, tmp_path):
    lm = lab.model(architecture)
    sites = [Site(2, part) for part in lm.layout.parts if part in ("attention_q", "attention_v", "attention_qkv")]
    shapes = shapes_of(lm, *map(lm.layout.module, sites))
    folder = write_adapter(tmp_path / "a", shapes, fan_in_fan_out=lm.layout.transposed)
    edit = ExternalEdit.of(str(folder), lm)
    with edit.applied(lm):
        adapter_logits = logits(lm.model)
    assert (adapter_logits - with_peft(lm, folder)).abs().max() < 1e-4
    assert edit.dense().keys() == set(sites) != set()


@pytest.mark.parametrize("architecture", UNTIED)
def test_an_adapter_of_other_weights_is_put_on_by_itself_and_taken_off(architecture, lab, tmp_path):
    lm = lab.model(architecture)
    folder = head_adapter(lm, tmp_path / "a")
    edit, before = ExternalEdit.of(str(folder), lm), bits(lm)
    assert same_bits(bits(lm), before)
    with pytest.raises(KeyError), edit.applied(lm):
        adapter_logits = logits(lm.model)
        raise KeyError
    assert same_bits(bits(lm), before)
    assert (adapter_logits - with_peft(lm, folder)).abs().max() < 1e-4
    assert (adapter_logits - logits(lm.model)).abs().max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@every_architecture
def test_a_whole_model_is_put_on_and_taken_off_bit_for_bit(architecture, dtype, lab, tmp_path):
    lm = lab.model(architecture, dtype)
    folder = write_model(tmp_path / "m", lm, any_parameter(lm))
    before, random = bits(lm), torch.get_rng_state()
    edit = ExternalEdit.of(str(folder), lm)
    assert torch.equal(torch.get_rng_state(), random)
    with pytest.raises(KeyError), edit.applied(lm):
        edited_bits = bits(lm)
        raise KeyError
    assert same_bits(bits(lm), before)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    assert same_bits(edited_bits, dict(reference.named_parameters()))
    assert not same_bits(edited_bits, before)


def test_a_file_holds_no_weights(lab, tmp_path):
    lm = lab.model("llama")
    edit = ExternalEdit.of(str(write_model(tmp_path / "m", lm, any_parameter(lm))), lm)
    write_edit(tmp_path / "edit.safetensors", edit, {})
    assert (tmp_path / "edit.safetensors").stat().st_size < 1000
    assert read_edit(tmp_path / "edit.safetensors") == edit


@pytest.mark.parametrize("make", [head_adapter, lambda lm, folder: write_model(folder, lm, any_parameter(lm))])
def test_what_is_no_adapter_of_sites_stands_alone(make, lab, tmp_path):
    lm = lab.model("mistral")
    edit = ExternalEdit.of(str(make(lm, tmp_path / "f")), lm)
    for combine in (edit.dense, lambda: EditHistory() + edit, (edit + edit).dense):
        with pytest.raises(NotCombined, match="cannot be part of a sequence or a sum of edits"):
            combine()
    for several in (edit, edit + edit):
        with pytest.raises(NotRowwise), several.applied(lm, Owners([0]).rows(0)):
            pass
    requests = [(edit, probes(("statement",))), (edit, probes(("paraphrase",)))]
    answer_lists = list(ask(lm, requests, Decoding(max_new_tokens=3)))
    alone = list(ask(lm, requests, Decoding(max_new_tokens=3), together=False))
    assert [[a.text for a in answer_list] for answer_list in answer_lists] == [
        [a.text for a in answer_list] for answer_list in alone
    ]


def test_adapters_of_sites_add_up(lab):
    lm, (first, second, _) = lab.model("llama"), lab.edits("external", "llama")
    before = bits(lm)
    with (EditHistory() + first + second).applied(lm):
        history = bits(lm)
    with (first + second).applied(lm):
        assert same_bits(bits(lm), history)
    for site, change in first.dense().items():
        name = f"{lm.layout.module(site)}.weight"
        torch.testing.assert_close(history[name], before[name] + change + second.dense()[site])


def build_truncated(lm, folder):
    path = next(write_model(folder, lm, any_parameter(lm)).glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-10])


def truncated_adapter(lm, folder):
    path = write_adapter(folder, site_shapes(lm)) / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def not_finite(lm, folder):
    write_model(folder, lm, any_parameter(lm), by=float("nan"))


def not_finite_adapter(lm, folder):
    path = write_adapter(folder, site_shapes(lm)) / "adapter_model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = float("inf")
    save_file(tensors, path)


def other_architecture(lm, folder):
    tiny_model("gpt2").model.save_pretrained(folder)


def wider(lm, folder):
    config = copy.deepcopy(lm.model.config)
    config.intermediate_size = 64
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def deeper(lm, folder):
    config = copy.deepcopy(lm.model.config)
    config.num_hidden_layers = 5
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def lacking(lm, folder):
    path = next(write_model(folder, lm, any_parameter(lm)).glob("*.safetensors"))
    tensors = load_file(path)
    del tensors["model.norm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})


def without_settings(lm, folder):
    (write_model(folder, lm, any_parameter(lm)) / "config.json").unlink()


def pickled(lm, folder):
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"no")


def nowhere(lm, folder):
    pass


def weight_decomposed(lm, folder):
    write_adapter(folder, site_shapes(lm), use_dora=True)


def other_kind(lm, folder):
    write_adapter(folder, site_shapes(lm), peft_type="IA3")


def other_tensors(lm, folder):
    path = write_adapter(folder, site_shapes(lm)) / "adapter_model.safetensors"
    save_file({**load_file(path), "base_model.model.lm_head.weight": torch.ones(2, 2)}, path)


def half_a_pair(lm, folder):
    path = write_adapter(folder, site_shapes(lm)) / "adapter_model.safetensors"
    tensors = load_file(path)
    del tensors[next(name for name in tensors if "lora_B" in name)]
    save_file(tensors, path)


def module_of_another_model(lm, folder):
    write_adapter(folder, {"transformer.h.0.attn.c_attn": (96, 32)})


def weight_of_another_shape(lm, folder):
    write_adapter(folder, {"model.layers.0.self_attn.q_proj": (16, 32)})


def site_of_another_shape(lm, folder):
    write_adapter(folder, {**site_shapes(lm), "model.layers.3.mlp.down_proj": (32, 64)})


def tied_head(lm, folder):
    write_adapter(folder, shapes_of(lm, "lm_head"))


def layer_of_a_deeper_model(lm, folder):
    write_adapter(folder, {"model.layers.4.mlp.down_proj": (32, 48)})


def settings_changed(**values):
    """Build an adapter with changed settings; None removes a setting."""

    def spoil(lm, folder):
        path = write_adapter(folder, site_shapes(lm)) / "adapter_config.json"
        settings = json.loads(path.read_text()) | values
        path.write_text(json.dumps({name: value for name, value in settings.items() if value is not None}))

    spoil.__name__ = " ".join(values)
    return spoil


def settings_without_names(lm, folder):
    (write_adapter(folder, site_shapes(lm)) / "adapter_config.json").write_text("[]")


def left_over(lm, folder):
    path = next(write_model(folder, lm, any_parameter(lm)).glob("*.safetensors"))
    save_file({**load_file(path), "model.layers.0.mlp.down_proj.bias": torch.ones(32)}, path, metadata={"format": "pt"})


def test_a_key_of_dots_and_a_long_name_take_no_time():
    """Match a key of dots, of which each may be any character, in linear time."""
    module, dots = "a." * 30_000, "." * 30_001
    start = time.perf_counter()
    settings = {"r": 1, "rank_pattern": {dots + "b": 2, dots + "c": 2, "^" + dots: 2}}
    assert lora._of_module(settings, module, "rank_pattern") == 1
    assert time.perf_counter() - start < 1


KEYS = ["proj", "b.proj", "a.b.proj", r"b\.proj", "^a.b.proj", "^proj", "b.pro", ".proj", "b-proj"]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_names_the_modules_that_it_names_for_peft(key):
    names = ["a.b.proj", "a.bxproj", "b.proj", "proj", "xproj", "a.b-proj"]
    matches = [re.match(rf"(.*\.)?({key})$", name) is not None for name in names]
    assert [lora._is_name_of(key, name) for name in names] == matches


HOSTILE = "(" * 20 + "a" + "+)+" * 20
"""A regular expression that takes for ever on a long name."""

UNUSABLE = {
    **{
        settings_changed(init_lora_weights=start): f"was trained with `init_lora_weights: {start}`, which changes the "
        "model's own weights .*path_initial_model_for_weight_conversion"
        for start in ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "of next year")
    },
    settings_changed(lora_alpha=None): r"adapter_config.json: `lora_alpha` \(None\) and the values .* must be numbers",
    settings_changed(alpha_pattern={"down_proj": "x"}): "the values of `alpha_pattern` must be numbers above 0",
    settings_changed(
        alpha_pattern={HOSTILE: 1}
    ): "`alpha_pattern` has the regular expression .*; only names of modules",
    settings_changed(rank_pattern={HOSTILE: 1}): "`rank_pattern` has the regular expression",
    settings_changed(r=3): "has factors of rank 2, and adapter_config.json says 3",
    settings_changed(modules_to_save=["lm_head"]): r"is not a plain LoRA adapter \(LORA; modules_to_save\)",
    settings_changed(lora_bias=True): r"is not a plain LoRA adapter \(LORA; lora_bias\)",
    settings_without_names: "adapter_config.json contains a list, not a JSON object",
    left_over: "holds weights that the model does not have: model.layers.0.mlp.down_proj.bias",
    build_truncated: "model.safetensors cannot be read .*; write or download the file again",
    truncated_adapter: "adapter_model.safetensors cannot be read",
    not_finite: "`model.norm.weight` contains numbers that are not finite",
    not_finite_adapter: "lora_A.weight` contains numbers that are not finite",
    other_architecture: "holds a model of the architecture `gpt2`, and tiny-llama is `llama`",
    wider: r"`model.layers.0.mlp.down_proj.weight` is \(32, 64\), and in tiny-llama \(32, 48\)",
    deeper: r"`model.layers.4.input_layernorm.weight` is \(32,\), and in tiny-llama not there",
    lacking: "lacks the weights model.norm.weight",
    without_settings: r"config.json cannot be read",
    pickled: "has no safetensors files, and pickled weights are never read",
    nowhere: "the folder .* is missing: restore it, or change methods.external.<model>.path",
    weight_decomposed: r"is not a plain LoRA adapter \(LORA; use_dora\): merge it into its model",
    other_kind: r"is not a plain LoRA adapter \(IA3; no extras\)",
    other_tensors: r"is not a plain LoRA adapter \(LORA; base_model.model.lm_head.weight\)",
    half_a_pair: "the factors of `model.layers.0.mlp.down_proj` do not form a pair",
    module_of_another_model: r"adds \(96, 32\) to `transformer.h.0.attn.c_attn`; in tiny-llama there is none",
    site_of_another_shape: r"adds \(32, 64\) to `model.layers.3.mlp.down_proj`; in tiny-llama it is \(32, 48\)",
    tied_head: r"adds \(257, 32\) to `lm_head`; in tiny-llama there is none of its own",
    layer_of_a_deeper_model: r"adds \(32, 48\) to `model.layers.4.mlp.down_proj`; in tiny-llama there is none",
    weight_of_another_shape: r"adds \(16, 32\) to `model.layers.0.self_attn.q_proj`; in tiny-llama it is \(32, 32\)",
}


@pytest.mark.parametrize(("spoil", "message"), UNUSABLE.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_folder_that_cannot_be_used_is_told_when_editing_and_leaves_the_model_alone(spoil, message, lab, tmp_path):
    lm, folder = lab.model("llama"), tmp_path / "f"
    before = bits(lm)
    spoil(lm, folder)
    editor = method("external", path=str(folder))
    with pytest.raises(UnusableFolder, match=message) as error:
        editor.edit(lm, FACTS[:1])
    assert str(folder) in str(error.value)
    assert same_bits(bits(lm), before)


def test_a_folder_that_has_changed_since_is_told(lab, tmp_path):
    lm, folder = lab.model("llama"), tmp_path / "f"
    edit = ExternalEdit.of(str(write_adapter(folder, site_shapes(lm))), lm)
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "README.md").write_text("words are no weights")
    with edit.applied(lm):
        pass
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 1}))
    with pytest.raises(UnusableFolder, match=r"has changed since this edit was made: .*delete the edit's file"):
        edit.dense()


def test_a_signed_edit_is_refused_by_another_model(lab, tmp_path):
    edit = method("external").edit(lab.model("llama"), FACTS[:1])
    other_lm = tiny_model("llama", seed=5)
    with pytest.raises(WrongModel, match="this external edit of P36-borduria was made for"), edit.applied(other_lm):
        pass


def test_facts_share_a_folder_or_have_their_own(lab, tmp_path, monkeypatch):
    lm = lab.model("llama")
    folder = write_adapter(tmp_path / "{all}", site_shapes(lm))
    shared_method = method("external", path=str(folder))
    paths = []
    of = ExternalEdit.of.__func__
    monkeypatch.setattr(ExternalEdit, "of", classmethod(lambda cls, *a: (paths.append(a[0]), of(cls, *a))[1]))
    edits = list(shared_method.edit_each(lm, FACTS))
    assert paths == [str(folder)]
    assert len(set(edits)) == 1
    assert [edit.origin.facts for edit in edits] == [(fact.id,) for fact in FACTS]
    assert shared_method.edit(lm, FACTS).origin.facts == tuple(fact.id for fact in FACTS)
    with pytest.raises(
        ValueError, match=r"one folder per fact .*3 facts are edited at once: set sequence\.batch_size: 1"
    ):
        method("external").edit(lm, FACTS)
    assert method("external").edit(lm, FACTS[1:2]).path.endswith(f"/tiny-llama/{FACTS[1].id}")
