"""The order in which a run goes through its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from kedro.pipeline import Node, Pipeline

SHARED = ("analyze", "conversation", "analyze_sequences", "popularity", "preflight", "parity")
"""Namespaces of what all models share."""


def model_of(node: Node) -> str:
    """Return the model that a node belongs to; empty for what all models share."""
    namespace = (node.namespace or "").split(".")[0]
    return "" if namespace in SHARED else namespace


class ByModel(Pipeline):
    """A pipeline that runs one model's nodes after another's, as far as the graph allows.

    Kedro runs breadth-first: all edits of all models, then all evaluations; each switch would load a model anew.
    Nodes of no model come as soon as they can: bad facts are found before any model is loaded.
    """

    def __init__(self, parts: Sequence[Any], models: Sequence[str], **options: Any):
        self._models = list(models)
        super().__init__(parts, **options)

    @cached_property
    def _order_nodes(self) -> list[Node]:
        queue, dependencies = list(super().nodes), self.node_dependencies
        order: list[Node] = []
        current = ""
        while queue:
            ready = [node for node in queue if dependencies[node].issubset(order)]
            node = min(ready, key=lambda node: self._turn(node, current))
            current = model_of(node) or current
            queue.remove(node)
            order.append(node)
        return order

    @property
    def nodes(self) -> list[Node]:
        """Return the nodes in an order of dependence that stays with a model as long as it can."""
        return list(self._order_nodes)

    def filter(self, *args: Any, **options: Any) -> Pipeline:
        """Filter as `Pipeline.filter` does; the result keeps the order."""
        return ByModel(super().filter(*args, **options).nodes, self._models)

    def __add__(self, pipeline: Any) -> Pipeline:
        return ByModel(super().__add__(pipeline).nodes, self._models)

    def __radd__(self, pipeline: Any) -> Pipeline:
        # a session adds pipelines up from an empty one, and Python asks the right one first only if it has this
        return super().__radd__(pipeline)

    def _turn(self, node: Node, current: str) -> int:
        """Return a rank: nodes of no model first, then the current model's, then others' in the order of the grid."""
        model = model_of(node)
        if not model:
            return -2
        return -1 if model == current else self._models.index(model)
