"""Kedro's settings of the project."""

import warnings

from edit_robustness.context import ProjectContext
from edit_robustness.hooks import NodeLines, OneRun, RunWorkers
from edit_robustness.incomplete import FailedItems
from edit_robustness.last_lines import LastLines
from edit_robustness.logs import install

CONTEXT_CLASS = ProjectContext
# Kedro calls the hooks of the last first: the headline and the path of the report are the last lines
HOOKS = (LastLines(), NodeLines(), OneRun(), FailedItems(), RunWorkers())
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # the other strategy would let --params=probes.seed=1 drop all other settings of `probes` from conf/base
    "merge_strategy": {"parameters": "soft"},
}

# users type --pipeline, and kedro-viz its own server's messages: neither is theirs to mend
warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")
warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")

install()
