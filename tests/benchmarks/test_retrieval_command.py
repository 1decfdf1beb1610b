"""The benchmark of retrieval: which prompts it asks of which memory, and what it counts."""

import json

import pytest
from fabricated_edits import FACTS, POOL, RELATIONS

from benchmarks import retrieval
from edit_robustness.editing.methods.retrieve import Retrieve
from edit_robustness.prompts.relations import read_relations

ALL = [*FACTS, *POOL]


def outcomes(size, **settings):
    probes = retrieval.build(ALL, read_relations(RELATIONS))
    return list(retrieval.measure(ALL, probes, Retrieve(**settings), size))


def test_prompts_of_a_fact_retrieve_it_and_others_nothing():
    rows = outcomes(1)
    assert {row.fact for row in rows} == {fact.id for fact in ALL}
    own = [row for row in rows if row.kind in ("statement", "paraphrase", "question", "dialogue_reference")]
    others = [row for row in rows if row.kind == "neighbourhood"]
    assert own
    assert all(row.own and row.first and row.any_fact for row in own)
    assert others
    assert not any(row.any_fact for row in others)


def test_prompts_about_a_subject_of_the_same_memory_are_left_out():
    assert {row.kind for row in outcomes(len(ALL))}.isdisjoint({"neighbourhood", "unrelated"})


def test_a_table_has_a_share_with_its_interval_for_each_threshold():
    rows = [row for threshold in (0.5, 1.0) for row in outcomes(1, threshold=threshold)]
    lines = retrieval.table(rows, (0.5, 1.0)).splitlines()
    assert lines[0] == "| kind | retrieves | memory | prompts | 0.5 | 1 |"
    (statement,) = [line for line in lines if line.startswith("| statement | its fact |")]
    assert statement.startswith(f"| statement | its fact | 1 | {len(ALL)} | 100.0 [67.6, 100.0] | 100.0 [")


def test_the_command_reads_a_file_of_facts(tmp_path, capsys):
    records = [
        {"subject": name, "src": f"Who rules {name}?", "rephrase": f"Of {name}, who is king?", "alt": "Bo",
         "answers": ["Al"], "loc": "nq question: is rain wet", "loc_ans": "Yes"}
        for name in ("Upper Ruritania", "Lower Freedonia", "Genovia")
    ]  # fmt: skip
    (tmp_path / "zsre.json").write_text(json.dumps(records))
    arguments = ["--format", "zsre", "--skip", "1", "--sizes", "1", "2", "--thresholds", "0.8"]
    retrieval.main([str(tmp_path / "zsre.json"), *arguments])
    text = capsys.readouterr().out
    assert text.startswith("2 facts, ")
    assert "| paraphrase | its fact first | 2 | 2 | 100.0 [" in text
    assert "| unrelated | any fact | 2 | 2 | 0.0 [" in text
    with pytest.raises(SystemExit):
        retrieval.main([str(tmp_path / "zsre.json"), "--key", "object"])
