"""Prompts that do not fit into the context are told before they are asked, exactly, and with a way out."""

import pytest

from edit_robustness.asking.ask import Decoding, render_probe
from edit_robustness.asking.lengths import TooLong, check_fit, longest
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import prompt_ids
from edit_robustness.records import Probe, Turn

DECODING = Decoding(max_new_tokens=10)


def probe(kind, text, **fields):
    return Probe(f"f/{kind}/{len(text)}", "f", kind, "edit", "x", text, "new", "old", **fields)


@pytest.fixture
def short(lab, monkeypatch):
    """A model with a context of 100 tokens, which are bytes."""
    lm = lab.model("llama")
    monkeypatch.setattr(LanguageModel, "max_length", 100)
    return lm


def test_needs_are_exact_for_every_kind(short):
    chat = probe("question", "Q?", conversation=True, previous_turns=(Turn("user", "before"),))
    prefixed_probes = [("", probe("statement", "a" * 20)), ("w" * 7, probe("statement", "a" * 15)), ("", chat)]
    needs = longest(short, prefixed_probes, DECODING)
    assert (needs["statement"].prompt, needs["statement"].words, needs["statement"].total) == (22, 7, 32)
    assert needs["question"].prompt == len(prompt_ids(short, render_probe(short, chat, "", "")))


def test_a_prompt_after_an_answer_counts_the_answer(short):
    doubt = probe("doubt", "Sure?", conversation=True, previous_turns=(Turn("user", "Q?"),), follows="f/question/0")
    alone = len(prompt_ids(short, render_probe(short, doubt, "", "")))
    assert longest(short, [("", doubt)], DECODING)["doubt"].total == alone + 2 * DECODING.max_new_tokens


def test_what_fits_to_the_last_token_passes(short):
    check_fit(short, {"none": longest(short, [("", probe("statement", "a" * 90))], DECODING)}, shorten="x")
    with pytest.raises(TooLong, match="any method: statement 101, of them 10 for the answer"):
        check_fit(short, {"none": longest(short, [("", probe("statement", "a" * 91))], DECODING)}, shorten="x")


def test_the_message_names_methods_kinds_tokens_and_the_way_out(short):
    prompts = [probe("statement", "a" * 20), probe("cloze", "a" * 30), probe("dialogue", "a" * 95)]
    needs = {
        "none": longest(short, [("", prompt) for prompt in prompts], DECODING),
        "context": longest(short, [("w", prompt) for prompt in prompts], DECODING),
        "ike": longest(short, [("w" * 75, prompt) for prompt in prompts], DECODING),
    }
    with pytest.raises(TooLong) as error:
        check_fit(short, needs, shorten="leave kinds out", cells="grid.tiny")
    assert str(error.value) == (
        "tiny-llama's context has 100 tokens, and prompts with their answers need more (any method: dialogue 105, of "
        "them 10 for the answer, the longest for the fact f; ike: cloze 115, statement 105, of them 75 for the words "
        "of ike, 10 for the answer, the longest for the fact f): leave kinds out, or set grid.tiny.ike: false"
    )


def test_prompts_that_certainly_fit_are_not_tokenized(lab, monkeypatch):
    lm, texts = lab.model("llama"), []
    encode = LanguageModel.encode
    monkeypatch.setattr(LanguageModel, "encode", lambda self, text, **o: texts.append(text) or encode(self, text, **o))
    longest(lm, [("", probe("statement", "a" * size)) for size in range(1, 50)], DECODING)
    assert texts == ["a" * 49]
