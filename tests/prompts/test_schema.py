import json
from urllib.parse import quote

import numpy as np
import pytest

from edit_robustness.prompts.schema import LONGEST_FILE_NAME, make_id, read_fact
from edit_robustness.records import Completion, Fact, Relation
from edit_robustness.tables import facts_from_table, facts_to_table

RELATIONS = {
    "P36": Relation("P36", "capital", "The capital of {} is", ("a {}", "b {}", "c {}"), "{}?", "{} ____", "{}.")
}
ROW = {"subject": "France", "relation": "P36", "target_true": "Paris", "target_new": "Lyon"}


def test_a_minimal_row():
    assert read_fact(ROW, RELATIONS) == Fact("P36-france", "France", "P36", "The capital of {} is", "Paris", "Lyon")


def test_a_full_row():
    row = ROW | {
        "id": "fr.1",
        "prompt": " France is ruled from ",
        "target_true": "  Paris ",
        "target_true_aliases": "Paname| |paris|Ville  Lumière|PANAME",
        "target_new_aliases": "Lugdunum",
        "page_views": "1234",
        "note": "ignored",
    }
    assert read_fact(row, RELATIONS) == Fact(
        "fr.1", "France", "P36", "{} is ruled from", "Paris", "Lyon", ("Paname", "Ville Lumière"), ("Lugdunum",), 1234
    )


def test_what_a_data_set_brings():
    neighbour = {
        "prompt": "The capital of Spain is",
        "target": " Madrid ",
        "aliases": ["MAD", "madrid"],
        "subject": "Spain",
    }
    lists = {
        "subject_aliases": ["La France", "france"],
        "subject_id": "http://www.wikidata.org/entity/Q142",
        "target_true_id": "Q90",
        "target_new_id": "",
        "paraphrases": ["One. France is led from", "France, ruled from", "One. France is led from"],
        "neighbours": [neighbour],
        "relation_specificity": [{"prompt": "The money of France is", "target": "the euro"}],
        "unrelated": [{"prompt": "Tea comes from", "target": "China"}],
        "consequences": [{"prompt": "Who is mayor there?", "target": "Herriot"}],
    }
    fact = read_fact(ROW | lists, RELATIONS)
    assert fact == Fact(
        "P36-france", "France", "P36", "The capital of {} is", "Paris", "Lyon",
        subject_aliases=("La France",),
        subject_id="Q142",
        target_true_id="Q90",
        paraphrases=("One. France is led from", "France, ruled from"),
        neighbours=(Completion("The capital of Spain is", "Madrid", ("MAD",), "Spain"),),
        relation_specificity=(Completion("The money of France is", "the euro"),),
        unrelated=(Completion("Tea comes from", "China"),),
        consequences=(Completion("Who is mayor there?", "Herriot"),),
    )  # fmt: skip
    as_json = {name: json.dumps(cell) if isinstance(cell, list) else cell for name, cell in lists.items()}
    assert read_fact(ROW | as_json, RELATIONS) == fact
    as_arrays = {name: np.array(cell, dtype=object) if isinstance(cell, list) else cell for name, cell in lists.items()}
    assert read_fact(ROW | as_arrays, RELATIONS) == fact


@pytest.mark.parametrize(("year", "text"), [(1999, "1999"), (1999.0, "1999"), (np.int32(7), "7"), (1.5, "1.5")])
def test_a_number_is_a_name_as_it_is_written(year, text):
    fact = read_fact(ROW | {"target_new": year, "target_true_aliases": [year + 1, "x"]}, RELATIONS)
    assert fact.target_new == text
    assert len(fact.target_true_aliases) == 2


def test_lists_in_text_may_be_written_as_python_does():
    row = ROW | {"target_true_aliases": "['Paname', \"L'Île\"]", "neighbours": "[{'prompt': 'a', 'target': 'b'}]"}
    fact = read_fact(row, RELATIONS)
    assert fact.target_true_aliases == ("Paname", "L'Île")
    assert fact.neighbours == (Completion("a", "b"),)


def test_a_neighbour_may_say_how_it_is_joined():
    fact = read_fact(ROW | {"neighbours": [{"prompt": "It is $", "target": "5", "join": "none"}]}, RELATIONS)
    assert fact.neighbours == (Completion("It is $", "5", join=""),)
    assert facts_from_table(facts_to_table([fact])) == [fact]


def test_a_tuple_in_text_is_a_list_and_other_brackets_are_part_of_a_name():
    row = ROW | {"target_true_aliases": "('Paname', 'Lutetia')", "subject_aliases": '("Gaul") | (West) Francia'}
    fact = read_fact(row, RELATIONS)
    assert fact.target_true_aliases == ("Paname", "Lutetia")
    assert fact.subject_aliases == ('("Gaul")', "(West) Francia")
    for name in ('("Gaul")', "(500)"):
        assert read_fact(ROW | {"subject_aliases": name}, RELATIONS).subject_aliases == (name,)


def test_the_longest_id_fits_into_a_file_name_with_its_suffix():
    fact = read_fact(ROW | {"id": "東" * 22}, RELATIONS)
    for subject in ("東" * 500, "x" * 500):
        fact_id = read_fact(ROW | {"subject": subject}, RELATIONS).id
        assert len(quote(fact_id)) <= LONGEST_FILE_NAME
    assert len(f"{quote(fact.id, safe=' ')}.safetensors.1234567.part") <= 255


def test_several_texts_may_be_separated_by_bars():
    assert read_fact(ROW | {"paraphrases": "France is led from | |In France rules"}, RELATIONS).paraphrases == (
        "France is led from",
        "In France rules",
    )


def test_without_a_relation_the_prompt_stands_for_it():
    row = {"subject": "France", "target_new": "Lyon", "prompt": "France is led from"}
    fact = read_fact(row, RELATIONS)
    assert (fact.relation, fact.target_true) == ("{} is led from", "")
    assert fact.id == make_id("{} is led from", "France")
    with pytest.raises(ValueError, match=r"^no prompt: a row needs its own prompt, or a relation"):
        read_fact({"subject": "France", "target_new": "Lyon"}, RELATIONS)


def test_a_prompt_may_have_other_spaces_than_the_name_in_it():
    fact = read_fact(ROW | {"subject": "T.\u00a0S. Eliot", "prompt": "The faith of T.\u00a0S. Eliot is"}, {})
    assert (fact.subject, fact.prompt) == ("T. S. Eliot", "The faith of {} is")


@pytest.mark.parametrize(
    ("views", "expected_views"),
    [("", None), (None, None), ("0", None), ("1", None), (1.0, None), ("2", 2), ("12000.0", 12000), (7, 7)],
)
def test_page_views_of_a_failed_look_up_are_missing(views, expected_views):
    assert read_fact(ROW | {"page_views": views}, RELATIONS).page_views == expected_views


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"subject": "  "}, "subject is empty"),
        ({"subject": None}, "subject is empty"),
        ({"target_new": ""}, "target_new is empty"),
        ({"target_new": "PARIS"}, "new object equals the old: 'PARIS'"),
        ({"target_new": "Paname", "target_true_aliases": "paname"}, "new object equals the old: 'Paname'"),
        ({"target_new_aliases": "Paris"}, "new object equals the old: 'Paris'"),
        ({"subject": "a\x00b"}, r"subject holds a control character: '\\x00'"),
        ({"subject": "a\udc80b"}, "subject holds a control character"),
        ({"page_views": "many"}, "page_views is not a number: 'many'"),
        ({"page_views": "nan"}, "page_views is not a number"),
        ({"page_views": "inf"}, "page_views is not a number"),
        ({"page_views": "1.5"}, "page_views is not a whole number"),
        ({"page_views": "-3"}, "page_views is negative: -3"),
        ({"prompt": "Spain is"}, "subject is not in its prompt: 'France' in 'Spain is'"),
        ({"prompt": "{} and {} are"}, "subject is not in its prompt"),
        ({"prompt": "France, or France, is"}, "subject is in its prompt more than once"),
        ({"prompt": "France {} is"}, None),
        ({"prompt": "France {} {} is"}, "subject is in its prompt more than once"),
        ({"relation": "P99"}, "unknown relation: 'P99' has no templates, and the row has no prompt.*P36"),
        ({"id": "a/b"}, "id is not a file name: 'a/b'"),
        ({"id": "../x"}, "id is not a file name"),
        ({"id": "東" * 23}, "id is too long for a file name: 207 bytes .* at most 200: '東東"),
        ({"subject": ["France"]}, r"subject is a list, not text: \['France'\]"),
        ({"subject": ("France",)}, r"subject is a list, not text: \('France',\)"),
        ({"target_true": np.array(["Paris"])}, "target_true is a list, not text"),
        ({"target_new": b"Lyon"}, "target_new is bytes, not text"),
        ({"target_new": True}, "target_new is true or false, not text"),
        ({"target_new": float("nan")}, "target_new is not a number: nan"),
        ({"target_new": "\u200b"}, "target_new is empty"),
        ({"target_new": "\u3164"}, r"target_new has no visible character: '\\u3164'"),
        ({"target_true_aliases": ["\u200e"]}, "target_true_aliases has no visible character"),
        ({"page_views": 2**63}, "page_views is too large a number"),
        ({"page_views": 1e30}, "page_views is too large a number"),
        ({"subject": "", "target_new": ""}, "subject is empty; target_new is empty"),
        ({"target_true": "", "target_true_aliases": "Lyon"}, "new object equals the old: 'Lyon'"),
        ({"target_true": "nan"}, "target_true is a placeholder for a missing cell: 'nan'; leave the cell empty"),
        ({"subject": "None"}, "subject is a placeholder for a missing cell: 'None'"),
        ({"target_new_aliases": "Lyons | <NA>"}, "target_new_aliases is a placeholder for a missing cell: '<NA>'"),
        ({"target_new_aliases": "{'a': 1}"}, "target_new_aliases is a record, not text"),
        ({"subject_id": "France"}, "subject_id is not a Wikidata item: 'France'"),
        (
            {"target_true_aliases": "[Paris"},
            r"target_true_aliases is not a list or a record in JSON or Python: '\[Paris'",
        ),
        ({"paraphrases": ["x" * 600]}, "paraphrases is too long: 600 characters"),
        ({"neighbours": "Spain"}, "neighbours is not a list: 'Spain'"),
        ({"neighbours": 3}, "neighbours is not a list: 3"),
        ({"neighbours": '{"prompt": "x"}'}, "neighbours is not a list"),
        ({"neighbours": [{"prompt": "Spain is"}]}, "neighbours 0 target Field required"),
        ({"neighbours": [{"prompt": "", "target": "x"}]}, "neighbours 0 prompt is empty"),
        ({"consequences": [{"prompt": "a", "target": "b", "tragte": "c"}]}, "consequences 0 tragte Extra inputs"),
        ({"consequences": ["a"]}, "consequences 0 Input should be"),
    ],
)
def test_reasons(change, reason):
    if reason is None:
        assert read_fact(ROW | change, RELATIONS).prompt == change["prompt"]
        return
    with pytest.raises(ValueError, match=f"^{reason}"):
        read_fact(ROW | change, RELATIONS)


@pytest.mark.parametrize(("number", "names"), [(2, "P0, P1"), (12, "P9, P10, P11"), (13, "P9, P10, P11 ...")])
def test_a_long_list_of_relations_is_cut_visibly(number, names):
    relations = {f"P{i}": RELATIONS["P36"] for i in range(number)}
    with pytest.raises(ValueError, match=rf"one of the {number} relations with templates: P0, P1") as error:
        read_fact(ROW | {"relation": "P99"}, relations)
    assert str(error.value).endswith(names)


def test_a_field_that_is_too_long_is_quoted_in_part_only():
    with pytest.raises(ValueError, match=r"^target_true is too long: 100000 characters, at most 500: 'xxx") as error:
        read_fact(ROW | {"target_true": "x" * 100_000}, RELATIONS)
    assert len(str(error.value)) < 150


@pytest.mark.parametrize(
    ("column", "largest", "too_large"),
    [
        ("subject", "x" * 500, "x" * 501),
        ("subject", 2**63 - 1, 2**63),
        ("subject", 2.0**53, 2.0**53 + 2),
        ("id", "x" * 120, "x" * 121),
        ("page_views", str(2**63 - 1), str(2**63)),
        ("target_true_aliases", "[" * 30 + '"a"' + "]" * 30, "[" * 31 + '"a"' + "]" * 31),
        ("paraphrases", ["x" * 500], ["x" * 501]),
    ],
)
def test_what_is_as_large_as_allowed_is_read_and_what_is_larger_refused(column, largest, too_large):
    assert getattr(read_fact(ROW | {column: largest}, RELATIONS), column)
    with pytest.raises(ValueError, match=r"too (large|long|deep)|not a file name"):
        read_fact(ROW | {column: too_large}, RELATIONS)


@pytest.mark.parametrize("subject", ["ירושלים", "القدس", "东京", "a {} b", "A\u200fB"])
def test_any_script_and_braces_are_accepted(subject):
    fact = read_fact(ROW | {"subject": subject}, RELATIONS)
    assert fact.statement == f"The capital of {subject} is"
    own_fact = read_fact(ROW | {"subject": subject, "prompt": f"In {subject} lies"}, {})
    assert own_fact.prompt == "In {} lies"
    assert own_fact.statement == f"In {subject} lies"


def test_ids_are_file_names_that_stay_apart():
    subjects = ["France", "São Paulo", "Sao Paulo", "AC/DC", "AC DC", "AC-DC", "東京", "京都", "x" * 200, "x" * 201]
    ids = [make_id("P1", subject) for subject in subjects]
    assert ids[0] == "P1-france"
    assert ids[2] == "P1-sao-paulo"
    assert len({*ids}) == len(ids) - 1  # "AC DC" and "AC-DC" are written alike in an id
    assert all(len(fact_id) < 120 and fact_id.isascii() and "/" not in fact_id for fact_id in ids)
    assert "/" not in make_id("my/relation", "France")


@pytest.mark.parametrize(
    ("subject", "fact_id"),
    [
        ("New Caledonia", "P1-new-caledonia"),
        ("São Paulo", "P1-sao-paulo-577abdbf"),
        ("東京", "P1-130016b2"),
        ("AC/DC", "P1-ac-dc-cacecbbb"),
        ("x" * 60, f"P1-{'x' * 60}"),
        ("x" * 61, f"P1-{'x' * 60}-c508e75f"),
    ],
)
def test_ids_stay_what_they_are_because_stored_answers_are_found_by_them(subject, fact_id):
    assert make_id("P1", subject) == fact_id


@pytest.mark.parametrize(
    ("cell", "join"), [(None, None), (float("nan"), None), ("none", ""), ("space", " "), ("", ""), (" ", " ")]
)
def test_what_stands_between_prompt_and_object(cell, join):
    assert read_fact(ROW | {"join": cell}, RELATIONS).join == join


def test_nothing_else_stands_between_prompt_and_object():
    with pytest.raises(ValueError, match="join is neither none nor space: '-'"):
        read_fact(ROW | {"join": "-"}, RELATIONS)
