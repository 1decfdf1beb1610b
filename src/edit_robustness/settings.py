"""Kedro's settings of the project."""

from edit_robustness.context import ProjectContext
from edit_robustness.hooks import ReportPath

CONTEXT_CLASS = ProjectContext
HOOKS = (ReportPath(),)
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local"}
