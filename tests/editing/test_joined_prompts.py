"""Every method, and every prompt, puts prompt and object together as a native text would, or as the fact says."""

from dataclasses import replace

import pytest
from fabricated_edits import method

from edit_robustness.editing.mend.networks import asked
from edit_robustness.editing.methods import ft
from edit_robustness.editing.past import Past
from edit_robustness.editing.serac.networks import announced
from edit_robustness.editing.target import split_prompts
from edit_robustness.features.familiarity import recall_demonstrations
from edit_robustness.models.tokens import Rendered
from edit_robustness.prompts.builders import Material, fact_check, negation, statement, yes_no
from edit_robustness.prompts.demonstrations import demonstrations, sentence
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import Templates
from edit_robustness.records import Completion, Fact, Relation
from edit_robustness.text.joining import joined

CHINESE = Fact("zh", "中国", "P36", "{}的首都是", "北京", "纽约")
BY_HAND = Fact("hand", "Borduria", "P36", "The seat of power in {} is", "Szohod", "Oslo", join="")
OTHER = Fact("zh2", "日本", "P36", "{}的首都是", "东京", "上海")
CASES = pytest.mark.parametrize("fact", [CHINESE, BY_HAND], ids=["by the rule", "as the fact says"])


@CASES
def test_targets_of_edits(fact, lab):
    lm = lab.model("llama")
    told = fact.statement + fact.target_new

    def text(ids):
        return lm.tokenizer.decode(ids)

    assert text(split_prompts(lm, fact, []).target) == fact.target_new
    for batch in (ft.object_batch(lm, [fact], even=True), ft.last_token_batch(lm, [fact], even=True)):
        assert text(batch.label) == fact.target_new
    before, after = asked(lm, fact.statement, fact.target_new, fact.join)
    assert text(before + after) == told
    assert text(announced(lm, Rendered(fact.statement, join=fact.join), fact.target_new)) == f"{told}.\n"


@CASES
@pytest.mark.parametrize("name", ["grace", "kn", "mend", "serac"])
def test_methods_hand_the_join_on(fact, name, lab):
    """An edit with the join differs from that with a space, and equals that of the rule where they say the same."""
    lm, prepared = lab.model("llama"), lab.prepared(name, "llama")
    made = [method(name).edit(lm, [one], prepared=prepared, past=Past()) for one in (fact, replace(fact, join=" "))]
    if name == "serac":
        assert made[0].memory[0][3] == fact.join
    else:
        some, others = (edit.to_tensors()[0] for edit in made)
        assert any(some[key].shape != others[key].shape or not some[key].equal(others[key]) for key in some)


@pytest.mark.parametrize("kind", ["neighbourhood", "edit_before_neighbour", "relation_specificity", "unrelated"])
def test_a_fact_of_the_table_keeps_its_join_where_another_fact_is_edited(kind):
    wordings = ("The seat in {} is", (), "", "", "")
    relations = (Relation("P36", "seat", *wordings, unaffected=("P37",)), Relation("P37", "language", *wordings))
    templates = Templates({relation.id: relation for relation in relations}, ())
    other = {"relation_specificity": {"relation": "P37"}, "unrelated": {"subject": "Syldavia", "relation": "P37"}}
    pool = [CHINESE, replace(BY_HAND, **other.get(kind, {"subject": "Syldavia"}))]
    edited = replace(BY_HAND, id="edited", target_true="Klow", target_new="Rome", join=None)
    numbers = {"neighbours": 1, "relation_specificity": 1, "unrelated": 1}
    [probe] = build_probes([edited], templates, pool, kinds=[kind], seed=0, **numbers)
    assert (probe.target_true, probe.join) == ("Szohod", "")


@CASES
def test_sentences_in_prompts(fact):
    told = fact.statement + fact.target_new
    assert sentence(fact) == f"{told}."
    shown = demonstrations([fact, OTHER], {})[0]
    assert shown.copy.count(told) == 2
    assert shown.update.count(told) == 2
    assert joined(OTHER.statement, OTHER.target_true) in shown.retain
    assert recall_demonstrations(OTHER, [fact], 1, 0) == f"{fact.statement}{fact.target_true}.\n"
    material = Material({}, claim=fact.statement, denial=f"not {fact.statement}", reference="it")
    assert told in yes_no(fact, material)[0].text
    assert told in negation(fact, material)[0].text
    assert fact.statement + fact.target_true in fact_check(fact, material)[0].text
    assert statement(fact, material)[0].join == fact.join


def test_a_join_is_of_the_fact_and_not_of_its_neighbours_or_of_conversations():
    fact = replace(BY_HAND, neighbours=(Completion("The seat of power in Syldavia is", "Klow"),))
    kinds = ["statement", "question", "neighbourhood", "edit_before_neighbour"]
    probes = build_probes([fact], Templates({}, ()), [], kinds=kinds, neighbours=1, seed=0)
    assert {probe.kind: probe.join for probe in probes} == {
        "statement": "",
        "question": None,
        "neighbourhood": None,
        "edit_before_neighbour": None,
    }
    assert probes[-1].text.startswith("The seat of power in Borduria isOslo. The seat")
