"""Cells of the grid without hyperparameters get defaults while the configuration is read."""

import logging

import pytest
from fabricated_edits import REPOSITORY

from edit_robustness.configuration import SettingError, check_parameters, fill_defaults
from test_parameters import read_committed

TINY = {"type": "edit_robustness.datasets.LanguageModelDataset", "name": "mine", "random": "llama"}
CATALOG = {"mine.language_model": TINY, "smollm2.language_model": {**TINY, "name": "smollm2"}}


@pytest.fixture(scope="module")
def base():
    return read_committed(REPOSITORY / "conf" / "base")


def fill_grid(base, cells, methods=None, catalog=CATALOG, grid="grid"):
    method_settings = {
        name: {**settings, **(methods or {}).get(name, {})} for name, settings in base["methods"].items()
    }
    return fill_defaults({**base, "methods": method_settings, grid: {"mine": cells}}, catalog)


def test_a_model_without_any_settings_can_be_edited(base):
    result = fill_grid(base, {"none": True, "context": True, "rome": True, "ft": False})
    check_parameters(result.parameters, ["mine", "smollm2"])
    assert not result.problems
    assert result.parameters["methods"]["none"]["mine"] == {}
    assert result.parameters["methods"]["rome"]["mine"]["layer"] == 1  # of 4 layers, where smollm2 has 8 of 30
    assert "mine" not in result.parameters["methods"]["ft"]
    assert result.sentences == {"mine": {"rome": "Default hyperparameters, derived from those of smollm2"}}


def test_what_is_given_stays_and_is_not_called_a_default(base):
    result = fill_grid(base, {"none": True, "ft": True}, {"ft": {"mine": {"layer": 2, "lr": 0.5}}})
    ft = result.parameters["methods"]["ft"]["mine"]
    assert (ft["layer"], ft["lr"], ft["steps"]) == (2, 0.5, 25)
    assert result.sentences["mine"]["ft"].endswith("of smollm2: steps, stop_loss, loss_mean")


def test_settings_that_are_complete_are_left_as_they_are(base):
    settings = {"layer": 2, "lr": 0.5, "steps": 3, "stop_loss": 0.1}
    result = fill_grid(base, {"none": True, "ft": True}, {"ft": {"mine": settings}})
    assert result.parameters["methods"]["ft"]["mine"] == settings
    assert not result.sentences
    assert fill_defaults(base, CATALOG).parameters == base


def test_cells_of_the_grid_of_sequences_get_defaults_too(base):
    result = fill_grid(base, {"none": True, "memit": True}, grid="sequential_grid")
    assert result.sentences["mine"]["memit"]
    assert result.parameters["methods"]["memit"]["mine"]["layers"] == [0, 1]


def test_one_line_per_method_and_model_says_so_and_where_to_set_them(base, caplog):
    caplog.set_level(logging.INFO)
    fill_grid(base, {"none": True, "rome": True, "ft": True}).log()
    assert [record.message.split(" uses ")[0] for record in caplog.records] == ["mine: rome", "mine: ft"]
    line = caplog.records[0].message
    assert "default hyperparameters, derived from those of smollm2 (layer: 1, " in line
    assert "methods.rome.mine of conf/local/parameters.yml; docs/reference/parameters.md" in line


def test_a_model_whose_sizes_cannot_be_read_is_told_with_the_way_out(base, tmp_path):
    entry = {**TINY, "random": None, "folder": str(tmp_path / "nowhere")}
    result = fill_grid(base, {"none": True, "rome": True}, catalog={"mine.language_model": entry})
    with pytest.raises(SettingError, match=r"grid.mine: rome has no hyperparameters .*config.json.* methods.rome.mine"):
        result.check()


def test_a_method_without_defaults_is_left_to_the_check_of_the_grid(base):
    assert fill_grid(base, {"none": True, "external": True}).parameters["methods"]["external"] == {}


@pytest.mark.parametrize("grid", [3, ["mine"], {"mine": 3}, {"mine": {"rome": "no"}}, {"else": {"rome": True}}])
def test_what_is_malformed_is_left_to_the_checks(base, grid):
    for methods in (3, {"rome": 3}, base["methods"]):
        malformed_parameters = {**base, "grid": grid, "sequential_grid": None, "methods": methods}
        assert fill_defaults(malformed_parameters, CATALOG).parameters == malformed_parameters
