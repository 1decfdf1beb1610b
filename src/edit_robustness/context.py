"""The project's context: it reads the grid before any pipeline is made, for a run and for kedro-viz alike."""

from __future__ import annotations

from typing import Any

from kedro.framework.context import KedroContext

from edit_robustness import grid

_SUFFIX = ".language_model"


class ProjectContext(KedroContext):
    """Kedro's context, with the grid made known.

    It reads the configuration loader's parameters and not its own `params`: those load the pipelines first, which
    need the grid.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        grid.activate(self.config_loader["parameters"], model_names(self.config_loader["catalog"]))


def model_names(catalog: dict[str, Any]) -> list[str]:
    """The models of a catalog: its entries `<name>.language_model`."""
    return [name.removesuffix(_SUFFIX) for name in catalog if name.endswith(_SUFFIX)]

