"""The editing methods, one file each. A new one is a file, a line here, and a YAML of hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edit_robustness.editing.method import Method
from edit_robustness.editing.methods.alphaedit import AlphaEdit
from edit_robustness.editing.methods.checkpoint import MadeElsewhere
from edit_robustness.editing.methods.context import Context
from edit_robustness.editing.methods.ft import ConstrainedFineTuning, FineTuning
from edit_robustness.editing.methods.grace import Grace
from edit_robustness.editing.methods.ike import Ike
from edit_robustness.editing.methods.kn import KnowledgeNeurons
from edit_robustness.editing.methods.memit import Memit
from edit_robustness.editing.methods.mend import Mend
from edit_robustness.editing.methods.none import NoEdit
from edit_robustness.editing.methods.pmet import Pmet
from edit_robustness.editing.methods.rome import Rome
from edit_robustness.editing.methods.serac import Serac

METHODS: Mapping[str, type[Method]] = MappingProxyType(
    {
        method.name: method
        for method in (
            NoEdit,
            Context,
            FineTuning,
            ConstrainedFineTuning,
            Rome,
            Memit,
            Pmet,
            AlphaEdit,
            KnowledgeNeurons,
            Mend,
            Grace,
            Serac,
            Ike,
            MadeElsewhere,
        )
    }
)
