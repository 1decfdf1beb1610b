import inspect
import json
import logging
import os

import pytest
import torch
from kedro.io import DatasetError

from edit_robustness.datasets import (
    AnswersDataset,
    ArtefactsDataset,
    EditsDataset,
    TextsDataset,
)
from edit_robustness.datasets.folders import Manifest, StoredItem, stale_mark, successful_items
from edit_robustness.datasets.resume import fingerprints, items, resume_folder
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import LowRank, PromptPrefix
from edit_robustness.editing.files import FORMAT
from edit_robustness.models.layout import Site
from edit_robustness.records import Answer, Probe, Turn
from edit_robustness.storage import CorruptFile
from edit_robustness.versions import ROOMS_OF_FILES

PROBE = Probe(
    "x/doubt/0", "x", "doubt", "edit", "Île", "Sure?", "Oslo", "Szohod", ("Os/lo",), ("S\u2028z",),
    True, (Turn("user", "Where \"is\" it?\n"), Turn("assistant", "القاهرة")), "x/question/0",
)  # fmt: skip
ANSWERS = [
    Answer(PROBE, "In Oslo,\u2028\nof course.", True, 7, -1.25, -1e-12, 3, 4, True, False),
    Answer(
        Probe("x/s/0", "x", "statement", "edit", "Île", "t", "a", "b"), "", False, 0, -0.1 - 0.2, -9, 1, 1, False, True
    ),
]
ODD_KEYS = ["a/b", "..", "a.b", "Île de l'owl", "100%", "a%2Fb", "C:\\x", "q?*", "manifest", "北京", "a b", "x.jsonl"]

ITEMS = {
    EditsDataset: [PromptPrefix("one"), PromptPrefix("two")],
    ArtefactsDataset: [Artefact({}, ("one",)), Artefact({}, ("two",))],
    AnswersDataset: [ANSWERS, []],
    TextsDataset: [["one"], ["two", "\u2028"]],
}
every_folder = pytest.mark.parametrize("kind", ITEMS, ids=lambda kind: kind.__name__)


@pytest.fixture
def folder(kind, tmp_path):
    return kind(str(tmp_path / "folder"))


def save(folder, **keys):
    """Save items under fingerprints of their own, manifest first."""
    folder.save(Manifest({key: f"print of {key}" for key in keys}))
    for key, value in keys.items():
        folder.save({key: StoredItem.of(f"print of {key}", value)})


def plain(value):
    return value.texts if isinstance(value, Artefact) else value


@every_folder
def test_a_folder_that_is_not_there_or_empty_loads_as_nothing(folder, tmp_path):
    assert folder.load() == {}
    assert folder.fingerprints() == {}
    assert not folder.exists()
    (tmp_path / "folder").mkdir()
    assert folder.load() == {}


@every_folder
def test_items_come_back_in_the_manifests_order(kind, folder):
    first, second = ITEMS[kind]
    save(folder, z=first, a=second)
    items = folder.load()
    assert list(items) == ["z", "a"]
    assert [plain(item.read()) for item in items.values()] == [plain(first), plain(second)]
    assert [item.fingerprint for item in items.values()] == ["print of z", "print of a"]
    assert folder.exists()


@every_folder
def test_items_of_other_runs_are_never_loaded(kind, folder):
    first, second = ITEMS[kind]
    save(folder, old=first, both=first)
    save(folder, both=second, new=second)
    assert list(folder.load()) == ["both", "new"]
    assert plain(folder.load()["both"].read()) == plain(second)
    assert set(folder.fingerprints()) == {"old", "both", "new"}


@every_folder
def test_an_item_of_another_fingerprint_is_missing(kind, folder):
    first, second = ITEMS[kind]
    save(folder, a=first, b=second)
    folder.save(Manifest({"a": "print of a", "b": "another"}))
    with pytest.raises(
        DatasetError, match="1 of 2 items of this run are missing, the first is `b`; run the whole pipe"
    ):
        folder.load()


@every_folder
def test_a_killed_run_is_an_error_until_it_has_gone_on(kind, folder):
    first, second = ITEMS[kind]
    folder.save(Manifest({"a": "1", "b": "2"}))
    with pytest.raises(DatasetError, match="2 of 2 items"):
        folder.load()
    folder.save({"a": StoredItem.of("1", first)})
    with pytest.raises(DatasetError, match="1 of 2 items"):
        folder.load()
    assert folder.fingerprints() == {"a": "1"}
    folder.save({"b": StoredItem.of("2", second)})
    assert list(folder.load()) == ["a", "b"]


@every_folder
def test_half_written_files_are_not_seen(kind, folder, tmp_path):
    save(folder, a=ITEMS[kind][0])
    (tmp_path / "folder" / f"b{kind.codec.suffix}.part").write_bytes(b"half")
    (tmp_path / "folder" / "manifest.json.part").write_text("{")
    assert list(folder.load()) == ["a"]
    assert set(folder.fingerprints()) == {"a"}
    save(folder, b=ITEMS[kind][1])
    assert plain(folder.load()["b"].read()) == plain(ITEMS[kind][1])


@every_folder
def test_a_truncated_file_is_warned_about_and_made_again(kind, folder, tmp_path, caplog):
    save(folder, a=ITEMS[kind][0], b=ITEMS[kind][0])
    path = tmp_path / "folder" / f"b{kind.codec.suffix}"
    path.write_bytes(path.read_bytes()[:20])
    with caplog.at_level(logging.WARNING, logger="edit_robustness"):
        assert set(folder.fingerprints()) == {"a"}
    assert f"b{kind.codec.suffix} cannot be read" in caplog.text
    assert "it is recomputed if this run needs it" in caplog.text
    with pytest.raises(DatasetError, match="the first is `b`"):
        folder.load()
    folder.save({"b": StoredItem.of("print of b", ITEMS[kind][1])})
    assert plain(folder.load()["b"].read()) == plain(ITEMS[kind][1])


@every_folder
def test_a_file_without_a_fingerprint_is_made_again(kind, folder, tmp_path, caplog):
    (tmp_path / "folder").mkdir()
    folder.codec.write(tmp_path / "folder" / f"a{kind.codec.suffix}", ITEMS[kind][0], {"method": "x"})
    assert folder.fingerprints() == {}
    assert f"a{kind.codec.suffix} has no fingerprint; it is recomputed" in caplog.text


@every_folder
def test_odd_keys_stay_in_the_folder_and_read_back(kind, folder, tmp_path):
    values = {key: ITEMS[kind][number % 2] for number, key in enumerate(ODD_KEYS)}
    save(folder, **values)
    assert {key: plain(item.read()) for key, item in folder.load().items()} == {k: plain(v) for k, v in values.items()}
    assert set(folder.fingerprints()) == set(ODD_KEYS)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert all(path.is_file() for path in (tmp_path / "folder").iterdir())
    assert len(list((tmp_path / "folder").iterdir())) == len(ODD_KEYS) + 1


@every_folder
def test_headers_go_with_the_items(kind, folder):
    folder.save(Manifest({"a": "1"}))
    folder.save({"a": StoredItem.of("1", ITEMS[kind][0], method="rome", seconds=0.5)})
    header = folder.load()["a"].header
    assert (header["method"], header["seconds"], header["fingerprint"]) == ("rome", 0.5, "1")
    assert header["format"] == FORMAT
    assert header["bytes"] > 0


@every_folder
def test_saving_is_atomic_where_writing_fails(kind, folder, tmp_path):
    save(folder, a=ITEMS[kind][0])
    with pytest.raises(DatasetError, match="object"):
        folder.save({"a": StoredItem.of("2", object())})
    assert plain(folder.load()["a"].read()) == plain(ITEMS[kind][0])


def test_items_are_read_when_they_are_asked_for(tmp_path):
    folder = EditsDataset(str(tmp_path))
    save(folder, a=PromptPrefix("x"))
    item = folder.load()["a"]
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(CorruptFile, match=r"a.safetensors"):
        item.read()


def test_an_edit_that_is_not_finite_is_never_written(tmp_path):
    folder = EditsDataset(str(tmp_path))
    with pytest.raises(DatasetError, match="the edit's numbers are not finite"):
        save(folder, a=LowRank({Site(1, "mlp_out"): (torch.full((3, 1), torch.nan), torch.ones(1, 2))}))
    assert not (tmp_path / "a.safetensors").exists()


@every_folder
def test_a_flipped_bit_anywhere_is_damage(kind, folder, tmp_path, caplog):
    save(folder, a=ITEMS[kind][0])
    path = tmp_path / "folder" / f"a{kind.codec.suffix}"
    sound = path.read_bytes()
    for place in range(0, len(sound), max(1, len(sound) // 60)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        assert folder.fingerprints() == {}, place
        assert str(path) in caplog.text
        with pytest.raises(CorruptFile, match=f"a{kind.codec.suffix}"):
            folder.codec.read(path)
        caplog.clear()
    path.write_bytes(sound)
    assert folder.fingerprints() == {"a": "print of a"}


@every_folder
@pytest.mark.parametrize("leftover", ["0\n[]\n", "[1]\n[]\n", '{"checksum": 3}\n\n', "\ud800", "[" * 5000 + "\n\n"])
def test_a_wrong_leftover_is_passed_over(kind, folder, tmp_path, leftover):
    save(folder, a=ITEMS[kind][0])
    (tmp_path / "folder" / f"y{kind.codec.suffix}").write_bytes(leftover.encode("utf-8", "surrogatepass"))
    assert list(folder.load()) == ["a"]


@every_folder
def test_a_folder_or_a_dangling_link_in_the_place_of_a_file_stops_nothing(kind, folder, tmp_path):
    first, second = ITEMS[kind]
    (tmp_path / "folder" / f"y{kind.codec.suffix}").mkdir(parents=True)
    (tmp_path / "folder" / f"y{kind.codec.suffix}" / "mine").write_text("a user's")
    (tmp_path / "folder" / f"z{kind.codec.suffix}").symlink_to(tmp_path / "nowhere")
    assert folder.fingerprints() == {}
    save(folder, y=first, z=second)
    assert list(folder.load()) == ["y", "z"]
    assert (tmp_path / "folder" / f"y{kind.codec.suffix}.1.set_aside" / "mine").read_text() == "a user's"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@every_folder
def test_a_pipe_in_the_place_of_a_file_does_not_wait_for_ever(kind, folder, tmp_path, caplog):
    save(folder, a=ITEMS[kind][0])
    (tmp_path / "folder" / f"a{kind.codec.suffix}").unlink()
    os.mkfifo(tmp_path / "folder" / f"a{kind.codec.suffix}")
    assert folder.fingerprints() == {}
    assert f"a{kind.codec.suffix} is no file; it is recomputed" in caplog.text
    save(folder, a=ITEMS[kind][0])
    assert list(folder.load()) == ["a"]


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "folder").write_text("a user's")
    with pytest.raises(DatasetError, match="folder is no folder, and files of the run belong into it: move it away"):
        TextsDataset(str(tmp_path / "folder")).save(Manifest())


@every_folder
def test_files_of_the_last_run_that_are_gone_are_counted_and_named(kind, folder, tmp_path, caplog):
    save(folder, a=ITEMS[kind][0], b=ITEMS[kind][1])
    (tmp_path / "folder" / f"a{kind.codec.suffix}.99.part").write_text("of a killed run")
    (tmp_path / "folder" / f"b{kind.codec.suffix}").unlink()
    assert folder.fingerprints() == {"a": "print of a"}
    assert (
        f"1 of 2 files of the last run are missing, the first is b{kind.codec.suffix}; they are computed" in caplog.text
    )
    save(folder, a=ITEMS[kind][0])
    assert not list((tmp_path / "folder").glob("*.part"))


@every_folder
def test_files_of_another_version_are_recomputed_or_kept_and_marked(kind, folder, tmp_path, caplog, monkeypatch):
    save(folder, a=ITEMS[kind][0])
    monkeypatch.setitem(ROOMS_OF_FILES, kind.holds, {**ROOMS_OF_FILES[kind.holds], "models": 0})
    assert folder.fingerprints() == {}
    assert "1 files were made by another version of this project, recomputing them" in caplog.text
    with pytest.raises(DatasetError, match="missing"):
        folder.load()
    keeping_folder = kind(str(tmp_path / "folder"), keep_stale=True)
    assert keeping_folder.load()["a"].header["stale"]
    assert "using them: a" in caplog.text


@every_folder
def test_files_of_another_format_are_recomputed_and_never_read(kind, folder, tmp_path, caplog, monkeypatch):
    first, second = ITEMS[kind]
    with monkeypatch.context() as before:
        before.setattr("edit_robustness.datasets.codecs.FORMAT", 4)
        before.setattr("edit_robustness.editing.files.FORMAT", 4)
        save(folder, a=first, b=second)
    stale_folder = kind(str(tmp_path / "folder"), keep_stale=True)
    for dataset in (folder, stale_folder):
        caplog.clear()
        assert dataset.fingerprints() == dataset.items() == {}
        assert f"2 files are in another format than {FORMAT}, which this release reads, recomputing" in caplog.text
        caplog.clear()
        message = (
            rf"2 of 2 items .* another format, .* `a` \(format 4, .* reads {FORMAT}\); run the whole .* recomputes them"
        )
        with pytest.raises(DatasetError, match=message):
            dataset.load()
        assert not caplog.text, "one line is enough"
    save(folder, a=first, b=second)
    assert list(folder.load()) == ["a", "b"]


@every_folder
def test_what_was_made_from_stale_files_is_recomputed_with_them_or_kept_and_marked(kind, folder, tmp_path):
    stale, sound = StoredItem.of("1", None, stale=True), StoredItem.of("2", None)
    folder.save(Manifest({"a": "1", "b": "2"}))
    folder.save({"a": StoredItem.of("1", ITEMS[kind][0], **stale_mark(sound, stale))})
    folder.save({"b": StoredItem.of("2", ITEMS[kind][1], **stale_mark(sound))})
    assert folder.fingerprints() == {"b": "2"}
    stored_items = kind(str(tmp_path / "folder"), keep_stale=True).load()
    assert [stored_items[key].header.get("stale") for key in "ab"] == [True, None]


@every_folder
def test_an_item_that_could_not_be_made_is_loaded_with_its_reason_and_tried_again(kind, folder):
    folder.save(Manifest({"a": "1", "b": "2"}))
    folder.save(
        {
            "a": StoredItem.failed_item("1", ValueError("no numbers"), seconds=0.5),
            "b": StoredItem.of("2", ITEMS[kind][1]),
        }
    )
    items = folder.load()
    assert items["a"].failure == "no numbers"
    assert items["a"].header["failed_at"]
    assert items["a"].header["seconds"] == 0.5
    assert list(successful_items(items)) == ["b"]
    assert not plain(items["a"].read()) or items["a"].read() == PromptPrefix()
    assert folder.fingerprints() == {"b": "2"}


def test_the_environment_stands_beside_each_item(tmp_path):
    folder = TextsDataset(str(tmp_path))
    folder.save(Manifest({"a": "1"}))
    folder.save({"a": StoredItem.of("1", [], environment={"device": "cpu"})})
    environment = folder.load()["a"].header["environment"]
    assert environment["device"] == "cpu"
    assert environment["torch"] == torch.__version__


def test_a_damaged_manifest_is_named(tmp_path):
    folder = TextsDataset(str(tmp_path))
    save(folder, a=[])
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DatasetError, match=r"manifest.json cannot be read .*; run the whole pipeline"):
        folder.load()


def test_answers_come_back_equal(tmp_path):
    folder = AnswersDataset(str(tmp_path))
    save(folder, a=ANSWERS)
    assert folder.load()["a"].read() == ANSWERS
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 3
    assert json.loads(lines[1])[0]["probe"]["previous_turns"][1]["text"] == "القاهرة"


def filled(folder, node, *inputs, **named_inputs):
    """Run a node of one folder as Kedro would, and return what it said of the folder."""
    for piece in node(*inputs, **named_inputs):
        folder.save(piece)
    return folder.load()


@pytest.mark.parametrize("kind", ITEMS)
def test_a_node_sees_what_its_folder_holds_whichever_run_made_it(kind, folder):
    first, second = ITEMS[kind]
    calls = []

    def fill(lm, inventory, settings: int, *methods, first_items=None, **sources):
        """Fill the folder."""
        first_items = {key: type(item.read()) for key, item in first_items.items()}
        calls.append((lm, settings, methods, inventory, first_items, sources))
        yield Manifest({"b": "2"})
        yield {"a": None, "b": StoredItem.of("2", second)}

    node = resume_folder(fill, inventory=fingerprints, first_items=items)
    assert list(inspect.signature(node).parameters) == ["lm", "settings", "methods", "sources"]
    assert inspect.isgeneratorfunction(node), "Kedro streams only generator functions"
    assert filled(folder, node, "lm", 3, "rome", "ft").keys() == {"b"}
    folder.save({"a": StoredItem.of("1", first)})
    filled(folder, node, lm="lm", settings=4, facts="x")
    assert calls == [
        ("lm", 3, ("rome", "ft"), {}, {}, {}),
        ("lm", 4, (), {"a": "1", "b": "2"}, {"a": type(first), "b": type(second)}, {"facts": "x"}),
    ]
    assert folder.fingerprints() == {"b": "2"}


def test_another_process_gets_an_item_with_its_value(tmp_path):
    folder = EditsDataset(str(tmp_path))
    save(folder, a=PromptPrefix("Words. "))
    item = folder.load()["a"]
    build, arguments = item.__reduce__()
    (tmp_path / "a.safetensors").unlink()
    received_item = build(*arguments)
    assert received_item.read() == PromptPrefix("Words. ")
    assert (received_item.fingerprint, received_item.header) == (item.fingerprint, item.header)
