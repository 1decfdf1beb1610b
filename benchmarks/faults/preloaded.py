"""Import what a run imports, once: every run of the measurement is forked from a process that has imported this."""

from __future__ import annotations

import gc
import importlib

MODULES = (
    "transformers.models.llama.modeling_llama",
    "statsmodels.api",
    "plotly.express",
    "plotly.io",
    "kedro.framework.cli.cli",
    "kedro.runner",
    "kedro_datasets.json",
    "kedro_datasets.pandas",
    "kedro_datasets.plotly",
    "kedro_datasets.text",
    "kedro_datasets.yaml",
    "kedro_viz.launchers.cli.main",
    "edit_robustness.context",
    "edit_robustness.datasets",
    "edit_robustness.pipeline_registry",
)

for name in MODULES:
    importlib.import_module(name)
# a collection would visit, and so copy, all that the runs share with this process
gc.freeze()
