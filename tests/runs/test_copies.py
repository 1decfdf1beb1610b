"""Copies of runs at addresses: what is copied, what is left alone, what is refused, and what a kill leaves."""

import json
import logging
import signal
import subprocess
import sys

import fsspec
import pytest
from object_store import BUCKET, SECRET

from edit_robustness.addresses import AddressError
from edit_robustness.locking import FolderInUse, RunLock
from edit_robustness.runs import RunFolders
from edit_robustness.runs.copies import CopyRefused, copy_from, copy_to
from edit_robustness.runs.stores import LISTING, Listing, Store, StoredFile
from edit_robustness.storage import CorruptFile

RUN, OTHER = "20260102-030405-aaaaaaaa", "20260102-030406-bbbbbbbb"
EDITS = "07_model_output/tiny/rome/edits"
DATA_SETS = [
    ["facts", "03_primary/facts.parquet"],
    ["raw_facts", "01_raw/facts.csv"],
    ["scores", f"08_reporting/{RUN}/scores.parquet"],
    ["tiny.rome_edits", EDITS],
    ["web", "02_intermediate/web"],
]


def follow(items, label, total):
    yield from items


@pytest.fixture(params=["file", "memory", "s3"])
def address(request, tmp_path):
    """An address of each kind of file system, where nothing is."""
    if request.param == "s3":
        request.getfixturevalue("object_store")
        return f"{BUCKET}/runs/first"
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return "memory://runs/first"
    return str(tmp_path / "stores" / "first")


@pytest.fixture
def data(tmp_path):
    """A data folder with a finished run, and what other runs and the user have there."""
    data = tmp_path / "data"
    write_run(data)
    for name, text in {
        "01_raw/facts.csv": "subject",
        f"08_reporting/{OTHER}/report.html": "another run's",
        "07_model_output/tiny/memit/edits/a.safetensors": "another method's",
        f"{EDITS}/b.safetensors.123.part": "half",
        ".locks/shared.lock": "",
    }.items():
        write(data / name, text)
    return data


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_run(data, run=RUN, sessions=("one",), text="first"):
    record = {
        "id": run,
        "repeat": "kedro run",
        "models": {"tiny": {}},
        "data_sets": DATA_SETS,
        "sessions": [
            {"key": key, "status": "finished", "wrote": True, "finished": f"2026-01-0{number}"}
            for number, key in enumerate(sessions, 1)
        ],
    }
    write(data / "08_reporting" / run / "run.json", json.dumps(record))
    write(data / "08_reporting" / run / "report.html", text)
    write(data / "08_reporting" / run / ".provenance" / "scores.json", "{}")
    write_items(data, run, text)
    write(data / "02_intermediate/web/answer.json", text)


def write_items(data, run, text):
    write(data / "03_primary/facts.parquet", "facts")
    write(data / EDITS / "manifest.json", json.dumps({"a": text, "b": text}))
    for key in ("a", "b", "c %2F%C3%A9"):
        write(data / EDITS / f"{key}.safetensors", f"{key} {text}")
    for name in ("facts", "tiny.rome_edits"):
        write(data / ".provenance" / f"{name}.json", json.dumps({"run": run}))


FILES = {
    "02_intermediate/web/answer.json",
    "03_primary/facts.parquet",
    f"{EDITS}/a.safetensors",
    f"{EDITS}/b.safetensors",
    f"{EDITS}/c %2F%C3%A9.safetensors",
    f"{EDITS}/manifest.json",
    ".provenance/facts.json",
    ".provenance/tiny.rome_edits.json",
    f"08_reporting/{RUN}/run.json",
    f"08_reporting/{RUN}/report.html",
    f"08_reporting/{RUN}/.provenance/scores.json",
}


def files_of(folder):
    paths = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != ".locks")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def test_a_run_goes_to_an_address_and_back(address, data, tmp_path):
    before = files_of(data)
    Store(f"{address}2").put(data / "01_raw/facts.csv", "x/facts.csv")
    done = copy_to(Store(address), data, RUN, follow)
    assert (done.run, done.files, done.copied) == (RUN, len(FILES), len(FILES))
    assert set(Store(address).sizes()) == {*FILES, LISTING}
    assert Store(address).listing().complete
    assert files_of(data) == before

    elsewhere = tmp_path / "elsewhere"
    assert copy_from(Store(address), elsewhere, None, follow).copied == len(FILES)
    assert {name: text for name, text in files_of(elsewhere).items() if "latest" not in name} == {
        name: before[name] for name in FILES
    }
    assert RunFolders(elsewhere / "08_reporting").latest() == RUN
    # nothing is copied twice
    assert copy_to(Store(address), data, RUN, follow).copied == 0
    assert copy_from(Store(address), elsewhere, RUN, follow).copied == 0


def test_only_what_differs_is_copied(address, data, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    copy_to(Store(address), data, RUN, follow)
    copy_from(Store(address), elsewhere, RUN, follow)
    write(elsewhere / EDITS / "mine.txt", "mine")
    write_run(data, sessions=("one", "two"))
    write(data / EDITS / "b.safetensors", "B first")
    assert copy_to(Store(address), data, RUN, follow).copied == 2
    assert copy_from(Store(address), elsewhere, RUN, follow).copied == 2
    assert (elsewhere / EDITS / "b.safetensors").read_text() == "B first"
    assert (elsewhere / EDITS / "mine.txt").read_text() == "mine"


def test_a_file_that_is_gone_or_cut_at_the_address_is_copied_again(address, data):
    copy_to(Store(address), data, RUN, follow)
    store = Store(address)
    store._system.rm_file(store._path(f"{EDITS}/a.safetensors"))
    store._system.pipe_file(store._path(f"{EDITS}/b.safetensors"), b"b")
    assert copy_to(Store(address), data, RUN, follow).copied == 2


def kill_at(patch, ending):
    """Let a copy to a store end at the file whose name ends so."""
    put = Store.put

    def end(store, path, name):
        if name.endswith(ending):
            raise KeyboardInterrupt
        put(store, path, name)

    patch.setattr(Store, "put", end)


def test_a_killed_copy_is_incomplete_and_goes_on(address, data, tmp_path, monkeypatch):
    monkeypatch.setattr("edit_robustness.runs.copies._THREADS", 1)
    monkeypatch.setattr("edit_robustness.runs.copies._LISTED", 0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_at(patch, "b.safetensors")
        copy_to(Store(address), data, RUN, follow)
    listing = Store(address).listing()
    assert not listing.complete
    assert 0 < len(listing.files) < len(FILES)
    with pytest.raises(CopyRefused, match=f"the copy of run {RUN} in .* is incomplete"):
        copy_from(Store(address), tmp_path / "elsewhere", None, follow)
    assert not (tmp_path / "elsewhere").exists()
    assert copy_to(Store(address), data, RUN, follow).copied == len(FILES) - len(listing.files)
    assert Store(address).listing().complete


KILLED = """
import sys, time
from pathlib import Path
from edit_robustness.runs import copies, stores
put = stores.Store.put
def slow(store, path, name):
    if name.endswith("b.safetensors"):
        part = Path(store._path(name)).with_name("b.safetensors.1.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("half")
        print("now", flush=True)
        time.sleep(600)
    put(store, path, name)
stores.Store.put = slow
copies.copy_to(stores.Store(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], lambda items, label, total: items)
"""


def test_a_process_that_is_killed_leaves_a_copy_that_goes_on(store, data):
    command = [sys.executable, "-c", KILLED, store.address, str(data), RUN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)
    assert not store.listing().complete
    assert copy_to(store, data, RUN, follow).copied
    assert store.listing().complete
    assert set(store._system.find(store._root)) == {store._path(name) for name in {*FILES, LISTING}}


def test_a_kill_before_the_first_file_leaves_an_empty_place(store, data):
    write(data.parent / "stores" / "first" / f"{LISTING}.1.part", "half")
    assert copy_to(store, data, RUN, follow).copied == len(FILES)


def test_a_run_that_is_half_copied_back_does_not_exist_yet(address, data, tmp_path, monkeypatch):
    copy_to(Store(address), data, RUN, follow)
    elsewhere, get = tmp_path / "elsewhere", Store.get

    def killed(store, name, path, entry):
        if name.endswith("report.html"):
            raise KeyboardInterrupt
        get(store, name, path, entry)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "get", killed)
        copy_from(Store(address), elsewhere, None, follow)
    folders = RunFolders(elsewhere / "08_reporting")
    assert (folders.records(), folders.latest()) == ([], None)
    assert copy_from(Store(address), elsewhere, None, follow).copied < len(FILES)
    assert [record["id"] for record in folders.records()] == [RUN]


def test_a_damaged_file_is_not_put_in_its_place(address, data, tmp_path):
    copy_to(Store(address), data, RUN, follow)
    store = Store(address)
    store._system.pipe_file(store._path(f"{EDITS}/a.safetensors"), b"A first")
    with pytest.raises(CorruptFile, match=r"a\.safetensors is damaged: its size or SHA-256"):
        copy_from(Store(address), tmp_path / "elsewhere", None, follow)
    assert not (tmp_path / "elsewhere" / EDITS / "a.safetensors").exists()
    assert not list((tmp_path / "elsewhere").rglob("*.part"))


def test_a_place_that_holds_something_else_is_refused(address, data):
    store = Store(address)
    copy_to(store, data, RUN, follow)
    write_run(data, OTHER)
    with pytest.raises(CopyRefused, match=f"holds run {RUN}, and each run needs a place of its own"):
        copy_to(Store(address), data, OTHER, follow)
    with pytest.raises(CopyRefused, match=f"holds run {RUN}, not {OTHER}"):
        copy_from(Store(address), data, OTHER, follow)
    store._system.rm_file(store._path(LISTING))
    with pytest.raises(CopyRefused, match=r"holds other files .*name an empty place"):
        copy_to(Store(address), data, RUN, follow)
    with pytest.raises(CopyRefused, match=r"holds no copy of a run: there is no copy\.json"):
        copy_from(Store(address), data, None, follow)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "stores" / "first"))


def test_what_another_run_wrote_in_the_data_folder_is_never_replaced(store, data, tmp_path):
    copy_to(store, data, RUN, follow)
    elsewhere = tmp_path / "elsewhere"
    write_items(elsewhere, OTHER, "second")
    before = files_of(elsewhere)
    with pytest.raises(CopyRefused, match=f"holds other content in 1 data sets of run {RUN} .*tiny.rome_edits` of run"):
        copy_from(store, elsewhere, None, follow)
    assert files_of(elsewhere) == before
    # the same content is shared, and stays with the run that is there
    write_items(elsewhere, OTHER, "first")
    write(elsewhere / "02_intermediate/web/answer.json", "of another day")
    copy_from(store, elsewhere, None, follow)
    assert json.loads((elsewhere / ".provenance/tiny.rome_edits.json").read_text()) == {"run": OTHER}
    assert (elsewhere / "02_intermediate/web/answer.json").read_text() == "of another day"


def test_a_copy_keeps_what_another_run_has_written_anew_here(store, data, caplog):
    caplog.set_level(logging.INFO)
    copy_to(store, data, RUN, follow)
    write_items(data, OTHER, "second")
    write(data / "08_reporting" / RUN / "report.html", "again")
    assert copy_to(store, data, RUN, follow).copied == 1
    assert store._system.cat_file(store._path(f"{EDITS}/a.safetensors")) == b"a first"
    assert "7 files in the copy stay as they are: another run has written their data sets since" in caplog.text


def test_a_copy_that_is_killed_keeps_what_another_run_has_written_anew_here(store, data, monkeypatch):
    monkeypatch.setattr("edit_robustness.runs.copies._LISTED", 0)
    copy_to(store, data, RUN, follow)
    write_items(data, OTHER, "second")
    write(data / "08_reporting" / RUN / "report.html", "again")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_at(patch, "report.html")
        copy_to(store, data, RUN, follow)
    assert not store.listing().complete
    copy_to(store, data, RUN, follow)
    assert store.listing().complete
    assert store._system.cat_file(store._path(f"{EDITS}/a.safetensors")) == b"a first"


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_record_of_a_data_set_is_listed_after_its_files(name, store, data, monkeypatch):
    monkeypatch.setattr("edit_robustness.runs.copies._LISTED", 0)
    copy_to(store, data, RUN, follow)
    for key in ("a", "b"):
        write(data / EDITS / f"{key}.safetensors", "once more")
    put = Store.put

    def killed(store, path, file_name):
        if file_name.endswith(f"{name}.safetensors"):
            raise KeyboardInterrupt
        put(store, path, file_name)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "put", killed)
        copy_to(store, data, RUN, follow)
    assert ".provenance/tiny.rome_edits.json" not in store.listing().files
    assert ".provenance/facts.json" in store.listing().files


def test_a_file_that_could_not_be_copied_back_is_refused(store, data):
    write(data / "scores.csv", "mine")
    record = data / "08_reporting" / RUN / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "data_sets": [*DATA_SETS, ["mine", "scores.csv"]]}))
    with pytest.raises(CopyRefused, match=r"scores\.csv cannot be copied back: .*Change its path in the catalog"):
        copy_to(store, data, RUN, follow)
    assert store.listing() is None


def test_a_listing_that_names_files_of_no_data_set_replaces_nothing(store, data, tmp_path):
    copy_to(store, data, RUN, follow)
    listing = store.listing()
    store.write_listing(Listing(**{**vars(listing), "data_sets": ()}))
    elsewhere = tmp_path / "elsewhere"
    write_items(elsewhere, OTHER, "second")
    before = files_of(elsewhere)
    with pytest.raises(CorruptFile, match=r"copy\.json: `.*` is of no data set of the run"):
        copy_from(store, elsewhere, None, follow)
    assert files_of(elsewhere) == before


def test_a_file_that_only_the_copy_had_and_that_is_gone_there_is_told(store, data):
    copy_to(store, data, RUN, follow)
    write_items(data, OTHER, "second")
    store._system.rm_file(store._path(f"{EDITS}/a.safetensors"))
    with pytest.raises(CopyRefused, match=rf"a\.safetensors is missing, .* give the command of run {RUN} again"):
        copy_to(store, data, RUN, follow)


def test_a_first_copy_says_what_other_runs_have_written(store, data, caplog):
    write_items(data, OTHER, "second")
    copy_to(store, data, RUN, follow)
    assert f"2 data sets were last written by other runs (facts by {OTHER})" in caplog.text


def test_a_later_state_is_not_replaced_by_an_earlier_one(store, data, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    copy_to(store, data, RUN, follow)
    copy_from(store, elsewhere, None, follow)
    write_run(elsewhere, sessions=("one", "two"), text="later")
    with pytest.raises(CopyRefused, match=r"was continued in .* after it was copied to .*\(1 commands\)"):
        copy_from(store, elsewhere, None, follow)
    copy_to(store, elsewhere, RUN, follow)
    with pytest.raises(CopyRefused, match=f"holds a later state of run {RUN}.*--from"):
        copy_to(store, data, RUN, follow)
    copy_from(store, data, None, follow)
    assert (data / EDITS / "a.safetensors").read_text() == "a later"


def test_a_run_that_does_not_exist_or_is_going_on_or_lists_nothing_is_refused(store, data):
    with pytest.raises(CopyRefused, match=rf"no run `20260102-030405-aaaaaaab` in .*did you mean `{RUN}`"):
        copy_to(store, data, "20260102-030405-aaaaaaab", follow)
    with pytest.raises(CopyRefused, match="no run `latest`"):
        copy_to(store, data, "latest", follow)
    with pytest.raises(CopyRefused, match=r"no run `\.\./x` in .*there are no runs yet"):
        copy_to(store, data / "none", "../x", follow)
    lock = RunLock()
    lock.acquire(data, ["tiny"])
    with pytest.raises(FolderInUse, match="is writing model tiny in the data folder"):
        copy_to(store, data, RUN, follow)
    lock.release()
    record = data / "08_reporting" / RUN / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "data_sets": None}))
    with pytest.raises(CopyRefused, match="does not list its data sets: an earlier version wrote it"):
        copy_to(store, data, RUN, follow)
    assert store.listing() is None


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "/etc/x", "07_model_output/../../x", "01_raw/facts.csv", ".locks/shared.lock", "x"),
        *(f"08_reporting/{OTHER}/run.json", "08_reporting/index.html", "a\\..\\x", "C:/x/y", "a//b"),
    ],
)
def test_a_listing_that_names_files_elsewhere_is_refused(name, store, data, tmp_path):
    copy_to(store, data, RUN, follow)
    listing = store.listing()
    store.write_listing(Listing(**{**vars(listing), "files": {name: StoredFile(1, "x")}}))
    with pytest.raises(CorruptFile, match=r"copy\.json: .* is not a file of the run, and nothing is written there"):
        copy_from(store, tmp_path / "elsewhere", None, follow)
    assert not (tmp_path / "elsewhere").exists()


def test_a_record_that_names_places_elsewhere_copies_nothing_from_there(store, data):
    write(data.parent / "private" / "key", "s3cret")
    record = data / "08_reporting" / RUN / "run.json"
    places = [*DATA_SETS, ["x", "../private"], ["y", str(data.parent / "private")]]
    record.write_text(json.dumps({**json.loads(record.read_text()), "data_sets": places}))
    copy_to(store, data, RUN, follow)
    assert set(store.listing().files) == FILES


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', "[" * 100_000])
def test_a_listing_that_cannot_be_read_is_named(text, store, data, tmp_path):
    write(tmp_path / "stores" / "first" / LISTING, text)
    with pytest.raises(CorruptFile, match=r"first/copy\.json: it cannot be read"):
        copy_to(store, data, RUN, follow)


def test_a_bucket_that_is_not_there_and_a_disk_that_cannot_be_written(object_store, data, tmp_path):
    with pytest.raises(AddressError, match=r"s3://nobucket/x/copy\.json: it does not exist") as error:
        copy_to(Store("s3://nobucket/x"), data, RUN, follow)
    assert SECRET not in str(error.value)
    write(tmp_path / "file", "x")
    with pytest.raises(OSError, match=r"Not a directory|is no folder"):
        copy_to(Store(str(tmp_path / "file" / "x")), data, RUN, follow)
    assert (tmp_path / "file").read_text() == "x"
