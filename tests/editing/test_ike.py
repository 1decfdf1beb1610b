from dataclasses import replace

import pytest
from fabricated_edits import FACTS, POOL, RELATIONS, corpus, method

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.methods.ike import interleave
from edit_robustness.pipelines.edit.nodes import prepare_with
from edit_robustness.prompts.demonstrations import new_fact, sentence
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Fact
from edit_robustness.tables import facts_to_table

WRITERS = tuple(
    Fact(f"P50-{n}", title, "P50", "{} came from the pen of", true, new)
    for n, (title, true, new) in enumerate(
        [
            ("The Owl Who Slept", "Ida Moor", "Jo Vane"),
            ("Nine Bells", "Al Drum", "Cy Font"),
            ("Salt", "Ed Oar", "Mo Ling"),
        ]
    )
)


def prompt_prefix(fact, pool=POOL, lm=None, **counts):
    ike = method("ike", **{"copy": 1, "update": 1, "retain": 1, **counts})
    artefact = ike.prepare(lm, Corpus((), tuple(pool), read_relations(RELATIONS).relations))
    return ike.increment(lm, [fact], artefact=artefact, history=EditHistory()).text_before("")


def shots(prefix):
    """Return the demonstrations of an in-context edit, without its new fact."""
    return prefix.split("\n\n")[:-1]


def test_a_frame_ends_with_the_new_fact_and_the_prompt_to_come():
    assert prompt_prefix(FACTS[0]).endswith("\n\n" + new_fact(FACTS[0]))
    assert new_fact(FACTS[0]) == "New Fact: The seat of power in Borduria is Oslo.\nPrompt: "


def test_the_nearest_are_taken_and_the_likest_stands_last():
    """Use an owl's book that shares words with one title, a relation with two more, and nothing with the cities."""
    texts = shots(prompt_prefix(FACTS[1], pool=[*POOL, *WRITERS]))
    assert len(texts) == 3
    assert all("came from the pen of" in shot for shot in texts)
    assert "The Owl Who Slept" in texts[-1]
    cities = shots(prompt_prefix(FACTS[0], pool=[*WRITERS, *POOL]))
    assert all("The seat of power" in shot for shot in cities)


def test_every_kind_has_its_number():
    demonstrations = shots(prompt_prefix(FACTS[0], pool=POOL, copy=1, update=2, retain=2))
    assert len(demonstrations) == 5
    kinds = [kind_of(shot) for shot in demonstrations]
    assert sorted(kinds) == ["copy", "retain", "retain", "update", "update"]


def kind_of(shot):
    sentence, prompt = shot.removeprefix("New Fact: ").split("\nPrompt: ")
    if prompt == sentence:
        return "copy"
    new = sentence.split(" is ")[-1]
    return "update" if prompt.endswith(new) else "retain"


def test_what_is_retained_is_true_of_another_subject():
    (shot,) = shots(prompt_prefix(FACTS[0], pool=POOL, copy=0, update=0, retain=1))
    new_fact, prompt = shot.removeprefix("New Fact: ").split("\nPrompt: ")
    (about,) = [fact for fact in POOL if sentence(fact) == new_fact]
    (source,) = [fact for fact in POOL if prompt == f"{fact.statement} {fact.target_true}."]
    assert source.subject != about.subject


def test_no_demonstration_shares_a_subject_with_the_facts_of_the_run(lab):
    """Check the edited fact, and every other fact that is edited or asked about."""
    again = replace(FACTS[0], id="again", relation="P50", prompt="{} came from the pen of")
    table, sample = facts_to_table([again, *FACTS, *POOL]), facts_to_table(FACTS)
    prepare = prepare_with("ike")
    datasets = {}
    for part in prepare(
        lab.model("llama"), {}, method("ike"), facts=table, sampled_facts=sample, raw_relations=RELATIONS
    ):
        datasets |= part
    artefact = datasets["ike"].read()
    assert len(artefact.texts) == len(POOL)
    for edit, fact in zip(method("ike").increments(None, FACTS, artefact=artefact), FACTS, strict=True):
        text = "\n\n".join(shots(edit.text_before("")))
        assert not any(edited_fact.subject in text for edited_fact in FACTS)
        assert fact.subject in edit.text_before("")


def test_interleaving_spreads_the_kinds():
    spread = ["retain", "update", "retain", "copy", "update", "retain", "update", "retain"]
    assert interleave({"copy": 1, "update": 3, "retain": 4}) == spread
    assert interleave({"copy": 0, "update": 2, "retain": 0}) == ["update", "update"]


@pytest.mark.parametrize("counts", [{"copy": 0, "update": 0, "retain": 0}, {"retain": 9}])
def test_more_demonstrations_than_facts_and_none_are_refused(counts):
    with pytest.raises(ValueError, match=r"ike needs \d+ demonstrations, and raw_training_facts has 5 facts"):
        prompt_prefix(FACTS[0], **counts)


def test_the_same_facts_give_the_same_frames(lab):
    ike, lm = method("ike"), lab.model("llama")
    artefact = ike.prepare(lm, corpus())
    edits = list(ike.edit_each(lm, FACTS, artefact=artefact))
    assert [edit.text_before("") for edit in edits] == [
        ike.increment(lm, [fact], artefact=artefact, history=EditHistory()).text_before("") for fact in FACTS
    ]


def test_a_context_says_every_fact_on_a_line(lab):
    edit = method("context").edit(lab.model("llama"), FACTS[:2], artefact=Artefact(), history=EditHistory())
    assert edit.text_before("") == f"{sentence(FACTS[0])}\n{sentence(FACTS[1])}\n"
