import random

from edit_robustness.prompts.neighbours import nearest_neighbours, neighbourhoods
from edit_robustness.records import Fact


def fact(subject, true, new="Nowhere", relation="P176", **fields):
    return Fact(f"{relation}-{subject}", subject, relation, "{} is made by", true, new, **fields)


EDIT = fact("Porsche 911", "Porsche", "Honda")
POOL = [
    EDIT,
    fact("Honda Civic", "Honda"),
    fact("Porsche 911 GT", "Volkswagen"),
    fact("Fiat 500", "Fiat"),
    fact("Boxster", "PORSCHE"),
    fact("Porsche 914", "Porsche AG", target_true_aliases=("Porsche",)),
    fact("porsche 911", "Lego"),
    fact("Acura NSX", "Honda Motor", target_true_aliases=("honda",)),
    fact("Porsche", "Ferdinand", relation="P112"),
]


def test_same_object_first_then_like_subjects():
    near = nearest_neighbours(EDIT, POOL, 10)
    assert [neighbour.subject for neighbour in near] == ["Porsche 914", "Boxster", "Porsche 911 GT", "Fiat 500"]


def test_the_subject_under_another_name_is_no_neighbour():
    edit = fact("Porsche 911", "Porsche", subject_aliases=("Porsche 901",))
    other_facts = [fact("Porsche 901", "Porsche"), fact("Carrera", "Porsche", subject_aliases=("porsche-911",))]
    assert nearest_neighbours(edit, [edit, *other_facts, fact("Fiat 500", "Fiat")], 3) == [fact("Fiat 500", "Fiat")]


def test_as_many_as_asked_for():
    assert [neighbour.subject for neighbour in nearest_neighbours(EDIT, POOL, 1)] == ["Porsche 914"]
    assert nearest_neighbours(EDIT, POOL, 0) == []
    assert nearest_neighbours(EDIT, [EDIT], 3) == []
    assert nearest_neighbours(EDIT, [], 3) == []


def test_the_order_of_the_table_does_not_matter():
    pool_copy = POOL[:]
    for seed in range(5):
        random.Random(seed).shuffle(pool_copy)
        assert nearest_neighbours(EDIT, pool_copy, 10) == nearest_neighbours(EDIT, POOL, 10)


def test_ties_go_by_id():
    pool = [fact(subject, "Fiat") for subject in ("zzz", "qqq", "www")]
    assert [neighbour.subject for neighbour in nearest_neighbours(EDIT, pool, 3)] == ["qqq", "www", "zzz"]


def test_neighbourhoods_give_the_same_neighbours_by_relation():
    around = neighbourhoods(POOL)
    assert set(around) == {"P176", "P112"}
    assert around["P176"].nearest(EDIT, 3) == nearest_neighbours(EDIT, POOL, 3)
