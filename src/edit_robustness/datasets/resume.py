"""Input of a node: what the folder that it fills already contains.

In Kedro a node may not read its own output. A second data set on the same folder would be an input of every such node,
and the graph would show twenty of them before anything else. So the node saves an `Inventory` first, and the folder's
data set fills it in.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any

from edit_robustness.datasets.folders import FolderDataset, Inventory, Landing

Reader = Callable[[FolderDataset[Any]], Any]


fingerprints: Reader = FolderDataset.fingerprints
items: Reader = FolderDataset.items


def resume_folder(function: Callable[..., Landing], **readers: Reader) -> Callable[..., Landing]:
    """Return the function of a node that fills a folder, with some arguments read from that folder when it begins.

    Args:
        function: Yields what lands in the folder. It has an argument for each reader, and these are no inputs of the
            node.
        **readers: For each of these arguments, what it is: `fingerprints` or `items`.
    """
    signature = inspect.signature(function)
    parameters = [parameter for name, parameter in signature.parameters.items() if name not in readers]
    inputs = signature.replace(parameters=parameters)

    @wraps(function)
    def node(*args: Any, **kwargs: Any) -> Landing:
        inventory = Inventory()
        yield inventory
        binding = inputs.bind(*args, **kwargs)
        binding.apply_defaults()
        values = {**binding.arguments, **{name: reader(inventory.folder) for name, reader in readers.items()}}
        # arguments by position, among them those of `*methods`, must keep their order
        arguments_in_order = OrderedDict((name, values[name]) for name in signature.parameters)
        arguments = inspect.BoundArguments(signature, arguments_in_order)
        yield from function(*arguments.args, **arguments.kwargs)

    # Kedro reads the inputs and their types from here
    node.__signature__ = inputs  # type: ignore[attr-defined]
    return node
