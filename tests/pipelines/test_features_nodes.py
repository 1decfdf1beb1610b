import pytest
from one_relation import RELATIONS

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets.folders import Manifest
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.features.object_ranks import recall_demonstrations
from edit_robustness.features.remote import FeatureParameters, feature_table
from edit_robustness.pipelines.features.nodes import join_features
from edit_robustness.pipelines.prior_knowledge.nodes import rank_objects, recall_in_context, tabulate_recall
from edit_robustness.records import Fact, Probe
from edit_robustness.tables import facts_to_table

DECODING = Decoding(max_new_tokens=4, batch_rows=8)
FEW = [
    Fact(f"c{number}", subject, "P36", "The seat of {} is", true, "Quito")
    for number, (subject, true) in enumerate(
        [("Peru", "Lima"), ("Cuba", "Havana"), ("Mali", "Bamako"), ("Chad", "Doba")]
    )
]


def recalled(lm, inventory=None, **settings):
    manifest, *items = recall_in_context(
        lm, facts_to_table(FEW), inventory or {}, DECODING, FeatureParameters(**settings)
    )
    assert isinstance(manifest, Manifest)
    return manifest, {key: item for item_group in items for key, item in item_group.items()}


def test_by_default_nothing_is_asked_a_second_time(lab):
    assert recalled(lab.model("llama")) == ({}, {})


def test_the_statement_is_asked_after_demonstrations(lab):
    lm = lab.model("llama")
    manifest, items = recalled(lm, recall_demonstrations=3)
    assert list(items) == list(manifest) == [fact.id for fact in FEW]
    for fact in FEW:
        words = recall_demonstrations(fact, FEW, 3, 0)
        [answer] = items[fact.id].read()
        probe = Probe(
            "p", fact.id, "statement", "edit", fact.subject, fact.statement, fact.target_new, fact.target_true
        )
        [[direct_answer]] = ask(lm, [(PromptPrefix(words), [probe])], DECODING)
        assert answer.text == direct_answer.text
        assert answer.logprob_true == pytest.approx(direct_answer.logprob_true, abs=1e-3)
        assert words.count("The seat of") == 3


def test_a_second_run_asks_what_is_missing_and_other_demonstrations_ask_anew(lab):
    lm = lab.model("llama")
    manifest, _ = recalled(lm, recall_demonstrations=3)
    inventory = dict(manifest)
    assert recalled(lm, inventory, recall_demonstrations=3)[1] == {}
    del inventory[FEW[2].id]
    assert list(recalled(lm, inventory, recall_demonstrations=3)[1]) == [FEW[2].id]
    assert recalled(lm, dict(manifest), recall_demonstrations=1)[1]


def test_all_of_it_in_one_table(lab):
    lm, facts = lab.model("llama"), facts_to_table(FEW)
    _, items = recalled(lm, recall_demonstrations=3)
    plain, again = tabulate_recall(lm, items, facts), tabulate_recall(lm, dict(list(items.items())[:2]), facts)
    parts = [plain, rank_objects(lm, facts, DECODING), again, facts, feature_table([])]
    table, summary = join_features(*parts, facts.head(1), RELATIONS, FeatureParameters())
    assert set(summary["n_edited"]) == {1}
    assert table[["log_rank_new", "facts_with_relation", *summary["feature"]]].dtypes.eq(float).all()
    assert table["fact_id"].tolist() == [fact.id for fact in FEW]
    assert table["rank_true"].notna().all()
    assert table["recalled_in_context"].notna().sum() == 2
