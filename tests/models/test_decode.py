import naive_editing as naive
import pytest
import torch

from edit_robustness.models.decode import (
    ending_tokens,
    extend,
    fresh_cache,
    greedy,
    join_batches,
    prefill,
    read_cache,
    score,
    sentence_ending_tokens,
    shared_prefix,
    without_padding,
)
from edit_robustness.models.rows import Owners
from edit_robustness.models.sentences import ends_sentence


def never(text):
    return False


def test_a_prompt_that_does_not_fit_is_refused(lab):
    lm = lab.model("llama")
    start = prefill(lm, [[5] * 2000])
    with pytest.raises(ValueError, match="a prompt of 2049 tokens does not fit into tiny-llama's context of 2048"):
        prefill(lm, [[5] * 49], start)


@pytest.mark.parametrize("parents", [[0, 0, 0], [1, 0, 1]])
def test_rows_continue_those_that_stand_before_them(parents, lab):
    lm, beginnings, ends = lab.model("gpt2"), ["An owl sat", "Oslo"][: 1 + max(parents)], [" there.", " up", "!"]
    start = prefill(lm, [naive.ids_of(lm, text) for text in beginnings])
    prefill_rows, logits = extend(
        lm, [naive.ids_of(lm, end) for end in ends], start, parents=torch.tensor(parents), columns=2
    )
    assert logits.shape[:2] == (3, 2)
    for row, (parent, end) in enumerate(zip(parents, ends, strict=True)):
        all_logits = lm.model(torch.tensor([naive.ids_of(lm, beginnings[parent] + end)])).logits[0]
        torch.testing.assert_close(prefill_rows.logits[row], all_logits[-1], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            logits[row, -min(2, len(end)) :], all_logits[-min(2, len(end)) :], atol=1e-4, rtol=1e-4
        )


def test_prefilled_states_are_not_changed_by_what_comes_after(lab):
    lm = lab.model("llama")
    start = prefill(lm, [naive.ids_of(lm, text) for text in ("An owl", "Oslo is a")])
    copies = [(keys.clone(), values.clone()) for keys, values in start.states]
    may_end = torch.zeros(lm.config.vocab_size, dtype=torch.bool)
    first = greedy(lm, start, limit=6, end_rule=never, may_end=may_end)
    score(lm, start, [[[5, 6, 7]], [[8]]])
    assert greedy(lm, start, limit=6, end_rule=never, may_end=may_end) == first
    for (keys, values), (old_keys, old_values) in zip(start.states, copies, strict=True):
        assert torch.equal(keys, old_keys)
        assert torch.equal(values, old_values)


def test_padding_leaves_no_nan_behind():
    states = [(torch.full((2, 1, 3, 4), torch.nan), torch.ones(2, 1, 3, 4))]
    mask = torch.tensor([[0, 0, 0], [0, 0, 1]])
    ((keys, values),) = without_padding(states, mask)
    assert torch.isnan(keys).sum() == 4
    assert values.sum() == 4


def test_a_cache_gives_back_its_states():
    states = [(torch.rand(2, 1, 3, 4), torch.rand(2, 1, 3, 4)) for _ in range(3)]
    again = read_cache(fresh_cache(states))
    for result, reference in zip(states, again, strict=True):
        assert torch.equal(result[0], reference[0])
        assert torch.equal(result[1], reference[1])


@pytest.mark.parametrize(
    ("rows", "minimum", "reference"),
    [
        ([[1, 2, 3], [1, 2, 4]], 1, 2),
        ([[1, 2, 3], [1, 2, 4]], 3, 0),
        ([[1, 2], [1, 2]], 1, 1),
        ([[1], [1, 2]], 1, 0),
        ([[1, 2, 3]], 1, 0),
        ([[5, 2], [1, 2]], 1, 0),
        ([], 1, 0),
    ],
)
def test_a_shared_prefix_leaves_a_token_to_each_row(rows, minimum, reference):
    assert shared_prefix(rows, minimum=minimum) == reference


def test_tokens_after_which_a_sentence_may_have_ended(lab):
    lm = lab.model("llama")
    table = sentence_ending_tokens(lm)
    assert table.shape == (lm.config.vocab_size,)
    for mark, is_end in [
        (".", True),
        ("!", True),
        ("?", True),
        ("\n", True),
        ("a", False),
        (" ", False),
        (",", False),
    ]:
        assert bool(table[naive.ids_of(lm, mark)[0]]) == is_end
    for text in ("He slept.", "Really?", "好。", "एक।"):
        assert ends_sentence(text)
        assert bool(table[naive.ids_of(lm, text)[-1]])


def test_tokens_that_hold_a_character(lab):
    lm = lab.model("llama")
    table = ending_tokens(lm, "q:")
    assert [bool(table[naive.ids_of(lm, letter)[0]]) for letter in "q:a"] == [True, True, False]
    # a blank in front of a word is not written where the word stands alone
    assert ending_tokens(lm, " ").all()


def test_owners_are_as_before_after_decoding_and_scoring(lab):
    lm = lab.model("llama")
    rows = [naive.ids_of(lm, text) for text in ("An owl", "Oslo is a", "Q")]
    start, owners = prefill(lm, rows), Owners([0, 1, 1])
    ends = iter([True] * 100)
    may_end = torch.ones(lm.config.vocab_size, dtype=torch.bool)
    greedy(lm, start, limit=6, end_rule=lambda text: len(text) > 2 and next(ends), may_end=may_end, owners=owners)
    score(lm, start, [[[5, 6]], [[7, 8], [9]], [[1]]], owners)
    assert owners.rows(1).index.tolist() == [1, 2]


def test_one_token_targets_need_no_further_pass(lab):
    lm, passes = lab.model("llama"), []
    start = prefill(lm, [naive.ids_of(lm, "An owl")])
    handle = lm.model.register_forward_pre_hook(lambda *_: passes.append(1))
    score(lm, start, [[[5], [6]]])
    assert not passes
    score(lm, start, [[[5, 7], [6]]])
    handle.remove()
    assert len(passes) == 1


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox"])
def test_batches_that_are_joined_are_as_one(architecture, lab):
    lm = lab.model(architecture)
    rows = [naive.ids_of(lm, text) for text in ("An owl", "Q", "Once upon a time there was", "Oslo is a")]
    full, parts = prefill(lm, rows), join_batches([prefill(lm, rows[:2]), prefill(lm, rows[2:])])
    assert torch.equal(parts.mask, full.mask)
    torch.testing.assert_close(parts.logits, full.logits, atol=1e-4, rtol=0)
    assert join_batches([full]).mask is not None
    may_end = torch.zeros(lm.config.vocab_size, dtype=torch.bool)
    result, reference = (greedy(lm, start, limit=6, end_rule=never, may_end=may_end) for start in (parts, full))
    assert result == reference
    target = [[[5, 6, 7]]] * 4
    for (result_score,), (reference_score,) in zip(score(lm, parts, target), score(lm, full, target), strict=True):
        assert result_score.logprob == pytest.approx(reference_score.logprob, abs=1e-3)


def test_each_row_may_end_by_a_rule_of_its_own(lab):
    lm = lab.model("llama")
    start = prefill(lm, [naive.ids_of(lm, text) for text in ("An owl", "Oslo is a")])
    may_end = torch.ones(lm.model.config.vocab_size, dtype=torch.bool)
    long, short = greedy(lm, start, limit=4, end_rule=[never, bool], may_end=may_end)
    assert (len(long.ids), long.finished) == (4, False)
    assert (len(short.ids), short.finished) == (1, True)


def test_a_text_that_seemed_to_go_on_is_looked_at_once_more_at_the_limit(lab):
    lm = lab.model("llama")
    start = prefill(lm, [naive.ids_of(lm, "An owl")])
    (answer,) = greedy(
        lm, start, limit=4, end_rule=never, may_end=torch.zeros(lm.model.config.vocab_size, dtype=torch.bool)
    )
    first_only = torch.zeros(lm.model.config.vocab_size, dtype=torch.bool)
    first_only[answer.ids[0]] = True
    texts = []
    greedy(lm, start, limit=4, end_rule=lambda text: texts.append(text) or False, may_end=first_only)
    assert texts[0] == lm.tokenizer.decode(answer.ids[:1])
    assert texts[-1] == answer.text
