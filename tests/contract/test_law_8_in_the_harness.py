"""Law 8, as the evaluation harness sees it: it holds the model, passes no attention mask and pads right."""

from functools import cache

import pytest
import torch
from cells import every_method
from fabricated_edits import FACTS
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from edit_robustness.editing.edits import NO_EDIT
from edit_robustness.models.decode import prefill, score


def requests(edit):
    """Statements of different lengths after the edit's text, each with both objects."""
    texts = [*(fact.statement for fact in FACTS), "Far from there, after the long rain, " + FACTS[0].statement]
    facts = [*FACTS, FACTS[0]]
    return [
        (edit.text_before(text) + text, " " + target)
        for text, fact in zip(texts, facts, strict=True)
        for target in (fact.target_new, fact.target_true)
    ]


def score_by_harness(lm, pairs):
    harness = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=3)
    instances = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    return torch.tensor([result[0] for result in harness.loglikelihood(instances, disable_tqdm=True)])


def score_alone(lm, pairs):
    logprobs = []
    for text, target in pairs:
        ids, target_ids = (lm.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, target))
        logprobs.append(score(lm, prefill(lm, [ids]), [[target_ids]])[0][0].logprob)
    return torch.tensor(logprobs)


@pytest.fixture(scope="module")
def scores_before(lab):
    """The unedited scores of an architecture, computed once."""
    return cache(lambda architecture: score_alone(lab.model(architecture), requests(NO_EDIT)))


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@every_method
def test_the_harness_sees_the_edit(name, architecture, lab, scores_before):
    lm, edit = lab.model(architecture), lab.first_edit(name, architecture)
    pairs = requests(edit)
    with edit.applied(lm):
        by_harness, alone = score_by_harness(lm, pairs), score_alone(lm, pairs)
    torch.testing.assert_close(by_harness, alone, atol=1e-3, rtol=1e-4)
    if name != "none":
        assert (by_harness - scores_before(architecture)).abs().max() > 0.01
