"""How a node learns what the folder that it fills holds already.

In Kedro a node may not read its own output. A second data set on the same folder would be an input of every such node,
and the graph would show twenty of them before anything else. So the node saves an `Inventory` first, and the folder's
data set fills it in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from edit_robustness.datasets.folders import FolderDataset, Inventory, Landing

Reader = Callable[[FolderDataset], Any]


def fingerprints(folder: FolderDataset) -> dict[str, str]:
    """Return the fingerprint of each item that a folder holds, whichever run made it."""
    return folder.fingerprints()


def items(folder: FolderDataset) -> dict[str, Any]:
    """Return the items that a folder holds, whichever run made them; each is read when it is asked for."""
    return folder.items()


def resuming(function: Callable[..., Landing], **readers: Reader) -> Callable[..., Landing]:
    """Return the function of a node that fills a folder, with some arguments read from that folder when it begins.

    Args:
        function: Yields what lands in the folder. It has an argument for each reader, and these are no inputs of the
            node.
        **readers: For each of these arguments, what it is: `fingerprints` or `items`.
    """
    whole = inspect.signature(function)
    inputs = whole.replace(parameters=[one for name, one in whole.parameters.items() if name not in readers])

    @wraps(function)
    def node(*args: Any, **kwargs: Any) -> Landing:
        inventory = Inventory()
        yield inventory
        named = dict(inputs.bind(*args, **kwargs).arguments)
        for name, parameter in inputs.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                named |= named.pop(name, {})
        yield from function(**named, **{name: read(inventory.folder) for name, read in readers.items()})

    # Kedro reads the inputs and their types from here
    node.__signature__ = inputs  # type: ignore[attr-defined]
    return node
