"""Settings that cannot work are refused before a model is asked anything, or before its edits are asked."""

from dataclasses import dataclass, field

import pytest
from fabricated_edits import FACTS, POOL, RELATIONS, TEXTS, method

from edit_robustness.abilities.requests import RequestTooLong
from edit_robustness.asking.ask import Decoding
from edit_robustness.asking.converse import ConversationSettings
from edit_robustness.asking.lengths import TooLong
from edit_robustness.datasets.corpus import CorpusSource
from edit_robustness.editing.edit_sequence import SequenceParameters
from edit_robustness.editing.requirements import TextNeed
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.pipelines.check import nodes
from edit_robustness.pipelines.rephrase.nodes import ProbeParameters
from edit_robustness.pipelines.sequence.nodes import make_probes
from edit_robustness.records import Fact
from edit_robustness.tables import facts_to_table, probes_to_table

ALL = ProbeParameters(kinds="statement question dialogue neighbourhood")
SEQUENCE = SequenceParameters(checkpoints=[1, 3], retention_facts=1)
WRITTEN = CorpusSource((), 4, 20, 0)
LONG = Fact("long", "Lomé" * 150, "P36", "The seat of power in {} is", "Accra", "Oslo")


def check(lm, settings=ALL, *, facts=(*FACTS, *POOL), source=WRITTEN, need=None, methods=("none", "context", "ike")):
    node = nodes.check_model_with("tiny", methods, need or TextNeed(), "grid")
    tables = facts_to_table(facts), facts_to_table(POOL), RELATIONS
    return node(lm, *tables, source, Decoding(max_new_tokens=8), settings, *map(method, methods))


@pytest.fixture
def context(monkeypatch):
    """Sets the length of every model's context."""
    return lambda tokens: monkeypatch.setattr(LanguageModel, "max_length", tokens)


def test_a_model_that_fits_is_described(lab):
    record = check(lab.model("llama"))
    assert (record["layers"], record["context"], record["key_width"]) == (4, 2048, 48)
    assert set(record["longest"]) == {"none", "context", "ike"}
    assert set(record["longest"]["ike"]) >= {"statement", "question"}
    assert record["longest"]["ike"]["statement"] > record["longest"]["context"]["statement"]


def test_prompts_that_are_too_long_for_every_fact_are_refused_at_the_start(lab, context):
    context(160)
    with pytest.raises(TooLong, match=r"160 tokens.*ike: .*of probes\.kinds, .*grid\.tiny\.ike: false"):
        check(lab.model("llama"))


def test_prompts_that_are_too_long_for_some_facts_only_are_logged(lab, context, caplog):
    context(800)
    check(lab.model("llama"), methods=["none"])
    assert not caplog.text
    check(lab.model("llama"), facts=(*FACTS, *POOL, LONG), methods=["none", "context"])
    assert "the longest facts of the table would be too long, if they are drawn" in caplog.text


def test_a_statement_that_recall_cannot_ask_is_refused(lab, context):
    context(500)
    with pytest.raises(TooLong, match=r"statement .* lower decoding\.max_new_tokens or take these facts out"):
        check(lab.model("llama"), facts=(*FACTS, *POOL, LONG))


def test_the_words_of_a_whole_sequence_and_a_first_question_must_fit(lab, context):
    context(150)
    check(lab.model("llama"), SEQUENCE, methods=["none"])
    with pytest.raises(TooLong, match=r"for the words of context.*lower sequence\.checkpoints"):
        check(lab.model("llama"), SEQUENCE, methods=["none", "context"])
    check(lab.model("llama"), ConversationSettings(max_new_tokens=10), methods=["none"])
    with pytest.raises(TooLong, match=r"conversation \d+, of them 140 for .*lower conversation\.max_new"):
        check(lab.model("llama"), ConversationSettings(max_new_tokens=140), methods=["none"])


def test_settings_beyond_the_model_and_a_short_corpus_are_refused(lab):
    lm, node = lab.model("llama"), nodes.check_model_with("tiny", ["ft"], TextNeed(), "grid")
    tables = facts_to_table(FACTS), facts_to_table(POOL), RELATIONS
    with pytest.raises(ValueError, match=r"methods\.ft\.tiny\.layer: there is no layer 9"):
        node(lm, *tables, WRITTEN, Decoding(), ALL, method("ft", layer=9))
    with pytest.raises(ValueError, match="corpus_source: its texts have 6 tokens"):
        check(lm, source=CorpusSource(("An owl",)), need=TextNeed(400, 1, "methods.rome.tiny.mom2_tokens"))
    check(lm, source=CorpusSource(tuple(TEXTS)), need=TextNeed(400, 1, "methods.rome.tiny.mom2_tokens"))


def test_a_memory_is_checked_with_the_facts_that_each_prompt_is_about(lab, context):
    lm = lab.model("llama")
    needs = check(lm, SEQUENCE, methods=["none", "context", "retrieve"])["longest"]
    assert needs["none"]["statement"] < needs["retrieve"]["statement"] < needs["context"]["statement"]
    context(needs["retrieve"]["paraphrase"])
    with pytest.raises(TooLong, match=r"\(context: "):
        check(lm, SEQUENCE, methods=["none", "context", "retrieve"])
    check(lm, SEQUENCE, methods=["none", "retrieve"])


def test_facts_without_an_old_object_can_be_checked(lab):
    assert check(lab.model("llama"), facts=[Fact("open", "Lomé", "P36", "The seat of power in {} is", "", "Oslo")])


def test_the_prompts_of_the_run_are_checked_with_the_words_of_each_fact(lab, context):
    sampled_facts = facts_to_table(FACTS)
    probes = nodes._build_sample_probes(FACTS, [*FACTS, *POOL], nodes.read_relations(RELATIONS), ALL)
    node = nodes.check_lengths_with("tiny", ["context", "ike"])
    args = (
        lab.model("llama"),
        probes_to_table(probes),
        sampled_facts,
        facts_to_table(POOL),
        RELATIONS,
        Decoding(max_new_tokens=8),
    )
    longest = node(*args, method("context"), method("ike"))["longest"]
    maximum = max(total for needs in longest.values() for total in needs.values())
    context(maximum)
    assert node(*args, method("context"), method("ike"))["longest"] == longest
    context(maximum - 1)
    with pytest.raises(TooLong, match=rf"ike: \w+ {maximum}, .*grid\.tiny\.ike: false"):
        node(*args, method("context"), method("ike"))


@dataclass(frozen=True)
class Bench:
    """A benchmark, as far as its lengths are looked at."""

    name: str = "a"
    work: object = field(
        default_factory=lambda: type("Work", (), {"instances": (), "questions": ("Q?",), "texts": ("",)})()
    )


def test_sequences_are_checked_after_all_their_edits_with_their_benchmarks(lab, context, monkeypatch):
    sampled_facts = facts_to_table([*FACTS, POOL[0]]).assign(fact_role=["edited"] * 3 + ["retained"])
    probes = make_probes(sampled_facts, facts_to_table([*FACTS, *POOL]), RELATIONS, SEQUENCE)
    calls = []
    monkeypatch.setattr(nodes, "get_benchmarks", lambda *sources: [Bench()])
    monkeypatch.setattr(
        nodes, "plan_requests", lambda lm, instances, questions, edit: calls.append(edit.text_before("Q?"))
    )
    tables = sampled_facts, facts_to_table(POOL), RELATIONS, Decoding(max_new_tokens=8), SEQUENCE
    node, lm = nodes.check_sequences_with("tiny", ["context"]), lab.model("llama")
    assert set(node(lm, probes, None, None, *tables, method("context"))["longest"]) == {"none", "context"}
    assert [text.count("\n") for text in calls] == [3]
    context(150)
    with pytest.raises(TooLong, match=r"context: .*for the words of context.*sequential_grid\.tiny\.context: false"):
        node(lm, probes, None, None, *tables, method("context"))
    context(4000)

    def refuse(*_):
        raise RequestTooLong("document 7 needs 900 tokens")

    monkeypatch.setattr(nodes, "plan_requests", refuse)
    message = r"a cannot be asked after all edits, .*sequential_grid\.tiny\.context: false\. document 7 needs 900"
    with pytest.raises(RequestTooLong, match=message):
        node(lm, probes, None, None, *tables, method("context"))
