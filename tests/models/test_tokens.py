import re
from pathlib import Path

import pytest
import torch
from fabricated_edits import FACTS, corpus, method, probes
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import edit_robustness
from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import (
    RenderedPrompt,
    last,
    pad,
    positions,
    prompt_ids,
    render_conversation,
    subject_end,
    target_ids,
)
from edit_robustness.records import Turn


@pytest.fixture
def lm(lab):
    return lab.model("llama")


@pytest.fixture
def bpe_lm():
    """Return a model whose tokenizer joins a space to the word after it, and `ab` to one token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<end>", *letters, "Ġa", "ab", "Ġab", "is"])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b"), ("Ġ", "a"), ("Ġ", "ab"), ("i", "s")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    return LanguageModel(tiny_model("llama").model, tokenizer, "merging")


def text(lm, ids):
    return lm.tokenizer.decode(ids)


def test_a_target_is_joined_by_one_space(lm):
    assert text(lm, target_ids(lm, RenderedPrompt("The seat is"), "Oslo")) == " Oslo"
    assert text(lm, target_ids(lm, RenderedPrompt("The seat is "), "Oslo")) == "Oslo"
    assert text(lm, target_ids(lm, RenderedPrompt("<|assistant|>\n", special=False), "Oslo")) == "Oslo"


@pytest.mark.parametrize("target", ["Zürich", "北京", "القاهرة", "a b c", "🦉"])
def test_a_target_of_any_script_reads_back(lm, target):
    prompt = RenderedPrompt("The seat is")
    assert text(lm, prompt_ids(lm, prompt) + target_ids(lm, prompt, target)) == f"The seat is {target}"


def test_a_target_has_the_tokens_that_the_model_would_write(bpe_lm):
    prompt = RenderedPrompt("x is")
    assert bpe_lm.tokenizer.convert_ids_to_tokens(target_ids(bpe_lm, prompt, "ab")) == ["Ġab"]


def test_a_target_that_would_swallow_the_prompts_last_token_stands_by_itself(bpe_lm):
    prompt = RenderedPrompt("x is ")
    assert bpe_lm.tokenizer.convert_ids_to_tokens(prompt_ids(bpe_lm, prompt))[-1] == "Ġ"
    assert bpe_lm.tokenizer.convert_ids_to_tokens(target_ids(bpe_lm, prompt, "ab")) == ["ab"]


@pytest.mark.parametrize("target", ["", "  "])
def test_an_empty_target_is_refused(lm, target):
    with pytest.raises(ValueError, match="an empty target after the prompt `The seat is`"):
        target_ids(lm, RenderedPrompt("The seat is"), target)


@pytest.mark.parametrize(
    ("template", "subject"),
    [
        ("The seat of {} is", "Borduria"),
        ("{} is", "Borduria"),
        ("In {}", "Q"),
        ("New York, New York, and {} is", "New York"),
        ("The seat of {} near Borduria is", "Borduria"),
        ("The seat of {} is", "Île-de-Nœud"),
        ("The seat of {} is", "Côté"),
        ("عاصمة {} هي", "مصر"),
        ("{}的首都是", "中国"),
        ("He of {} said", "the owl 🦉"),
        ("{} is", "set {} of braces"),
    ],
)
def test_the_subject_ends_with_the_token_of_its_last_character(lm, template, subject):
    ids, end = subject_end(lm, template, subject)
    assert text(lm, ids) == template.replace("{}", subject)
    assert text(lm, ids[: end + 1]) == template[: template.index("{}")] + subject


def test_a_token_that_holds_more_than_the_subjects_end_counts(bpe_lm):
    ids, end = subject_end(bpe_lm, "{}b is", "a")
    assert bpe_lm.tokenizer.convert_ids_to_tokens(ids)[end] == "ab"


def test_a_template_without_a_place_for_the_subject_is_refused(lm):
    with pytest.raises(ValueError, match=r"the template `The seat is` has no slot \{\} for the subject `Borduria`"):
        subject_end(lm, "The seat is", "Borduria")


def test_an_empty_subject_is_refused(lm):
    with pytest.raises(ValueError, match="no token contains the end of the subject ``"):
        subject_end(lm, "{} is", "")


def test_an_empty_prompt_is_a_lone_start_token(lm):
    assert prompt_ids(lm, RenderedPrompt("")) == [lm.pad_id]


def test_a_conversation_takes_the_chat_template(lm):
    turns = [Turn("user", "Who?"), Turn("assistant", "She."), Turn("user", "Sure?")]
    assert render_conversation(lm, turns) == RenderedPrompt(
        "<|user|>Who?\n<|assistant|>She.\n<|user|>Sure?\n<|assistant|>", special=False
    )


def test_a_template_that_writes_the_date_writes_the_same_every_day(lm, monkeypatch):
    template = "{{ strftime_now('%d %b %Y') }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    monkeypatch.setattr(lm.tokenizer, "chat_template", template)
    assert render_conversation(lm, [Turn("user", "Where?")]).text == "26 Jul 2024Where?"


def test_a_conversation_without_a_template_is_plain_lines(bpe_lm):
    turns = [Turn("user", "Who?"), Turn("assistant", "She."), Turn("user", "Sure?")]
    reference = "User: Who?\nAssistant: She.\nUser: Sure?\nAssistant:"
    assert render_conversation(bpe_lm, turns) == RenderedPrompt(reference)


@pytest.mark.parametrize(
    ("side", "ids", "mask"),
    [
        ("left", [[9, 9, 1], [2, 3, 4]], [[0, 0, 1], [1, 1, 1]]),
        ("right", [[1, 9, 9], [2, 3, 4]], [[1, 0, 0], [1, 1, 1]]),
    ],
)
def test_padding(side, ids, mask):
    batch = pad([[1], [2, 3, 4]], 9, side=side, device=torch.device("cpu"))
    assert [part.tolist() for part in batch] == [ids, mask]


def test_rows_that_are_all_empty_stay_token_ids():
    for part in pad([[], []], 9, side="left", device=torch.device("cpu")):
        assert part.shape == (2, 0)
        assert part.dtype == torch.long


def test_positions_count_from_the_first_real_token():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]])
    assert positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_last_columns():
    logits = torch.arange(12).view(1, 4, 3)
    assert torch.equal(logits[:, last(2)], logits[:, -2:])


def appending(single):
    """Return a model whose tokenizer puts its end token beside each text."""
    lm = tiny_model("llama")
    end = lm.tokenizer.eos_token
    template = processors.TemplateProcessing(single=single, special_tokens=[(end, lm.tokenizer.eos_token_id)])
    lm.tokenizer.backend_tokenizer.post_processor = template
    return lm


@pytest.mark.parametrize(("single", "before"), [("$A <end>", []), ("<end> $A <end>", [0]), ("<end> $A", [0])])
def test_what_a_tokenizer_appends_is_left_out_and_what_it_puts_before_stays(single, before, lm):
    appending_lm, prompt = appending(single), RenderedPrompt("An owl is")
    assert prompt_ids(appending_lm, prompt) == before + prompt_ids(lm, prompt)
    assert prompt_ids(appending_lm, RenderedPrompt("")) == [0]
    assert target_ids(appending_lm, prompt, "wise") == target_ids(lm, prompt, "wise")
    ids, end = subject_end(appending_lm, "{} is", "An owl")
    assert (ids, end) == (before + subject_end(lm, "{} is", "An owl")[0], len(before) + 5)


def test_an_edit_and_its_target_are_the_same_under_a_tokenizer_that_appends(lm):
    appending_lm, editor, questions = appending("$A <end>"), method("rome"), probes(("statement",))
    edits = [editor.edit(model, FACTS[:1], artefact=editor.prepare(model, corpus())) for model in (lm, appending_lm)]
    torch.testing.assert_close(*(edit.dense() for edit in edits), rtol=0, atol=0)
    pairs = zip((lm, appending_lm), edits, strict=True)
    answers = [next(iter(ask(model, [(edit, questions)], Decoding(max_new_tokens=3)))) for model, edit in pairs]
    assert answers[0] == answers[1]


def test_every_text_becomes_ids_in_one_place():
    """Find direct calls of a tokenizer, which would put its end token after a prompt."""
    source = Path(edit_robustness.__file__).parent
    calls = re.compile(r"\.tokenizer(\.encode)?\(")
    direct = {path.name for path in source.rglob("*.py") if calls.search(path.read_text(encoding="utf-8"))}
    assert direct == {"language_model.py"}


@pytest.mark.parametrize(
    ("prompt", "target"),
    [("中国的首都是", "北京"), ('written by "', "Bo Lind"), ("The price is $", "5"), ("It (", "Oslo")],
)
def test_a_target_is_joined_as_a_native_text_would(lm, prompt, target):
    assert text(lm, target_ids(lm, RenderedPrompt(prompt), target)) == target


def test_a_prompt_may_say_how_its_target_is_joined(lm):
    assert text(lm, target_ids(lm, RenderedPrompt("The seat is", join=""), "Oslo")) == "Oslo"
    assert text(lm, target_ids(lm, RenderedPrompt("中国的首都是", join=" "), "北京")) == " 北京"
