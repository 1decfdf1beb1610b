"""The facts and wordings that the project ships: each promise of data/01_raw/README.md that needs no model."""

import csv
import math
import re
from collections import Counter
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
]
SLOT, BLANK = "{}", "____"


def _read_facts() -> list[dict[str, str]]:
    with (RAW / "facts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


FACTS = _read_facts()
WORDINGS = yaml.safe_load((RAW / "relations.yml").read_text(encoding="utf-8"))
RELATIONS = WORDINGS["relations"]
UNRELATED = WORDINGS["unrelated"]


def names(fact: dict[str, str], side: str) -> list[str]:
    """The object on one side ("true" or "new") and its aliases."""
    return [fact[f"target_{side}"], *filter(None, fact[f"target_{side}_aliases"].split("|"))]


def mentions(text: str, name: str) -> bool:
    """Whether `text` holds `name` as whole words, whatever the case."""
    return re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", text.casefold()) is not None


def objects(relation: str) -> set[str]:
    """Every object and alias of one relation."""
    rows = [fact for fact in FACTS if fact["relation"] == relation]
    return {name for fact in rows for side in ("true", "new") for name in names(fact, side)}


def templates(relation: str) -> list[str]:
    """Every wording of one relation."""
    entry = RELATIONS[relation]
    return [entry["statement"], *entry["paraphrases"], entry["question"], entry["cloze"], entry["context"]]


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
    same = [
        fact["id"]
        for fact in FACTS
        if any(mentions(a, b) or mentions(b, a) for a in names(fact, "true") for b in names(fact, "new"))
    ]
    assert same == []


def test_new_object_is_of_the_same_type():
    known = {(fact["relation"], fact["target_true"]) for fact in FACTS}
    assert [fact["id"] for fact in FACTS if (fact["relation"], fact["target_new"]) not in known] == []


def test_an_object_has_the_same_aliases_wherever_it_stands():
    seen: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for fact in FACTS:
        for side in ("true", "new"):
            name, *aliases = names(fact, side)
            seen.setdefault((fact["relation"], name), set()).add(tuple(aliases))
    assert {name: aliases for name, aliases in seen.items() if len(aliases) > 1} == {}


def test_new_objects_are_varied_within_a_relation():
    for relation in RELATIONS:
        drawn = Counter(fact["target_new"] for fact in FACTS if fact["relation"] == relation)
        assert max(drawn.values()) / sum(drawn.values()) <= 0.25, relation


def test_subjects_do_not_give_an_object_away():
    told = [
        fact["id"]
        for fact in FACTS
        if any(mentions(fact["subject"], name) for side in ("true", "new") for name in names(fact, side))
    ]
    assert told == []


def test_page_views_are_known_for_most_and_never_a_placeholder():
    assert all(re.fullmatch(r"[1-9]\d*", fact["page_views"]) for fact in FACTS if fact["page_views"])
    assert len(views()) >= 0.85 * len(FACTS)
    assert min(views()) > 1


def test_page_views_spread_over_four_orders_of_magnitude():
    assert math.log10(max(views()) / min(views())) >= 4
    assert sum(count < 300 for count in views()) >= 20
    assert max(views()) > 1_000_000


# --- the wordings


def test_table_and_wordings_hold_the_same_relations():
    assert set(RELATIONS) == {fact["relation"] for fact in FACTS}


@pytest.mark.parametrize("relation", RELATIONS)
class TestWordings:
    def test_has_every_key(self, relation):
        keys = {"name", "object", "statement", "paraphrases", "question", "cloze", "context"}
        assert set(RELATIONS[relation]) == keys

    def test_holds_the_subject_once_and_the_context_at_least_once(self, relation):
        *single, context = templates(relation)
        assert [text for text in single if text.count(SLOT) != 1] == []
        assert context.count(SLOT) >= 1

    def test_prompts_end_where_the_object_comes(self, relation):
        entry = RELATIONS[relation]
        prompts = [entry["statement"], *entry["paraphrases"]]
        assert [text for text in prompts if text != text.strip() or re.search(r"[.?!;_}]$", text)] == []

    def test_has_three_or_four_paraphrases_unlike_the_statement_and_each_other(self, relation):
        entry = RELATIONS[relation]
        assert 3 <= len(entry["paraphrases"]) <= 4
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

    def test_names_no_object(self, relation):
        told = [(text, name) for text in templates(relation) for name in objects(relation) if mentions(text, name)]
        assert told == []


def test_unrelated_passages_are_twelve_different_ones_of_two_or_three_sentences():
    assert len(set(UNRELATED)) == len(UNRELATED) == 12
    assert all(2 <= len(re.findall(r"[.!?](?=\s|$)", text)) <= 3 for text in UNRELATED)
    assert not any(SLOT in text or BLANK in text for text in UNRELATED)


def test_unrelated_passages_name_no_object_and_no_subject():
    things = {name for relation in RELATIONS for name in objects(relation)} | {fact["subject"] for fact in FACTS}
    assert [(text, name) for text in UNRELATED for name in things if mentions(text, name)] == []
