"""Every row of the two tables is a cell of the laws; a new row that is not fails here."""

import pytest
from cells import ALIKE
from fabricated_edits import ARCHITECTURES, METHOD_NAMES, TINY_SETTINGS, method

from edit_robustness.editing.methods import METHODS
from edit_robustness.models.layout import LAYOUTS
from edit_robustness.models.tiny import CONFIGS


def test_the_laws_cover_every_method():
    assert set(METHOD_NAMES) == set(METHODS)
    gaps = set(METHODS) - set(TINY_SETTINGS)
    assert not gaps, f"conf/test/parameters.yml has no `methods.<name>.tiny` for {gaps}"
    assert not set(TINY_SETTINGS) - set(METHODS)


def test_the_laws_cover_every_architecture():
    assert set(ARCHITECTURES) == set(LAYOUTS)
    assert set(CONFIGS) == set(LAYOUTS), "models/tiny.py has no configuration of an architecture"


def test_rows_that_are_alike_are_some_of_them():
    assert set(ALIKE) < set(ARCHITECTURES)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_row_has_the_name_of_its_method(name):
    assert METHODS[name].name == name
    assert method(name).settings().keys() == TINY_SETTINGS[name].keys()


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_method_that_reads_moments_says_of_which_keys(name):
    reads = "moments" in METHODS[name].learns_from
    assert bool(method(name).key_sites) == reads == ("mom2_tokens" in method(name).settings())
