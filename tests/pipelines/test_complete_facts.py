"""Old objects that a table leaves open are asked from the model; whatever it does not say sets the fact aside."""

import logging
from dataclasses import replace

import pytest

from edit_robustness.asking.ask import Decoding
from edit_robustness.datasets.folders import Manifest, StoredItem
from edit_robustness.metrics.mentions import verdict
from edit_robustness.models.tiny import tiny_model
from edit_robustness.pipelines.prior_knowledge.objects import REJECT_COLUMNS, ask_objects, complete_facts
from edit_robustness.records import Answer, Fact, Probe
from edit_robustness.tables import facts_from_table, facts_to_table

KNOWN = Fact("known", "Spain", "P36", "The capital of {} is", "Madrid", "Oslo", ("MAD",), page_views=3)
OPEN = Fact("open", "France", "P36", "The capital of {} is", "", "Lyon", target_new_aliases=("Lugdunum",))


def said(**texts):
    probe = Probe("x/statement/0", "x", "statement", "edit", "x", "x", "x", "")
    answers = {name: [Answer(probe, text, True, 1, 0.0, 0.0, 1, 1, False, False)] for name, text in texts.items()}
    return {name: StoredItem.of("", answer) for name, answer in answers.items()}


def test_the_first_name_that_a_model_says_is_the_old_object():
    facts = facts_to_table([KNOWN, OPEN])
    complete, rejects = complete_facts(facts, said(open=" Paris, of course. Lyon is not."))
    assert facts_from_table(complete) == [KNOWN, replace(OPEN, target_true="Paris")]
    assert rejects.columns.tolist() == REJECT_COLUMNS
    assert rejects.empty


def test_facts_of_which_a_model_says_nothing_usable_are_rejected_and_counted(caplog):
    open_facts = [replace(OPEN, id=name) for name in ("new", "alias", "none", "long")]
    texts = {
        "open": " Paris.",
        "new": " Lyon.",
        "alias": " the old Lugdunum.",
        "none": " ...",
        "long": " a city that lies a long way off in the west",
    }
    with caplog.at_level(logging.WARNING):
        complete, rejects = complete_facts(facts_to_table([OPEN, *open_facts]), said(**texts))
    assert complete["id"].tolist() == ["open"]
    assert dict(zip(rejects["id"], rejects["reason"], strict=True)) == {
        "new": "gives the new object already: 'Lyon.'",
        "alias": "gives the new object already: 'the old Lugdunum.'",
        "none": "gives no object: '...'",
        "long": f"gives no object: {texts['long'].strip()[:40]!r}",
    }
    assert (
        "4 of 5 facts are rejected for this model: gives the new object already (2), gives no object (2)" in caplog.text
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" Paris, the city of", "Paris"),
        (" Paris", None),
        (" the city of New", None),
        (" a city that lies a long way", None),
    ],
)
def test_a_name_that_a_limit_may_have_cut_is_no_object(text, name):
    answers = said(closed=" Oslo.", open=text)
    cut_answer = replace(answers["open"].read()[0], finished=False, tokens=4)
    facts = facts_to_table([OPEN, replace(OPEN, id="closed")])
    complete, rejects = complete_facts(facts, answers | {"open": StoredItem.of("", [cut_answer])})
    assert complete["target_true"].tolist() == ([name] if name else []) + ["Oslo"]
    assert rejects["reason"].tolist() == ([] if name else [f"answer cut at 4 tokens: {text.strip()!r}"])


@pytest.mark.parametrize(
    ("text", "aliases", "item"), [("the Paris.", ("paris", "Paname"), "Q90"), ("the Oslo.", (), "")]
)
def test_other_names_in_the_table_stay_with_the_object_that_they_name(text, aliases, item):
    fact = replace(OPEN, target_true_aliases=("paris", "Paname"), target_true_id="Q90")
    complete, _ = complete_facts(facts_to_table([fact]), said(open=text))
    (complete_fact,) = facts_from_table(complete)
    assert (complete_fact.target_true_aliases, complete_fact.target_true_id) == (aliases, item)


def test_where_nothing_is_left_the_way_out_is_told():
    with pytest.raises(ValueError, match=r"none of 1 facts has .*: gives no object \(1\)\. Give .* target_true"):
        complete_facts(facts_to_table([OPEN]), said(open=""))


def test_a_table_with_every_old_object_passes_unchanged_and_nothing_is_asked():
    facts = facts_to_table([KNOWN])
    complete, rejects = complete_facts(facts, {})
    assert complete.equals(facts)
    assert rejects.empty
    (manifest,) = ask_objects(tiny_model("llama"), facts, {}, Decoding())
    assert manifest == Manifest()


def test_only_what_is_open_is_asked_and_a_second_run_asks_nothing():
    lm, facts, decoding = tiny_model("llama"), facts_to_table([KNOWN, OPEN]), Decoding(max_new_tokens=4)
    manifest, answers = ask_objects(lm, facts, {}, decoding)
    assert list(manifest) == list(answers) == ["open"]
    (answer,) = answers["open"].read()
    assert answer.probe.text == "The capital of France is"
    assert verdict(answer.text, ("Lyon",), ()) in ("new", "neither")
    assert list(ask_objects(lm, facts, dict(manifest), decoding)) == [manifest]
