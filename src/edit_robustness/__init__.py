"""Edit Robustness: do edited facts hold, what do they cost the model, and which facts are hard to edit?

`load_model`, `method_for`, `ask`, `read_training_facts` and `Fact` are for your own Python code
(`edit_robustness.api`). They are imported when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edit_robustness.api import ask, load_model, method_for, read_training_facts
    from edit_robustness.records import Fact

__version__ = "0.1.0"

__all__ = ["Fact", "__version__", "ask", "load_model", "method_for", "read_training_facts"]


def __getattr__(name: str) -> Any:
    """Import a name of the programming interface when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.api"), name)
