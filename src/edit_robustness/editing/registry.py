"""The list of editing methods: name, label, one-line description and class of each.

Figures and the report read labels from this module and must not import torch. So the list names each class by its
module, and the class is imported only when `load` is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType


@dataclass(frozen=True)
class Entry:
    """One editing method.

    Attributes:
        name: Its name in settings and tables; the class has the same `name`.
        implemented_by: Module in `editing/methods` and class, as ``rome.Rome``.
        label: Its name in figures, in the report and on the command line.
        description: A description in one line.
        is_edit: Whether it is an editing method; False for the unedited model and for the in-context baselines.
    """

    name: str
    implemented_by: str
    label: str
    description: str
    is_edit: bool = True

    def load(self) -> type:
        """Return the class.

        Raises:
            ValueError: If the class has another name than the entry.
        """
        module, _, name = self.implemented_by.rpartition(".")
        method: type = getattr(import_module(f"edit_robustness.editing.methods.{module}"), name)
        if (class_name := getattr(method, "name", None)) != self.name:
            raise ValueError(f"the method `{self.name}` names {self.implemented_by}, whose `name` is {class_name!r}")
        return method


_IN_ORDER = (
    Entry(
        "none",
        "none.Unedited",
        "No edit",
        "Leaves the model as it is: the row that every other is compared with.",
        is_edit=False,
    ),
    Entry(
        "context",
        "context.Context",
        "Fact in context",
        "Puts the new fact before every prompt, in one sentence.",
        is_edit=False,
    ),
    Entry(
        "retrieve",
        "retrieve.Retrieve",
        "Retrieved facts",
        "Puts those edited facts before a prompt that it is about.",
        is_edit=False,
    ),
    Entry("ft", "ft.FineTuning", "FT", "Fine-tunes one MLP weight on the new fact."),
    Entry(
        "ft_l", "ft.ConstrainedFineTuning", "FT-L", "Fine-tunes one MLP weight under a bound on every entry's change."
    ),
    Entry(
        "ft_epochs",
        "ft_epochs.EpochFineTuning",
        "FT in epochs",
        "Fine-tunes one MLP weight in epochs over batches of facts (LocFT-BF).",
    ),
    Entry("lora", "lora.Lora", "LoRA", "Trains a LoRA adapter with PEFT, without any editing method."),
    Entry("rome", "rome.Rome", "ROME", "Changes one MLP weight by a matrix of rank one."),
    Entry("memit", "memit.Memit", "MEMIT", "Spreads many facts at once over the MLP weights of several layers."),
    Entry("pmet", "pmet.Pmet", "PMET", "MEMIT that optimises attention's output, too, and writes only the MLP's."),
    Entry("alphaedit", "alphaedit.AlphaEdit", "AlphaEdit", "MEMIT in the null space of what the model already knows."),
    Entry(
        "ultraedit",
        "ultraedit.UltraEdit",
        "UltraEdit",
        "Writes one normalised gradient per fact into several weights by least squares.",
    ),
    Entry("kn", "kn.KnowledgeNeurons", "KN", "Rewrites the few MLP neurons that attribution finds for a fact."),
    Entry("mend", "mend.Mend", "MEND", "Trained networks turn the gradient of a fact into a change of weights."),
    Entry("grace", "grace.Grace", "GRACE", "Replaces one layer's output near the inputs of an edit, from a codebook."),
    Entry(
        "serac",
        "serac.Serac",
        "SERAC",
        "A memory of edits, a scope classifier and a small model that answers in scope.",
    ),
    Entry("ike", "ike.Ike", "IKE", "Puts the new fact and demonstrations of how to use it before every prompt."),
    Entry("easyedit", "easyedit.EasyEdit", "EasyEdit", "Edits with a method of your own clone of EasyEdit."),
    Entry("external", "external.External", "External model", "Evaluates edited models from your own folders."),
)

ENTRIES: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _IN_ORDER})
"""Every method by name; the order is that of tables and figures."""
