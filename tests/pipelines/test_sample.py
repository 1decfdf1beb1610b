import logging
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from edit_robustness.pipelines.sample.balance import view_classes
from edit_robustness.pipelines.sample.nodes import SampleParameters, sample_facts
from edit_robustness.records import Fact
from edit_robustness.tables import facts_from_table, facts_to_table


def many_facts(number=200, relations=5, n_missing=20, subjects=None):
    rng = np.random.default_rng(3)
    views = [None if place < n_missing else int(10 ** rng.uniform(1, 6)) for place in range(number)]
    subject = subjects or (lambda place: f"S{place}")
    return [
        Fact(f"f{place:04}", subject(place), f"P{place % relations}", "{} is", "a", "b", page_views=views[place])
        for place in range(number)
    ]


def memory(facts, recalls):
    return pd.DataFrame({"fact_id": [fact.id for fact in facts], "recalled": [recalls(fact) for fact in facts]})


def sample(facts, size, recalls=lambda fact: int(fact.id[1:]) % 3 == 0, **options):
    parameters = SampleParameters(size=size, **options)
    return facts_from_table(sample_facts(facts_to_table(facts), memory(facts, recalls), parameters))


def test_a_sample_is_balanced_over_recall_page_views_and_relations():
    facts = many_facts()
    sample_facts = sample(facts, 24)
    classes = view_classes(facts, 4)
    cells = Counter((int(fact.id[1:]) % 3 == 0, classes[fact.id]) for fact in sample_facts)
    assert cells == {(recall, quantile): 3 for recall in (True, False) for quantile in range(4)}
    relations = Counter(fact.relation for fact in sample_facts)
    assert max(relations.values()) - min(relations.values()) <= 1


def test_where_few_are_recalled_all_of_them_are_taken():
    chosen_facts = sample(many_facts(), 24, recalls=lambda fact: fact.id in {"f0050", "f0051"})
    assert len(chosen_facts) == 24
    assert {"f0050", "f0051"} <= {fact.id for fact in chosen_facts}


def test_recall_stays_even_where_a_class_of_page_views_has_too_few():
    facts = many_facts()
    classes = view_classes(facts, 4)
    popular = [fact.id for fact in facts if classes[fact.id] == 3]
    chosen_facts = sample(facts, 24, recalls=lambda fact: fact.id in popular)
    assert sum(fact.id in popular for fact in chosen_facts) == 12


def test_unknown_page_views_come_last():
    assert all(fact.page_views is not None for fact in sample(many_facts(), 180))
    assert sum(fact.page_views is None for fact in sample(many_facts(), 185)) == 5
    assert len(sample(many_facts(30, n_missing=30), 10)) == 10


def test_the_sample_follows_from_seed_and_not_from_order():
    facts = many_facts()
    first = sample(facts, 24)
    assert sample(facts, 24) == first
    assert {fact.id for fact in sample(facts[::-1], 24)} == {fact.id for fact in first}
    assert sample(facts, 24, seed=1) != first
    assert [fact.id for fact in first] == sorted(fact.id for fact in first)


def test_no_subject_comes_twice(caplog):
    facts = many_facts(60, subjects=lambda place: f"{'sS'[place % 2]}{place // 4}")
    assert len({fact.subject.casefold() for fact in sample(facts, 15)}) == 15
    with caplog.at_level(logging.WARNING):
        assert len(sample(facts, 16)) == 15
    assert "16 facts were asked for, and 15 are taken" in caplog.text


@pytest.mark.parametrize("size", [0, None])
def test_no_size_takes_all(size, caplog):
    facts = many_facts(30)
    assert sample(facts, size) == facts
    assert not caplog.records


def test_a_size_above_the_table_takes_all_and_says_so(caplog):
    facts = many_facts(30)
    with caplog.at_level(logging.WARNING):
        assert sample(facts, 31) == facts
    assert "31 facts were asked for, and 30 are taken" in caplog.text


def weights(facts, size, recalls=lambda fact: int(fact.id[1:]) % 3 == 0, **options):
    parameters = SampleParameters(size=size, **options)
    table = sample_facts(facts_to_table(facts), memory(facts, recalls), parameters)
    return dict(zip(table["id"], table["weight"], strict=True))


def test_a_weight_is_the_facts_of_a_stratum_for_each_fact_drawn_from_it():
    facts = many_facts()
    recall_of_facts = {fact.id: int(fact.id[1:]) % 3 == 0 for fact in facts}
    classes = view_classes(facts, 4)
    sizes = Counter((recall_of_facts[fact.id], classes[fact.id]) for fact in facts)
    weight_of = weights(facts, 24)
    # three are drawn from each of eight strata
    assert weight_of == {
        identifier: sizes[recall_of_facts[identifier], classes[identifier]] / 3 for identifier in weight_of
    }
    # none is drawn of the 20 facts without page views
    assert sum(weight_of.values()) == pytest.approx(180)


def test_weights_give_back_the_share_that_is_recalled():
    facts = many_facts(400, n_missing=0)
    rare = lambda fact: int(fact.id[1:]) % 10 == 0  # noqa: E731
    weight_of = weights(facts, 40, rare)
    recall_of_facts = [identifier for identifier in weight_of if int(identifier[1:]) % 10 == 0]
    assert len(recall_of_facts) == 20
    assert sum(weight_of[identifier] for identifier in recall_of_facts) / sum(weight_of.values()) == pytest.approx(0.1)


def test_a_fact_stands_for_all_facts_of_its_subject():
    # three facts of one subject and one fact of each of five others; nothing is known of page views
    facts = many_facts(8, n_missing=8, subjects=lambda place: f"S{max(place, 2)}")
    weights_of_all = weights(facts, 6, lambda fact: True)
    assert sorted(weights_of_all.values()) == pytest.approx([1, 1, 1, 1, 1, 3])
    weights_of_three = weights(facts, 3, lambda fact: True)
    assert sum(weights_of_three.values()) == pytest.approx(8)


def test_facts_for_which_no_fact_stands_are_counted(caplog):
    with caplog.at_level(logging.INFO):
        weights(many_facts(), 24)
    assert "the sample stands for 180 of 200 facts: 20 are in strata from which nothing was drawn" in caplog.text


def test_without_a_size_each_fact_stands_for_itself():
    assert set(weights(many_facts(30), 0).values()) == {1.0}
    assert set(weights(many_facts(30), 30).values()) == {1.0}


def test_every_size_is_met():
    facts = many_facts(40)
    assert [len(sample(facts, size)) for size in range(1, 41)] == [*range(1, 41)]


def test_facts_that_the_model_could_not_be_asked_about_are_not_drawn(caplog):
    facts = many_facts(3)
    rows = sample_facts(facts_to_table(facts), memory(facts[:2], lambda fact: True), SampleParameters())
    assert rows["id"].tolist() == [fact.id for fact in facts[:2]]
    assert (
        "1 of 3 facts are not drawn, because the model could not be asked about them, the first: f0002" in caplog.text
    )
    with pytest.raises(ValueError, match="none of 3 facts has a measurement of recall"):
        sample_facts(facts_to_table(facts), memory([], lambda fact: True), SampleParameters())


@pytest.mark.parametrize("wrong", [{"size": -1}, {"sise": 3}, {"size": "many"}, {"quantiles": 0}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SampleParameters(**wrong)
