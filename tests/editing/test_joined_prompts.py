"""Every method, and every prompt, puts prompt and object together as a native text would, or as the fact says."""

from dataclasses import replace

import pytest
from fabricated_edits import method

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.mend.networks import prompt_and_answer_ids
from edit_robustness.editing.methods import ft
from edit_robustness.editing.serac.networks import sentence_ids
from edit_robustness.editing.target import split_prompts
from edit_robustness.features.object_ranks import recall_demonstrations
from edit_robustness.models.tokens import RenderedPrompt
from edit_robustness.prompts.builders import Material, fact_check, negation, statement, yes_no
from edit_robustness.prompts.demonstrations import demonstrations, sentence
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import Templates
from edit_robustness.records import Completion, Fact, Relation
from edit_robustness.text.joining import join_prompt

CHINESE = Fact("zh", "中国", "P36", "{}的首都是", "北京", "纽约")
BY_HAND = Fact("hand", "Borduria", "P36", "The seat of power in {} is", "Szohod", "Oslo", join="")
OTHER = Fact("zh2", "日本", "P36", "{}的首都是", "东京", "上海")
CASES = pytest.mark.parametrize("fact", [CHINESE, BY_HAND], ids=["by the rule", "as the fact says"])


@CASES
def test_targets_of_edits(fact, lab):
    lm = lab.model("llama")
    full_text = fact.statement + fact.target_new

    def text(ids):
        return lm.tokenizer.decode(ids)

    assert text(split_prompts(lm, fact, []).target) == fact.target_new
    for batch in (ft.object_batch(lm, [fact], even=True), ft.last_token_batch(lm, [fact], even=True)):
        assert text(batch.label) == fact.target_new
    before, after = prompt_and_answer_ids(lm, fact.statement, fact.target_new, fact.join)
    assert text(before + after) == full_text
    assert text(sentence_ids(lm, RenderedPrompt(fact.statement, join=fact.join), fact.target_new)) == f"{full_text}.\n"


@CASES
@pytest.mark.parametrize("name", ["grace", "kn", "mend", "serac"])
def test_methods_hand_the_join_on(fact, name, lab):
    """Check that an edit with the join differs from that with a space, and equals the rule's if they agree."""
    lm, artefact = lab.model("llama"), lab.artefact(name, "llama")
    edits = [
        method(name).edit(lm, [variant], artefact=artefact, history=EditHistory())
        for variant in (fact, replace(fact, join=" "))
    ]
    if name == "serac":
        assert edits[0].memory[0][3] == fact.join
    else:
        first, second = (edit.to_tensors()[0] for edit in edits)
        assert any(first[key].shape != second[key].shape or not first[key].equal(second[key]) for key in first)


@pytest.mark.parametrize("kind", ["neighbourhood", "edit_before_neighbour", "relation_specificity", "unrelated"])
def test_a_fact_of_the_table_keeps_its_join_where_another_fact_is_edited(kind):
    wordings = ("The seat in {} is", (), "", "", "")
    relations = (Relation("P36", "seat", *wordings, unaffected=("P37",)), Relation("P37", "language", *wordings))
    templates = Templates({relation.id: relation for relation in relations}, ())
    rows = {"relation_specificity": {"relation": "P37"}, "unrelated": {"subject": "Syldavia", "relation": "P37"}}
    pool = [CHINESE, replace(BY_HAND, **rows.get(kind, {"subject": "Syldavia"}))]
    edited_fact = replace(BY_HAND, id="edited", target_true="Klow", target_new="Rome", join=None)
    numbers = {"neighbours": 1, "relation_specificity": 1, "unrelated": 1}
    [probe] = build_probes([edited_fact], templates, pool, kinds=[kind], seed=0, **numbers)
    assert (probe.target_true, probe.join) == ("Szohod", "")


@CASES
def test_sentences_in_prompts(fact):
    text = fact.statement + fact.target_new
    assert sentence(fact) == f"{text}."
    demonstration = demonstrations([fact, OTHER], {})[0]
    assert demonstration.copy.count(text) == 2
    assert demonstration.update.count(text) == 2
    assert join_prompt(OTHER.statement, OTHER.target_true) in demonstration.retain
    assert recall_demonstrations(OTHER, [fact], 1, 0) == f"{fact.statement}{fact.target_true}.\n"
    material = Material({}, claim=fact.statement, denial=f"not {fact.statement}", reference="it")
    assert text in yes_no(fact, material)[0].text
    assert text in negation(fact, material)[0].text
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
