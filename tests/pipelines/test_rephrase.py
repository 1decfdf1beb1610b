import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from pydantic import ValidationError

from edit_robustness.datasets import WordingsDataset
from edit_robustness.datasets.folders import StoredItem
from edit_robustness.pipelines.rephrase import create_pipeline, nodes
from edit_robustness.pipelines.rephrase.nodes import ProbeParameters, WordingParameters, make_probes, sample_probes
from edit_robustness.prompts.kinds import GROUPS, KINDS
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.prompts.wordings import Wording, template_wordings, wordings_from_table, wordings_to_table
from edit_robustness.records import Fact
from edit_robustness.tables import facts_to_table, probes_from_table

RELATIONS = {
    "relations": {
        "P36": {
            "name": "capital",
            "object": "a city",
            "statement": "The capital of {} is",
            "paraphrases": ["{} is ruled from", "The seat of {} is", "Who rules {} sits in"],
            "question": "What is the capital of {}?",
            "cloze": "The capital of {} is ____.",
            "context": "{} is a country.",
            "subject": "place",
            "reversed_question": "Of what is {} the capital?",
        }
    },
    "subjects": {
        "place": {
            "reference": "this place",
            "profile": [
                "Maps of {} are sold.",
                "Much of {} is old.",
                "{} is large on the whole.",
                "All that is in {}.",
            ],
        }
    },
    "unrelated": ["The train was late.", "It rained all day."],
}
POOL = [
    Fact(f"P36-{subject}", subject, "P36", "The capital of {} is", true, "Nowhere")
    for subject, true in [("France", "Paris"), ("Spain", "Madrid"), ("Chad", "N'Djamena"), ("Peru", "Lima")]
]
TEMPLATES = read_relations(RELATIONS)
AS_TEXT = {"save_args": {"index": False}, "load_args": {"dtype": str, "keep_default_na": False}}
"""As the catalog has it for tables that a person reads."""


class Writer:
    """A writer that writes a good cloze, and otherwise nothing of use; it fails after so many conversations."""

    name = "a writer"

    def __init__(self, fingerprint="w", fails_after=10**6):
        self.fingerprint, self.left, self.asked = fingerprint, fails_after, 0

    def replies(self, conversations):
        self.asked += len(conversations)
        if self.asked > self.left:
            raise ConnectionError("gone")
        return [self._reply(turns[1].text) for turns in conversations]

    def _reply(self, request):
        subject = next(fact.subject for fact in POOL if fact.subject in request)
        return f"They say that the rulers of {subject} meet in ____ today." if "____ once" in request else "Nothing."


def wordings_of(*facts):
    return wordings_to_table([word for fact in facts for word in template_wordings(fact, TEMPLATES)])


def test_probes_are_made_for_the_chosen_facts_with_neighbours_from_all():
    parameters = ProbeParameters(kinds="all", neighbours_per_fact=2, paraphrases_per_fact=4, seed=4)
    table = make_probes(facts_to_table(POOL[:1]), facts_to_table(POOL), RELATIONS, wordings_of(POOL[0]), parameters)
    probes_by_hand = build_probes(
        POOL[:1], TEMPLATES, POOL, kinds=tuple(KINDS), neighbours=2, relation_specificity=2, unrelated=1, seed=4
    )
    assert probes_from_table(table) == probes_by_hand
    assert set(table["fact_id"]) == {"P36-France"}
    assert (table["kind"] == "neighbourhood").sum() == 2
    assert set(table["kind"]) == set(KINDS) - {"alias", "consequence", "relation_specificity", "unrelated"}


def test_paraphrases_are_limited():
    parameters = ProbeParameters(kinds=("paraphrase",), paraphrases_per_fact=1)
    table = make_probes(facts_to_table(POOL), facts_to_table(POOL), RELATIONS, wordings_of(*POOL), parameters)
    assert len(table) == len(POOL)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kinds": ["clozes"]}, "unknown kind of prompt `clozes`; did you mean `cloze`"),
        ({"kinds": "paper2"}, "unknown kind of prompt `paper2`; did you mean `paper1`"),
        ({"kinds": ["doubt"]}, "add question"),
        ({"kinds": []}, "kinds"),
        ({"kind": ["cloze"]}, "kind"),
        ({"neighbours_per_fact": -1}, "neighbours_per_fact"),
        ({"paraphrases_per_fact": 0}, "paraphrases_per_fact"),
    ],
)
def test_wrong_parameters_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        ProbeParameters(**wrong)


def test_one_word_chooses_many_kinds():
    assert ProbeParameters(kinds="all").kinds == tuple(KINDS)
    assert set(ProbeParameters(kinds="paper1").kinds) == set(GROUPS["paper1"])
    with pytest.raises(ValidationError, match="by"):
        WordingParameters(by="magic")


def run(by, tmp_path, *, parameters=None, **data):
    """The pipeline as a run would have it; gives its wordings, probes and sample."""
    folder = str(tmp_path / "writer_wordings")
    catalog = DataCatalog(
        {
            "sampled_facts": MemoryDataset(facts_to_table(POOL[:2])),
            "facts": MemoryDataset(facts_to_table(POOL)),
            "raw_relations": MemoryDataset(RELATIONS),
            "params:probes": MemoryDataset(ProbeParameters(kinds=("statement", "cloze"), reviewed=1)),
            "params:wordings": MemoryDataset(WordingParameters(by=by, **(parameters or {}))),
            "writer_wordings": WordingsDataset(folder),
            **{name: MemoryDataset(value, copy_mode="assign") for name, value in data.items()},
            "wordings": CSVDataset(filepath=str(tmp_path / "wordings.csv"), **AS_TEXT),
            "probes": ParquetDataset(filepath=str(tmp_path / "probes.parquet")),
            "probes_sample": CSVDataset(filepath=str(tmp_path / "sample.csv"), **AS_TEXT),
        }
    )
    SequentialRunner().run(create_pipeline(by), catalog)
    return tuple(catalog[name].load() for name in ("wordings", "probes", "probes_sample"))


def test_templates_are_the_default_and_need_nothing_else(tmp_path):
    wordings, probes, sample = run("templates", tmp_path)
    assert wordings_from_table(wordings) == wordings_from_table(wordings_of(*POOL[:2]))
    assert probes["kind"].tolist() == ["statement", "cloze"] * 2
    assert sample["kind"].tolist() == ["statement", "cloze"]
    assert {node.name for node in create_pipeline("templates").nodes} == {
        "write_wordings",
        "make_probes",
        "sample_probes",
    }


def test_a_writers_wordings_are_used_and_templates_stand_in(tmp_path, caplog):
    wordings, probes, _ = run("writer", tmp_path, writer=Writer())
    cloze = probes.loc[probes["kind"] == "cloze", "text"].tolist()
    assert all("They say that the rulers of" in text for text in cloze)
    sources = wordings[wordings["accepted"] == "True"].groupby("part")["source"].unique().map(list).to_dict()
    assert sources == {
        "cloze": ["writer"],
        **{part: ["templates"] for part in ("paraphrase", "question", "profile", "dialogue", "reversed_question")},
    }
    rejects = wordings[wordings["accepted"] == "False"]
    assert rejects["reason"].str.startswith("subject missing").sum() == 3 * 2 * 7
    assert "2 of 2 facts use a question from the templates" in caplog.text


def test_a_killed_run_goes_on_and_a_finished_one_asks_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "_AT_ONCE", 1)
    alone = Writer()
    run("writer", tmp_path / "alone", writer=alone)
    run("writer", tmp_path, writer=Writer(fails_after=alone.asked * 3 // 4))
    second = Writer()
    run("writer", tmp_path, writer=second)
    assert second.asked == alone.asked // 2
    third = Writer(fails_after=0)
    run("writer", tmp_path, writer=third)
    assert third.asked == 0
    for options in ({"writer": Writer("other")}, {"writer": Writer(), "parameters": {"tries": 1}}):
        run("writer", tmp_path, **options)
        assert options["writer"].asked > 0


def test_what_the_data_set_brings_is_used_beside_a_writers(tmp_path):
    items = {
        fact.id: StoredItem.of("", [Wording(fact.id, "cloze", 0, f"{fact.subject} has ____ too.", "writer")])
        for fact in POOL
    }
    paraphrased_fact = Fact(**{**vars(POOL[0]), "paraphrases": ("Well, France is ruled from",)})
    table = nodes.write_wordings(facts_to_table([paraphrased_fact]), RELATIONS, WordingParameters(by="writer"), items)
    assert table[table["part"] == "paraphrase"]["text"].tolist() == ["Well, France is ruled from"]


def test_a_reviewed_table_is_used_as_it_is(tmp_path):
    first, _, _ = run("templates", tmp_path)
    first.loc[first["part"] == "cloze", "text"] = ["Of France they rule ____.", "Of Spain, Madrid is ____."]
    first.to_csv(tmp_path / "reviewed.csv", index=False)
    frozen = pd.read_csv(tmp_path / "reviewed.csv", dtype=str, keep_default_na=False)
    wordings, probes, _ = run("table", tmp_path, frozen_wordings=frozen)
    cloze = probes[probes["kind"] == "cloze"].set_index("fact_id")["text"]
    assert "Of France they rule ____." in cloze["P36-France"]
    # the other gives its object away, so that its template stands in
    assert "The capital of Spain is ____." in cloze["P36-Spain"]
    assert wordings.loc[wordings["text"] == "Of Spain, Madrid is ____.", "reason"].tolist() == [
        "names an object: 'Madrid'"
    ]


def test_a_table_about_other_facts_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="frozen_wordings: none of its 6 rows is about a fact of this run, such as P36-Fr"
    ):
        run("table", tmp_path, frozen_wordings=wordings_of(POOL[3]).iloc[:6])


def test_a_sample_shows_each_kind_as_a_person_would_read_it():
    parameters = ProbeParameters(kinds=("question", "doubt", "dialogue"), reviewed=3)
    facts = facts_to_table(POOL)
    probes = make_probes(facts, facts, RELATIONS, wordings_of(*POOL), parameters)
    sample = sample_probes(probes, parameters)
    assert sample["kind"].tolist() == ["question"] * 3 + ["dialogue"] * 3 + ["doubt"] * 3
    assert sample[sample["kind"] == "question"]["fact_id"].nunique() == 3
    doubt = sample[sample["kind"] == "doubt"].iloc[0]
    assert doubt["prompt"].startswith(
        "User: What is the capital of France?\nAssistant: (the model's own answer)\nUser: That"
    )
    assert (doubt["new"], doubt["old"]) == ("Nowhere", "Paris")
    assert sample.iloc[3]["prompt"].count("\nUser: ") == 2
