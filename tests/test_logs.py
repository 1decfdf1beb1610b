"""Log records: one line each, wherever they go."""

import logging
import time
import types

import pytest
import torch
from kedro.io import DatasetError
from kedro.validation import ParameterValidationError
from pydantic import TypeAdapter, ValidationError

from edit_robustness import hooks
from edit_robustness.errors import add_node, add_notes, describe, is_expected
from edit_robustness.last_lines import LastLines
from edit_robustness.logs import LogFile, MisleadingRecords, Terminal
from edit_robustness.machine import machine
from edit_robustness.text.secrets import redact


@pytest.fixture
def logger():
    line_logger = logging.getLogger("edit_robustness.lines")
    handler = Terminal()
    handler.addFilter(MisleadingRecords())
    line_logger.addHandler(handler)
    line_logger.setLevel(logging.INFO)
    # a run in this process leaves a handler of its own above
    line_logger.propagate = False
    yield line_logger
    line_logger.removeHandler(handler)
    line_logger.setLevel(logging.NOTSET)
    line_logger.propagate = True


def test_a_long_record_is_one_line(logger, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = "/data/" + "folder of facts/" * 20
    logger.info("%s [bold]cannot[/] be [x] read:\n  :smile: why", path)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(f"INFO    {path} [bold]cannot[/] be [x] read: :smile: why")
    time.strptime(line[:19], "%Y-%m-%d %H:%M:%S")


def test_an_error_in_a_record_is_one_line_and_without_credentials(logger, capsys):
    try:
        raise ValueError("no answer from https://me:secret@example.org/x\nat all")
    except ValueError:
        logger.exception("Asking failed")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("ERROR   Asking failed: no answer from https://***@example.org/x at all")


def test_a_file_has_every_record_in_one_line_and_the_traceback_of_an_error(tmp_path):
    log = LogFile(tmp_path)
    with log.capture():
        logging.getLogger("edit_robustness.lines").debug("two\nlines of https://me:secret@example.org")
    try:
        raise KeyError("x")
    except KeyError as error:
        log.write_error(error, "kedro run")
    log.close()
    text = (tmp_path / log.path).read_text()
    assert "DEBUG   edit_robustness.lines: two lines of https://***@example.org\n" in text
    assert "`kedro run` failed\nTraceback (most recent call last)" in text
    assert "secret" not in text


def test_a_run_logs_a_line_per_node(caplog):
    lines = hooks.NodeLines()
    nodes = [types.SimpleNamespace(name=f"tiny.rome.{name}") for name in ("edit", "ask")]
    with caplog.at_level(logging.INFO, "edit_robustness"):
        lines.before_pipeline_run(types.SimpleNamespace(nodes=nodes))
        for node in nodes:
            for data_set in ("facts", "model"):
                lines.before_dataset_loaded(data_set, node)
                lines.after_dataset_loaded(node)
            lines.before_node_run(node)
        lines.after_pipeline_run()
    *start_lines, last = caplog.messages
    assert start_lines == ["[1/2] tiny.rome.edit", "[2/2] tiny.rome.ask"]
    assert last == f"2 nodes in 0 s, 0 CPU s ({machine()})"


def test_a_table_that_cannot_be_read_is_named_with_its_file():
    lines, node = hooks.NodeLines(), types.SimpleNamespace(name="make")
    lines.before_pipeline_run(types.SimpleNamespace(nodes=[node]))
    lines.before_dataset_loaded("frozen_wordings", node)
    error = wrap("frozen_wordings: Failed while loading", wrap("Failed while loading", ValueError("3 fields")))
    table = types.SimpleNamespace(_filepath="data/w.csv")
    lines.on_pipeline_error(error, {"frozen_wordings": table})
    assert describe(error) == "frozen_wordings (data/w.csv): 3 fields"
    error.__cause__.__cause__ = ValueError("data/w.csv has 3 fields")
    assert describe(error) == "frozen_wordings: data/w.csv has 3 fields"


def test_of_several_nodes_the_one_that_failed_names_the_data_set():
    """Other nodes may wait for a model, which is loading, when the run ends."""
    lines, nodes = hooks.NodeLines(), [types.SimpleNamespace(name=name) for name in ("waits", "fails")]
    lines.before_pipeline_run(types.SimpleNamespace(nodes=nodes))
    lines.before_dataset_loaded("tiny.language_model", nodes[0])
    lines.before_dataset_saved("scores", nodes[1])
    tables = {name: types.SimpleNamespace() for name in ("tiny.language_model", "scores")}
    error = OSError("no space left")
    add_node(error, "fails")
    lines.on_pipeline_error(error, tables)
    assert describe(error) == "scores: no space left"
    lines.after_dataset_saved(nodes[1])
    error = ValueError("no such number")
    add_node(error, "fails")
    lines.on_pipeline_error(error, tables)
    assert describe(error) == "no such number"


def wrap(message, cause, *notes):
    error = DatasetError(message)
    error.__cause__ = cause
    if notes:
        add_notes(error, *notes)
    return error


def pydantic_error():
    try:
        TypeAdapter(dict[str, int]).validate_python({"layer": "six"})
    except ValidationError as error:
        return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("grid:\n  wrong"), "grid: wrong"),
        (wrap("Failed while loading data from dataset X(a={}).\nno rows", ValueError("no rows"), "raw_facts", True),
         "raw_facts: no rows"),
        (wrap("An exception occurred when parsing config for dataset 'web':\nno type", ValueError("no type")),
         "web: no type"),
        (wrap("Failed to instantiate dataset 'web'", wrap("Failed while loading data", TypeError("no x"))),
         "web: TypeError: no x"),
        (FileNotFoundError(2, "No such file or directory", "facts.csv"), "facts.csv: No such file or directory"),
        (AssertionError(), "AssertionError: "),
        (ParameterValidationError(f"Parameter 'methods.rome': {pydantic_error()}"),
         "Parameter 'methods.rome': dict[str,int]: layer Input should be a valid integer, unable "
         "to parse string as an integer (it is 'six')"),
    ],
)  # fmt: skip
def test_an_error_is_described_in_one_line(error, line):
    assert describe(error).strip() == line.strip()


def test_what_a_user_can_mend_is_told_from_a_defect():
    assert is_expected(wrap("Failed while loading", OSError("disk full")))
    assert not is_expected(wrap("Failed while loading", AttributeError("x")))
    assert is_expected(DatasetError("no such data set"))
    assert is_expected(torch.OutOfMemoryError("CUDA out of memory"))


def test_credentials_of_addresses_are_left_out():
    assert redact("from s3://key:secret@host/x and user@example.org") == "from s3://***@host/x and user@example.org"


def test_a_run_does_not_name_the_report_of_one_that_failed_before_it(capsys):
    lines = LastLines()
    lines.after_dataset_saved("report", "")
    lines.before_pipeline_run()
    lines.after_pipeline_run(catalog={})
    assert capsys.readouterr().out == ""
