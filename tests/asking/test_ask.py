from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from fabricated_edits import FACTS, bits, hooks_on, probes, same_bits
from pydantic import ValidationError

from edit_robustness.asking.ask import Decoding, ask, render_probe
from edit_robustness.editing.edits import Frame, LowRank, NotRowwise, weights_changed
from edit_robustness.models.decode import greedy
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import Rendered
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
    return [(a.probe.id, a.text, a.tokens, a.finished, a.match_new) for own in answers for a in own]


def test_edits_that_cannot_share_a_batch_are_asked_alone(lab):
    lm = lab.model("llama")
    kinds = ("statement", "paraphrase", "question", "doubt")
    asked = [(edit, probes(kinds)) for edit in (lab.edits("rome", "llama")[0], alone(), Frame("Once. "), alone(1))]
    weights, before = bits(lm), Alone.worn
    found = list(ask(lm, asked, DECODING))
    assert Alone.worn > before
    assert said(found) == said(list(ask(lm, asked, DECODING, together=False)))
    for (edit, wanted), own in zip(asked, found, strict=True):
        (expected,) = ask(lm, [(edit, wanted)], DECODING, together=False)
        assert said([own]) == said([expected])
        assert [a.logprob_new for a in own] == pytest.approx([a.logprob_new for a in expected], abs=1e-3)
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0


def test_one_at_a_time_wears_copied_weights(lab):
    lm, before = lab.model("llama"), Alone.worn
    list(ask(lm, [(alone(), probes(("statement",)))] * 3, DECODING, together=False))
    assert Alone.worn == before + 3


def test_a_doubt_follows_the_models_own_first_answer(lab):
    lm = lab.model("llama")
    for edit in (Frame(), lab.edits("rome", "llama")[0], Frame("A new fact. ")):
        wanted = probes(("question", "doubt", "doubt_old_object"))
        (answers,) = ask(lm, [(edit, wanted)], DECODING)
        by_id = {answer.probe.id: answer for answer in answers}
        doubts = [probe for probe in wanted if probe.follows]
        assert len(doubts) == 2
        for doubt in doubts:
            first = by_id[doubt.follows].text.strip()
            plain = replace(doubt, follows=None, history=(*doubt.history, Turn("assistant", first)))
            ((expected,),) = ask(lm, [(edit, [plain])], DECODING)
            assert by_id[doubt.id].text == expected.text
            assert by_id[doubt.id].logprob_new == pytest.approx(expected.logprob_new, abs=1e-3)


def test_a_doubt_follows_the_answer_under_its_own_edit(lab):
    lm, wanted = lab.model("llama"), probes(("question", "doubt"))
    edits = [Frame(), Frame("Words before. "), lab.edits("ft", "llama")[0]]
    found = list(ask(lm, [(edit, wanted) for edit in edits], DECODING))
    firsts = {next(a.text for a in own if a.probe.kind == "question") for own in found}
    assert len(firsts) > 1
    for edit, own in zip(edits, found, strict=True):
        assert said([own]) == said(ask(lm, [(edit, wanted)], DECODING))


def test_the_answer_stands_between_history_and_doubt(lab):
    lm = lab.model("llama")
    doubt = replace(CONVERSATION, follows="x/q/1", history=(Turn("user", "Whence?"),), text="Sure?")
    assert render_probe(lm, doubt, "", "From Oslo.") == Rendered(
        "<|user|>Whence?\n<|assistant|>From Oslo.\n<|user|>Sure?\n<|assistant|>", special=False
    )


def test_an_edits_words_stand_before_the_prompt_or_open_the_first_turn(lab):
    lm = lab.model("llama")
    plain = replace(CONVERSATION, conversation=False, text="The seat is")
    assert render_probe(lm, plain, "New. ", "") == Rendered("New. The seat is")
    assert render_probe(lm, CONVERSATION, "New. ", "").text == "<|user|>New. Where?\n<|assistant|>"
    later = replace(CONVERSATION, history=(Turn("user", "Hi"), Turn("assistant", "Hello")))
    expected = "<|user|>New. Hi\n<|assistant|>Hello\n<|user|>Where?\n<|assistant|>"
    assert render_probe(lm, later, "New. ", "").text == expected


def test_a_probe_that_follows_one_not_asked_is_an_error(lab):
    wanted = [probe for probe in probes(("question", "doubt")) if probe.follows]
    with pytest.raises(
        ValueError,
        match=r"probe .*doubt.* follows .*question.*, which is not among the probes; include both or neither",
    ):
        list(ask(lab.model("llama"), [(Frame(), wanted)], DECODING))


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3_text"])
def test_past_a_sliding_window_nothing_is_padded_between_words(architecture):
    lm, wanted = tiny_model(architecture, seed=2), probes(("statement", "paraphrase", "question"))
    asked = [
        (Frame("A new fact, told at length. "), wanted),
        (Frame("Another new fact, told at more length. "), wanted),
    ]
    (whole, _) = ask(lm, asked, DECODING)
    lm.model.config.sliding_window = 24
    found = list(ask(lm, asked, DECODING))
    for (edit, _), own in zip(asked, found, strict=True):
        expected = [answer for probe in wanted for (answer,) in ask(lm, [(edit, [probe])], DECODING)]
        assert said([own]) == said([expected])
        assert [a.logprob_new for a in own] == pytest.approx([a.logprob_new for a in expected], abs=1e-4)
    assert max(abs(a.logprob_new - b.logprob_new) for a, b in zip(whole, found[0], strict=True)) > 1e-3


def test_answers_come_in_the_order_of_the_probes(lab):
    wanted = probes(("statement", "paraphrase", "question", "dialogue", "doubt", "neighbourhood"))[::-1]
    (found,) = ask(lab.model("llama"), [(Frame(), wanted)], DECODING)
    assert [answer.probe for answer in found] == wanted


def test_an_edit_may_have_no_probes_and_nothing_may_be_asked(lab):
    lm = lab.model("llama")
    assert list(ask(lm, [], DECODING)) == []
    found = list(ask(lm, [(Frame(), []), (Frame(), probes(("statement",)))], DECODING))
    assert [len(own) for own in found] == [0, 1]


def test_answers_come_as_soon_as_a_batch_is_done(lab):
    lm, passes = lab.model("llama"), []
    handle = lm.model.register_forward_pre_hook(lambda *_: passes.append(1))
    answers = ask(lm, [(Frame(), probes(("statement",)))] * 6, Decoding(max_new_tokens=2, batch_rows=2))
    next(answers)
    first = len(passes)
    rest = list(answers)
    handle.remove()
    assert len(rest) == 5
    assert 0 < first < len(passes)


def test_an_empty_target_is_refused_and_the_model_left_alone(lab):
    lm = lab.model("llama")
    weights = bits(lm)
    wanted = [replace(probe, target_new=" ") for probe in probes(("statement",))]
    for together in (True, False):
        with pytest.raises(ValueError, match="an empty target after the prompt"):
            list(ask(lm, [(lab.edits("rome", "llama")[0], wanted)], DECODING, together=together))
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0


def test_counts_are_those_of_the_tokens(lab):
    lm = lab.model("llama")
    ((answer,),) = ask(lm, [(Frame(), probes(("statement",), FACTS[0]))], DECODING)
    assert (answer.tokens_new, answer.tokens_true) == (len(" Oslo"), len(" Szohod"))
    assert answer.tokens <= DECODING.max_new_tokens
    assert answer.logprob_new < 0


@pytest.mark.parametrize("settings", [{"max_new_tokens": 0}, {"batch_rows": -1}, {"limit": 3}])
def test_decoding_refuses_what_makes_no_sense(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        Decoding(**settings)


def test_no_answer_ends_inside_the_name_of_an_object_of_its_own_probe(lab, monkeypatch):
    given = {}

    def spy(*args, end_rule, **options):
        given["rules"] = list(end_rule)
        return greedy(*args, end_rule=end_rule, **options)

    monkeypatch.setattr("edit_robustness.asking.ask.greedy", spy)
    known, other = (
        Probe(f"f/statement/{number}", "f", "statement", "edit", "The band", "The band is called", new, "Owls")
        for number, new in enumerate(("Panic! at the Disco", "Muse"))
    )
    list(ask(lab.model("llama"), [(Frame(""), [known, other])], Decoding(2)))
    assert sorted(rule(" Panic!") for rule in given["rules"]) == [False, True]
