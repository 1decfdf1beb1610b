"""The editing methods, one file each. A new one is a file, a line here, and a YAML of hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edit_robustness.editing.method import Method
from edit_robustness.editing.methods.context import Context
from edit_robustness.editing.methods.ft import FineTuning
from edit_robustness.editing.methods.ike import Ike
from edit_robustness.editing.methods.none import NoEdit
from edit_robustness.editing.methods.rome import Rome

METHODS: Mapping[str, type[Method]] = MappingProxyType(
    {method.name: method for method in (NoEdit, Context, FineTuning, Rome, Ike)}
)
