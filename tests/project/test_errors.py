"""An error of a command: one or two lines on the terminal, the traceback in `logs/`."""

import logging
import re

import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI

from edit_robustness import context
from edit_robustness.errors import AGAIN, RunIncomplete
from edit_robustness.logs import MAX_LOG_FILES, Terminal, Threshold


def command(project, *words):
    return CliRunner().invoke(KedroCLI(project.folder), words)


def log_of(project):
    (path,) = (project.folder / "logs").glob("*.log")
    return path


def read_failure(project, *words):
    """The lines on stderr of a command that must fail."""
    result = command(project, *words)
    assert result.exit_code == 1, result.output
    assert "Traceback (most recent" not in result.output
    lines = result.stderr.splitlines()
    assert len(lines) <= 2, lines
    return lines


def make_check_raise(monkeypatch, error):
    def refuse(catalog):
        raise error

    monkeypatch.setattr(context, "check_sources", refuse)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--env=test"),
        ("registry", "list"),
        ("catalog", "list-patterns", "--env=test"),
        ("viz", "--env=test"),
    ],
    ids=" ".join,
)
def test_a_wrong_setting_is_one_line_in_every_command(project, monkeypatch, words):
    make_check_raise(monkeypatch, ValueError("grid.tiny: no method `romee`"))
    first, second = read_failure(project, *words)
    assert first == "Error: grid.tiny: no method `romee`"
    log = log_of(project)
    assert second == f"Traceback: logs/{log.name}"
    text = log.read_text()
    assert text.count("Traceback (most recent call last)") == 1
    assert "in refuse" in text


def test_a_defect_is_said_to_be_one(project, monkeypatch):
    make_check_raise(monkeypatch, KeyError("subject"))
    first, second = read_failure(project, "run", "--env=test")
    assert first == "Unexpected error: KeyError: 'subject'"
    assert second == f"Traceback: logs/{log_of(project).name}; this is a defect, please report it with that file"


def test_a_file_that_cannot_be_loaded_names_its_data_set(project, no_model):
    (project.folder / "data" / "01_raw" / "facts.csv").unlink()
    first, second = read_failure(project, "run", "--env=test")
    assert first.startswith("Error: raw_facts: ")
    assert "data/01_raw/facts.csv" in first
    assert "FactsDataset" not in first
    assert second.endswith(f"; then {AGAIN}")


def test_a_run_that_fails_halfway_has_a_line_per_node(project, no_model):
    table = project.folder / "data" / "01_raw" / "facts.csv"
    facts = pd.read_csv(table, dtype=str, keep_default_na=False)
    facts.assign(subject="").to_csv(table, index=False)
    result = command(project, "run", "--env=test")
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert "rows of the table of facts were rejected" in first
    assert second.endswith(AGAIN)
    for kedros in ("Running node", "Completed", "from-nodes", "that have not run", "No nodes ran", "failed with error"):
        assert kedros not in result.output
        assert kedros not in log_of(project).read_text()
    nodes = [line for line in result.stdout.splitlines() if "/" in line and "[" in line]
    assert len(nodes) == len({line.split()[-1] for line in nodes}) > 0
    # the file holds what the terminal leaves out
    assert "Loading data from" in log_of(project).read_text()
    assert "Loading data from" not in result.output


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        (
            "conf/test/catalog_x.yml",
            "raw_facts: {type: edit_robustness.datasets.FactsDataset, path: x, limt: 3}",
            r"Error: raw_\w+: limt: there is no such setting; there are path, format, limit",
        ),
        (
            "conf/test/catalog_x.yml",
            "x: {}\nx: {}",
            r"Error: conf/test/catalog_x.yml, line 2: .*duplicate key x; ",
        ),
        (
            "conf/test/catalog_x.yml",
            "x:\n\ty: 1",
            r"Error: conf/test/catalog_x.yml, line 2: .*; indent with spaces",
        ),
        (
            "conf/test/catalog_x.yml",
            "x\n  y: 1",
            r"Error: conf/test/catalog_x.yml, line 2: .*line above may lack",
        ),
        ("conf/test/catalog_x.yml", "- x", r"Error: conf/test/catalog_x.yml: it must hold names .*, and holds a list"),
        ("conf/test/parameters_x.yml", "- x", r"Error: conf/test/parameters_x.yml: it must hold names"),
        ("conf/test/parameters_x.yml", b"x: \xff", r"Error: conf/test/parameters_x.yml: it is no text in UTF-8 "),
        ("conf/test/parameters_x.yml", "x_a: ${b}", r"Error: Interpolation key 'b' not found \(in x_a\)$"),
        (
            "data/01_raw/relations.yml",
            "a: [\nb",
            r"Error: raw_relations: while parsing .* in \"\S+/data/01_raw/relations.yml\", line 1, column 4",
        ),
    ],
)
def test_a_file_of_a_user_is_named_without_kedros_words(project, no_model, file, text, line):
    (project.folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    first, second = read_failure(project, "run", "--env=test")
    assert "defect" not in second
    assert re.match(line, first), first
    assert "Failed" not in first


def test_what_is_asked_of_kedro_and_is_not_there_is_no_defect(project):
    first, second = read_failure(project, "run", "--env=test", "--runner=Fastest")
    assert first == "Error: module 'kedro.runner' has no attribute 'Fastest'"
    assert "defect" not in second


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--pipeline=edit_evl", "Error: --pipeline: no pipeline `edit_evl`; did you mean `edit_eval`?"),
        ("--nodes=tiny.rome.edt", "Error: no node `tiny.rome.edt` in this pipeline; did you mean `tiny.rome.edit`?"),
        (
            "--nodes=x",
            "Error: no node `x` in this pipeline; `kedro registry describe edit_eval` lists those of a pipeline",
        ),
    ],
)
def test_a_misspelt_pipeline_or_node_has_the_closest_name(project, option, line):
    assert read_failure(project, "run", "--env=test", option)[0] == line


def test_a_list_that_is_cut_at_its_commas_says_how_to_write_it(project):
    result = command(project, "run", "--env=test", "--params=probes.kinds=statement,question")
    assert result.exit_code == 2
    assert "Item `question` must" in result.stderr
    assert "separate the elements of a list by spaces" in result.stderr


def test_a_comma_in_parentheses_is_part_of_a_formula(project):
    formula = "analyze.models.mine.formula=success ~ kind + bs(margn, df=3) + C(relation, Treatment('P36'))"
    first = read_failure(project, "run", "--env=test", f"--params={formula},sample.size=3")[0]
    assert first.startswith("Error: analyze.models.mine: `success ~ kind + bs(margn, df=3) + C(relation, Treat")
    assert first.endswith("no column `margn`; did you mean `margin`?")


def test_an_option_that_is_refused_does_not_ask_for_the_same_command_again(project):
    first, second = read_failure(project, "run", "--env=test", "--async")
    assert first.startswith("Error: --async saves and loads in threads")
    assert AGAIN not in second


def test_log_lines_are_the_projects_from_another_folder_too(project, monkeypatch):
    monkeypatch.chdir(project.folder / "data")
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()])
    assert command(project, "registry", "list").exit_code == 0
    assert [type(handler) for handler in logging.root.handlers] == [Terminal]


def test_a_run_that_is_stopped_says_how_to_go_on(project, monkeypatch):
    make_check_raise(monkeypatch, KeyboardInterrupt())
    result = command(project, "run", "--env=test")
    assert result.exit_code == 130
    assert result.stderr.splitlines() == [f"Stopped; {AGAIN}"]


def test_an_incomplete_run_ends_in_its_own_line(project, monkeypatch):
    make_check_raise(monkeypatch, RunIncomplete("2 of 24 edits failed"))
    assert read_failure(project, "run", "--env=test") == ["2 of 24 edits failed"]
    assert "Traceback" not in log_of(project).read_text()


def test_a_folder_that_cannot_be_written_keeps_no_log(project, monkeypatch):
    (project.folder / "logs").write_text("")  # not a folder: what root may write is refused, too
    make_check_raise(monkeypatch, ValueError("grid: wrong"))
    first, second = read_failure(project, "run", "--env=test")
    assert first == "Error: grid: wrong"
    assert second.startswith("No traceback is kept: ")
    assert second.endswith("logs: File exists")


def test_few_log_files_are_kept_and_logging_is_as_before(project, monkeypatch):
    names = ("", "edit_robustness", "kedro", "kedro.io")
    levels, handlers = [logging.getLogger(name).level for name in names], list(logging.root.handlers)
    folder = project.folder / "logs"
    folder.mkdir()
    for number in range(MAX_LOG_FILES + 5):
        (folder / f"20200101-0000{number:02}-7.log").write_text("")
    notes = folder / "20200101-notes.log"
    notes.write_text("mine")
    make_check_raise(monkeypatch, ValueError("grid: wrong"))
    read_failure(project, "run", "--env=test")
    log_names = sorted(path.name for path in folder.iterdir())
    assert len(log_names) == MAX_LOG_FILES + 1
    assert notes.name in log_names
    assert "20200101-000005-7.log" not in log_names
    assert "20200101-000006-7.log" in log_names
    assert [logging.getLogger(name).level for name in names] == levels
    assert logging.root.handlers == handlers
    assert not any(isinstance(log_filter, Threshold) for handler in handlers for log_filter in handler.filters)


def test_help_and_wrong_options_are_kedros(project):
    assert "--from-nodes" in command(project, "run", "--help").stdout
    wrong = command(project, "run", "--parms=x")
    assert wrong.exit_code == 2
    assert "--params" in wrong.stderr
    assert command(project, "romp").exit_code == 2
