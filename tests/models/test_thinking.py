"""A model's thinking before its answer: its own limit, its removal, and the same tokens as `generate`."""

import naive_editing as naive
import pytest
import torch

from edit_robustness.models.decode import greedy, prefill, sentence_ending_tokens
from edit_robustness.models.sentences import ends_sentence
from edit_robustness.models.thinking import Thinking, answer_of, close_thinking, find_end_mark, left_open, may_think
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import render_conversation
from edit_robustness.records import Turn

LONG = Thinking(40)
TURNS = [Turn("user", "Where?")]
ASKING = "{% for message in messages %}{{ message['content'] }}{% endfor %}|"
# a template loses the line break that it ends in, unless an expression writes it
ALWAYS = ASKING + "{{ '<think>\\n' }}"
SWITCH = (
    ASKING + "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
)


def scripted(lm, *texts):
    """Chooses the tokens of texts, row by row; a text that is over ends."""
    ids = [[*lm.tokenizer(text)["input_ids"], lm.tokenizer.eos_token_id] for text in texts]
    positions = [0] * len(texts)

    def choose(logits, rows):
        tokens = []
        for row in rows:
            tokens.append(ids[row][min(positions[row], len(ids[row]) - 1)])
            positions[row] += 1
        return torch.tensor(tokens)

    return choose


def generated(lm, *texts, limit=40, thinking=LONG):
    start = prefill(lm, [naive.ids_of(lm, "An owl")] * len(texts))
    may_end = sentence_ending_tokens(lm)
    return greedy(
        lm, start, limit=limit, end_rule=ends_sentence, may_end=may_end, choose=scripted(lm, *texts),
        thinking=[thinking] * len(texts),
    )  # fmt: skip


def test_thinking_is_switched_off_where_the_template_can():
    lm = tiny_model("llama")
    lm.tokenizer.chat_template = SWITCH
    assert render_conversation(lm, TURNS).text == "Where?|<think>\n\n</think>\n\n"
    assert not left_open(render_conversation(lm, TURNS).text)
    lm.tokenizer.chat_template = ALWAYS
    assert left_open(render_conversation(lm, TURNS).text) == "</think>"
    assert may_think(lm.tokenizer.chat_template)
    assert not may_think(ASKING)
    assert not may_think(None)


@pytest.mark.parametrize(
    ("prompt", "reference"),
    [("a|<think>\n", "a|<think>\n\n</think>\n\n"), ("a|<think>", "a|<think>\n\n</think>\n\n"), ("a|", "a|")],
)
def test_an_empty_thinking_part_closes_what_a_prompt_leaves_open(prompt, reference):
    assert close_thinking(prompt) == reference
    assert not left_open(close_thinking(prompt))


@pytest.mark.parametrize(
    ("text", "end_mark"),
    [
        ("", ""),
        ("\n<th", ""),
        ("<think>", "</think>"),
        (" <thinking>a", "</thinking>"),
        ("Lyon <think>", None),
        ("<b", None),
    ],
)
def test_where_a_thinking_part_begins(text, end_mark):
    assert find_end_mark(text) == end_mark


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<think>a.\n</think>\n\nLyon.", "Lyon."),
        ("a.</think>Lyon.", "Lyon."),
        ("<think>a. Lyon.", ""),
        ("Lyon.", "Lyon."),
        ("", ""),
    ],
)
def test_a_whole_reply_is_read_behind_its_thinking(reply, answer):
    assert answer_of(reply) == answer


def test_an_answer_that_opens_with_thinking_is_read_behind_it():
    lm = tiny_model("llama")
    texts = ("<think>\nParis? No. Oslo.\n</think>\n\nIt is Lyon. More.", "It is Lyon. More.", "\n<think></think>\nLyon")
    with_thinking, plain, empty = generated(lm, *texts)
    assert (with_thinking.text, with_thinking.thinking, with_thinking.finished) == (
        "It is Lyon.",
        "Paris? No. Oslo.",
        True,
    )
    assert (plain.text, plain.thinking, plain.finished) == ("It is Lyon.", "", True)
    assert (empty.text, empty.thinking, empty.finished) == ("Lyon", "", True)
    assert len(with_thinking.ids) < len("\n\nIt is Lyon. ")


def test_a_thinking_part_that_is_cut_leaves_no_answer():
    lm = tiny_model("llama")
    (truncated_answer,) = generated(lm, "<think>\nParis. Or Oslo. Or", thinking=Thinking(20))
    assert (truncated_answer.text, truncated_answer.ids, truncated_answer.finished) == ("", [], False)
    assert "<think>\n" + truncated_answer.thinking == "<think>\nParis. Or Oslo"[:20]
    (complete_answer,) = generated(lm, "<think>\nParis.")
    assert (complete_answer.text, complete_answer.finished) == ("", True)


def test_each_part_has_its_own_limit():
    lm = tiny_model("llama")
    (answer,) = generated(lm, "<think>\nA long thought</think>Lyon is where", limit=9, thinking=Thinking(35))
    assert (answer.text, answer.finished, answer.thinking) == ("Lyon is w", False, "A long thought")
    (plain,) = generated(lm, "Lyon is where", limit=9, thinking=Thinking(35))
    assert (plain.text, plain.finished) == ("Lyon is w", False)


def test_without_thinking_the_mark_is_text():
    (answer,) = generated(tiny_model("llama"), "<think>\nParis", thinking=None)
    assert (answer.text.strip(), answer.thinking) == ("<think>", "")


@torch.no_grad()
@pytest.mark.parametrize(("architecture", "seed"), [("llama", 2), ("gpt2", 0)])
def test_the_tokens_are_those_of_generate(architecture, seed, monkeypatch):
    lm = tiny_model(architecture, seed=seed)
    lm.tokenizer.chat_template = ALWAYS
    prompts = [render_conversation(lm, [Turn("user", text)]).text for text in ("An owl", "Oslo?")]
    rows = [lm.tokenizer(prompt)["input_ids"] for prompt in prompts]
    wholes = []
    for ids in rows:
        prompt = torch.tensor([ids])
        options = {"do_sample": False, "max_new_tokens": 24, "pad_token_id": lm.pad_id, "eos_token_id": -1}
        sequences = lm.model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), **options)
        wholes.append(sequences[0, len(ids) :].tolist())
    # a token that the model itself will write closes the first row's thinking
    texts = [lm.tokenizer.decode([token]) for token in wholes[0]]
    mark = next(text for text in texts if text.isprintable() and "\ufffd" not in text and texts.index(text) > 1)
    after = texts.index(mark) + 1
    nowhere = torch.zeros(lm.model.config.vocab_size, dtype=torch.bool)
    monkeypatch.setattr(type(lm), "stop_ids", frozenset())
    first, second = greedy(
        lm, prefill(lm, rows), limit=6, end_rule=lambda text: False, may_end=nowhere,
        thinking=[Thinking(20, mark), Thinking(9, "</think>")],
    )  # fmt: skip
    assert len(first.ids) == 6
    assert first.ids == wholes[0][after : after + 6]
    assert not second.ids
    assert second.thinking == lm.tokenizer.decode(wholes[1][:9]).strip()


def test_a_row_that_fills_the_context_is_cut_and_the_others_go_on():
    lm = tiny_model("gpt2")
    room = lm.max_length
    nowhere = torch.zeros(lm.model.config.vocab_size, dtype=torch.bool)
    start = prefill(lm, [[5] * (room - 3), [6, 7]])
    full, short = greedy(
        lm, start, limit=8, end_rule=lambda text: False, may_end=nowhere, choose=scripted(lm, "a" * 9, "b" * 9)
    )
    assert (len(full.ids), full.finished) == (3, False)
    assert (len(short.ids), short.finished) == (8, False)
