"""Every parameter is checked by name and by value before a run."""

from typing import get_origin

import pytest
import yaml
from fabricated_edits import METHOD_NAMES, REPOSITORY

from edit_robustness.configuration import SettingError, check_parameters
from edit_robustness.configuration.parameters import BLOCKS
from edit_robustness.editing.methods import METHODS
from edit_robustness.setting_types import STRICT, read_list

MODELS = ["smollm2", "tiny"]
RUNTIME = {"facts_path", "facts_limit", "offline"}
CONF = REPOSITORY / "conf"


def merge(base, changes):
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{name: merge(base.get(name), value) for name, value in changes.items()}}


def read_committed(*folders):
    parameters = {}
    for folder in folders:
        for path in [*sorted(folder.glob("parameters*.yml")), *sorted(folder.glob("parameters/**/*.yml"))]:
            parameters = merge(parameters, yaml.safe_load(path.read_text()))
    return parameters


@pytest.fixture(scope="module")
def all_parameters():
    return read_committed(CONF / "base", CONF / "test")


def read_error(all_parameters, changes):
    with pytest.raises(SettingError) as error:
        check_parameters(merge(all_parameters, changes), MODELS, RUNTIME, changes)
    return str(error.value)


def test_the_committed_parameters_pass(all_parameters):
    check_parameters(all_parameters, MODELS, RUNTIME)
    for env in ("gpu", "paper2", "paper1_conversation"):
        check_parameters(read_committed(CONF / "base", CONF / env), ["smollm2"], RUNTIME)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"damage": {"loss": 0.2}}, "unknown parameter `damage`; its name is now `analyze_sequences`"),
        ({"sequence": {"at_once": 2}}, "sequence: no setting `at_once`; its name is now `batch_size`"),
        ({"sequence": {"retained": 2}}, "sequence: no setting `retained`; its name is now `retention_facts`"),
        ({"bake": {"must_hold": 0}}, "bake: no setting `must_hold`; its name is now `thresholds`"),
        ({"analyze": {"failures_shown": 1}}, "analyze: no setting `failures_shown`; its name is now `max_failures`"),
        ({"analyze": {"held_out": "subject"}}, "analyze: no setting `held_out`; its name is now `cv_groups`"),
        (
            {"analyze": {"models": {"mine": {"formula": "success ~ kind +"}}}},
            "analyze.models.mine.formula: `success ~ kind +` is not a formula: expected a noun",
        ),
        (
            {"analyze": {"models": {"popularity": {"estimatr": "gee"}}}},
            "analyze.models.popularity: no setting `estimatr`; did you mean `estimator`?",
        ),
        (
            {"analyze": {"models": {"popularity": {"estimator": "lasso"}}}},
            "analyze.models.popularity: family binomial has the estimators gee, glm_cluster, not lasso",
        ),
        (
            {"analyze": {"models": {"popularity": {"estimator": "ordinal"}}}},
            "analyze.models.popularity: family binomial has the estimators gee, glm_cluster, not ordinal",
        ),
        ({"features": {"in_context": 1}}, "features: no setting `in_context`; its name is now `recall_demonstrations`"),
        ({"methods": {"checkpoint": {}}}, "methods: no method `checkpoint`; its name is now `external`"),
        ({"smaple": 1}, "unknown parameter `smaple`; did you mean `sample`?"),
        ({"sampel": {"size": 3}}, "unknown parameter `sampel`; did you mean `sample`?"),
        ({"grdi": {"tiny": {}}}, "unknown parameter `grdi`; did you mean `grid`?"),
        ({"data": "x"}, "unknown parameter `data`; "),
        ({"facts_pat": "x"}, "unknown parameter `facts_pat`; did you mean `facts_path`?"),
        ({"sample": {"sise": 3}}, "sample: no setting `sise`; did you mean `size`?"),
        ({"probes": {"kind": "statement"}}, "probes: no setting `kind`; did you mean `kinds`?"),
        ({"features": {"endpoints": {"view": "x"}}}, "features.endpoints: no setting `view`; did you mean `views`?"),
        ({"analyze_sequences": {"los": 0.1}}, "analyze_sequences: no setting `los`; did you mean `loss`?"),
        ({"conversation": {"rouns": 1}}, "conversation: no setting `rouns`; did you mean `rounds`?"),
        ({"abilities": {"document": 1}}, "abilities: no setting `document`; did you mean `documents`?"),
        (
            {"abilities": {"presets": {"small": {"piqa": {"task": "piqa", "shot": 2}}}}},
            "abilities.presets.small.piqa: no setting `shot`; did you mean `shots`?",
        ),
        ({"methods": {"rom": {"tiny": {"layer": 1}}}}, "methods: no method `rom`; did you mean `rome`?"),
        (
            {"methods": {"rome": {"tinny": {"layer": 1}}}},
            "methods.rome.tinny: no model `tinny` in the catalog; did you mean `tiny`?",
        ),
        (
            {"methods": {"rome": {"llama2_7b": {"layer": 1}}}},
            "methods.rome.llama2_7b: no model `llama2_7b` in the catalog; ",
        ),
        ({"methods": {"rome": {"tiny": {"vlr": 1}}}}, "methods.rome.tiny: no setting `vlr`; did you mean `v_lr`?"),
        ({"methods": {"rome": 3}}, "methods.rome: it must be {model: settings}; it is 3"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_the_closest(all_parameters, changes, message):
    assert message in read_error(all_parameters, changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": 3}, "sample: it must be a block of settings, sample: {name: value}; it is 3"),
        ({"sample": None}, "sample: it must be a block of settings, sample: {name: value}; it is null"),
        ({"methods": {"ft": {"tiny": {"lr": float("inf")}}}}, "methods.ft.tiny.lr: it is inf; give a finite number"),
        (
            {"analyze_sequences": {"sizes": {"tiny": float("nan")}}},
            "analyze_sequences.sizes.tiny: it is nan; give a finite number",
        ),
        (
            {"methods": {"rome": {"tiny": {"layer": "six"}}}},
            "methods.rome.tiny.layer: input should be a valid integer, ",
        ),
        (
            {"methods": {"rome": {"tiny": {"v_lr": -1}}}},
            "methods.rome.tiny.v_lr: input should be greater than 0; it is -1",
        ),
        ({"decoding": {"max_new_tokens": 0}}, "decoding.max_new_tokens: input should be greater than 0; it is 0"),
        (
            {"probes": {"kinds": ["statment"]}},
            "probes.kinds: unknown kind of prompt `statment`; did you mean",
        ),
        (
            {"probes": {"kinds": None}},
            "probes.kinds: it must be a list (on the command line its elements are",
        ),
        (
            {"features": {"remote": "wikipedia"}},
            "features.remote: unknown feature `wikipedia`; did you mean `wiki",
        ),
        ({"sequence": {"checkpoints": "5 1"}}, "sequence.checkpoints: checkpoints must ascend"),
        ({"bake": {"thresholds": {"statment": 1}}}, "bake.thresholds: no kind of prompt `statment`; did you"),
    ],
)
def test_a_wrong_value_is_told_in_one_line_with_its_setting(all_parameters, changes, message):
    line = read_error(all_parameters, changes)
    assert message in line
    assert "\n" not in line
    assert "pydantic" not in line


def test_settings_that_are_missing_name_what_to_copy(all_parameters):
    line = read_error(
        all_parameters, {"methods": {"rome": {"tiny": None, "smollm2": {}}}} | {"methods": {"ft": {"tiny": None}}}
    )
    assert line.startswith("methods.ft.tiny: layer, lr, steps, stop_loss must be set; methods.ft has settings for ")
    assert "copy those of the model most like yours to methods.ft.tiny" in line
    assert "\n" not in line


ONE_OF_TWO = ("nullspace_energy", "nullspace_threshold")
"""Settings that are unset in code, since a method takes one of them."""

LISTS = ("models",)
"""Settings that are a list of the user's choice: the configuration has one, the code has none."""


def list_differences(where, kind, settings):
    """Each setting whose default in code is another than its value in the configuration."""
    instance = kind(**settings)
    for name, field in kind.__pydantic_fields__.items():
        default = field.get_default(call_default_factory=True)
        if (
            not field.is_required()
            and name in settings
            and name not in (*ONE_OF_TWO, *LISTS)
            and getattr(instance, name) != default
        ):
            yield f"{where}.{name}: {default} in code, {settings[name]} in conf/base"


def test_defaults_in_code_are_those_of_the_configuration():
    base = read_committed(CONF / "base")
    blocks = {name: (kind, base[name]) for name, kind in BLOCKS.items()}
    methods = {
        f"methods.{name}.smollm2": (kind, base["methods"][name].get("smollm2")) for name, kind in METHODS.items()
    }
    # the only ones without settings for the default model: their paths are the user's
    without_settings = [where for where, (_, settings) in methods.items() if settings is None]
    assert without_settings == ["methods.easyedit.smollm2", "methods.external.smollm2"]
    pairs = {where: pair for where, pair in (blocks | methods).items() if pair[1] is not None}
    assert [line for where, pair in pairs.items() for line in list_differences(where, *pair)] == []


def test_what_the_command_line_alone_can_give_is_refused_in_a_file(all_parameters):
    check_parameters({**all_parameters, "facts_path": "x.csv"}, MODELS, RUNTIME, {"facts_path": "x.csv"})
    with pytest.raises(SettingError, match=r"`facts_path` has no effect in a file: .*--params=facts_path=x.csv"):
        check_parameters({**all_parameters, "facts_path": "x.csv"}, MODELS, RUNTIME, {})


def test_a_users_own_parameters_begin_with_x_(all_parameters):
    check_parameters({**all_parameters, "x_mine": {"anything": float("inf")}, "_shared": 1}, MODELS, RUNTIME)


def test_many_mistakes_take_few_lines(all_parameters):
    changes = {"methods": {"rome": {"tiny": {f"no_{number}": 1 for number in range(9)}}}}
    lines = read_error(all_parameters, changes).splitlines()
    assert len(lines) == 4
    assert lines[-1] == "methods.rome.tiny: 6 more settings are wrong"


@pytest.mark.parametrize(
    ("kind", "name", "text", "value"),
    [
        (BLOCKS["probes"], "kinds", "question statement", ("statement", "question")),
        (BLOCKS["sequence"], "checkpoints", "1 5", (1, 5)),
        (BLOCKS["sequence"], "checkpoints", 5, (5,)),
        (BLOCKS["features"], "remote", "wikipedia_views, wikidata_links", ("wikipedia_views", "wikidata_links")),
        (BLOCKS["abilities"], "tasks", "embedded paper2.gsm8k", ("embedded", "paper2.gsm8k")),
        (METHODS["memit"], "layers", "1 2", (1, 2)),
        (METHODS["mend"], "parts", "mlp_in mlp_out", ("mlp_in", "mlp_out")),
        (METHODS["serac"], "blocks", 2, (2,)),
        (METHODS["kn"], "context_lengths", "", ()),
    ],
)
def test_lists_are_read_by_one_rule(all_parameters, kind, name, text, value):
    block = next((block for block, settings_class in BLOCKS.items() if settings_class is kind), None)
    settings = all_parameters[block] if block else all_parameters["methods"][kind.name]["tiny"]
    assert getattr(kind(**{**settings, name: text}), name) == value


@pytest.mark.parametrize("kind", [*BLOCKS.values(), *METHODS.values()])
def test_every_list_and_every_block_follows_the_rules(kind):
    assert kind.__pydantic_config__ == STRICT
    for name, field in kind.__pydantic_fields__.items():
        if get_origin(field.annotation) is tuple:
            assert [rule for rule in field.metadata if getattr(rule, "func", None) is read_list], name


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_no_method_takes_a_number_that_is_not_finite(all_parameters, method):
    settings = all_parameters["methods"][method]["tiny"]
    for name, value in settings.items():
        if isinstance(value, float):
            with pytest.raises(ValueError, match="finite number"):
                METHODS[method](**{**settings, name: float("inf")})
