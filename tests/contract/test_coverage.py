"""Every row of the two tables is a cell of the laws; a new row that is not fails here."""

from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
import torch
from cells import (
    ALIKE,
    APART,
    KINDS,
    every_cell,
    every_cell_in_dtypes,
    every_cell_once,
    every_mixture,
    is_default,
    methods_on,
)
from fabricated_edits import ARCHITECTURES, IN_A_PROCESS, METHOD_NAMES, TINY_SETTINGS, method

from edit_robustness.editing.edits import EDITS, Chain, Dense, FeatureStatistics
from edit_robustness.editing.methods import METHODS
from edit_robustness.models.layout import LAYOUTS
from edit_robustness.models.tiny import CONFIGS


def test_the_laws_cover_every_method():
    assert set(METHOD_NAMES) == set(METHODS) - set(IN_A_PROCESS)
    gaps = set(METHOD_NAMES) - set(TINY_SETTINGS)
    assert not gaps, f"conf/test/parameters.yml has no `methods.<name>.tiny` for {gaps}"
    assert not set(TINY_SETTINGS) - set(METHODS)


def test_the_laws_cover_every_architecture():
    assert set(ARCHITECTURES) == set(LAYOUTS)
    assert set(CONFIGS) == set(LAYOUTS), "models/tiny.py has no configuration of an architecture"


def test_rows_that_are_alike_are_some_of_them():
    assert set(ALIKE) < set(ARCHITECTURES)
    assert not set(ALIKE) & set(APART)


NOT_OF_A_METHOD = (Chain.kind, Dense.kind, FeatureStatistics.kind)
"""Kinds that are parts of others, or applied as others are."""

GENERAL_LAWS = sorted(
    {path.stem for path in Path(__file__).parent.glob("test_law_[1-46-8]_*.py")} - {"test_law_8_in_the_harness"}
)
"""All but law 5, which is about single methods, and the harness, which is given two architectures."""


def cells_of(parametrisation, *, slow):
    """The cells of a mark as (name, architecture), with or without those that are marked as slow."""
    return {cell.values for cell in parametrisation.args[1] if slow or not cell.marks}


def test_every_kind_of_edit_is_tested_on_every_architecture(lab):
    # a dense change is applied by the same code as an Adam trace, which is one once it is replayed; statistics change
    # nothing, and are part of chains only
    kinds = set(EDITS) - {*NOT_OF_A_METHOD}
    assert set(KINDS) == kinds, "say in KINDS which method stands for a new kind of edit"
    for kind, name in KINDS.items():
        assert {edit.kind for edit in lab.edits(name, "llama")} == {kind}
    cells = cells_of(every_cell.mark, slow=False)
    assert {(name, architecture) for name in KINDS.values() for architecture in ARCHITECTURES} <= cells


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_every_method_is_of_a_kind_and_is_tested_on_the_two_architectures(name, lab):
    assert {edit.kind for edit in lab.edits(name, "llama")} <= {*KINDS, *NOT_OF_A_METHOD}
    cells = cells_of(every_cell.mark, slow=False)
    assert {(name, architecture) for architecture in APART} <= cells
    assert all(name in methods_on(architecture) for architecture in APART)


def test_a_method_that_nothing_here_names_is_tested_on_the_two_architectures():
    tested_on = {architecture for architecture in ARCHITECTURES if is_default("a new method", architecture)}
    assert tested_on == set(APART)


def test_the_slow_cells_are_all_the_others():
    product = {(name, architecture) for name in METHOD_NAMES for architecture in ARCHITECTURES}
    assert cells_of(every_cell.mark, slow=True) == product
    mixtures = cells_of(every_mixture.mark, slow=True)
    assert {architecture for architecture, names in mixtures if set(names) == set(METHOD_NAMES)} == set(ARCHITECTURES)
    assert cells_of(every_mixture.mark, slow=False) == {
        (architecture, methods_on(architecture)) for architecture in ARCHITECTURES
    }


def test_the_two_architectures_differ_in_layout(lab):
    first, second = (lab.model(architecture) for architecture in APART)
    assert first.layout.transposed != second.layout.transposed
    assert ("mlp_gate" in first.layout.parts) != ("mlp_gate" in second.layout.parts)
    modules = [{name.split(".")[-1] for name, _ in lm.model.named_modules()} for lm in (first, second)]
    assert [names & {"wpe", "rotary_emb"} for names in modules] == [{"wpe"}, {"rotary_emb"}]
    heads = [getattr(lm.config, "num_key_value_heads", lm.config.num_attention_heads) for lm in (first, second)]
    assert heads[0] == first.config.num_attention_heads
    assert heads[1] < second.config.num_attention_heads


def test_every_cell_is_tested_in_both_dtypes_by_one_law_and_the_two_architectures_by_all():
    cells, pairs = cells_of(every_cell_in_dtypes.mark, slow=False), cells_of(every_cell.mark, slow=False)
    assert {(*pair, torch.float32) for pair in pairs} <= cells
    assert {(*pair, torch.bfloat16) for pair in pairs if pair[1] in APART} <= cells
    cells = cells_of(every_cell_once.mark, slow=False)
    assert {(*pair, torch.float32) for pair in cells_of(every_cell.mark, slow=True)} <= cells
    assert {(*pair, torch.bfloat16) for pair in pairs} <= cells


@pytest.mark.parametrize("law", GENERAL_LAWS)
def test_a_law_takes_its_methods_and_architectures_from_these_cells(law):
    """If a test had the two as parameters of their own, the default run would have their product."""
    tests = [test for name, test in vars(import_module(law)).items() if name.startswith("test_")]
    cells = [mark.mark.args for mark in (every_cell, every_cell_in_dtypes, every_cell_once, every_mixture)]
    in_cells = [test for test in tests if any(mark.args in cells for mark in getattr(test, "pytestmark", ()))]
    assert in_cells
    assert all({"name", "architecture"} - set(signature(test).parameters) for test in tests if test not in in_cells)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_row_has_the_name_of_its_method(name):
    assert METHODS[name].name == name
    assert method(name).settings().keys() == TINY_SETTINGS[name].keys()


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_method_that_reads_moments_says_of_which_keys(name):
    reads = "moments" in METHODS[name].learns_from
    assert bool(method(name).key_sites) == reads == ("mom2_tokens" in method(name).settings())
