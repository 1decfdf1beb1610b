"""A run that starts in the middle reads only what its own settings made."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
from kedro.framework.project import pipelines
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner

from conftest import Starting
from edit_robustness import versions
from edit_robustness.datasets.folders import StoredItem
from edit_robustness.hooks import OneRun, RefusedRun, check_runner, data_folder
from edit_robustness.locking import LOCKS, FolderInUse, RunLock
from edit_robustness.provenance import OtherRun

TABLES = ("scores", "headline", "overview", "gaps", "correlations", "regression", "prediction")
ESTIMATE = [f"analyze.{node}" for node in ("summarise", "compare_protocols", "correlate", "explain", "predict")]
"""The nodes that make them of the scores."""

RATE = {"methods": {"rome": {"tiny": {"v_lr": 0.25}}}}
MAKE = "run `kedro run --pipeline=edit_eval` with these settings first, which makes them anew"


def files(project):
    paths = (path for path in project.data.rglob("*") if path.is_file() and path.parent.name != LOCKS)
    return {path: path.stat().st_mtime_ns for path in paths}


def test_edits_of_another_rate_are_not_asked_in_this_run(finished_project, no_model):
    before = files(finished_project)
    message = (
        r"data sets that were made with other settings \(`tiny.rome_edits`\): methods\.rome\.tiny\.v_lr \(then 0\.5, "
        r"now 0\.25\); run the pipeline without --from-nodes, which makes them anew, or set them back$"
    )
    with pytest.raises(OtherRun, match=message):
        finished_project.run(parameters=RATE, from_nodes=["tiny.rome.evaluate"])
    assert files(finished_project) == before


def test_answers_of_a_method_that_left_the_grid_are_not_scored(finished_project, no_model):
    message = r"`tiny_answers`.*methods\.ft\.tiny\.layer \(then 2, now absent\), .* and 1 more; run `kedro run --pip"
    with pytest.raises(OtherRun, match=message):
        finished_project.run(parameters={"grid": {"tiny": {"ft": False}}}, pipeline_names=["rescore"])


@pytest.fixture
def start(finished_project):
    return Starting(finished_project)


def test_settings_that_differ_are_named_with_both_values(start):
    for options, parameters, message in [
        (
            {"node_namespaces": ["tiny.rome"]},
            {"sample": {"size": 3}},
            r"\(`tiny.probes`, `tiny_facts`\): sample\.size \(then 5, now 3\); run the pipeline without --namespaces",
        ),
        ({"tags": ["rome"]}, {"probes": {"seed": 1}}, r"\(`tiny.probes`\): probes\.seed \(then 0, now 1\); .* --tags"),
        ({"node_names": ["tiny.describe"]}, RATE, r"\(`tiny.rome_answers`, `tiny.rome_edits`\): .*--nodes"),
        (
            {"name": "rescore"},
            {"decoding": {"max_new_tokens": 9}},
            rf"`tiny_answers`, .*: decoding\.max_new_tokens \(then 8, now 9\); {MAKE}, or set them back",
        ),
        ({"name": "bake"}, RATE, rf"\(`tiny.rome_edits`, `tiny_answers`\): .*v_lr .*{MAKE}"),
        (
            {"from_nodes": ["analyze.draw_robustness"]},
            {"analyze": {"confidence": 0.5}},
            r"analyze\.confidence \(then 0\.95, now",
        ),
        (
            {"name": "sequential_eval", "from_nodes": ["analyze_sequences.write_sequences"]},
            {},
            r"are not stored yet \(`abilities_figure`, ",
        ),
        (
            {"name": "bake", "from_nodes": ["tiny.bake"]},
            {},
            r"not stored between .* let it start from `tiny\.choose`, too",
        ),
    ]:
        with pytest.raises(OtherRun, match=message):
            start(parameters=parameters, **options)


def test_rescore_names_the_job_that_makes_all_that_it_reads(project, no_model):
    # each of several jobs makes the first of these data sets
    with pytest.raises(OtherRun, match=f"not stored yet .*: {MAKE}$"):
        project.run(pipeline_names=["rescore"])


def test_every_node_can_start_a_run_of_the_same_settings(start):
    for node in pipelines["edit_eval"].nodes:
        start(from_nodes=[node.name])
    for name in ("rescore", "bake"):
        start(name)
    start("rescore", {"analyze": {"confidence": 0.5}, "decoding": {"batch_rows": 7}, "probes": {"reviewed": 3}})
    start("bake", {"bake": {"thresholds": {"statement": 0.5}}})


def test_the_folder_of_a_run_is_refused_to_another_and_free_after_a_refusal(finished_project, start):
    with pytest.raises(OtherRun):
        start("rescore", {"sample": {"size": 3}})
    lock = RunLock()
    lock.acquire(finished_project.data, {"tiny"})
    with pytest.raises(FolderInUse, match="is writing model tiny in the data folder"):
        start("rescore")
    lock.release()


def test_what_another_run_writes_meanwhile_is_not_read(run_before):
    session = Starting(run_before).begin("rescore")
    session.after_dataset_loaded("tiny_answers", pd.DataFrame())
    record = run_before.data / ".provenance" / "tiny_answers.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "checksum": "another"}))
    with pytest.raises(OtherRun, match="another run wrote `tiny_answers` while this one was reading it"):
        session.after_dataset_loaded("tiny_answers", pd.DataFrame())
    session.on_pipeline_error()


@pytest.mark.parametrize("record", ["[]", '"checksum"', '{"checksum": 1, "follows": [1]}', "[" * 100_000])
def test_a_record_that_is_none_counts_as_missing(finished_project, start, record):
    path = finished_project.data / ".provenance" / "tiny_answers.json"
    content = path.read_bytes()
    path.write_text(record)
    try:
        with pytest.raises(OtherRun, match=r"have no record of what they were made from \(`tiny_answers`\)"):
            start("rescore")
    finally:
        path.write_bytes(content)


def test_a_folder_in_the_place_of_a_record_stops_no_run(run_before):
    record = run_before.data / ".provenance" / "tiny_scores.json"
    record.unlink()
    record.mkdir()
    session = Starting(run_before).begin("rescore")
    session.before_dataset_saved("tiny_scores", pd.DataFrame())
    session.after_dataset_saved("tiny_scores", pd.DataFrame(), SimpleNamespace(inputs=[]))
    session.after_pipeline_run()
    assert json.loads(record.read_text())["follows"]


def test_tables_of_another_version_are_refused_or_used_with_a_warning_and_marked(run_before, monkeypatch, caplog):
    monkeypatch.setitem(versions.ROOMS, "asking", versions.ASKING + 1)
    start, options = Starting(run_before), {"keep_stale": True}
    message = (
        rf"were made by another version of this project \(`rejects`, `tiny_answers`, .* more\): {MAKE}, "
        r"or use --params=keep_stale=true"
    )
    with pytest.raises(OtherRun, match=message):
        start("rescore")
    session = start.begin("rescore", options)
    assert "using data sets that were made by another version of this project (keep_stale): `" in caplog.text
    score_node = SimpleNamespace(inputs=["tiny_answers"])
    session.before_dataset_saved("tiny_scores", pd.DataFrame())
    session.after_dataset_saved("tiny_scores", pd.DataFrame(), score_node)
    session.after_pipeline_run()
    record = json.loads((run_before.data / ".provenance" / "tiny_scores.json").read_text())
    assert record["versions"] is None  # with the numbers of this version a later run would trust it
    stale = {"one": StoredItem.of("1", [], stale=True)}
    session = start.begin("edit_eval", options, from_nodes=["tiny.gather"])
    session.after_dataset_loaded("tiny.rome_answers", stale)
    gather_node = SimpleNamespace(inputs=["tiny.rome_answers"])
    session.before_dataset_saved("tiny_answers", pd.DataFrame())
    session.after_dataset_saved("tiny_answers", pd.DataFrame(), gather_node)
    session.after_pipeline_run()
    assert json.loads((run_before.data / ".provenance" / "tiny_answers.json").read_text())["versions"] is None


def test_starting_from_the_scores_gives_the_same_tables(run_before, finished_once, no_model):
    for name in TABLES:
        (run_before.latest / f"{name}.parquet").unlink()
    run_before.run(from_nodes=["tiny.score"], to_nodes=ESTIMATE)
    for name in TABLES:
        pd.testing.assert_frame_equal(run_before.table(name), finished_once.table(name))


def test_what_is_damaged_or_was_being_saved_at_a_kill_is_named(run_before):
    start = Starting(run_before)
    table = run_before.data / "07_model_output" / "tiny" / "answers.parquet"
    content = table.read_bytes()
    table.write_bytes(content[:-100] + bytes(100))
    with pytest.raises(OtherRun, match=rf"are damaged, .* \(`tiny_answers`\): /.*/tiny/answers\.parquet; {MAKE}"):
        start("rescore")
    table.write_bytes(content)
    start("rescore")

    manifest = run_before.data / "07_model_output/tiny/rome/edits/manifest.json"
    entries = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(dict(list(entries.items())[1:])))
    with pytest.raises(OtherRun, match=r"are damaged, .* \(`tiny.rome_edits`\)"):
        start("bake")

    facts = run_before.folder / "data" / "01_raw" / "facts.csv"
    content = facts.read_text()
    facts.write_text(content.replace("e", "é", 1))
    with pytest.raises(OtherRun, match=r'raw_facts\.path \(then "content \w{32}", now "content \w{32}"\)'):
        start("rescore")
    facts.write_text(content)

    session = start.begin("edit_eval", node_names=["tiny.gather"])
    session.before_dataset_saved("tiny_answers", pd.DataFrame())
    session.on_pipeline_error()
    with pytest.raises(
        OtherRun, match=r"have no record of what they were made from \(`tiny_answers`\): run `kedro run"
    ):
        start("rescore")


@pytest.mark.parametrize(
    ("run_params", "message"),
    [
        ({"runner": str(ThreadRunner())}, "--runner=ThreadRunner: nodes share one model in memory"),
        ({"runner": str(ParallelRunner())}, "--runner=ParallelRunner: nodes share one model in memory"),
        ({"runner": None, "only_missing_outputs": True}, "--only-missing-outputs .*: a run resumes by itself"),
    ],
)
def test_ways_of_running_that_give_wrong_results(run_params, message):
    with pytest.raises(RefusedRun, match=message):
        check_runner(run_params)
    check_runner({"runner": str(SequentialRunner())})
    with pytest.raises(RefusedRun, match="--async"):
        OneRun().before_node_run(node=None, inputs={}, is_async=True)


def test_the_data_folder_is_on_this_machine():
    context = SimpleNamespace(config_loader={"globals": {"data": "s3://bucket/runs"}}, project_path="")
    with pytest.raises(RefusedRun, match=r"data: s3://bucket/runs in globals\.yml must be a folder on this machine"):
        data_folder(context)
