"""Checks of everything that a run is given, before anything is loaded, written or asked.

Kedro's project context calls `check_parameters` before any pipeline is made. It checks every parameter, those of
pipelines that are not run too, and says what is wrong in one or two lines.
"""

from edit_robustness.configuration.defaults import USED_DEFAULTS, ParametersWithDefaults, fill_defaults
from edit_robustness.configuration.messages import SettingError, preview
from edit_robustness.configuration.models import check_models
from edit_robustness.configuration.parameters import OWN, check_parameters
from edit_robustness.configuration.runtime import runtime_names

__all__ = [
    "OWN",
    "USED_DEFAULTS",
    "ParametersWithDefaults",
    "SettingError",
    "check_models",
    "check_parameters",
    "fill_defaults",
    "preview",
    "runtime_names",
]
