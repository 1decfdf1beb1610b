"""Records of a study: they have nothing that is about the last of its commands only."""

import pandas as pd

from edit_robustness.pipelines.study.nodes import TABLES, export_tables, read_tables
from edit_robustness.report.runs import list_methods, summary

RUN = {
    "started": "2026-11-30T10:00", "finished": "2026-11-30T17:46", "seconds": 795.5, "cpu_seconds": 244.4,
    "machine": "several machines, 1 thread", "n_facts": 500, "methods": {"m": {"rome": {"layer": 5}}},
    "seconds_per_edit": {"m": {"rome": 6.5}},
}  # fmt: skip


def test_the_time_of_the_last_command_is_not_that_of_a_study():
    tables = {name: pd.DataFrame({"value": [1.0]}) for name in TABLES}
    _, exported_runs, _ = export_tables([RUN], {}, **tables)
    *_, read_runs, _ = read_tables({name: lambda: pd.DataFrame({"value": [1.0]}) for name in TABLES}, [RUN])
    for runs in (exported_runs, read_runs):
        assert dict(summary(runs)) == {"Machine": "several machines, 1 thread", "Facts edited": "500"}
        assert list_methods(runs)[0]["seconds"] == "6.50 s"
    assert "13 min 16 s (244 CPU s)" in dict(summary([RUN]))["Time"]
