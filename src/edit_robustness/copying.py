"""`kedro copy-run`: a run of the project is copied to an address, or from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.project import settings

from edit_robustness.current_run import list_runs
from edit_robustness.hooks import data_folder
from edit_robustness.progress import track
from edit_robustness.runs import RunFolders
from edit_robustness.runs.copies import CopyRefused, copy_from, copy_to
from edit_robustness.runs.folders import LATEST, REPORTING
from edit_robustness.runs.stores import Store
from edit_robustness.text.closest import did_you_mean


def copy(
    project: Path, run_id: str | None, target: str | None, source: str | None, env: str | None, credentials: str | None
) -> str:
    """Copy a run, and return a line that says what was copied.

    Args:
        project: The project's folder.
        run_id: The id of a run, or `latest`; None for the latest, or for whichever run is at `source`.
        target: The address to copy to.
        source: The address to copy from. Exactly one of the two must be given.
        env: The environment of the configuration; None for the default.
        credentials: A name in `credentials.yml` of the configuration; None to look in the environment of the process.

    Raises:
        CopyRefused: If not one address is given, there are no such credentials, or the run cannot be copied.
    """
    if bool(target) == bool(source):
        raise CopyRefused(
            "give one address: --to=ADDRESS to copy a run there, or --from=ADDRESS to copy one from there"
        )
    loader: Any = settings.CONFIG_LOADER_CLASS(
        conf_source=str(project / settings.CONF_SOURCE), env=env, **settings.CONFIG_LOADER_ARGS
    )
    data = data_folder(SimpleNamespace(config_loader=loader, project_path=project))
    store = Store(target or source or "", _credentials(loader, env, credentials))
    if target:
        return f"{copy_to(store, data, run_id or LATEST, track)} to {store.address}"
    line = f"{copy_from(store, data, run_id, track)} to {data}"
    list_runs(RunFolders(data / REPORTING))
    return line


def _credentials(loader: Any, env: str | None, name: str | None) -> Mapping[str, Any] | None:
    if name is None:
        return None
    try:
        entries: Mapping[str, Any] = loader["credentials"]
    except MissingConfigException:
        entries = {}
    if not isinstance(entries.get(name), Mapping):
        raise CopyRefused(
            f"--credentials: no block `{name}` in conf/{env or 'local'}/credentials.yml; {did_you_mean(name, entries)}"
        )
    options: Mapping[str, Any] = entries[name]
    return options
