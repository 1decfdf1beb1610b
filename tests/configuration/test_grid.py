import pytest
from grids import MODELS, parameters

from edit_robustness.configuration.active import read_active
from edit_robustness.configuration.grid import GridError, read_grid


def test_methods_that_are_on_in_the_order_of_the_table():
    settings = parameters(left={"rome": True, "none": True}, right={"none": False})
    assert read_grid(settings, MODELS) == {"left": ["none", "rome"]}


def test_a_model_set_to_nothing_is_left_out():
    assert list(read_grid(parameters(left={"none": True}, right=None), MODELS)) == ["left"]


@pytest.mark.parametrize("grid", [["left"], 3, "left"])
def test_a_grid_that_is_no_mapping(grid):
    with pytest.raises(GridError, match=r"grid: it must be \{model: \{method: true\}\}; it is "):
        read_grid({"grid": grid}, MODELS)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"lef": {"none": True}}, "no model `lef` in the catalog; did you mean `left`"),
        ({"left": {"none": True, "romee": True}}, "grid.left: no method `romee`; did you mean `rome`"),
        ({"left": {"rome": True}}, "`none` must be on"),
        ({"left": {"none": True, "ike": True}}, "ike has no hyperparameters for left .*parameters/methods/ike.yml"),
        ({"left": ["none"]}, r"grid.left: it must be \{method: true\}; it is \['none'\]"),
        ({"left": True}, r"grid.left: it must be \{method: true\}; it is True"),
        ({"left": {"none": True, "rome": "no"}}, "grid.left.rome: write true or false, without quotes; it is 'no'"),
        ({"left": {"none": 1}}, "grid.left.none: write true or false, without quotes; it is 1"),
        ({}, "it is empty; name a model of left, right"),
    ],
)
def test_a_grid_that_asks_for_what_does_not_exist(models, message):
    with pytest.raises(GridError, match=message):
        read_grid(parameters(**models), MODELS)


def test_wordings_by_nobody_are_refused():
    with pytest.raises(GridError, match=r"wordings\.by: one of templates, writer, table, not 'magic'"):
        read_active(parameters(left={"none": True}) | {"wordings": {"by": "magic"}}, MODELS)


def test_the_grid_of_sequences_is_checked_as_the_other_is_and_may_be_missing():
    settings = parameters(left={"none": True})
    assert read_active(settings, MODELS).sequential_grid is None
    active = read_active(settings | {"sequential_grid": {"right": {"rome": True, "none": True}}}, MODELS)
    assert active.sequential_grid == {"right": ["none", "rome"]}
    assert {model: need.tokens for model, need in active.text_needs.items()} == {"left": 0, "right": 400}
    for wrong, message in [
        ({"lef": {"none": True}}, "sequential_grid: no model `lef` in the catalog; did you mean `left`"),
        ({"left": {"none": True, "romee": True}}, "sequential_grid.left: no method `romee`; did you mean `rome`"),
        ({"left": {"rome": True}}, "sequential_grid.left: `none` must be on"),
        ({"left": {"none": True, "ike": True}}, "sequential_grid.left: ike has no hyperparameters for left"),
        ({}, "sequential_grid: it is empty"),
    ]:
        with pytest.raises(GridError, match=message):
            read_active(settings | {"sequential_grid": wrong}, MODELS)
