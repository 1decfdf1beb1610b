from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from fabricated_edits import FACTS, bits, hooks_on, probes, same_bits
from pydantic import ValidationError

from edit_robustness.asking.ask import Decoding, ask, render_probe
from edit_robustness.editing.edits import LowRank, NotRowwise, PromptPrefix, weights_changed
from edit_robustness.models.decode import greedy
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import RenderedPrompt
from edit_robustness.records import Probe, Turn

DECODING = Decoding(max_new_tokens=6, batch_rows=64)
CONVERSATION = Probe("x/q/0", "x", "question", "edit", "Borduria", "Where?", "Oslo", "Szohod", conversation=True)


class Alone(LowRank):
    """An edit that cannot act on single rows; says how often it was worn."""

    worn = 0

    @contextmanager
    def applied(self, lm, rows=None):
        if rows is not None:
            raise NotRowwise("by itself")
        type(self).worn += 1
        with weights_changed(lm, self.dense()):
            yield lm


def alone(seed=0):
    torch.manual_seed(seed)
    return Alone({Site(1, "mlp_out"): (torch.randn(32, 1), torch.randn(1, 48))})


def said(answers):
    return [(a.probe.id, a.text, a.tokens, a.finished, a.match_new) for edit_answers in answers for a in edit_answers]


def test_edits_that_cannot_share_a_batch_are_asked_alone(lab):
    lm = lab.model("llama")
    kinds = ("statement", "paraphrase", "question", "doubt")
    edit_probes = [
        (edit, probes(kinds)) for edit in (lab.edits("rome", "llama")[0], alone(), PromptPrefix("Once. "), alone(1))
    ]
    weights, before = bits(lm), Alone.worn
    answers_by_edit = list(ask(lm, edit_probes, DECODING))
    assert Alone.worn > before
    assert said(answers_by_edit) == said(list(ask(lm, edit_probes, DECODING, together=False)))
    for (edit, probe_list), edit_answers in zip(edit_probes, answers_by_edit, strict=True):
        (reference,) = ask(lm, [(edit, probe_list)], DECODING, together=False)
        assert said([edit_answers]) == said([reference])
        assert [a.logprob_new for a in edit_answers] == pytest.approx([a.logprob_new for a in reference], abs=1e-3)
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0


def test_one_at_a_time_wears_copied_weights(lab):
    lm, before = lab.model("llama"), Alone.worn
    list(ask(lm, [(alone(), probes(("statement",)))] * 3, DECODING, together=False))
    assert Alone.worn == before + 3


def test_a_doubt_follows_the_models_own_first_answer(lab):
    lm = lab.model("llama")
    for edit in (PromptPrefix(), lab.edits("rome", "llama")[0], PromptPrefix("A new fact. ")):
        probe_list = probes(("question", "doubt", "doubt_old_object"))
        (answers,) = ask(lm, [(edit, probe_list)], DECODING)
        by_id = {answer.probe.id: answer for answer in answers}
        doubts = [probe for probe in probe_list if probe.follows]
        assert len(doubts) == 2
        for doubt in doubts:
            first = by_id[doubt.follows].text.strip()
            plain = replace(doubt, follows=None, previous_turns=(*doubt.previous_turns, Turn("assistant", first)))
            ((reference,),) = ask(lm, [(edit, [plain])], DECODING)
            assert by_id[doubt.id].text == reference.text
            assert by_id[doubt.id].logprob_new == pytest.approx(reference.logprob_new, abs=1e-3)


def test_a_doubt_follows_the_answer_under_its_own_edit(lab):
    lm, probe_list = lab.model("llama"), probes(("question", "doubt"))
    edits = [PromptPrefix(), PromptPrefix("Words before. "), lab.edits("ft", "llama")[0]]
    answers_by_edit = list(ask(lm, [(edit, probe_list) for edit in edits], DECODING))
    firsts = {next(a.text for a in edit_answers if a.probe.kind == "question") for edit_answers in answers_by_edit}
    assert len(firsts) > 1
    for edit, edit_answers in zip(edits, answers_by_edit, strict=True):
        assert said([edit_answers]) == said(ask(lm, [(edit, probe_list)], DECODING))


def test_the_answer_stands_between_history_and_doubt(lab):
    lm = lab.model("llama")
    doubt = replace(CONVERSATION, follows="x/q/1", previous_turns=(Turn("user", "Whence?"),), text="Sure?")
    assert render_probe(lm, doubt, "", "From Oslo.") == RenderedPrompt(
        "<|user|>Whence?\n<|assistant|>From Oslo.\n<|user|>Sure?\n<|assistant|>", special=False
    )


def test_an_edits_words_stand_before_the_prompt_or_open_the_first_turn(lab):
    lm = lab.model("llama")
    plain = replace(CONVERSATION, conversation=False, text="The seat is")
    assert render_probe(lm, plain, "New. ", "") == RenderedPrompt("New. The seat is")
    assert render_probe(lm, CONVERSATION, "New. ", "").text == "<|user|>New. Where?\n<|assistant|>"
    later = replace(CONVERSATION, previous_turns=(Turn("user", "Hi"), Turn("assistant", "Hello")))
    rendered_text = "<|user|>New. Hi\n<|assistant|>Hello\n<|user|>Where?\n<|assistant|>"
    assert render_probe(lm, later, "New. ", "").text == rendered_text


def test_a_probe_that_follows_one_not_asked_is_an_error(lab):
    probe_list = [probe for probe in probes(("question", "doubt")) if probe.follows]
    with pytest.raises(
        ValueError,
        match=r"probe .*doubt.* follows .*question.*, which is not among the probes; include both",
    ):
        list(ask(lab.model("llama"), [(PromptPrefix(), probe_list)], DECODING))


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3_text"])
def test_past_a_sliding_window_nothing_is_padded_between_words(architecture):
    lm, probe_list = tiny_model(architecture, seed=2), probes(("statement", "paraphrase", "question"))
    edit_probes = [
        (PromptPrefix("A new fact, told at length. "), probe_list),
        (PromptPrefix("Another new fact, told at more length. "), probe_list),
    ]
    (full_answers, _) = ask(lm, edit_probes, DECODING)
    lm.model.config.sliding_window = 24
    answers_by_edit = list(ask(lm, edit_probes, DECODING))
    for (edit, _), edit_answers in zip(edit_probes, answers_by_edit, strict=True):
        reference = [answer for probe in probe_list for (answer,) in ask(lm, [(edit, [probe])], DECODING)]
        assert said([edit_answers]) == said([reference])
        assert [a.logprob_new for a in edit_answers] == pytest.approx([a.logprob_new for a in reference], abs=1e-4)
    assert max(abs(a.logprob_new - b.logprob_new) for a, b in zip(full_answers, answers_by_edit[0], strict=True)) > 1e-3


def test_answers_come_in_the_order_of_the_probes(lab):
    probe_list = probes(("statement", "paraphrase", "question", "dialogue", "doubt", "neighbourhood"))[::-1]
    (answers,) = ask(lab.model("llama"), [(PromptPrefix(), probe_list)], DECODING)
    assert [answer.probe for answer in answers] == probe_list


def test_an_edit_may_have_no_probes_and_nothing_may_be_asked(lab):
    lm = lab.model("llama")
    assert list(ask(lm, [], DECODING)) == []
    answers_by_edit = list(ask(lm, [(PromptPrefix(), []), (PromptPrefix(), probes(("statement",)))], DECODING))
    assert [len(edit_answers) for edit_answers in answers_by_edit] == [0, 1]


def test_answers_come_as_soon_as_a_batch_is_done(lab):
    lm, passes = lab.model("llama"), []
    handle = lm.model.register_forward_pre_hook(lambda *_: passes.append(1))
    answers = ask(lm, [(PromptPrefix(), probes(("statement",)))] * 6, Decoding(max_new_tokens=2, batch_rows=2))
    next(answers)
    first = len(passes)
    remaining_answers = list(answers)
    handle.remove()
    assert len(remaining_answers) == 5
    assert 0 < first < len(passes)


def test_an_empty_target_is_refused_and_the_model_left_alone(lab):
    lm = lab.model("llama")
    weights = bits(lm)
    probe_list = [replace(probe, target_new=" ") for probe in probes(("statement",))]
    for together in (True, False):
        with pytest.raises(ValueError, match="an empty target after the prompt"):
            list(ask(lm, [(lab.edits("rome", "llama")[0], probe_list)], DECODING, together=together))
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0


def test_counts_are_those_of_the_tokens(lab):
    lm = lab.model("llama")
    ((answer,),) = ask(lm, [(PromptPrefix(), probes(("statement",), FACTS[0]))], DECODING)
    assert (answer.tokens_new, answer.tokens_true) == (len(" Oslo"), len(" Szohod"))
    assert answer.tokens <= DECODING.max_new_tokens
    assert answer.logprob_new < 0


@pytest.mark.parametrize("settings", [{"max_new_tokens": 0}, {"batch_rows": -1}, {"limit": 3}])
def test_decoding_refuses_what_makes_no_sense(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        Decoding(**settings)


def test_no_answer_ends_inside_the_name_of_an_object_of_its_own_probe(lab, monkeypatch):
    rules_by_name = {}

    def spy(*args, end_rule, **options):
        rules_by_name["rules"] = list(end_rule)
        return greedy(*args, end_rule=end_rule, **options)

    monkeypatch.setattr("edit_robustness.asking.ask.greedy", spy)
    known_probe, other_probe = (
        Probe(f"f/statement/{number}", "f", "statement", "edit", "The band", "The band is called", new, "Owls")
        for number, new in enumerate(("Panic! at the Disco", "Muse"))
    )
    list(ask(lab.model("llama"), [(PromptPrefix(""), [known_probe, other_probe])], Decoding(2)))
    assert sorted(rule(" Panic!") for rule in rules_by_name["rules"]) == [False, True]
