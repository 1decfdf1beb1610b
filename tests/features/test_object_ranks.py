import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from fabricated_edits import FACTS

from edit_robustness.features.object_ranks import (
    OBJECT_RANK_COLUMNS,
    cut_batches,
    object_ranks,
    object_ranks_table,
    rank_and_margin,
    recall_demonstrations,
    similarity,
    subject_tokens,
)
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids, target_ids
from edit_robustness.records import Fact

CAPITALS = [
    Fact(f"c{number}", subject, "P36", "The capital of {} is", true, "Lima")
    for number, (subject, true) in enumerate(
        [("France", "Paris"), ("Peru", "Lima"), ("Texas", "Paris"), ("Norway", "Oslo"), ("Chad", "N'Djamena"),
         ("france", "Lyon"), ("Mali", ""), ("Cuba", "Havana"), ("Egypt", "Cairo")]
    )
]  # fmt: skip


def measured(lm, facts, rows=4):
    table = object_ranks_table(list(object_ranks(lm, cut_batches(lm, facts, rows=rows))), facts)
    assert dict(table.dtypes.astype(str)) == OBJECT_RANK_COLUMNS
    return table


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_rank_and_margin_are_those_of_one_plain_forward(lab, architecture):
    lm, facts = lab.model(architecture), FACTS[:5]
    table = measured(lm, facts, rows=2)
    assert table["fact_id"].tolist() == [fact.id for fact in facts]
    for fact, row in zip(facts, table.itertuples(), strict=True):
        prompt = RenderedPrompt(fact.statement)
        with torch.no_grad():
            logits = lm.model(torch.tensor([prompt_ids(lm, prompt)])).logits[0, -1]
        token = target_ids(lm, prompt, fact.target_true)[0]
        logprobs = logits.log_softmax(-1).tolist()
        best_other = max(value for i, value in enumerate(logprobs) if i != token)
        assert row.rank_true == sorted(logprobs, reverse=True).index(logprobs[token]) + 1
        assert row.margin_true == pytest.approx(logprobs[token] - best_other, abs=1e-3)
        assert (row.margin_true > 0) == (row.rank_true == 1)
        new_token = target_ids(lm, prompt, fact.target_new)[0]
        assert row.rank_new == sorted(logprobs, reverse=True).index(logprobs[new_token]) + 1


def test_the_table_does_not_depend_on_batches_or_order(lab):
    lm, facts = lab.model("llama"), FACTS[:6]
    table, other_table = measured(lm, facts, rows=1), measured(lm, facts[::-1], rows=64)
    pd.testing.assert_frame_equal(table, other_table[::-1].reset_index(drop=True), rtol=1e-3, atol=1e-4)


def test_a_fact_without_a_true_object_has_neither_rank_nor_similarity(lab):
    lm = lab.model("llama")
    [row] = measured(lm, [replace(FACTS[0], target_true="")]).to_dict(orient="records")
    assert row["subject_tokens"] > 0
    assert row["rank_new"] > 0
    assert all(pd.isna(row[name]) for name in ("rank_true", "margin_true", "object_similarity"))


def test_no_facts_give_an_empty_table_of_the_same_form(lab):
    assert measured(lab.model("llama"), []).empty


def test_ties_and_what_is_no_number():
    assert rank_and_margin(torch.tensor([3.0, 1.0, 3.0, 2.0]), 0) == (1, 0.0)
    assert rank_and_margin(torch.tensor([3.0, 1.0, 3.0, 2.0]), 3) == (3, -1.0)
    assert rank_and_margin(torch.tensor([5.0, 1.0, 3.0]), 0) == (1, 2.0)
    assert rank_and_margin(torch.tensor([3.0, math.nan]), 0) is None
    assert rank_and_margin(torch.tensor([math.inf, 1.0]), 0) is None
    assert rank_and_margin(torch.tensor([2.0, -math.inf]), 1) is None


def test_a_subject_is_as_long_as_its_tokens(lab):
    lm = lab.model("llama")  # a token a byte
    for template, subject in (("{} is", "Borduria"), ("Of {}, this", "Ürümqi X"), ("At {}", "日本")):
        fact = replace(FACTS[0], prompt=template, subject=subject)
        assert subject_tokens(lm, fact) == len(subject.encode())


def test_similarity_is_the_cosine_of_means(lab):
    lm = lab.model("llama")
    table = lm.model.get_input_embeddings().weight.double().numpy()
    a, b = table[[3, 4, 4]].mean(0), table[[9, 12]].mean(0)
    assert similarity(lm, [3, 4, 4], [9, 12]) == pytest.approx(a @ b / math.sqrt((a @ a) * (b @ b)), abs=1e-5)
    assert similarity(lm, [5], [5]) == pytest.approx(1.0, abs=1e-6)


def test_demonstrations_give_nothing_away():
    france = CAPITALS[0]
    text = recall_demonstrations(france, CAPITALS, 10, 0)
    lines = set(text.splitlines())
    # not France itself, nor what names Paris or Lima, nor a fact without an object
    assert lines == {
        "The capital of Norway is Oslo.",
        "The capital of Chad is N'Djamena.",
        "The capital of Cuba is Havana.",
        "The capital of Egypt is Cairo.",
    }
    assert text.endswith(".\n")


def test_demonstrations_follow_from_the_seed_and_the_fact():
    france, samples = CAPITALS[0], {recall_demonstrations(CAPITALS[0], CAPITALS, 2, seed) for seed in range(20)}
    assert len(samples) > 1
    assert all(len(text.splitlines()) == 2 for text in samples)
    assert recall_demonstrations(france, CAPITALS, 2, 7) == recall_demonstrations(france, CAPITALS, 2, 7)
    assert recall_demonstrations(france, [france], 10, 0) == ""
    assert recall_demonstrations(france, CAPITALS, 0, 0) == ""
