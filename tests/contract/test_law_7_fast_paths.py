"""Law 7: fast decoding, scoring and shared prefixes equal their slow paths; and law 6 of asking."""

from functools import cache

import naive_editing as naive
import pytest
import torch
from cells import KINDS, every_architecture, every_mixture
from fabricated_edits import FACTS, FORMS, bits, hooks_on, probes, same_bits

from edit_robustness.asking import ask as asking
from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.models.decode import greedy, prefill, score
from edit_robustness.models.tiny import tiny_model

PROMPTS = ("The owl", "Once upon a time there was a king in", "Île-de-Nœud:", "Q", "To be or not to be, that is")
LIMIT = 10


def by_generate(lm, ids):
    """What transformers' own greedy search writes after a prompt, alone in its batch, end tokens included."""
    out = lm.model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=LIMIT,
        pad_token_id=lm.pad_id,
    )
    return out[0, len(ids) :].tolist()


@cache
def generated(architecture):
    """What transformers' own greedy search writes after each prompt."""
    lm = tiny_model(architecture, seed=3)
    return [by_generate(lm, naive.ids_of(lm, prompt)) for prompt in PROMPTS]


def truncate(lm, tokens, end_rule):
    """The tokens up to an end token or to where the text has ended, and whether either came."""
    for number, token in enumerate(tokens):
        if token in lm.stop_ids:
            return tokens[:number], True
        if end_rule(lm.tokenizer.decode(tokens[: number + 1], skip_special_tokens=True)):
            return tokens[: number + 1], True
    return tokens, False


@pytest.mark.parametrize("stop", ["never", "by text", "by token"])
@every_architecture
def test_greedy_equals_generate(architecture, stop):
    lm = tiny_model(architecture, seed=3)
    rows = [naive.ids_of(lm, prompt) for prompt in PROMPTS]
    free = generated(architecture)
    if stop == "by token":
        lm.model.generation_config.eos_token_id = [lm.tokenizer.eos_token_id, free[0][6], free[3][2]]
    texts = [lm.tokenizer.decode(ids) for ids in free]

    def ends_text(text):
        return stop == "by text" and any(
            text == full_text[:length] for full_text, length in zip(texts, LENGTHS, strict=True)
        )

    may_end = torch.ones(lm.config.vocab_size, dtype=torch.bool)
    continuations = greedy(lm, prefill(lm, rows), limit=LIMIT, end_rule=ends_text, may_end=may_end)
    references = [truncate(lm, ids, ends_text) for ids in free]
    assert [(continuation.ids, continuation.finished) for continuation in continuations] == references
    assert [continuation.text for continuation in continuations] == [
        lm.tokenizer.decode(ids, skip_special_tokens=True) for ids, _ in references
    ]
    if stop != "never":
        assert len({len(ids) for ids, _ in references}) > 1, "all rows stop at once, so nothing was tested"


LENGTHS = (1, 3, 6, 9, 1000)


def test_only_tokens_that_may_end_a_text_are_looked_at():
    lm = tiny_model("llama", seed=3)
    start = prefill(lm, [naive.ids_of(lm, PROMPTS[0])])
    no_tokens = torch.zeros(lm.config.vocab_size, dtype=torch.bool)
    (continuation,) = greedy(lm, start, limit=5, end_rule=lambda text: True, may_end=no_tokens)
    assert (len(continuation.ids), continuation.finished) == (5, False)


@every_architecture
def test_scores_equal_a_plain_forward_of_each_row(architecture, lab):
    lm = lab.model(architecture)
    rows = [naive.ids_of(lm, prompt) for prompt in PROMPTS]
    targets = [[naive.ids_of(lm, target) for target in (" Oslo", "!", " a much longer object")] for _ in rows]
    likeliest = by_generate(lm, rows[1])[:3]
    targets[1].append(likeliest)
    for row_targets, row_scores, row in zip(targets, score(lm, prefill(lm, rows), targets), rows, strict=True):
        for target, token_scores in zip(row_targets, row_scores, strict=True):
            logprob, match = naive.continuation(lm, row, target)
            assert token_scores.logprob == pytest.approx(logprob, abs=1e-4 * len(target))
            assert (token_scores.tokens, token_scores.match) == (len(target), match)
    assert score(lm, prefill(lm, rows), targets)[1][-1].match


@every_architecture
def test_a_prefill_after_a_prefill_equals_one(architecture, lab):
    lm = lab.model(architecture)
    rows = [naive.ids_of(lm, prompt) for prompt in PROMPTS[:3]]
    suffixes = [naive.ids_of(lm, text) for text in (" and", " went on to say", "?")]
    full = prefill(lm, [row + suffix for row, suffix in zip(rows, suffixes, strict=True)])
    parts = prefill(lm, suffixes, prefill(lm, rows))
    torch.testing.assert_close(parts.logits, full.logits, atol=1e-4, rtol=0)
    target = [[naive.ids_of(lm, " Oslo")]] * 3
    for part_scores, full_scores in zip(score(lm, parts, target), score(lm, full, target), strict=True):
        assert part_scores[0].logprob == pytest.approx(full_scores[0].logprob, abs=1e-3)


class Asked:
    """An edit of each method, and a second one of ROME, asked in one batch.

    Attributes:
        requests: The edits with their probes, each of one fact after the other.
        decoding: Settings with which all edits but the last, which cannot share a batch, fill one batch.
        answers: For each edit the answers.
        shared: The lengths of the prefixes that prompts shared, 0 where they shared none.
        sizes: The number of edits that each batch was given.
    """

    def __init__(self, lm, names, lab, architecture):
        *in_one_batch, alone = names
        assert alone == KINDS["scoped"]
        places = [*enumerate([*in_one_batch, KINDS["low_rank"]]), (len(in_one_batch) + 1, alone)]
        self.requests = [
            (lab.edits(name, architecture)[place % len(FACTS)], probes(FORMS, FACTS[place % len(FACTS)]))
            for place, name in places
        ]
        rows = sum(len(edit_probes) for _, edit_probes in self.requests[:-1])
        self.decoding = Decoding(max_new_tokens=3, batch_rows=rows)
        self.shared, self.sizes = [], []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asking, "shared_prefix", recorded(asking.shared_prefix, self.shared))
            patch.setattr(asking, "all_applied", recorded(asking.all_applied, [], self.sizes))
            self.answers = list(ask(lm, self.requests, self.decoding))


def recorded(function, results, sizes=None):
    """The function, which keeps what it returns, and the number of edits that it is given."""

    def record(*args, **kwargs):
        results.append(function(*args, **kwargs))
        if sizes is not None:
            sizes.append(len(args[1]))
        return results[-1]

    return record


@pytest.fixture(scope="module")
def asked(lab):
    """The edits of an architecture asked in one batch, once for all tests."""

    @cache
    def ask_in_one_batch(architecture, names):
        return Asked(lab.model(architecture), names, lab, architecture)

    return ask_in_one_batch


@every_mixture
def test_asking_many_edits_with_shared_prefixes_equals_asking_each_with_whole_prompts(
    architecture, names, lab, asked, monkeypatch
):
    lm, together = lab.model(architecture), asked(architecture, names)
    edits = len(together.requests)
    assert max(together.sizes) == edits - 1, "the edits shared no batch, so nothing was tested"
    assert sum(map(bool, together.shared)) >= edits, "an edit's prompts shared no beginning, so nothing was tested"
    weights, lengths = bits(lm), []
    monkeypatch.setattr(asking, "shared_prefix", recorded(asking.shared_prefix, lengths))
    monkeypatch.setattr(asking, "_MIN_SHARED", 10**9)
    alone = list(ask(lm, together.requests, together.decoding, together=False))
    assert not any(lengths)
    assert len(together.answers) == len(alone) == edits
    for (edit, edit_probes), batch_answers, single_answers in zip(
        together.requests, together.answers, alone, strict=True
    ):
        assert [answer.probe for answer in batch_answers] == list(edit_probes)
        for batch_answer, single_answer in zip(batch_answers, single_answers, strict=True):
            case = (edit.origin.method, batch_answer.probe.id)
            assert (batch_answer.text, batch_answer.tokens, batch_answer.finished) == (
                single_answer.text,
                single_answer.tokens,
                single_answer.finished,
            ), case
            assert batch_answer.logprob_new == pytest.approx(single_answer.logprob_new, abs=1e-3), case
            assert batch_answer.logprob_true == pytest.approx(single_answer.logprob_true, abs=1e-3), case
            assert (batch_answer.match_new, batch_answer.match_true) == (
                single_answer.match_new,
                single_answer.match_true,
            ), case
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0


@every_mixture
def test_an_answer_is_what_a_plain_forward_says_under_the_edit(architecture, names, lab, asked):
    lm, together = lab.model(architecture), asked(architecture, names)
    assert {edit.origin.method for edit, _ in together.requests} == set(names)
    for (edit, (probe, *_)), (answer, *_) in zip(together.requests, together.answers, strict=True):
        assert probe.kind == "statement"
        ids = naive.ids_of(lm, edit.text_before(probe.text) + probe.text)
        with edit.applied(lm):
            for target, logprob, match in (
                (probe.target_new, answer.logprob_new, answer.match_new),
                (probe.target_true, answer.logprob_true, answer.match_true),
            ):
                reference_logprob, reference_match = naive.continuation(lm, ids, naive.ids_of(lm, " " + target))
                assert logprob == pytest.approx(reference_logprob, abs=1e-3)
                assert match == reference_match
