"""Ids, the link to the last run, and which run a table is read from."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from edit_robustness.runs.folders import LATEST, POINTER, RunFolders, is_id, new_id, reading_latest, settings_hash

FIRST, SECOND, OTHER = "20260102-030405-aaaaaaaa", "20260102-030406-bbbbbbbb", "20260102-030407-cccccccc"


def make_session(when, wrote=True, status="finished"):
    return {"status": status, "wrote": wrote, "finished": when}


@pytest.fixture
def folders(tmp_path):
    """Two runs of one pipeline, and one of another between them."""
    folders = RunFolders(tmp_path / "data" / "08_reporting")
    for run_id, tables, when in (
        (FIRST, ["headline.parquet", "tiny_probes_sample.csv"], "2026-01-02T04"),
        (OTHER, ["rates.parquet"], "2026-01-02T05"),
        (SECOND, ["headline.parquet"], "2026-01-02T06"),
    ):
        write(folders, run_id, tables=tables, sessions=[make_session(when)])
    return folders


def write(folders, run_id, **record):
    folders.folder(run_id).mkdir(parents=True, exist_ok=True)
    (folders.folder(run_id) / "run.json").write_text(json.dumps({"id": run_id, **record}))


def test_an_id_is_the_start_in_utc_and_a_hash_of_the_settings():
    settings = {"a": 1, "b": {"c": [1, 2]}}
    of = settings_hash(settings)
    assert of == settings_hash(dict(reversed(settings.items()))) != settings_hash({**settings, "a": 2})
    moment = datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert new_id(moment, of) == f"20260102-030405-{of}"
    assert is_id(new_id(datetime.now(UTC), of))
    later = new_id(moment + timedelta(seconds=1), "00000000")
    assert sorted([later, new_id(moment, "ffffffff")])[-1] == later


def test_the_last_run_of_the_same_settings_is_found(folders):
    again = "20260103-000000-aaaaaaaa"
    write(folders, again)
    assert folders.find("aaaaaaaa") == again
    assert folders.find("dddddddd") is None
    (folders.folder(again) / "run.json").write_text("half a rec")
    assert folders.find("aaaaaaaa") == FIRST
    assert RunFolders(folders.reporting / "none").records() == []


def test_latest_is_a_relative_link_and_moves(folders):
    assert folders.latest() is None
    folders.point(FIRST)
    folders.point(SECOND)
    link = folders.reporting / LATEST
    assert (link.is_symlink(), str(link.readlink()), folders.latest()) == (True, SECOND, SECOND)
    new_folder = folders.reporting.parent.rename(folders.reporting.parent.with_name("moved")) / "08_reporting"
    assert (new_folder / LATEST / "run.json").exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_a_user_called_latest_is_renamed_and_kept(folders, kind, caplog):
    user_folder = folders.reporting / LATEST
    if kind == "folder":
        user_folder.mkdir()
        (user_folder / "notes.txt").write_text("mine")
    else:
        user_folder.write_text("mine")
    folders.point(FIRST)
    assert folders.latest() == FIRST
    aside = folders.reporting / f"{LATEST}.1.set_aside"
    assert (aside / "notes.txt" if kind == "folder" else aside).read_text() == "mine"
    assert "renamed to latest.1.set_aside" in caplog.text


def test_without_symbolic_links_a_file_names_the_last_run(folders, monkeypatch):
    def refuse(*words, **options):
        raise OSError("not supported")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.symlink_to", refuse)
        folders.point(SECOND)
    assert (folders.reporting / POINTER).read_text() == f"{SECOND}\n"
    assert not (folders.reporting / LATEST).exists()
    assert folders.latest() == SECOND
    entries_read = reading_latest(entries("headline.parquet", "rates.parquet"), folders, folders.reporting.parents[1])
    assert [entry["filepath"] for entry in entries_read.values()] == [
        str(folders.folder(SECOND) / "headline.parquet"),
        str(folders.folder(OTHER) / "rates.parquet"),
    ]
    folders.point(FIRST)
    assert folders.latest() == FIRST
    assert not (folders.reporting / POINTER).exists()


def entries(*files):
    return {file.split(".")[0]: {"type": "x", "filepath": f"data/08_reporting/latest/{file}"} for file in files}


def test_a_table_is_read_from_the_last_run_of_a_pipeline_that_makes_it(folders):
    folders.point(SECOND)
    project = folders.reporting.parents[1]
    catalog = {
        **entries("headline.parquet", "rates.parquet", "{model}_probes_sample.csv", "new.parquet"),
        "elsewhere": {"type": "x", "filepath": "data/07_model_output/scores.parquet"},
        "remote": {"type": "x", "filepath": "s3://bucket/data/08_reporting/latest/rates.parquet"},
        "pathless": {"type": "x"},
    }
    changes = {k: v["filepath"] for k, v in reading_latest(catalog, folders, project).items() if v != catalog[k]}
    assert changes == {
        "rates": str(folders.folder(OTHER) / "rates.parquet"),
        "{model}_probes_sample": str(folders.folder(FIRST) / "{model}_probes_sample.csv"),
    }


def test_a_run_that_was_stopped_or_wrote_nothing_is_not_the_last(folders):
    for number, session in enumerate((make_session("2027", wrote=False), make_session("2027", status="stopped"))):
        write(folders, f"20270101-00000{number}-dddddddd", tables=["headline.parquet"], sessions=[session])
    assert folders.last_with("headline.parquet") == SECOND


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"id": 3}',
        '{"id": "%s", "sessions": [3]}',
        '{"id": "%s", "tables": {}}',
        '{"id": "%s", "models": []}',
    ],
)
def test_a_record_that_is_damaged_is_left_out(folders, text):
    (folders.folder(FIRST) / "run.json").write_text(text.replace("%s", FIRST))
    assert [record["id"] for record in folders.records()] == [SECOND, OTHER]
