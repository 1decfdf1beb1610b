"""Names of the parameters that the catalog reads with `${runtime_params:...}`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ASKED = re.compile(r"^[^#\n]*\$\{\s*runtime_params:\s*([A-Za-z0-9_.]+)", re.MULTILINE)
_READ = ("catalog", "parameters")


def runtime_names(loader: Any) -> set[str]:
    """Return the names that the files of the catalog and of the parameters ask the command line for.

    They are read from the files, so that a new `${runtime_params:name}` needs no list to be changed.

    Args:
        loader: Kedro's `OmegaConfigLoader`.
    """
    return {name.split(".")[0] for text in _texts(loader) for name in _ASKED.findall(text)}


def _texts(loader: Any) -> Iterator[str]:
    """Yield the files as they are; parsing them a second time would take longer than all other checks."""
    folders = {loader._get_conf_env_path(env) for env in (loader.base_env, loader.env or loader.default_run_env)}
    for pattern in (pattern for key in _READ for pattern in loader.config_patterns[key]):
        for folder in folders:
            for path in loader._fs.glob(Path(f"{folder}/{pattern}").as_posix()):
                if loader._is_valid_config_path(Path(path)):
                    with loader._fs.open(str(path)) as file:
                        yield file.read().decode("utf-8")
