import logging
from dataclasses import replace

import pytest

from edit_robustness.prompts.kinds import KINDS
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import Templates
from edit_robustness.records import FAMILIES, Fact, Relation, Turn

CAPITAL = Relation(
    id="P36",
    name="capital",
    statement="The capital of {} is",
    paraphrases=("{} is governed from", "Those who rule {} meet in", "The first city of {} is"),
    question="What is the capital of {}?",
    cloze="The capital of {} is called ____.",
    context="{} is a country.",
)
PASSAGES = ("The train was late.", "It rained in Paris all day.", "She bought apples.", "The film was long.")
TEMPLATES = Templates({"P36": CAPITAL}, PASSAGES)


def fact(subject, true, new, relation="P36"):
    return Fact(
        f"{relation}-{subject.lower()}",
        subject,
        relation,
        CAPITAL.statement,
        true,
        new,
        ("Old " + true,),
        ("New " + new,),
    )


FRANCE = fact("France", "Paris", "Rome")
POOL = [FRANCE, fact("Spain", "Madrid", "Oslo"), fact("Italy", "Rome", "Bonn"), fact("Norway", "Oslo", "Rome")]


def build(facts, kinds=tuple(KINDS), templates=TEMPLATES, pool=POOL, neighbours=2, seed=0):
    return build_probes(facts, templates, pool, kinds=kinds, neighbours=neighbours, seed=seed)


def of_kind(kind):
    probes = build([FRANCE], [kind, "question"] if "doubt" in kind else [kind])
    return [probe for probe in probes if probe.kind == kind]


def test_the_registry_is_whole():
    assert [*KINDS] == [
        *("statement", "paraphrase", "question", "cloze", "related_context", "unrelated_context", "dialogue"),
        *("doubt", "doubt_old_object", "locality"),
    ]
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.family in FAMILIES
        assert kind.tests
        assert kind.holds
        assert kind.follows is None or kind.follows in KINDS


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("statement", ["The capital of France is"]),
        ("paraphrase", ["France is governed from", "Those who rule France meet in", "The first city of France is"]),
        ("question", ["What is the capital of France?"]),
        ("related_context", ["France is a country. The capital of France is"]),
        ("dialogue", ["What is the capital of France?"]),
        ("locality", ["The capital of Norway is", "The capital of Spain is"]),
    ],
)
def test_texts(kind, texts):
    assert [probe.text for probe in of_kind(kind)] == texts


def test_what_a_probe_of_the_edit_carries():
    for probe in build([FRANCE]):
        if probe.family == "edit":
            assert probe.subject == "France"
            assert (probe.target_new, probe.target_new_aliases) == ("Rome", ("New Rome",))
            assert (probe.target_true, probe.target_true_aliases) == ("Paris", ("Old Paris",))
            assert probe.fact_id == "P36-france"


def test_locality_asks_about_neighbours_and_looks_out_for_the_edits_object():
    for probe, neighbour in zip(of_kind("locality"), [POOL[3], POOL[1]], strict=True):
        assert probe.family == "locality"
        assert probe.subject == neighbour.subject
        assert (probe.target_new, probe.target_new_aliases) == ("Rome", ("New Rome",))
        assert (probe.target_true, probe.target_true_aliases) == (neighbour.target_true, neighbour.target_true_aliases)
        assert probe.fact_id == "P36-france"


def test_which_kinds_are_conversations():
    kinds = {probe.kind for probe in build([FRANCE]) if probe.conversation}
    assert kinds == {"question", "cloze", "dialogue", "doubt", "doubt_old_object"}


def test_cloze_asks_to_fill_in_its_sentence():
    [probe] = of_kind("cloze")
    assert '"The capital of France is called ____."' in probe.text


def test_a_dialogue_has_two_turns_before_the_question_that_name_no_object():
    [probe] = of_kind("dialogue")
    assert [turn.role for turn in probe.history] == ["user", "assistant"]
    assert "France" in probe.history[0].text
    assert not any(name in turn.text for turn in probe.history for name in ("Paris", "Rome"))


@pytest.mark.parametrize("kind", ["doubt", "doubt_old_object"])
def test_doubts_come_after_the_answer_to_the_question(kind):
    [probe] = of_kind(kind)
    [question] = of_kind("question")
    assert probe.follows == question.id
    assert probe.history == (Turn("user", question.text),)
    assert "Rome" not in probe.text
    assert ("Paris" in probe.text) == (kind == "doubt_old_object")


def test_an_unrelated_passage_names_nothing_of_the_fact():
    texts = {build([FRANCE], ["unrelated_context"], seed=seed)[0].text for seed in range(40)}
    assert texts == {f"{passage} The capital of France is" for passage in PASSAGES if "Paris" not in passage}


def test_ids_are_unique_and_tell_fact_kind_and_number():
    probes = build(POOL)
    assert len({probe.id for probe in probes}) == len(probes)
    assert [probe.id for probe in of_kind("paraphrase")] == [f"P36-france/paraphrase/{number}" for number in range(3)]


def test_other_facts_other_kinds_and_their_order_change_no_probe():
    whole = {probe.id: probe for probe in build(POOL)}
    parts = build(POOL[::-1], ["unrelated_context"]) + build([FRANCE], ["doubt", "question"])
    assert all(whole[probe.id] == probe for probe in parts)
    assert [probe.kind for probe in build([FRANCE], ["doubt", "question"])] == ["question", "doubt"]


def test_the_seed_decides():
    many = Templates(TEMPLATES.relations, tuple(f"Passage number {number}." for number in range(100)))
    first, again, other = (build(POOL, ["unrelated_context"], many, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_fact_without_templates_gets_what_its_data_allow(caplog):
    own = replace(FRANCE, id="mine", relation="mine", prompt="{} is run from")
    with caplog.at_level(logging.WARNING):
        probes = build([own, FRANCE], pool=[own, replace(own, id="other", subject="Chad", target_true="Lima")])
    assert [probe.kind for probe in probes if probe.fact_id == "mine"] == ["statement", "unrelated_context", "locality"]
    assert "1 of 2 facts have no paraphrase probe" in caplog.text
    assert "1 of 2 facts have no locality probe" in caplog.text
    assert "no statement probe" not in caplog.text


def test_without_passages_there_is_no_unrelated_context():
    assert build([FRANCE], ["unrelated_context"], Templates(TEMPLATES.relations, ())) == []


def test_an_unknown_kind_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"no kind of prompt 'clozes'; there are statement, .*locality"):
        build([FRANCE], ["clozes"])


def test_a_doubt_without_its_question_is_refused():
    with pytest.raises(ValueError, match="add question"):
        build([FRANCE], ["doubt"])
