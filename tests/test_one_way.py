"""Data walks one way: ingest, prior knowledge, sample and rephrase, edit, evaluate, analyze."""

import re
from pathlib import Path

import pytest
import yaml
from grids import MODELS, parameters
from kedro.io import CatalogConfigResolver

from edit_robustness.assembly import bake_pipeline, conversation_pipeline, edit_eval, rescore_pipeline, sequential_eval
from edit_robustness.configuration.grid import read_grid

GRID = read_grid(parameters(left={"none": True, "rome": True}), MODELS)
GRAPHS = {
    "edit_eval": edit_eval(GRID),
    "edit_eval with a judge and a writer": edit_eval(GRID, with_judge=True, worded_by="writer"),
    "sequential_eval": sequential_eval(GRID),
    "conversation": conversation_pipeline(GRID),
    "rescore": rescore_pipeline(GRID),
    "bake": bake_pipeline(GRID, "rome"),
}
every_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)

STAGES = {
    **dict.fromkeys(["ingest"], 0),
    **dict.fromkeys(["prior_knowledge"], 1),
    **dict.fromkeys(["sample"], 2),
    **dict.fromkeys(["features", "rephrase"], 3),
    **dict.fromkeys(["edit"], 4),
    **dict.fromkeys(["evaluate", "abilities", "sequence", "conversation", "bake"], 5),
    **dict.fromkeys(["analyze", "analyze_sequences"], 6),
}
"""When a pipeline has its turn; `check` stands between all of them."""
OWN_STAGES = {"left.make_probes": 3, "left.rome.edit_in_sequence": 4, "left.plan_abilities": 0}
"""Nodes that have their turn before the others of their pipeline."""

EDITS = {"left.none.edit", "left.rome.edit", "left.rome.edit_in_sequence"}
BEFORE_EDITS = {"ingest", "check", "prior_knowledge", "sample", "edit"}

LAYERS = dict(raw=1, primary=3, feature=4, model_input=5, models=6, model_output=7, reporting=8)
CATALOG = CatalogConfigResolver(
    {
        name: entry
        for path in (Path(__file__).parents[1] / "conf" / "base").glob("catalog*.yml")
        for name, entry in yaml.safe_load(path.read_text(encoding="utf-8").replace("${globals:data}", "data")).items()
        if not name.startswith("_")
    }
)


def package(node):
    """Return the pipeline that a node's function is of; empty for a function of another room."""
    match = re.match(r"edit_robustness\.pipelines\.(\w+)\.", node.func.__module__)
    return match[1] if match else ""


def stage(node):
    return OWN_STAGES.get(node.name, STAGES.get(package(node)))


def upstream(graph, node):
    """Return all nodes that a node follows from."""
    due, nodes = [node], set()
    while due:
        for parent in graph.node_dependencies[due.pop()]:
            if parent not in nodes:
                nodes.add(parent)
                due.append(parent)
    return nodes


def entry(name):
    """Return the catalog's entry of a data set; None for a parameter or a model, which no entry is about."""
    if name.startswith("params:") or name.endswith(".language_model"):
        return None
    entry = CATALOG.resolve_pattern(name)
    assert "type" in entry, name
    return entry


def layer_of(name):
    layer = entry(name).get("metadata", {}).get("kedro-viz", {}).get("layer")
    return LAYERS[layer] if layer else folder_of(name)


def folder_of(name):
    """Return the number of the folder that a data set lies in; None if it lies in none."""
    path = next((value for key, value in entry(name).items() if key in ("path", "filepath", "cache")), "")
    match = re.search(r"/(0\d)_", path)
    return int(match[1]) if match else None


def select_stored(names):
    return [name for name in names if entry(name) and not entry(name)["type"].endswith("MemoryDataset")]


@pytest.mark.parametrize(
    "name", ["edit_eval", "edit_eval with a judge and a writer", "sequential_eval", "conversation"]
)
def test_nothing_of_evaluate_is_upstream_of_an_edit(name):
    graph = GRAPHS[name]
    edits = [node for node in graph.nodes if node.name in EDITS]
    assert edits
    for node in edits:
        before = {package(parent) for parent in upstream(graph, node)}
        assert before <= BEFORE_EDITS, (node.name, before - BEFORE_EDITS)
        assert {"prior_knowledge", "sample"} <= before


@every_graph
def test_a_stage_follows_only_from_itself_and_those_before_it(graph):
    for node in graph.nodes:
        if (node_stage := stage(node)) is not None:
            later = {parent.name for parent in upstream(graph, node) if (stage(parent) or 0) > node_stage}
            assert not later, (node.name, later)


@every_graph
def test_a_node_reads_only_layers_at_or_before_the_one_it_writes(graph):
    for node in graph.nodes:
        for output in select_stored(node.outputs):
            for number in (layer_of, folder_of):
                later = {dataset for dataset in select_stored(node.inputs) if (number(dataset) or 0) > number(output)}
                assert not later, (node.name, output, later)


@every_graph
def test_what_a_node_writes_lies_in_the_folder_of_its_layer(graph):
    names = select_stored(name for node in graph.nodes for name in node.outputs)
    assert {name: folder_of(name) for name in names} == {name: layer_of(name) for name in names}
