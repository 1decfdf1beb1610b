"""The memory of edited facts: which stand before a prompt, in which order, and what later edits replace."""

from dataclasses import replace
from itertools import accumulate

import pytest
from fabricated_edits import FACTS, POOL, method, probes
from pydantic import ValidationError

from edit_robustness.asking import ask as asking
from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.asking.queries import dialogue_query, probe_query
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edit_sequence import edit_sequence
from edit_robustness.editing.edits import NO_EDIT, FactMemory, NotCombined, PromptPrefix
from edit_robustness.editing.exchange.export import NotWeights, refuse_hooks_and_words
from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.prompts.demonstrations import sentence
from edit_robustness.records import Fact, Turn

KINDS = ("statement", "paraphrase", "question", "cloze", "related_context", "dialogue_reference", "letter_case")


def memory(lm, *facts, **settings):
    return method("retrieve", **settings).edit(lm, facts)


@pytest.fixture
def all_facts(lab):
    return memory(lab.model("llama"), *FACTS, *POOL)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.id)
def test_prompts_about_a_fact_get_its_sentence_in_any_words(fact, all_facts):
    texts = {probe.id: all_facts.text_before(probe_query(probe)) for probe in probes(KINDS, fact)}
    assert set(texts.values()) == {f"{sentence(fact)}\n"}
    assert len(texts) > 8


def test_prompts_about_other_subjects_get_no_text(lab):
    edit = memory(lab.model("llama"), *FACTS)
    others = [probe for probe in probes(("neighbourhood",)) if probe.subject not in {fact.subject for fact in FACTS}]
    assert others
    assert {edit.text_before(probe_query(probe)) for probe in others} == {""}
    assert edit.text_before("Whatever else there is in the world") == ""


def test_a_prompt_without_text_is_answered_exactly_as_by_the_unedited_model(lab):
    lm = lab.model("llama")
    probe_list = [probe for probe in probes(("neighbourhood",), FACTS[0]) if probe.subject in {f.subject for f in POOL}]
    decoding = Decoding(max_new_tokens=6)
    (answers,) = ask(lm, [(memory(lm, *FACTS), probe_list)], decoding)
    (unedited_answers,) = ask(lm, [(NO_EDIT, probe_list)], decoding)
    assert probe_list
    assert [replace(answer, kl=0.0) for answer in answers] == unedited_answers
    assert [answer.kl for answer in answers] == pytest.approx([0.0] * len(answers), abs=1e-6)


def test_the_text_of_one_edit_is_that_of_context(lab):
    lm = lab.model("llama")
    for fact in FACTS:
        assert memory(lm, fact).text_before(fact.statement) == method("context").edit(lm, [fact]).text_before("")


def test_the_closest_fact_comes_last_and_no_more_than_shown_are_shown(lab):
    lm = lab.model("llama")
    facts = [replace(FACTS[0], id=relation, relation=relation, prompt=prompt) for relation, prompt in PROMPTS.items()]
    prompt = "Which river of Borduria flows through its capital?"
    edit = memory(lm, *facts, shown=3)
    assert edit.text_before(prompt).splitlines()[-1] == sentence(facts[1])
    assert set(edit.text_before(prompt).splitlines()) == {sentence(fact) for fact in facts}
    assert memory(lm, *facts, shown=1).text_before(prompt) == f"{sentence(facts[1])}\n"
    # the prompt has as many words of the first statement as of the last
    assert memory(lm, *facts, shown=2).text_before(prompt) == f"{sentence(facts[2])}\n{sentence(facts[1])}\n"


PROMPTS = {"P1": "The king of {} is", "P2": "The longest river of {} is", "P3": "The poet of {} is"}


def test_a_later_edit_of_the_same_subject_and_relation_or_of_the_same_statement_replaces_the_earlier(lab):
    lm, fact = lab.model("llama"), FACTS[0]
    in_other_words = replace(fact, prompt="{} is ruled from", target_new="Bern")
    of_no_relation = replace(fact, relation="unknown", target_new="Rome")
    for later in (in_other_words, of_no_relation):
        for edit in (memory(lm, fact, later), memory(lm, fact) + memory(lm, later)):
            assert edit.text_before(fact.statement) == f"{sentence(later)}\n"
    assert (
        memory(lm, fact, replace(fact, relation="P0", prompt="A king of {} is")).text_before("Borduria").count("\n")
        == 2
    )


def test_a_memory_of_edits_is_the_memory_of_one_edit_of_all_facts(lab, tmp_path):
    lm, retrieve = lab.model("llama"), method("retrieve")
    facts = [*FACTS, *POOL, replace(FACTS[1], target_new="Cy Dahl")]
    steps = list(edit_sequence(lm, retrieve, [[fact] for fact in facts]))
    queries = [probe_query(probe) for fact in FACTS for probe in probes(KINDS, fact)]
    for step, so_far in zip(steps, accumulate([fact] for fact in facts), strict=True):
        write_edit(tmp_path / f"{step.number}.safetensors", step.edit, {})
        together = retrieve.edit(lm, so_far)
        assert [step.history.text_before(query) for query in queries] == list(map(together.text_before, queries))
        assert step.edit.origin.facts == (so_far[-1].id,)
    replay, chain = EditHistory(), NO_EDIT
    for step in steps:
        edit = read_edit(tmp_path / f"{step.number}.safetensors")
        assert edit == step.edit
        replay, chain = replay + edit, chain + edit
    assert replay.combined_edits == steps[-1].history.combined_edits == {FactMemory.kind: retrieve.edit(lm, facts)}
    assert [chain.text_before(query) for query in queries] == [replay.text_before(query) for query in queries]


def test_text_that_is_always_there_stays_beside_a_memory(lab):
    history = EditHistory() + PromptPrefix("One. ") + memory(lab.model("llama"), FACTS[0]) + PromptPrefix("Two. ")
    assert history.text_before(FACTS[0].statement) == f"One. Two. {sentence(FACTS[0])}\n"
    assert history.text_before("Else") == "One. Two. "


def test_memories_with_other_settings_are_not_combined(lab):
    lm = lab.model("llama")
    chain = memory(lm, FACTS[0]) + memory(lm, FACTS[1], threshold=0.4)
    with pytest.raises(NotCombined, match=r"\(2, 0\.8, 'subject'\) and \(2, 0\.4, 'subject'\) cannot be joined: edit"):
        chain.text_before("A prompt")


def test_a_file_of_weights_cannot_hold_a_memory(lab):
    edit = memory(lab.model("llama"), FACTS[0])
    for acting in (edit, edit + edit, EditHistory() + edit):
        with pytest.raises(NotWeights, match="acts by text before the prompt"):
            refuse_hooks_and_words(acting)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.1}, "threshold"),
        ({"shown": 0}, "shown"),
        ({"key": "x"}, "key"),
    ],
)
def test_settings_that_retrieve_everything_or_nothing_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        method("retrieve", **settings)


def test_the_statement_as_a_key_finds_what_is_asked_in_its_words(lab):
    edit = memory(lab.model("llama"), *FACTS, key="statement")
    assert edit.text_before("The seat of power in Borduria is") == f"{sentence(FACTS[0])}\n"
    assert edit.text_before("Borduria is ruled from") == ""


def test_an_alias_finds_its_subject(lab):
    fact = replace(FACTS[0], subject_aliases=("Land of Bread",))
    edit = memory(lab.model("llama"), fact, *POOL)
    assert edit.text_before("The land of bread is ruled from") == f"{sentence(fact)}\n"


def test_two_hundred_edits_show_what_a_prompt_is_about(lab):
    lm = lab.model("llama")
    facts = [
        Fact(
            f"f{number}", f"Mount {chr(65 + number % 26)}ora{number}", "P17", "The country of {} is", "A", f"B{number}"
        )
        for number in range(200)
    ]
    history = EditHistory()
    for edit in method("retrieve").edit_each(lm, facts):
        history = history + edit
    assert [history.text_before(f"To which state does {fact.subject} belong?") for fact in facts] == [
        f"{sentence(fact)}\n" for fact in facts
    ]


def test_the_query_is_all_that_the_user_says(lab):
    (probe,) = probes(("dialogue_reference",))
    assert FACTS[0].subject not in probe.text
    turns = [
        Turn("system", "Be brief."),
        *probe.previous_turns,
        Turn("user", probe.text),
        Turn("assistant", "Of Elbonia."),
    ]
    assert dialogue_query(turns) == probe_query(probe)
    assert memory(lab.model("llama"), *FACTS, *POOL).text_before(dialogue_query(turns)) == f"{sentence(FACTS[0])}\n"


def test_rows_with_the_same_text_share_it_as_a_prefix(lab, monkeypatch):
    """Facts of one memory in one batch: each text is run once, and the answers are those of whole prompts."""
    lm, shared = lab.model("llama"), []
    probe_list = [probe for fact in FACTS for probe in probes(("statement", "paraphrase", "question"), fact)]
    original = asking.shared_prefix
    monkeypatch.setattr(
        asking, "shared_prefix", lambda rows, minimum: shared.append(original(rows, minimum=minimum)) or shared[-1]
    )
    edit, decoding = memory(lm, *FACTS), Decoding(max_new_tokens=3)
    (answers,) = ask(lm, [(edit, probe_list)], decoding)
    lengths = [len(lm.encode(f"{sentence(fact)}\n")) for fact in FACTS]
    assert all(any(length >= n for length in shared) for n in lengths)
    monkeypatch.setattr(asking, "_MIN_SHARED", 10**9)
    (alone,) = ask(lm, [(edit, probe_list)], decoding, together=False)
    assert [answer.text for answer in answers] == [answer.text for answer in alone]
    assert [answer.logprob_new for answer in answers] == pytest.approx([a.logprob_new for a in alone], abs=1e-3)
