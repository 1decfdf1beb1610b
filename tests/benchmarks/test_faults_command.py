"""The command damages, compares and reads runs; no run is started."""

import json
from random import Random

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from benchmarks.faults import flips
from benchmarks.faults.comparing import compare_tables, difference, item_names, part_names, table_names
from benchmarks.faults.damage import (
    KINDS,
    WAYS,
    clear_later,
    damage,
    draw_file,
    draw_way,
    kept_files,
    kind_of,
)
from benchmarks.faults.kills import draw_shares, remember_items
from benchmarks.faults.launching import Outcome
from benchmarks.faults.two import Pair, judge_pair

FILES = {
    "03_primary/facts.parquet": "tables between",
    "05_model_input/tiny/corpus/corpus.jsonl": "corpus",
    "06_models/smollm2/model.safetensors": "converted model",
    "06_models/tiny_artefacts/moments/1.mlp_out.safetensors": "moments",
    "06_models/tiny_artefacts/rome/rome.safetensors": "artefact",
    "07_model_output/tiny/rome/answers/a.jsonl": "answers",
    "07_model_output/tiny/rome/answers/manifest.json": "manifests",
    "07_model_output/tiny/rome/edits/a.safetensors": "edits",
    "07_model_output/tiny/run.json": "run records",
    "07_model_output/tiny/.lock": "locks",
    "08_reporting/scores.csv": "reports",
    "02_intermediate/web/page.json": "caches",
    ".provenance/runs.json": "hidden records",
    "07_model_output/tiny/rome/edits/a.sum": "other",
}


@pytest.fixture
def folders(tmp_path):
    """Two folders with the same content, but for the times in their run records and headers."""
    for folder, seconds in (("expected", 0.25), ("actual", 4.0)):
        edits = tmp_path / folder / "07_model_output/tiny/rome/edits"
        edits.mkdir(parents=True)
        header = {"header": json.dumps({"seconds": seconds, "kind": "low_rank"})}
        save_file({"left": np.array([1.0, -2.0], np.float32)}, edits / "a.safetensors", header)
        (edits / "manifest.json").write_text(json.dumps({"a": str(seconds)}))
        record = {"seconds_per_edit": {"tiny": seconds}, "finished": str(seconds), "n_facts": 5}
        (edits.parents[1] / "run.json").write_text(json.dumps(record))
        lines = [{"seconds": seconds}, [{"text": "Rome", "logprob": -1.5, "finished": True}]]
        (edits.parents[1] / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        table = pd.DataFrame({"id": ["a", "b"], "value": [0.5, float("nan")], "names": [["x"], []]})
        table.to_parquet(edits.parents[1] / "scores.parquet")
        (tmp_path / folder / ".provenance").mkdir()
        (tmp_path / folder / ".provenance/runs.json").write_text(json.dumps({"checksum": str(seconds)}))
        table.drop(columns="names").to_csv(edits.parents[1] / "scores.csv", index=False)
    return tmp_path / "expected", tmp_path / "actual"


def change(folder, name, before, after):
    path = folder / "07_model_output/tiny" / name
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_equal_folders_are_equal_though_their_times_are_not(folders):
    reference, actual = folders
    assert table_names(reference) == {
        f"07_model_output/tiny/{name}" for name in ("scores.csv", "scores.parquet", "run.json")
    }
    comparison = compare_tables(reference, actual)
    assert comparison.same
    assert comparison.compared == 3
    for name in item_names(reference):
        assert difference(reference / name, actual / name) == 0


@pytest.mark.parametrize(
    ("name", "before", "after", "difference_text"),
    [
        ("scores.csv", "0.5", "0.6", "column value: numbers"),
        ("scores.csv", "b,", "c,", "column id: 'c', expected 'b'"),
        ("scores.csv", "id,", "name,", "columns"),
        ("scores.csv", "b,\n", "", "1 rows, expected 2"),
        ("run.json", ": 5", ": 6", "n_facts: 6, expected 5"),
        ("run.json", "n_facts", "facts", "fields"),
        ("run.json", "{", "[", "unreadable"),
    ],
)
def test_a_table_with_another_value_differs(folders, name, before, after, difference_text):
    reference, actual = folders
    change(actual, name, before, after)
    comparison = compare_tables(reference, actual)
    assert list(comparison.differing) == [f"07_model_output/tiny/{name}"]
    assert difference_text in comparison.differing[f"07_model_output/tiny/{name}"]


def test_rounding_is_told_from_other_values(folders):
    reference, actual = folders
    change(actual, "scores.csv", "0.5", "0.500001")
    comparison = compare_tables(reference, actual)
    assert comparison.rounding == {"07_model_output/tiny/scores.csv": pytest.approx(1e-6)}
    assert not comparison.same
    assert not comparison.differing


def test_missing_and_additional_tables_are_found(folders):
    reference, actual = folders
    tiny = actual / "07_model_output/tiny"
    (tiny / "scores.csv").rename(tiny / "other.csv")
    (tiny / "scores.parquet.1.part").touch()
    assert compare_tables(reference, actual).differing == {
        "07_model_output/tiny/other.csv": "not in the undisturbed run",
        "07_model_output/tiny/scores.csv": "missing",
    }
    assert part_names(actual) == {"07_model_output/tiny/scores.parquet.1.part"}


def test_a_tensor_and_a_kept_answer_are_compared_without_their_seconds(folders):
    reference, actual = folders
    change(actual, "a.jsonl", "true", "false")
    name = "07_model_output/tiny/a.jsonl"
    with pytest.raises(Exception, match=r"finished: False, expected True"):
        difference(reference / name, actual / name)
    edit = "07_model_output/tiny/rome/edits/a.safetensors"
    header = {"header": json.dumps({"seconds": 1.0, "kind": "low_rank"})}
    save_file({"left": np.array([1.0, -2.5], np.float32)}, actual / edit, header)
    with pytest.raises(Exception, match="tensor left: numbers"):
        difference(reference / edit, actual / edit)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("content", [b"", bytes(40), b'{"text": "Rome", "logprob": -1.5}\n' * 9])
def test_every_damage_changes_the_file_and_a_seed_repeats_it(tmp_path, way, content):
    for seed in range(20):
        contents = []
        for name in "ab":
            path = tmp_path / f"{seed}{name}"
            path.write_bytes(content)
            damage(path, way, Random(seed))
            contents.append(path.read_bytes() if path.is_file() else None)
        assert contents[0] == contents[1] != content
    if way in ("bytes flipped", "characters changed") and content:
        n_changes = sum(byte != original_byte for byte, original_byte in zip(contents[0], content, strict=True))
        assert 1 <= n_changes <= 16


def test_changed_characters_leave_text_that_can_be_read(tmp_path):
    path = tmp_path / "a.json"
    for seed in range(20):
        path.write_text('{"name": "München", "value": 12345}', "utf-8")
        damage(path, "characters changed", Random(seed))
        assert path.read_text("utf-8").isprintable()


def test_every_file_has_a_kind_and_every_kind_is_drawn():
    assert {name: kind_of(name) for name in FILES} == FILES
    assert set(FILES.values()) == set(KINDS)
    answer_files = [f"07_model_output/tiny/rome/answers/{number}.jsonl" for number in range(200)]
    generator = Random(0)
    kinds = [kind_of(draw_file([*FILES, *answer_files], generator)) for _ in range(200)]
    assert set(kinds) == set(KINDS)
    assert kinds.count("answers") < 70
    assert {draw_way(generator) for _ in range(300)} == set(WAYS)


def test_kept_files_are_all_files(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert kept_files(tmp_path) == sorted(FILES)


def test_what_is_made_from_a_damaged_file_can_be_removed(tmp_path):
    def left_after(name):
        for file in (*FILES, "04_feature/tiny/recall_answers/a.jsonl"):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        removals = clear_later(tmp_path, name)
        return removals, {kind_of(file) for file in FILES} - {kind_of(file) for file in kept_files(tmp_path)}

    assert left_after("06_models/tiny_artefacts/moments/1.mlp_out.safetensors") == (True, {"artefact", "edits"})
    assert left_after("07_model_output/tiny/rome/answers/a.jsonl") == (False, set())
    assert left_after("03_primary/facts.parquet") == (False, set())
    left_after("07_model_output/tiny/rome/edits/a.safetensors")
    assert not (tmp_path / "07_model_output/tiny/rome/answers/a.jsonl").exists()
    assert (tmp_path / "04_feature/tiny/recall_answers/a.jsonl").exists()


def test_kills_cover_the_whole_length_of_a_run():
    shares = draw_shares(24, Random(0))
    for _ in range(2):
        a_round = sorted(next(shares) for _ in range(24))
        assert [int(share * 24) for share in a_round] == list(range(24))


def test_an_item_that_is_written_again_is_seen(folders):
    _, actual = folders
    items = {}
    assert remember_items(actual, items) == []
    assert remember_items(actual, items) == []
    (actual / "07_model_output/tiny/new.jsonl").touch()
    change(actual, "a.jsonl", "4.0", "5.0")
    assert remember_items(actual, items) == ["07_model_output/tiny/a.jsonl"]


OUTPUT = """\
[11/29/26 00:03:05] INFO     Completed node: tiny.rome.edit
                    WARNING  corpus.jsonl is made again: it cannot be read
                             (line 2)
[11/29/26 00:03:06] INFO     Completed node: tiny.rome.evaluate
Report: /data/report.html
"""


def test_log_lines_with_a_date_are_read_too():
    lines = ["INFO    [3/52] tiny.rome.edit", "WARNING Recomputing rome.safetensors: corrupt", "ERROR   Stopped"]
    outcome = Outcome(1, "".join(f"2026-11-29 00:03:05 {line}\n" for line in lines), 1.0)
    assert outcome.last_node == "tiny.rome.edit"
    assert outcome.warnings == ["Recomputing rome.safetensors: corrupt", "Stopped"]
    assert outcome.refusal == ["Stopped"]


def test_what_a_run_says_is_read_line_by_line():
    outcome = Outcome(0, OUTPUT, 1.0)
    assert outcome.last_node == "tiny.rome.evaluate"
    assert outcome.refusal == []
    assert flips.naming_lines(outcome.warnings, "05_model_input/tiny/corpus/corpus.jsonl") == [
        "corpus.jsonl is made again: it cannot be read"
    ]
    assert not flips.naming_lines(outcome.warnings, "05_model_input/tiny/corpus/manifest.json")
    assert flips.naming_lines(["tiny/corpus: no manifest"], "05_model_input/tiny/corpus/manifest.json")
    assert Outcome(1, OUTPUT + "Error: another run uses this folder\n", 1.0).refusal == [
        "Error: another run uses this folder"
    ]


def test_verdicts(folders):
    reference, actual = folders
    equality = compare_tables(reference, actual)
    assert flips.judge(1, equality, is_named=True) == flips.FAILED
    assert flips.judge(0, equality, is_named=True) == flips.NAMED
    assert flips.judge(0, equality, is_named=False) == flips.UNREAD
    change(actual, "scores.csv", "0.5", "0.500001")
    rounding = compare_tables(reference, actual)
    assert flips.judge(0, rounding, is_named=True) == flips.ROUNDING
    assert flips.judge(0, rounding, is_named=False) == flips.SILENT
    change(actual, "scores.csv", "0.500001", "0.7")
    difference = compare_tables(reference, actual)
    assert flips.judge(0, difference, is_named=True) == flips.WRONG
    assert flips.judge(0, difference, is_named=False) == flips.SILENT
    assert flips.judge_rescore(Outcome(0, OUTPUT, 1.0), equality) == (flips.EQUAL, [])
    assert flips.judge_rescore(Outcome(0, OUTPUT, 1.0), difference)[0] == flips.OTHER
    assert flips.judge_rescore(Outcome(1, "Error: answers.parquet is damaged", 1.0), equality)[0] == flips.REFUSED
    assert flips.judge_rescore(Outcome(1, "Traceback\n" * 20, 1.0), equality)[0] == flips.TRACEBACK


def test_errors_of_one_cause_are_counted_together():
    failures = [
        {"verdict": flips.FAILED, "lines": ["Traceback", f"/data/{name} cannot be read (line {name[1]})"]}
        for name in ("a1.jsonl", "b2.safetensors")
    ]
    assert list(flips.group_errors(failures).values()) == [2]


def test_of_two_runs_exactly_one_must_be_refused(folders):
    reference, actual = folders
    equality = compare_tables(reference, actual)
    success, refusal = Outcome(0, OUTPUT, 1.0), Outcome(1, "Error: another run uses this folder", 1.0)
    assert judge_pair(Pair("same settings", 0.0), [success, refusal], 0, equality).right
    assert judge_pair(Pair("same settings", 0.0), [refusal, success], 1, equality).right
    assert not judge_pair(Pair("same settings", 2.0), [refusal, success], 1, equality).right
    assert not judge_pair(Pair("same settings", 0.0), [success, success], 0, equality).right
    assert not judge_pair(Pair("same settings", 0.0), [refusal, refusal], 1, equality).right
    change(actual, "scores.csv", "0.5", "0.7")
    assert not judge_pair(Pair("same settings", 0.0), [success, refusal], 0, compare_tables(reference, actual)).right
