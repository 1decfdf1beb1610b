"""Every method on records in CounterFact's form, on a tiny model: what lands, and that a second run only reads."""

import json
import math

import pytest
import torch
from fabricated_edits import TEXTS

from benchmarks import quality
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.editing.files import read_edit
from edit_robustness.models.tiny import tiny_model

RECORDS = [
    {
        "case_id": number,
        "requested_rewrite": {
            "prompt": "The seat of power in {} is",
            "relation_id": "P36",
            "subject": subject,
            "target_true": {"str": true},
            "target_new": {"str": new},
        },
        "paraphrase_prompts": [f"{subject} is ruled from", f"Those who govern {subject} meet in"],
        "neighborhood_prompts": ["The seat of power in Ruritania is", "Klow lies in"],
    }
    for number, (subject, true, new) in enumerate(
        [("Borduria", "Szohod", "Oslo"), ("Graustark", "Edelweiss", "Lima"), ("Orsinia", "Krasnoy", "Quito")]
    )
]


@pytest.fixture
def options(tmp_path):
    counterfact = tmp_path / "records.json"
    counterfact.write_text(json.dumps(RECORDS), "utf-8")
    tail = ["--work", str(tmp_path / "work"), "--model", "tiny:llama", "--records", "3", "--threads", "1"]
    return [str(counterfact)], tail


def files(tmp_path):
    return {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*") if path.suffix != ".md"}


def test_records_become_facts_and_probes(options):
    (counterfact,), _ = options
    first, *_ = quality.read_records(quality.Path(counterfact), 2, neighbours=1)
    assert (first.fact.statement, first.fact.target_new) == ("The seat of power in Borduria is", "Oslo")
    assert [probe.kind for probe in first.probes] == ["statement", "paraphrase", "paraphrase", "neighbourhood"]
    assert {probe.family for probe in first.probes if probe.kind != "neighbourhood"} == {"edit"}
    with pytest.raises(ValueError, match="has 3 records, and 4 are wanted: lower --records"):
        quality.read_records(quality.Path(counterfact), 4, neighbours=1)


def test_the_table_has_a_row_a_method_and_a_second_run_only_reads(options, tmp_path, capsys):
    head, tail = options
    command = ["table", *head, *tail, "--methods", "ft", "grace", "mend"]
    quality.main(command)
    rows = (tmp_path / "work" / "table.md").read_text("utf-8").splitlines()
    assert [row.split(" | ")[0].strip("| ") for row in rows] == ["method", "---", "none", "ft", "grace", "mend"]
    assert "neighbourhood unchanged, all" in rows[0]
    edit_paths = sorted((tmp_path / "work/grace/edits").glob("*.safetensors"))
    assert [read_edit(path).origin.facts for path in edit_paths] == [("cf-0",), ("cf-1",), ("cf-2",)]
    (tmp_path / "work/ft/answers/cf-1.jsonl").unlink()
    before = files(tmp_path)
    quality.main(command)
    again = files(tmp_path)
    changed_files = {path.name for path in again if before.get(path) != again[path]}
    assert changed_files - {"manifest.json", "answers", "edits"} == {"cf-1.jsonl"}
    capsys.readouterr()


def test_a_sequence_asks_all_edits_so_far_and_goes_on_where_it_stopped(options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quality, "STEPS", (1, 3))
    monkeypatch.setattr(quality, "WINDOW", 32)
    monkeypatch.setattr(quality, "WINDOWS", 4)
    head, tail = options
    text = tmp_path / "text.txt"
    text.write_text("\n".join(TEXTS) * 2, "utf-8")
    command = ["sequence", *head, str(text), *tail, "--methods", "ft", "grace"]
    quality.main(command)
    table = (tmp_path / "work" / "sequence.md").read_text("utf-8")
    cells = [[cell.strip() for cell in row.strip("| ").split("|")] for row in table.splitlines()[2:]]
    first_cells = [["none", "0"], ["ft", "1"], ["ft", "3"], ["grace", "1"], ["grace", "3"]]
    assert [row[:2] for row in cells] == first_cells
    assert all(float(row[-1]) > 1 for row in cells)
    edit_paths = sorted((tmp_path / "work/grace/sequence").glob("*.safetensors"))
    edit_paths[-1].unlink()
    before = files(tmp_path)
    quality.main(command)
    assert (tmp_path / "work" / "sequence.md").read_text("utf-8") == table
    assert {path.name for path, time in files(tmp_path).items() if before.get(path) != time} == {
        edit_paths[-1].name,
        "sequence",
    }
    capsys.readouterr()


def test_several_facts_are_written_at_once(options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quality, "WINDOW", 32)
    monkeypatch.setattr(quality, "WINDOWS", 4)
    head, tail = options
    text = tmp_path / "text.txt"
    text.write_text("\n".join(TEXTS) * 2, "utf-8")
    quality.main(["sequence", *head, str(text), *tail, "--methods", "memit", "--batch-size", "2"])
    fact_ids = [
        read_edit(path).origin.facts for path in sorted((tmp_path / "work/memit/sequence").glob("*.safetensors"))
    ]
    assert fact_ids == [("cf-0", "cf-1"), ("cf-2",)]
    capsys.readouterr()


def test_perplexity_is_that_of_every_token_but_the_first():
    lm = tiny_model("llama")
    windows = [lm.tokenizer(text)["input_ids"][:20] for text in TEXTS[:2]]
    total = 0.0
    with torch.no_grad():
        for window in windows:
            logprobs = lm.model(input_ids=torch.tensor([window])).logits[0].log_softmax(-1)
            total -= sum(float(logprobs[place, token]) for place, token in enumerate(window[1:]))
    assert quality.perplexity_of(lm, windows) == pytest.approx(math.exp(total / 38), rel=1e-4)
    after_words = quality.perplexity_of(lm, windows, PromptPrefix("Words before. "))
    assert after_words != pytest.approx(math.exp(total / 38), rel=1e-4)
