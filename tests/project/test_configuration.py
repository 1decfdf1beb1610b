"""Law 9: every committed YAML builds its method, and every catalog entry resolves, without a network."""

import socket
from pathlib import Path

import pytest
import yaml
from kedro.framework.project import pipelines
from kedro.io import MemoryDataset

from edit_robustness.configuration import USED_DEFAULTS, SettingError, check_parameters, fill_defaults
from edit_robustness.datasets import LanguageModelDataset
from edit_robustness.editing.defaults import TUNED
from edit_robustness.editing.methods import METHODS

ROOT = Path(__file__).parents[2]
ENVS = ["local", "test", "gpu", "paper2"]
HUBS = {
    "llama2_7b": "meta-llama/Llama-2-7b-hf",
    "llama2_7b_chat": "meta-llama/Llama-2-7b-chat-hf",
    "llama2_13b_chat": "meta-llama/Llama-2-13b-chat-hf",
    "mistral_7b": "mistralai/Mistral-7B-v0.1",
    "mistral_7b_instruct": "mistralai/Mistral-7B-Instruct-v0.2",
    "gpt2_xl": "openai-community/gpt2-xl",
    "gpt_j_6b": "EleutherAI/gpt-j-6b",
    "pythia_160m": "EleutherAI/pythia-160m",
    "pythia_410m": "EleutherAI/pythia-410m",
    "pythia_1b": "EleutherAI/pythia-1b",
    "pythia_2_8b": "EleutherAI/pythia-2.8b",
    "pythia_6_9b": "EleutherAI/pythia-6.9b",
    "pythia_12b": "EleutherAI/pythia-12b",
}
LATER_HUBS = {
    "llama3_1_8b": "meta-llama/Llama-3.1-8B",
    "llama3_1_8b_instruct": "meta-llama/Llama-3.1-8B-Instruct",
    "llama3_2_1b_instruct": "meta-llama/Llama-3.2-1B-Instruct",
    "llama3_2_3b_instruct": "meta-llama/Llama-3.2-3B-Instruct",
    "qwen2_5_7b_instruct": "Qwen/Qwen2.5-7B-Instruct",
    "qwen3_0_6b": "Qwen/Qwen3-0.6B",
    "qwen3_8b": "Qwen/Qwen3-8B",
    "gemma3_270m_it": "google/gemma-3-270m-it",
    "gemma3_4b_it": "google/gemma-3-4b-it",
    "olmo2_1b": "allenai/OLMo-2-0425-1B",
    "olmo2_7b": "allenai/OLMo-2-1124-7B",
}
FULL_PRECISION = {
    *("gpt2_xl", "pythia_160m", "pythia_410m", "pythia_1b", "pythia_2_8b"),
    *("llama3_2_1b_instruct", "llama3_2_3b_instruct", "qwen3_0_6b", "gemma3_270m_it", "olmo2_1b"),
}


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_):
        raise AssertionError("something asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def base_settings(method, model):
    path = ROOT / "conf/base/parameters/methods" / f"{method}.yml"
    return yaml.safe_load(path.read_text())["methods"][method].get(model, {})


def committed_settings():
    """Each environment's hyperparameters; one may name some only, over those of conf/base."""
    for path in sorted((ROOT / "conf").glob("*/parameters/**/*.yml")) + sorted(
        (ROOT / "conf").glob("*/parameters*.yml")
    ):
        for method, models in (yaml.safe_load(path.read_text()).get("methods") or {}).items():
            for model, settings in models.items():
                settings = {**base_settings(method, model), **settings}
                yield pytest.param(method, settings, id=f"{path.relative_to(ROOT / 'conf')}:{method}.{model}")


@pytest.mark.parametrize(("method", "settings"), list(committed_settings()))
def test_every_committed_yaml_builds_its_method(method, settings):
    editor = METHODS[method](**settings)
    assert {name: editor.settings()[name] for name in settings}.keys() == editor.settings().keys()


@pytest.mark.parametrize("env", ["paper2", "paper1_conversation"])
def test_the_papers_environments_find_values_as_their_code_did(project, offline, env):
    memit = project.context(env).params["methods"]["memit"]["smollm2"]
    default = project.context("local", grid={"smollm2": {"memit": True}}).params["methods"]["memit"]["smollm2"]
    assert (memit.kl_position, memit.contexts) == ("subject_last", "model")
    assert (default.kl_position, default.contexts) == ("prompt_end", "corpus")
    assert memit.layers == default.layers


@pytest.mark.parametrize("env", ENVS)
def test_every_entry_of_the_catalog_resolves(project, offline, env):
    catalog = project.context(env).catalog
    names = [name for name in catalog if not name.startswith("params:") and name != "parameters"]
    assert names
    for name in names:
        assert catalog.get(name) is not None, name


@pytest.mark.parametrize("env", ENVS)
def test_every_data_set_of_the_graph_has_its_place(project, offline, env):
    catalog = project.context(env).catalog
    for name, pipeline in pipelines.items():
        names = {dataset for dataset in pipeline.datasets() if not dataset.startswith("params:")}
        memory = {dataset for dataset in names if isinstance(catalog.get(dataset), MemoryDataset | None)}
        other_datasets = {dataset for dataset in memory if not dataset.endswith("_selection")}
        assert other_datasets == set(), f"{name}: --from-nodes can name any node, so every data set is stored"
        assert memory == other_datasets or name == "bake"
    assert "05_model_input/raw" not in str(catalog.get("raw_facts"))
    assert "08_reporting" in str(catalog.get("edited_facts"))


def test_the_models_of_the_hub(project, offline):
    catalog = project.context("gpu").catalog
    for name, hub in (HUBS | LATER_HUBS).items():
        dataset = catalog.get(f"{name}.language_model")
        assert isinstance(dataset, LanguageModelDataset)
        description = dataset._describe()
        assert (description["name"], description["dtype"]) == (
            name,
            "float32" if name in FULL_PRECISION else "bfloat16",
        )
        source, _, revision = description["source"].partition("@")
        assert source == f"hub: {hub}"
        assert name == "gpt_j_6b" or len(revision) == 40, f"{name} is not pinned"
        assert description["device"] == "auto"


def test_each_published_model_can_be_put_in_the_grid(project, offline):
    methods = {"none": True, "context": True, "rome": True, "ike": True}
    project.context("gpu", grid=dict.fromkeys(HUBS, methods))
    assert {f"{model}.rome.edit" for model in HUBS} <= {node.name for node in pipelines["__default__"].nodes}


def test_each_later_model_has_settings_of_every_method(project, offline, monkeypatch):
    # the sizes of the last model stand for those whose config.json is not here
    shapes = {**dict.fromkeys(LATER_HUBS, TUNED["llama3_2_3b_instruct"]), **TUNED}
    monkeypatch.setattr(LanguageModelDataset, "shape", lambda self, download=False: shapes.get(self._name))
    loader = project.context("gpu", grid={"llama2_7b_chat": {"none": True}}).config_loader
    names = [name for name in METHODS if name not in ("none", "easyedit", "external")]
    # without the pipelines of all these cells, which nothing here looks at
    grid = {model: dict.fromkeys(names, True) for model in LATER_HUBS}
    parameters = {name: value for name, value in loader["parameters"].items() if name != USED_DEFAULTS}
    complete_parameters = fill_defaults({**parameters, "grid": grid}, loader["catalog"])
    complete_parameters.check()
    check_parameters(complete_parameters.parameters, [*HUBS, *LATER_HUBS, "smollm2"])
    settings, defaults = complete_parameters.parameters["methods"], complete_parameters.sentences
    for method in names:
        for model in LATER_HUBS:
            METHODS[method](**settings[method][model])
    assert (settings["memit"]["llama3_1_8b"]["v_lr"], settings["memit"]["qwen2_5_7b_instruct"]["v_lr"]) == (0.1, 0.5)
    assert "rome" not in defaults["llama3_1_8b"]
    assert defaults["qwen3_8b"]["rome"].startswith("Default hyperparameters, derived from those of ")


def test_the_settings_of_paper_2_hold_for_its_models(project, offline):
    bases = ("llama2_7b", "mistral_7b", "mistral_7b_instruct", "gpt2_xl")
    methods = dict.fromkeys(("none", "rome", "memit", "pmet", "mend", "kn", "grace", "serac"), True)
    scale = {name: {"none": True, "rome": True, "memit": True} for name in HUBS if name.startswith("pythia")}
    context = project.context("gpu", sequential_grid={**dict.fromkeys(bases, methods), **scale})
    names = {node.name for node in pipelines["sequential_eval"].nodes}
    assert {
        "llama2_7b_chat.mend.edit_in_sequence",
        "gpt2_xl.serac.measure_abilities",
        "pythia_12b.memit.prepare",
    } <= names
    assert context.params["sequence"].checkpoints == (1, 5, 10, 20, 50, 100)
    assert set(context.params["analyze_sequences"].sizes) == set(scale)
    assert set(context.params["analyze_sequences"].base) <= set(HUBS)


def test_the_environment_of_paper_2_runs_the_methods_as_its_code_does(project):
    methods = project.context("paper2").params["methods"]
    kn, memit = methods["kn"]["smollm2"], methods["memit"]["smollm2"]
    assert (kn.variant, kn.steps, kn.context_lengths, kn.sharing) == ("easyedit", 1, (), 0)
    assert not memit.protect_history
    assert memit.mom2_update_weight == 200, "the rest is that of conf/base"
    default = project.context("local", sequential_grid={"smollm2": {"memit": True, "kn": True}}).params["methods"]
    assert default["memit"]["smollm2"].protect_history
    assert default["kn"]["smollm2"].variant == "paper"


def test_a_parameter_given_for_one_run_leaves_the_others(project):
    parameters = project.context("gpu", methods={"rome": {"llama2_7b_chat": {"v_lr": 0.1}}}, probes={"seed": 3}).params
    rome = parameters["methods"]["rome"]["llama2_7b_chat"]
    assert (rome.v_lr, rome.layer) == (0.1, 5)
    assert (parameters["probes"].seed, parameters["probes"].neighbours_per_fact) == (3, 2)


def test_a_model_without_published_settings_of_a_method_gets_defaults_once_its_sizes_are_known(project, monkeypatch):
    monkeypatch.setattr(LanguageModelDataset, "shape", lambda self, download=False: None)
    with pytest.raises(SettingError, match=r"ft has no hyperparameters for gpt2_xl, .*methods\.ft\.gpt2_xl"):
        project.context("gpu", grid={"gpt2_xl": {"none": True, "ft": True}})
    monkeypatch.setattr(LanguageModelDataset, "shape", lambda self, download=False: TUNED.get(self._name))
    parameters = project.context("gpu", grid={"gpt2_xl": {"none": True, "ft": True}}).params
    assert parameters["methods"]["ft"]["gpt2_xl"].layer == 36  # GPT-J's 21 of 28
    assert parameters["used_defaults"] == {"gpt2_xl": {"ft": "Default hyperparameters, derived from those of gpt_j_6b"}}


def test_a_run_of_a_model_that_nobody_configured_says_so_on_its_page(project):
    entry = {
        "type": "edit_robustness.datasets.LanguageModelDataset",
        "name": "mine",
        "random": "llama",
        "device": "cpu",
    }
    (project.folder / "conf" / "test" / "catalog_mine.yml").write_text(yaml.safe_dump({"mine.language_model": entry}))
    grid = {"tiny": None, "mine": {"none": True, "rome": True}}
    project.run(parameters={"grid": grid, "sample": {"size": 2}})
    assert "derived from those of smollm2; not tuned for this model." in (project.latest / "report.html").read_text(
        encoding="utf-8"
    )


def test_every_table_and_page_that_a_run_writes_is_saved_by_a_dataset_of_the_project():
    """Kedro's own would save them in place, and CSV cells as a spreadsheet would run them."""
    for path in (ROOT / "conf").glob("*/catalog*.yml"):
        for name, entry in yaml.safe_load(path.read_text()).items():
            if isinstance(entry, dict) and str(entry.get("filepath", "")).startswith("${globals:data}/"):
                assert entry["type"].startswith("edit_robustness.datasets."), name
