"""The page that lists all runs of a data folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edit_robustness.labels import METHODS, in_order, label_of
from edit_robustness.report.page import environment, script, style
from edit_robustness.report.run_details import pipeline_of
from edit_robustness.report.terminal import COLUMNS, NOTHING, label_of_column

STATUS: Mapping[str, str] = {
    "finished": "finished",
    "stopped": "stopped by an error",
    "running": "running, or killed",
}


@dataclass(frozen=True)
class Row:
    """A run in the index; `pages` are names and addresses relative to the index."""

    id: str
    started: str
    status: str
    pipeline: str
    environment: str
    models: str
    methods: str
    facts: str
    headline: tuple[str, ...]
    source: str
    pages: tuple[tuple[str, str], ...]


def render_index(records: Sequence[Mapping[str, Any]], pages: Mapping[str, Sequence[str]], latest: str | None) -> str:
    """Return the index as one HTML document, the newest run first; all texts are escaped.

    Args:
        records: The records of the runs.
        pages: For each run the files in its folder that people read in a browser.
        latest: The run that `latest` points to.
    """
    rows = [_row(record, pages.get(record["id"], ())) for record in records]
    newest_first = sorted(rows, key=lambda row: (row.started, row.id), reverse=True)
    names = [label_of_column(name) for name in COLUMNS]
    template = environment().get_template("index.html.j2")
    return template.render(
        style=Markup(style()), script=Markup(script()), rows=newest_first, latest=latest, columns=names
    )


def _row(record: Mapping[str, Any], pages: Sequence[str]) -> Row:
    run, lines = str(record["id"]), record.get("headline") or ()
    # a run that reads tables has no models of its own, but its headline names them
    models = record.get("models") or record.get("methods") or dict.fromkeys(line.get("model") for line in lines)
    methods = in_order(
        {method for model_methods in (record.get("methods") or {}).values() for method in model_methods}
        or {str(line.get("method")) for line in lines},
        METHODS,
    )
    counts = dict.fromkeys(str(number) for number in (record.get("n_facts") or {}).values())
    n_failed = record.get("failed_items")
    status = STATUS.get(str(record.get("status")), str(record.get("status")))
    return Row(
        id=run,
        started=str(record.get("started") or "")[:16].replace("T", " "),
        status=f"{status}; {n_failed} items failed" if n_failed else status,
        pipeline=pipeline_of(record),
        environment=str(record.get("environment") or ""),
        models=", ".join(map(str, models)),
        methods=", ".join(label_of(method, METHODS) for method in methods),
        facts=", ".join(counts),
        headline=tuple(_headline(lines)),
        source=", ".join(record.get("source_runs") or ()),
        pages=tuple((name, f"{run}/{name}") for name in pages),
    )


def _headline(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    several = len({line.get("model") for line in lines}) > 1
    texts = []
    for line in lines:
        figures = " / ".join(_share(line.get(name)) for name in COLUMNS)
        before = f"{line.get('model')}, " if several else ""
        texts.append(f"{before}{label_of(str(line.get('method')), METHODS)}: {figures}")
    return texts


def _share(figure: Any) -> str:
    value = figure.get("value") if isinstance(figure, Mapping) else None
    return f"{value:.0%}" if isinstance(value, int | float) else NOTHING
