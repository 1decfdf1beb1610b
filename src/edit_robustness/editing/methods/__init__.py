"""The editing methods, one file each, listed in `editing/registry.py`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edit_robustness.editing.method import Method
from edit_robustness.editing.registry import ENTRIES

METHODS: Mapping[str, type[Method]] = MappingProxyType({name: entry.load() for name, entry in ENTRIES.items()})
"""The class of each method by name, in the order of `ENTRIES`."""
