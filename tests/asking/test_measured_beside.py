"""Measurements beside the text of an answer: margins, divergences from the unedited model, and missing objects."""

import math
from dataclasses import replace

import pytest
import torch
from fabricated_edits import FACTS, METHOD_NAMES, bits, probes, same_bits

from edit_robustness.asking.ask import Decoding, ask, render_probe
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.models.distributions import divergence, margins
from edit_robustness.models.tokens import prompt_ids

DECODING = Decoding(max_new_tokens=3, batch_rows=64)
KINDS = ("statement", "question", "neighbourhood")
SOME = ("llama", "gpt2", "gemma2")


@torch.no_grad()
def distribution(lm, probe, prefix=""):
    """The next token's log-probabilities by one plain pass over one prompt."""
    ids = prompt_ids(lm, render_probe(lm, probe, prefix, ""))
    return lm.model(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)


def naive(lm, edit, probe):
    """Margin, divergence and whether the top token stays, one prompt at a time, weights copied in."""
    before = distribution(lm, probe)
    with edit.applied(lm):
        after = distribution(lm, probe, edit.text_before(probe.text))
    best, second = after.sort(descending=True).values[:2].tolist()
    kl = sum(math.exp(p) * (p - q) for p, q in zip(before.tolist(), after.tolist(), strict=True))
    return best - second, kl, bool(before.argmax() == after.argmax())


@pytest.mark.parametrize("architecture", SOME)
@pytest.mark.parametrize("together", [True, False], ids=["hooks", "copied"])
def test_margins_and_divergences_are_those_of_one_prompt_at_a_time(architecture, together, lab):
    lm = lab.model(architecture)
    names = METHOD_NAMES if architecture == "llama" else ("none", "ft", "rome", "ike", "serac")
    edit_probes = [
        (edit, probes(KINDS, fact))
        for name in names
        for edit, fact in zip(lab.edits(name, architecture)[:2], FACTS[:2], strict=True)
    ]
    n_changed = 0
    for (edit, _), edit_answers in zip(edit_probes, ask(lm, edit_probes, DECODING, together=together), strict=True):
        for answer in edit_answers:
            margin, kl, top_equal = naive(lm, edit, answer.probe)
            assert answer.margin == pytest.approx(margin, abs=2e-4)
            if answer.probe.family == "specificity":
                assert answer.kl == pytest.approx(kl, abs=2e-5)
                assert answer.top_unchanged is top_equal
                n_changed += answer.kl > 1e-3
            else:
                assert answer.kl is None
                assert answer.top_unchanged is None
    assert n_changed > 5


def test_no_edit_moves_nothing_and_runs_nothing_more(lab, monkeypatch):
    lm = lab.model("llama")
    monkeypatch.setattr("edit_robustness.asking.ask._Session._unedited_logits", None)
    (edit_answers,) = ask(lm, [(PromptPrefix(), probes(KINDS))], DECODING)
    local = [answer for answer in edit_answers if answer.probe.family == "specificity"]
    assert [(answer.kl, answer.top_unchanged) for answer in local] == [(0.0, True)] * 2


def test_a_prompt_that_many_edits_share_is_run_once_without_them(lab):
    lm, rows = lab.model("llama"), []
    neighbours = probes(("neighbourhood",))
    edit_probes = [(edit, neighbours) for edit in lab.edits("rome", "llama")]

    def count(module, args, kwargs):
        if kwargs["input_ids"].shape[1] > 1:
            rows.append(len(kwargs["input_ids"]))

    handle = lm.model.register_forward_pre_hook(count, with_kwargs=True)
    list(ask(lm, edit_probes, Decoding(max_new_tokens=1)))
    handle.remove()
    assert rows[-1] == len(neighbours) < len(edit_probes) * len(neighbours)


def test_the_divergence_goes_from_the_unedited_to_the_edited():
    logits_before, logits_after = torch.tensor([[0.9, 0.1, 0.0]]).log(), torch.tensor([[0.5, 0.25, 0.25]]).log()
    assert divergence(logits_before, logits_after).item() == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.4))
    assert divergence(logits_after, logits_before).item() == math.inf
    nan_logits = torch.full_like(logits_after, math.nan)
    assert divergence(nan_logits, nan_logits).isnan()
    assert divergence(logits_after, nan_logits).isnan()
    noise = torch.randn(50, 1000)
    assert divergence(noise, noise + 3).max() < 1e-5
    assert divergence(noise, noise + 3).min() >= 0


def test_margins_of_ties_and_of_half_precision():
    assert margins(torch.tensor([[1.0, 3.0, 3.0], [0.0, 2.5, 1.0]])).tolist() == [0.0, 1.5]
    assert margins(torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("together", [True, False])
def test_an_object_that_nobody_knows_is_not_scored(lab, together):
    lm = lab.model("llama")
    weights = bits(lm)
    probes_with_object = probes(KINDS)
    probes_without_object = [replace(probe, target_true="", target_true_aliases=()) for probe in probes_with_object]
    edit = lab.edits("rome", "llama")[0]
    answers_without, answers_with = ask(
        lm, [(edit, probes_without_object), (edit, probes_with_object)], DECODING, together=together
    )
    for answer, reference in zip(answers_without, answers_with, strict=True):
        assert math.isnan(answer.logprob_true)
        assert (answer.tokens_true, answer.match_true) == (0, False)
        assert (answer.text, answer.tokens_new) == (reference.text, reference.tokens_new)
        assert answer.logprob_new == pytest.approx(reference.logprob_new, abs=1e-4)
    assert same_bits(bits(lm), weights)


def test_what_the_words_depend_on_is_said(lab):
    assert DECODING.describe(lab.model("llama")) == "greedy, 3 new tokens, float32"
    assert DECODING.describe(lab.model("llama", torch.bfloat16)) == "greedy, 3 new tokens, bfloat16"
