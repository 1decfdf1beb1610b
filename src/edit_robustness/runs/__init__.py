"""Runs: the id of a run, its folder of tables and pages, and the record from which it can be repeated."""

from edit_robustness.runs.folders import RunFolders, new_id, settings_hash
from edit_robustness.runs.record import RunRecord

__all__ = ["RunFolders", "RunRecord", "new_id", "settings_hash"]
