"""Which facts are edited in sequence, in which orders, and which stay."""

import pandas as pd
import pytest

from edit_robustness.editing.edit_sequence import SequenceParameters
from edit_robustness.pipelines.sample.sequences import check_enough, draw_sequence
from edit_robustness.records import Fact
from edit_robustness.tables import facts_to_table


def fact(number, subject=None):
    subject = subject or f"Subject {number}"
    relation, views = f"P{number % 3}", None if number % 5 == 0 else 10 * number
    return Fact(f"f{number}", subject, relation, "{} is in", "A", "B", page_views=views)


EVERY = [fact(number) for number in range(40)]
KNOWN = {f"f{number}" for number in range(0, 40, 2)}


def drawn(facts=EVERY, known_facts=KNOWN, **settings):
    recall = pd.DataFrame({"fact_id": [f.id for f in facts], "recalled": [f.id in known_facts for f in facts]})
    settings_used = SequenceParameters(**{"checkpoints": [1, 4, 12], "retention_facts": 6, **settings})
    return draw_sequence(facts_to_table(facts), recall, settings_used)


def in_order(orders):
    return [list(rows) for _, rows in orders.sort_values(["order", "position"]).groupby("order")["fact_id"]]


def test_edited_facts_are_never_retained_ones_and_these_are_known():
    facts, orders = drawn()
    edited_facts, retention_facts = (facts[facts["fact_role"] == role] for role in ("edited", "retained"))
    assert (len(edited_facts), len(retention_facts)) == (12, 6)
    assert set(retention_facts["id"]) <= KNOWN
    assert not set(edited_facts["subject"]) & set(retention_facts["subject"])
    assert facts["subject"].is_unique
    assert in_order(orders) == [list(edited_facts["id"])]
    assert orders["position"].tolist() == list(range(1, 13))


def test_known_and_unknown_facts_take_turns_in_the_first_order():
    is_known = [name in KNOWN for name in in_order(drawn(orders=3)[1])[0]]
    assert [sum(is_known[:number]) for number in (2, 6, 12)] == [1, 3, 6]


def test_orders_are_permutations_that_follow_from_the_seed():
    orders = in_order(drawn(orders=4)[1])
    assert len({tuple(order) for order in orders}) == 4
    assert {frozenset(order) for order in orders} == {frozenset(orders[0])}
    assert in_order(drawn(orders=4)[1]) == orders
    assert in_order(drawn(orders=2)[1]) == orders[:2]
    assert in_order(drawn(orders=2, seed=1)[1])[1] != orders[1]
    table_facts = [fact(number) for number in range(300)]
    assert in_order(drawn(table_facts, seed=1)[1]) != in_order(drawn(table_facts)[1])


def test_a_later_checkpoint_leaves_the_beginning_of_the_first_order_and_what_stays():
    (facts, short), (more_facts, long) = drawn(checkpoints=[4]), drawn(checkpoints=[4, 20])
    assert in_order(long)[0][:4] == in_order(short)[0]
    stay = [list(table[table["fact_role"] == "retained"]["id"]) for table in (facts, more_facts)]
    assert stay[0] == stay[1]


def test_a_subject_comes_once_however_it_is_written():
    twice = [*EVERY, fact(41, "SUBJECT 3"), fact(42, "subject 8")]
    facts, _ = drawn(twice, checkpoints=[30])
    assert facts["subject"].str.casefold().is_unique


def test_a_model_that_knows_little_or_nothing_keeps_what_it_knows(caplog):
    facts, _ = drawn(known_facts={"f1"})
    assert facts[facts["fact_role"] == "retained"]["id"].tolist() == ["f1"]
    assert "sequence.retention_facts: 6 facts that the model knows were requested, and it knows only 1" in caplog.text
    assert set(drawn(known_facts=())[0]["fact_role"]) == {"edited"}
    assert set(drawn(retention_facts=0)[0]["fact_role"]) == {"edited"}


def test_too_few_facts_are_told_before_and_after_a_model_was_asked():
    settings = SequenceParameters(checkpoints=[1, 41])
    with pytest.raises(
        ValueError, match=r"sequence\.checkpoints: 41 edits want .* the table of facts has 40; lower the"
    ):
        check_enough(facts_to_table(EVERY), settings)
    check_enough(facts_to_table(EVERY), SequenceParameters(checkpoints=[40]))
    with pytest.raises(ValueError, match=r"beside 6 that stay unedited \(sequence\.retention_facts\) there are 34"):
        drawn(checkpoints=[40])


def test_a_fact_of_a_sequence_says_how_many_facts_it_stands_for():
    facts, _ = drawn()
    edited_facts, retention_facts = (facts[facts["fact_role"] == role] for role in ("edited", "retained"))
    editable_facts = [f for f in EVERY if f.subject not in set(retention_facts["subject"]) and f.page_views is not None]
    assert edited_facts["weight"].sum() == pytest.approx(len(editable_facts))
    known_facts = [f for f in EVERY if f.id in KNOWN and f.page_views is not None]
    assert retention_facts["weight"].sum() == pytest.approx(len(known_facts))
    assert drawn(retention_facts=0)[0]["weight"].sum() == pytest.approx(32)


def test_columns_of_the_user_stay_with_the_facts_of_a_sequence():
    table = facts_to_table(EVERY).assign(difficulty=[float(number) for number in range(40)], dataset="mine")
    recall = pd.DataFrame({"fact_id": [f.id for f in EVERY], "recalled": True})
    facts, _ = draw_sequence(table, recall, SequenceParameters(checkpoints=[1, 4, 12], retention_facts=6))
    assert [f"f{number:.0f}" for number in facts["difficulty"]] == facts["id"].tolist()
    assert set(facts["dataset"]) == {"mine"}
