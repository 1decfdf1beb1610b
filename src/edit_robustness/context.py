"""The project's context: it reads the grid before any pipeline is made, for a run and for kedro-viz alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kedro.framework.context import KedroContext

from edit_robustness import grid

SOURCES = ("raw_facts", "raw_relations", "corpus_source")
"""The data sets that a run starts from, beside the models."""

_SUFFIX = ".language_model"


class ProjectContext(KedroContext):
    """Kedro's context, with the grid made known.

    It reads the configuration loader's parameters and not its own `params`: those load the pipelines first, which
    need the grid.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        catalog = self.config_loader["catalog"]
        check_sources(catalog)
        grid.activate(self.config_loader["parameters"], model_names(catalog))


def model_names(catalog: Mapping[str, Any]) -> list[str]:
    """The models of a catalog: its entries `<name>.language_model`."""
    return [name.removesuffix(_SUFFIX) for name in catalog if name.endswith(_SUFFIX)]


def check_sources(catalog: Mapping[str, Any]) -> None:
    """Refuse a catalog that lacks a source: Kedro would fill `{model}_facts` in for a misspelt `raw_facts`.

    Raises:
        ValueError: Naming the source, and the data sets that there are.
    """
    there = [name for name in catalog if "{" not in name]
    for source in SOURCES:
        if source not in there:
            raise ValueError(f"catalog: no data set `{source}`, where every run starts; there are {', '.join(there)}")
