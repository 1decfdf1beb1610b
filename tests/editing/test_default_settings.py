"""Default hyperparameters follow from those of the tuned models by a stated rule."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from fabricated_edits import REPOSITORY, SMOLLM2
from transformers import AutoConfig

from edit_robustness.editing.defaults import TUNED, Default, complete_settings, default_settings, most_alike
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import misfits
from edit_robustness.models.shape import Shape, shape_of
from edit_robustness.models.tiny import tiny_model

GATED = TUNED["smollm2"].parts
PLAIN = TUNED["gpt2_xl"].parts
QWEN = Shape(24, GATED, 4864, 32768, 896)
"""The sizes of Qwen2.5-0.5B."""


LATER = {
    "llama3_2_1b_instruct": Shape(16, GATED, 8192, 131072, 2048),
    "qwen3_0_6b": Shape(28, GATED, 3072, 40960, 1024),
    "qwen3_8b": Shape(36, GATED, 12288, 40960, 4096),
    "gemma3_270m_it": Shape(18, GATED, 2048, 32768, 640),
    "gemma3_4b_it": Shape(34, GATED, 10240, 131072, 2560),
    "olmo2_1b": Shape(16, GATED, 8192, 4096, 2048),
    "olmo2_7b": Shape(32, GATED, 11008, 4096, 4096),
}
"""Models of the catalog for which no settings are published, with the sizes of their config.json."""


@cache
def tuned(method):
    file = REPOSITORY / "conf/base/parameters/methods" / f"{method}.yml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))["methods"][method]


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("easyedit", "external")])
@pytest.mark.parametrize(
    "shape",
    [
        *(
            QWEN,
            Shape(2, GATED, 48, 128, 16),
            Shape(80, GATED, 28672, 8192, 8192),
            Shape(6, PLAIN, 3072, 1024, 768),
        ),
        *LATER.values(),
    ],
    ids=["half a billion", "tiny", "seventy billion", "six layers without a gate", *LATER],
)
def test_the_defaults_of_every_method_fit_the_model(method, shape):
    default = default_settings(shape, tuned(method))
    editor = METHODS[method](**default.settings)
    assert not list(misfits(f"methods.{method}.mine", editor, "mine", shape))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3_text", "gemma3", "olmo2"])
def test_the_defaults_of_every_method_fit_a_tiny_model_of_each_later_architecture(architecture):
    shape = tiny_model(architecture).shape
    for method in METHODS:
        if method not in ("easyedit", "external"):
            editor = METHODS[method](**default_settings(shape, tuned(method)).settings)
            assert not list(misfits(f"methods.{method}.mine", editor, "mine", shape)), method


@pytest.mark.parametrize("name", TUNED)
def test_a_tuned_model_has_its_own_settings_as_defaults(name):
    for method in METHODS:
        settings = tuned(method).get(name)
        if settings and most_alike(TUNED[name], [model for model in tuned(method) if model in TUNED]) == name:
            assert dict(default_settings(TUNED[name], tuned(method)).settings) == settings, method


def test_layers_move_by_depth_and_second_moments_by_the_width_of_a_key():
    rome = default_settings(QWEN, tuned("rome"))
    assert rome.source == "smollm2"
    assert rome.settings["layer"] == 6  # layer 8 of 30 is at 28% of the depth
    assert rome.settings["mom2_tokens"] == 12700  # 4,000 times 4,864 / 1,536
    assert rome.settings["v_lr"] == tuned("rome")["smollm2"]["v_lr"]
    assert default_settings(QWEN, tuned("memit")).settings["layers"] == [2, 3, 4, 5, 6]
    assert default_settings(QWEN, tuned("mend")).settings["layers"] == [21, 22, 23]


def test_layers_that_stand_for_all_stay_all_and_parts_that_a_model_lacks_are_those_of_its_architecture():
    lora = {"smollm2": {"layers": [], "parts": ["attention_q", "attention_v"], "rank": 8}}
    assert default_settings(QWEN, lora).settings == lora["smollm2"]
    assert default_settings(Shape(12, PLAIN, 3072, 1024, 768), lora).settings == {"layers": [], "parts": [], "rank": 8}


def test_the_tuned_model_nearest_in_size_with_the_same_parts_is_taken():
    assert most_alike(Shape(28, GATED, 8960, 32768, 1536), ["smollm2", "llama2_7b", "gpt_j_6b"]) == "llama2_7b"
    assert most_alike(Shape(12, PLAIN, 3072, 1024, 768), ["smollm2", "pythia_160m", "gpt_j_6b"]) == "pythia_160m"
    assert most_alike(Shape(12, PLAIN, 3072, 1024, 768), ["smollm2"]) == "smollm2"
    assert most_alike(QWEN, []) is None


def test_a_short_context_takes_fewer_demonstrations():
    settings = default_settings(Shape(12, PLAIN, 3072, 1024, 768), {"gpt_j_6b": tuned("ike")["gpt_j_6b"]}).settings
    assert dict(settings) == {"copy": 2, "update": 6, "retain": 8} == tuned("ike")["gpt2_xl"]


def test_a_method_whose_settings_are_of_no_known_model_has_no_default():
    assert default_settings(QWEN, {}) is None
    assert default_settings(QWEN, {"mine": {"layer": 1}}) is None


def test_what_is_given_stays_and_excludes_what_it_replaces():
    default = Default({"nullspace_energy": 0.01, "nullspace_threshold": None, "l2": 1.0}, "smollm2")
    assert complete_settings({"nullspace_threshold": 0.02}, default) == {"nullspace_threshold": 0.02, "l2": 1.0}
    assert complete_settings({"l2": 2.0}, default) == {"nullspace_energy": 0.01, "nullspace_threshold": None, "l2": 2.0}


def test_the_sizes_of_the_embedded_model_are_those_in_the_table(smollm2_dataset):
    # from the converted files where they are; reading the package's is faster than converting them
    folder = Path(find_spec(SMOLLM2["package"]).origin).parent
    shape = smollm2_dataset.shape() or shape_of(AutoConfig.from_pretrained(folder, gguf_file=SMOLLM2["file"]))
    assert shape == TUNED["smollm2"]
