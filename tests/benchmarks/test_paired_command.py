"""Two settings of a method compared by the tables of two runs."""

import json

import pandas as pd
import pytest

from benchmarks import paired


def write_run(folder, successes, divergences, method="rome"):
    folder.mkdir()
    rows = [
        {"probe_id": f"{fact}/statement/0", "protocol": "free", "metric": "success", "unit": "share", "value": value}
        for fact, value in successes.items()
    ] + [
        {"probe_id": f"{fact}/statement/0", "protocol": "next_token", "metric": "kl", "unit": "nats", "value": value}
        for fact, value in divergences.items()
    ]
    scores = pd.DataFrame(rows).assign(model="tiny", method=method, kind="statement")
    scores["fact_id"] = scores["probe_id"].str.split("/").str[0]
    scores.to_parquet(folder / "scores.parquet")
    facts = pd.DataFrame({"model": "tiny", "id": list(successes), "subject": [name.upper() for name in successes]})
    facts.to_parquet(folder / "edited_facts.parquet")
    record = {"machine": "a machine", "seconds_per_edit": {"tiny": {method: 1.25}}}
    (folder / "runs.json").write_text(json.dumps([{**record, "methods": {"tiny": {method: {"v_lr": 1.0}}}}]))
    return folder


@pytest.fixture
def runs(tmp_path):
    first = write_run(tmp_path / "first", {"a": 1.0, "b": 0.0, "c": 1.0, "d": 1.0}, {"a": 0.5, "b": 0.5})
    second = write_run(tmp_path / "second", {"a": 1.0, "b": 1.0, "c": 0.0, "e": 1.0}, {"a": 0.25, "b": 0.25})
    return first, second


def test_scores_are_paired_by_prompt_and_the_rest_is_counted(runs):
    table = paired.compare(*(paired.read_scores(folder, "rome") for folder in runs))
    success, divergence = table.to_dict("records")
    assert (success["first"], success["second"], success["n"], success["unpaired"]) == ("67", "67", 3, 2)
    assert (success["gained"], success["lost"]) == (1, 1)
    assert success["difference"].startswith("+0.0 [-")
    assert (divergence["first"], divergence["second"], divergence["difference"]) == ("0.5", "0.25", "")


def test_a_kind_of_only_one_run_is_counted_too(runs):
    first, second = (paired.read_scores(folder, "rome") for folder in runs)
    clozes = second.assign(kind="cloze", probe_id=second["probe_id"].str.replace("statement", "cloze"))
    for table in (paired.compare(first, clozes), paired.compare(clozes, first)):
        counts = table.set_index(["kind", "metric"])[["n", "unpaired"]].T.to_dict("list")
        assert counts["cloze", "success"] == counts["statement", "success"] == [0, 4]


def test_the_command_writes_the_table_and_the_cost_of_both_runs(runs, capsys):
    paired.main([*map(str, runs), "--method", "rome"])
    text = capsys.readouterr().out
    assert "| statement | free | success | 67 | 67 |" in text
    assert "first: tiny, 1.25 s per edit (a machine), {'v_lr': 1.0}" in text


def test_a_method_without_scores_is_named(runs):
    with pytest.raises(ValueError, match="no scores of memit"):
        paired.read_scores(runs[0], "memit")
