"""The engine against the harness's own `HFLM`, which runs each request whole."""

import math
import random
from collections import Counter
from dataclasses import replace
from string import ascii_letters

import pytest
import torch
from fabricated_edits import FACTS, POOL, method
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers.processors import TemplateProcessing

from edit_robustness.abilities import engine
from edit_robustness.abilities.engine import GeneratedText, answer_requests
from edit_robustness.abilities.requests import RequestTooLong, plan_requests
from edit_robustness.abilities.sharing import tree
from edit_robustness.editing.edits import LowRank, PromptPrefix
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model, tiny_tokenizer

EXAMPLES = "Answer in a word.\n\nQ: Where do owls sleep?\nA: In trees.\n\n"
SCORED = [
    # letters after one context, then options of several tokens, some of which begin alike
    *((EXAMPLES + "Q: Is rain wet?\n(a) yes\n(b) no\nA:", option) for option in (" a", " b", " c")),
    *((EXAMPLES + "Q: Where is Oslo?\nA:", option) for option in (" In the north", " In the south of it", " Up")),
    *((FACTS[0].statement, f" {option}") for option in ("Szohod", "Oslo", "Öland")),
    # nothing in common, blanks that move to the continuation, no context, the same once more
    ("Geese  ", "fly"),
    ("", "An owl sat there"),
    ("An owl", " sat there"),
    (EXAMPLES + "Q: Where is Oslo?\nA:", " Up"),
]


def scored(pairs, prefix=""):
    return [Instance("loglikelihood", {}, (prefix + c, o), i, ("made up", i, 1)) for i, (c, o) in enumerate(pairs)]


def rolling(*texts):
    return [Instance("loglikelihood_rolling", {}, (text,), i, ("made up", i, 1)) for i, text in enumerate(texts)]


def generated(*prompts, **settings):
    settings = {"until": ["\n\n", "Q:"], "max_gen_toks": 12, "do_sample": False, **settings}
    return [Instance("generate_until", {}, (p, settings), i, ("made up", i, 1)) for i, p in enumerate(prompts)]


def harness(lm, batch_size=1):
    return HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=batch_size)


def assert_alike(responses, reference):
    logprobs = ([pair[0] for pair in pairs] for pairs in (responses, reference))
    torch.testing.assert_close(*logprobs, atol=1e-4, rtol=1e-5, equal_nan=True)
    assert [pair[1] for pair in responses] == [pair[1] for pair in reference]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gptj", "qwen2", "gemma2"])
def test_log_likelihoods_are_the_harnesss(architecture, lab):
    lm = lab.model(architecture)
    instances = scored([*SCORED, own_word(lm)])
    reference = harness(lm, 4).loglikelihood(instances, disable_tqdm=True)
    responses = answer_requests(lm, plan_requests(lm, instances))
    assert_alike(responses, reference)
    assert responses[-1][1]
    assert responses[5] == responses[12]


def own_word(lm):
    """A context and the letter that the model itself would write next."""
    contexts = [EXAMPLES + a + b for a in ascii_letters for b in "ao,"]
    generations = answer_requests(lm, plan_requests(lm, generated(*contexts, until=[], max_gen_toks=1)))
    return next((c, s.text) for c, s in zip(contexts, generations, strict=True) if s.text.isascii() and s.text.strip())


@pytest.mark.parametrize("name", ["rome", "grace", "serac"])
def test_edits_are_seen_and_nothing_is_kept_from_before_them(name, lab):
    lm, edit = lab.model("llama"), lab.edits(name, "llama")[0]
    work = plan_requests(lm, scored(SCORED))
    before = answer_requests(lm, work)
    with edit.applied(lm):
        edited_responses, reference = (
            answer_requests(lm, work),
            harness(lm).loglikelihood(scored(SCORED), disable_tqdm=True),
        )
    assert_alike(edited_responses, reference)
    assert max(abs(first[0] - second[0]) for first, second in zip(before, edited_responses, strict=True)) > 0.01
    assert answer_requests(lm, work) == before


def test_a_change_of_rank_one_is_seen(lab):
    lm = lab.model("gpt2")
    site = Site(1, "mlp_out")
    out, inward = lm.weight(site).shape
    change = LowRank({site: (torch.full((out, 1), 0.3), torch.full((1, inward), 0.1))})
    with change.applied(lm):
        assert_alike(
            answer_requests(lm, plan_requests(lm, scored(SCORED))),
            harness(lm).loglikelihood(scored(SCORED), disable_tqdm=True),
        )


def test_each_token_that_requests_share_is_run_once(lab):
    documents = {
        "When do the owls of the old mill sleep?\n": ("At noon", "By night"),
        "Name the tallest of all:\n": ("Two men", "An oak", "No one"),
    }
    pairs = [(EXAMPLES + document, option) for document, options in documents.items() for option in options]
    letters = [(EXAMPLES + "Of these letters take\n", letter) for letter in "abc"]
    runs = tokens_run(lab.model("llama"), scored([*pairs, *letters, *pairs]))
    # a line break moves to the continuation; the last token of an option is only looked for, and (a), (b), (c) are so
    # after one and the same token
    documents_run = sum(len(document) for document in [*documents, letters[0][0][len(EXAMPLES) :]])
    assert runs == len(EXAMPLES) + documents_run + sum(len(option) - 1 for _, option in pairs)


def tokens_run(lm, instances):
    """Tokens that go through the model, padding aside."""
    counts = Counter()

    def count(module, args, kwargs):
        counts["tokens"] += int(kwargs["attention_mask"][:, -kwargs["input_ids"].shape[1] :].sum())

    handle = lm.model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        answer_requests(lm, plan_requests(lm, instances))
    finally:
        handle.remove()
    return counts["tokens"]


@pytest.mark.parametrize("tokens", [1, 64])
def test_small_batches_give_the_same(tokens, lab, monkeypatch):
    lm = lab.model("llama")
    instances = [*scored(SCORED), *generated("An owl", "Two owls sat", "Geese")]
    reference = answer_requests(lm, plan_requests(lm, instances))
    full = engine._Budget.of
    monkeypatch.setattr(engine._Budget, "of", lambda *args: replace(full(*args), tokens=tokens))
    responses = answer_requests(lm, plan_requests(lm, instances))
    assert_alike(responses[: len(SCORED)], reference[: len(SCORED)])
    assert responses[len(SCORED) :] == reference[len(SCORED) :]


def test_a_little_memory_makes_small_batches(lab):
    lm = lab.model("llama")
    tasks = [engine._Task(node) for node in tree([(number, 1, 2, 3) for number in range(9)])]
    budget = engine._Budget.of(lm, 4)
    assert [len(batch) for batch in budget.batches(tasks)] == [9]
    a_row = 2 * budget.token_bytes * 4 + budget.logit_bytes
    assert [len(b) for b in replace(budget, memory=4 * a_row).batches(tasks)] == [4, 4, 1]
    assert [len(b) for b in replace(budget, memory=4 * a_row, n_new=60).batches(tasks)] == [1] * 9
    assert replace(budget, memory=5 * a_row).rows(4) == 5


@pytest.mark.parametrize("architecture", ["mistral", "gemma2"])
def test_a_sliding_window_counts_tokens_and_not_padding(architecture):
    lm = tiny_model(architecture)
    full_responses = answer_requests(lm, plan_requests(lm, scored(SCORED)))
    lm.model.config.sliding_window = 24
    reference = harness(lm).loglikelihood(scored(SCORED), disable_tqdm=True)
    assert_alike(answer_requests(lm, plan_requests(lm, scored(SCORED))), reference)
    assert max(abs(first[0] - second[0]) for first, second in zip(full_responses, reference, strict=True)) > 0.01


def with_start_token():
    lm, tokenizer = tiny_model("llama"), tiny_tokenizer()
    tokenizer.bos_token = "<end>"
    special = [("<end>", tokenizer.bos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<end> $A", special_tokens=special)
    return LanguageModel(lm.model, tokenizer)


def test_a_start_token_is_added_where_the_harness_adds_it():
    lm = with_start_token()
    pairs = [("An owl", " sat"), ("", " sat"), ("<end>An owl", " sat"), ("Geese ", "flew")]
    assert_alike(
        answer_requests(lm, plan_requests(lm, scored(pairs))),
        harness(lm).loglikelihood(scored(pairs), disable_tqdm=True),
    )
    texts = rolling("An owl sat.")
    assert answer_requests(lm, plan_requests(lm, texts)) == pytest.approx(
        harness(lm).loglikelihood_rolling(texts, disable_tqdm=True), abs=1e-3
    )
    prompts = [instance for text in ("An owl", "<end>An owl") for instance in generated(text)]
    work = plan_requests(lm, prompts)
    assert work.parts[0] == work.parts[1]
    assert work.parts[0].ids[0] == lm.tokenizer.bos_token_id != work.parts[0].ids[1]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_texts_longer_than_the_context_are_read_in_the_harnesss_windows(architecture):
    lm = tiny_model(architecture)
    lm.model.config.max_position_embeddings = 64
    texts = rolling("Long ago, " + "the geese flew over the mill and " * 5 + "home.", "An owl sat there.", "")
    reference = harness(lm).loglikelihood_rolling(texts, disable_tqdm=True)
    assert answer_requests(lm, plan_requests(lm, texts)) == pytest.approx(reference, rel=1e-5)
    assert len(plan_requests(lm, texts).parts[0]) == 3


def test_a_long_text_is_run_in_pieces_that_change_nothing(lab):
    lm = lab.model("llama")
    letters = random.Random(0).choices("abcdefgh ,.", k=1500)
    (response,) = answer_requests(lm, plan_requests(lm, rolling("".join(letters))))
    assert response == pytest.approx(
        harness(lm).loglikelihood_rolling(rolling("".join(letters)), disable_tqdm=True)[0], rel=1e-6
    )


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma", "gptj", "qwen3"])
def test_generations_are_the_harnesss(architecture, lab):
    lm = lab.model(architecture)
    prompts = [EXAMPLES + f"Q: Of {letter * 3} say\nA:" for letter in "abcdefgh"] + ["An owl", "Two geese"]
    free = answer_requests(lm, plan_requests(lm, generated(*prompts, until=[], max_gen_toks=30)))
    # what they say anyway, in the middle of it
    stops = [free[0].text[9:11], free[-1].text[4:5]]
    requests = [*generated(*prompts, until=stops, max_gen_toks=30), *generated(*prompts[:2], until=[], max_gen_toks=5)]
    generations = answer_requests(lm, plan_requests(lm, requests))
    # one at a time: batches with padding are another text to the harness where padding and end are one token
    assert [generation.text for generation in generations] == harness(lm).generate_until(requests, disable_tqdm=True)
    assert any(
        generation.text != full.text and not generation.capped
        for generation, full in zip(generations, free, strict=False)
    )
    assert [(generation.tokens, generation.capped) for generation in generations[-2:]] == [(5, True)] * 2


def test_words_of_an_edit_stand_before_all_that_is_asked(lab):
    lm, words = lab.model("llama"), "New fact: Borduria is ruled from Oslo.\n\n"
    work = plan_requests(lm, [*scored(SCORED), *generated("An owl"), *rolling("An owl sat there.")])
    *pairs, generation, text = answer_requests(lm, work, PromptPrefix(words))
    plain = scored([pair for pair in SCORED if pair[0]], words)
    reference = harness(lm).loglikelihood(plain, disable_tqdm=True)
    assert_alike([pair for pair, (context, _) in zip(pairs, SCORED, strict=True) if context], reference)
    assert [generation] == answer_requests(lm, plan_requests(lm, generated(words + "An owl")))
    follows = harness(lm).loglikelihood(scored([(words.rstrip(), "\n\nAn owl sat there.")]), disable_tqdm=True)
    assert text == pytest.approx(follows[0][0], abs=1e-3)
    assert answer_requests(lm, work) != answer_requests(lm, work, PromptPrefix(words))


def test_words_of_an_edit_stand_before_each_window_of_a_text():
    lm, words, text = tiny_model("llama"), "Now hear this:", " the geese flew over the mill"
    lm.model.config.max_position_embeddings = 32
    windows = plan_requests(lm, rolling(text * 2), edit=PromptPrefix(words)).parts[0]
    before, ids = (tuple(lm.tokenizer(text_part)["input_ids"]) for text_part in (words, text * 2))
    assert all(window.ids[: len(before)] == before and window.context_tokens <= 32 for window in windows)
    assert sum((window.ids[-window.scored :] for window in windows), ()) == ids


def test_what_does_not_fit_is_refused_before_anything_is_run(lab):
    lm = tiny_model("llama")
    lm.model.config.max_position_embeddings = 64
    lm.model.forward = None
    fits = scored([("a" * 60, "bcdef")])
    assert plan_requests(lm, fits)
    message = (
        r"1 of 2 requests are too long for tiny-llama: document 0 of made up needs 65 tokens; its context has 64\."
    )
    with pytest.raises(RequestTooLong, match=message + r" Use fewer examples \(`shots`\), a shorter answer"):
        plan_requests(lm, [*fits, *scored([("a" * 60, "bcdefg")])])
    with pytest.raises(RequestTooLong, match=r"needs 66 tokens, and the in-context edit takes 2; .* in-context edits"):
        answer_requests(lm, plan_requests(lm, fits), PromptPrefix("So"))
    assert plan_requests(lm, generated("a" * 52))
    with pytest.raises(RequestTooLong, match="needs 65 tokens, 12 of them for the answer; its context has 64"):
        plan_requests(lm, generated("a" * 53))
    with pytest.raises(RequestTooLong, match="the in-context edit takes 64 tokens of a context of 64"):
        plan_requests(lm, rolling("An owl"), edit=PromptPrefix("a" * 64))


def test_retrieved_facts_stand_before_the_requests_that_ask_for_them(lab):
    lm = lab.model("llama")
    example = "Q: Where do those who govern Borduria meet?\nA: In a hall.\n\n"
    pairs = [(example + "Q: Who rules Freedonia?\nA:", " Firefly"), (example + "Q: Is rain wet?\nA:", " yes")]
    instances = [*scored(pairs), *generated(pairs[0][0], pairs[1][0])]
    edit = method("retrieve").edit(lm, [FACTS[0], *POOL])
    work = plan_requests(lm, instances)
    about, other, *texts = answer_requests(lm, work, edit)
    words = edit.text_before("Freedonia")
    assert words.count("\n") == 1
    about_alone, text_alone = (
        answer_requests(lm, plan_requests(lm, requests))[0]
        for requests in (scored(pairs[:1], words), generated(words + pairs[0][0]))
    )
    assert about[0] == pytest.approx(about_alone[0], abs=1e-4)
    assert texts[0] == text_alone
    plain = answer_requests(lm, work)
    assert other[0] == pytest.approx(plain[1][0], abs=1e-4)
    assert texts[1] == plain[3]
    assert about[0] != pytest.approx(plain[0][0], abs=1e-4)


def test_requests_that_nothing_is_retrieved_for_are_not_planned_again(lab, monkeypatch):
    lm = lab.model("llama")
    edit, work = method("retrieve").edit(lm, FACTS), plan_requests(lm, scored([(EXAMPLES + "Q: Is rain wet?", " yes")]))
    monkeypatch.setattr(engine, "plan_requests", None)
    assert answer_requests(lm, work, edit) == answer_requests(lm, work)
    with pytest.raises(TypeError):
        answer_requests(lm, work, PromptPrefix("Words. "))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_broken_model_answers_what_it_has(value):
    lm = tiny_model("llama")
    lm.weight(Site(2, "mlp_out")).fill_(value)
    requests = [*scored(SCORED), *rolling("An owl"), *generated("An owl", "Geese", until=["a"])]
    *pairs, text, generation, _ = answer_requests(lm, plan_requests(lm, requests))
    reference = harness(lm).loglikelihood(scored(SCORED), disable_tqdm=True)
    assert_alike(pairs, reference)
    assert math.isfinite(text) == (value == 1e30)
    assert generation.tokens <= 12
    assert generation.finite == (value == 1e30)


def always_says(lm, letter):
    (token,) = lm.tokenizer(letter)["input_ids"]

    def hook(module, args, output):
        output.logits[..., token] = 1e9

    lm.model.register_forward_hook(hook)


def test_a_model_that_never_ends_is_stopped_at_the_limit():
    lm = tiny_model("llama")
    always_says(lm, "a")
    generations = answer_requests(lm, plan_requests(lm, generated("An owl", "Geese", "Geese")))
    assert generations == [GeneratedText("a" * 12, 12, True)] * 3


def test_a_special_token_among_the_stops_ends_a_text():
    lm = tiny_model("llama")
    always_says(lm, "c")
    assert answer_requests(lm, plan_requests(lm, generated("An owl", until=["cc"]))) == [GeneratedText("", 2, False)]
    lm.tokenizer.add_special_tokens({"additional_special_tokens": ["c"]})
    assert answer_requests(lm, plan_requests(lm, generated("An owl", until=["cc"])))[0].capped
    assert answer_requests(lm, plan_requests(lm, generated("An owl", until=["c", "cc"]))) == [
        GeneratedText("", 0, False)
    ]


def test_progress_is_told_of_each_request_once(lab):
    lm = lab.model("llama")
    work = plan_requests(lm, [*scored(SCORED), *generated("An owl", "An owl", "Geese")])
    numbers = []

    def progress(items, total):
        numbers.append(total)
        for item in items:
            numbers.append(item)
            yield item

    assert answer_requests(lm, work, progress=progress) == answer_requests(lm, work)
    # one option stands there twice, and one prompt
    assert numbers[0] == len(numbers) - 1 == len(SCORED) - 1 + 2


def test_nothing_asked_is_nothing_answered(lab):
    assert answer_requests(lab.model("llama"), plan_requests(lab.model("llama"), [])) == []


def test_requests_of_other_kinds_are_refused(lab):
    lm = lab.model("llama")
    with pytest.raises(ValueError, match=r"a task uses sampling .*do_sample: false"):
        plan_requests(lm, generated("An owl", do_sample=True, temperature=0.7))
    with pytest.raises(ValueError, match="made up uses `loglikelihood_of_images` requests; supported are loglik"):
        plan_requests(lm, [Instance("loglikelihood_of_images", {}, ("An owl",), 0, ("made up", 0, 1))])
    with pytest.raises(ValueError, match="no token is left to score of"):
        plan_requests(lm, scored([("An owl", "")]))
