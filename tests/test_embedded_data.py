"""The facts and wordings that the project ships: each promise of data/01_raw/README.md that needs no model."""

import csv
import json
import math
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml

RAW = Path(__file__).parents[1] / "data" / "01_raw"
COLUMNS = [
    "id",
    "subject",
    "relation",
    "target_true",
    "target_true_aliases",
    "target_new",
    "target_new_aliases",
    "page_views",
    "page_views_source",
]
SLOT, BLANK = "{}", "____"


def _read_facts() -> list[dict[str, str]]:
    with (RAW / "facts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


FACTS = _read_facts()
WORDINGS = yaml.safe_load((RAW / "relations.yml").read_text(encoding="utf-8"))
RELATIONS = WORDINGS["relations"]
UNRELATED = WORDINGS["unrelated"]
SUBJECTS = WORDINGS["subjects"]

DATA = Path(__file__).parents[2] / "shared" / "data"
with_data_sets = pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not here")
POPQA = {
    "occupation": "P106",
    "place of birth": "P19",
    "genre": "P136",
    "father": "P22",
    "country": "P17",
    "producer": "P162",
    "director": "P57",
    "capital of": "P1376",
    "screenwriter": "P58",
    "composer": "P86",
    "color": "P462",
    "religion": "P140",
    "sport": "P641",
    "author": "P50",
    "mother": "P25",
    "capital": "P36",
}
"""PopQA's names of the relations."""


def names(fact: dict[str, str], side: str) -> list[str]:
    """The object on one side ("true" or "new") and its aliases."""
    return [fact[f"target_{side}"], *filter(None, fact[f"target_{side}_aliases"].split("|"))]


def mentions(text: str, name: str) -> bool:
    """Whether `text` holds `name` as whole words, whatever the case."""
    text, name = text.casefold(), name.casefold()
    return name in text and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def objects(relation: str) -> set[str]:
    """Every object and alias of one relation."""
    rows = [fact for fact in FACTS if fact["relation"] == relation]
    return {name for fact in rows for side in ("true", "new") for name in names(fact, side)}


def all_objects() -> set[str]:
    """Every object and alias of the table."""
    return {name for fact in FACTS for side in ("true", "new") for name in names(fact, side)}


def templates(relation: str) -> list[str]:
    """Every wording of one relation; the context, and what may follow it, come last."""
    entry = RELATIONS[relation]
    reversed_questions = [entry["reversed_question"]] if "reversed_question" in entry else []
    single = [entry["statement"], *entry["paraphrases"], entry["question"], entry["cloze"], *reversed_questions]
    return [*single, entry["context"]]


def data_set_objects() -> dict[str, set[str]]:
    """The objects of CounterFact, PopQA and ParaRel, by relation."""
    objects: dict[str, set[str]] = defaultdict(set)
    for record in json.loads((DATA / "counterfact/full_records_500.json").read_text(encoding="utf-8")):
        rewrite = record["requested_rewrite"]
        objects[rewrite["relation_id"]] |= {rewrite["target_true"]["str"], rewrite["target_new"]["str"]}
    with (DATA / "popqa/popqa_with_popularity_1578.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            objects[POPQA[row["prop"]]].add(row["obj"])
    for path in (DATA / "pararel/triples").glob("P*.jsonl"):
        objects[path.stem] |= {json.loads(line)["obj_label"] for line in path.read_text(encoding="utf-8").splitlines()}
    return dict(objects)


def data_set_prompts() -> set[str]:
    """The prompts of CounterFact and ParaRel with `{}` in the subject's place, up to the object, in small letters."""
    lines = (DATA / "counterfact/flat_edit_10000.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = {json.loads(line)["prompt_template"] for line in lines}
    for path in (DATA / "pararel/patterns").glob("P*.jsonl"):
        patterns = [json.loads(line)["pattern"] for line in path.read_text(encoding="utf-8").splitlines()]
        prompts |= {pattern.replace("[X]", SLOT).partition("[Y]")[0] for pattern in patterns}
    return {prompt.strip(" .?").casefold() for prompt in prompts}


def views() -> list[int]:
    return [int(fact["page_views"]) for fact in FACTS if fact["page_views"]]


# --- the table


def test_the_table_has_the_promised_columns_and_size():
    assert list(FACTS[0]) == COLUMNS
    assert 420 <= len(FACTS) <= 520


def test_no_cell_has_stray_space_or_line_breaks():
    cells = [cell for fact in FACTS for cell in fact.values()]
    assert [cell for cell in cells if cell != " ".join(cell.split())] == []


def test_every_relation_has_enough_facts_and_none_too_many():
    sizes = Counter(fact["relation"] for fact in FACTS)
    assert len(sizes) >= 14
    assert {relation: size for relation, size in sizes.items() if not 12 <= size <= 60} == {}


def test_ids_are_unique_and_safe_as_file_names():
    ids = [fact["id"] for fact in FACTS]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert [name for name in ids if not re.fullmatch(r"p\d+(-[a-z0-9]+)+", name)] == []


def test_ids_begin_with_their_relation():
    assert [fact["id"] for fact in FACTS if not fact["id"].startswith(fact["relation"].lower() + "-")] == []


def test_no_fact_stands_twice_and_no_subject_in_more_than_two_relations():
    pairs = Counter((fact["subject"], fact["relation"]) for fact in FACTS)
    assert [pair for pair, count in pairs.items() if count > 1] == []
    subjects = Counter(fact["subject"] for fact in FACTS)
    assert [subject for subject, count in subjects.items() if count > 2] == []


def test_new_object_is_not_the_true_one_under_any_name():
    fact_ids = [
        fact["id"]
        for fact in FACTS
        if any(mentions(a, b) or mentions(b, a) for a in names(fact, "true") for b in names(fact, "new"))
    ]
    assert fact_ids == []


def test_new_object_is_of_the_same_type():
    pairs = {(fact["relation"], fact["target_true"]) for fact in FACTS}
    assert [fact["id"] for fact in FACTS if (fact["relation"], fact["target_new"]) not in pairs] == []


def test_an_object_has_the_same_aliases_wherever_it_stands():
    aliases_by_object: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for fact in FACTS:
        for side in ("true", "new"):
            name, *aliases = names(fact, side)
            aliases_by_object.setdefault((fact["relation"], name), set()).add(tuple(aliases))
    assert {name: aliases for name, aliases in aliases_by_object.items() if len(aliases) > 1} == {}


def test_new_objects_are_varied_within_a_relation():
    for relation in {fact["relation"] for fact in FACTS}:
        counts = Counter(fact["target_new"] for fact in FACTS if fact["relation"] == relation)
        assert max(counts.values()) / sum(counts.values()) <= 0.25, relation


def test_subjects_do_not_give_an_object_away():
    fact_ids = [
        fact["id"]
        for fact in FACTS
        if any(mentions(fact["subject"], name) for side in ("true", "new") for name in names(fact, side))
    ]
    assert fact_ids == []


def test_page_views_are_known_for_most_and_never_a_placeholder():
    assert all(re.fullmatch(r"[1-9]\d*", fact["page_views"]) for fact in FACTS if fact["page_views"])
    assert len(views()) >= 0.85 * len(FACTS)
    assert min(views()) > 1


def test_page_views_spread_over_four_orders_of_magnitude():
    assert math.log10(max(views()) / min(views())) >= 4
    assert sum(count < 300 for count in views()) >= 20
    assert max(views()) > 1_000_000


# --- the wordings


def test_every_relation_of_the_table_has_wordings():
    assert {fact["relation"] for fact in FACTS} - set(RELATIONS) == set()


@with_data_sets
def test_every_relation_of_the_data_sets_has_wordings():
    relations = set(data_set_objects())
    assert len(relations) > 45
    assert relations - set(RELATIONS) == set()


@with_data_sets
def test_wordings_name_no_object_that_the_data_sets_have_for_their_relation():
    leaks = [
        (relation, text, name)
        for relation, objects in data_set_objects().items()
        for text in templates(relation)
        for name in objects
        if mentions(text, name)
    ]
    assert leaks == []


@with_data_sets
def test_no_wording_is_a_prompt_of_a_data_set():
    prompts = data_set_prompts()
    assert "the mother tongue of {} is" in prompts
    duplicates = [
        text for relation in RELATIONS for text in templates(relation) if text.strip(" .?").casefold() in prompts
    ]
    assert duplicates == []


def test_relations_are_in_order_and_their_names_differ():
    assert list(RELATIONS) == sorted(RELATIONS, key=lambda relation: int(relation[1:]))
    assert len({entry["name"] for entry in RELATIONS.values()}) == len(RELATIONS)


@pytest.mark.parametrize("relation", RELATIONS)
class TestWordings:
    def test_has_every_key(self, relation):
        keys = {"name", "subject", "object", "statement", "paraphrases", "question", "cloze", "context"}
        assert set(RELATIONS[relation]) - {"reversed_question", "unaffected"} == keys

    def test_relations_that_it_leaves_as_they_are_fit_its_subjects_and_have_another_type_of_object(self, relation):
        entry = RELATIONS[relation]
        for other_entry in map(RELATIONS.__getitem__, entry.get("unaffected", ())):
            assert other_entry["subject"] in (entry["subject"], "thing")
            assert other_entry["object"] != entry["object"]
            assert {entry["object"], other_entry["object"]} != {"country", "continent"}

    def test_its_subjects_are_of_a_type_that_exists(self, relation):
        assert RELATIONS[relation]["subject"] in SUBJECTS

    def test_holds_the_subject_once_and_the_context_at_least_once(self, relation):
        *single, context = templates(relation)
        assert [text for text in single if text.count(SLOT) != 1] == []
        assert context.count(SLOT) >= 1

    def test_prompts_end_where_the_object_comes(self, relation):
        entry = RELATIONS[relation]
        prompts = [entry["statement"], *entry["paraphrases"]]
        assert [text for text in prompts if text != text.strip() or re.search(r"[.?!;_}]$", text)] == []

    def test_has_four_paraphrases_unlike_the_statement_and_each_other(self, relation):
        entry = RELATIONS[relation]
        assert len(entry["paraphrases"]) == 4
        wordings = [set(re.findall(r"[a-z]+", text.casefold())) for text in [entry["statement"], *entry["paraphrases"]]]
        for i, first in enumerate(wordings):
            for second in wordings[:i]:
                assert len(first & second) / len(first | second) < 0.5

    def test_paraphrases_put_the_subject_at_different_places(self, relation):
        places = {text.index(SLOT) for text in RELATIONS[relation]["paraphrases"]}
        assert len(places) >= 3

    def test_question_asks_and_cloze_has_its_blank_inside(self, relation):
        entry = RELATIONS[relation]
        assert entry["question"].endswith("?")
        assert entry["cloze"].count(BLANK) == 1
        assert not entry["cloze"].rstrip(".").endswith(BLANK)

    def test_reversed_question_is_another_question(self, relation):
        question = RELATIONS[relation].get("reversed_question", "Who?")
        assert question.endswith("?")
        assert question != RELATIONS[relation]["question"]

    def test_is_neither_long_nor_bare(self, relation):
        *single, context = templates(relation)
        assert [text for text in single if len(text.split()) > 20] == []
        assert 10 <= len(context.split()) <= 30
        assert len(re.findall(r"[.!?](?=\s|$)", context)) == 2

    def test_names_no_object_of_the_table(self, relation):
        assert [(text, name) for text in templates(relation) for name in all_objects() if mentions(text, name)] == []


def test_questions_that_go_back_are_for_objects_of_few_subjects():
    assert {relation for relation in RELATIONS if "reversed_question" in RELATIONS[relation]} == {
        "P36",
        "P246",
        "P1376",
    }


# --- the profiles


def test_every_type_of_subject_is_used():
    assert {entry["subject"] for entry in RELATIONS.values()} == set(SUBJECTS)


@pytest.mark.parametrize("kind", SUBJECTS)
class TestProfiles:
    def test_has_a_reference_and_a_profile(self, kind):
        assert set(SUBJECTS[kind]) == {"reference", "profile"}
        assert re.fullmatch(r"this [a-z]+", SUBJECTS[kind]["reference"])

    def test_is_a_page_of_different_sentences_each_about_the_subject(self, kind):
        profile = SUBJECTS[kind]["profile"]
        assert 8 <= len(set(profile)) == len(profile) <= 10
        assert [text for text in profile if SLOT not in text or BLANK in text] == []
        assert [text for text in profile if len(re.findall(r"[.!?](?=\s|$)", text)) != 1 or text[-1] != "."] == []
        assert 110 <= sum(len(text.split()) for text in profile) <= 160

    def test_does_not_always_open_with_the_subject(self, kind):
        assert sum(text.startswith(SLOT) for text in SUBJECTS[kind]["profile"]) <= 2

    def test_supposes_neither_gender_nor_number(self, kind):
        pronoun = r"\b(he|she|they|it|his|her|hers|him|them|their|theirs|its)\b(?! is not easy)"
        agreement = rf"(^|[,;] |\b(?:when|that|while|until) ){re.escape(SLOT)} (is|are|was|were|have|do|does|[a-z]+s)\b"
        for slip in (pronoun, agreement):
            assert [text for text in SUBJECTS[kind]["profile"] if re.search(slip, text, re.IGNORECASE)] == []

    def test_names_no_object_of_the_table(self, kind):
        profile = SUBJECTS[kind]["profile"]
        assert [(text, name) for text in profile for name in all_objects() if mentions(text, name)] == []

    @with_data_sets
    def test_names_no_object_that_the_data_sets_have_for_such_subjects(self, kind):
        objects = data_set_objects()
        relations = [relation for relation, entry in RELATIONS.items() if entry["subject"] == kind]
        things = {name for relation in relations for name in objects.get(relation, ())}
        profile = SUBJECTS[kind]["profile"]
        assert [(text, name) for text in profile for name in things if mentions(text, name)] == []


# --- the passages


def test_unrelated_passages_are_fifteen_different_ones_of_two_or_three_sentences():
    assert len(set(UNRELATED)) == len(UNRELATED) == 15
    assert all(2 <= len(re.findall(r"[.!?](?=\s|$)", text)) <= 3 for text in UNRELATED)
    assert not any(SLOT in text or BLANK in text for text in UNRELATED)


def test_unrelated_passages_name_no_object_and_no_subject():
    things = all_objects() | {fact["subject"] for fact in FACTS}
    assert [(text, name) for text in UNRELATED for name in things if mentions(text, name)] == []
