from dataclasses import replace

import naive_editing as naive
import naive_kn
import numpy as np
import pytest
import torch
from fabricated_edits import ARCHITECTURES, FACTS, bits, corpus, hooks_on, method, same_bits

from edit_robustness.editing.methods.kn import attributions, shared_neurons
from edit_robustness.models.layout import Site

TEXTS = (FACTS[0].statement, "It rained. " + FACTS[0].statement)
TOKEN = 40
STEPS = 2


def modules(lm):
    return [lm.module(Site(layer, "mlp_out")) for layer in range(len(lm.blocks))]


def naive_scores(lm, texts, steps):
    return np.array(
        [[naive_kn.attribution(lm, module, text, TOKEN, steps) for module in modules(lm)] for text in texts]
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attributions_are_the_papers_sums_of_gradients(architecture, lab):
    lm = lab.model(architecture)
    weights = bits(lm)
    reference = naive_scores(lm, TEXTS, STEPS)
    result = attributions(lm, TEXTS, TOKEN, steps=STEPS, batch=100)
    assert result.shape == reference.shape
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), reference, atol=1e-4 * np.abs(reference).max())
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_the_size_of_a_batch_does_not_change_them(batch, lab):
    lm = lab.model("llama")
    full_batch = attributions(lm, TEXTS, TOKEN, steps=STEPS, batch=100)
    torch.testing.assert_close(
        attributions(lm, TEXTS, TOKEN, steps=STEPS, batch=batch),
        full_batch,
        atol=1e-4 * float(full_batch.abs().max()),
        rtol=0,
    )


def test_prompts_of_one_token_have_them_too(lab):
    lm = lab.model("gpt2")
    for texts in (("Q",), ("Q", "A longer one")):
        reference = naive_scores(lm, texts, STEPS)
        result = attributions(lm, texts, TOKEN, steps=STEPS, batch=2)
        np.testing.assert_allclose(result.numpy(), reference, atol=1e-4 * np.abs(reference).max())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_layers_attributions_sum_to_what_its_neurons_change(architecture, lab):
    """Check the completeness of integrated gradients: the sum tends to P(w) - P(0)."""
    lm = lab.model(architecture)
    if any("post_feedforward" in name for name, _ in lm.model.named_modules()):
        pytest.skip("a norm after the MLP undoes the scaling: P jumps at 0, and no number of steps sees it")
    ids = naive.ids_of(lm, TEXTS[0])
    result = attributions(lm, TEXTS[:1], TOKEN, steps=300, batch=300)[0].sum(1)
    for layer, module in enumerate(modules(lm)):
        active = torch.tensor(naive.keys_of(lm, module, ids)[-1]).float()
        with torch.no_grad():
            with_them = naive_kn.probability(lm, module, ids, active, TOKEN)
            without = naive_kn.probability(lm, module, ids, torch.zeros_like(active), TOKEN)
        change = float(with_them - without)
        assert float(result[layer]) == pytest.approx(change, abs=0.02 * abs(change) + 1e-6)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5])
def test_neurons_are_those_above_the_threshold_in_enough_prompts(threshold, share):
    torch.manual_seed(0)
    scores = torch.randn(1, 3, 8) + 0.5 * torch.randn(5, 3, 8)
    result = shared_neurons(scores, threshold=threshold, sharing=share)
    reference = naive_kn.neurons(list(scores.numpy()), threshold, share)
    assert reference
    assert {tuple(place) for place in result.nonzero().tolist()} == reference


def test_a_share_counts_from_its_exact_number_of_prompts_on():
    scores = torch.zeros(10, 1, 2)
    scores[:7, 0, 0], scores[7:, 0, 1] = 1.0, 1.0
    assert shared_neurons(scores, threshold=0.2, sharing=0.7).tolist() == [[True, False]]
    assert shared_neurons(scores, threshold=0.2, sharing=0.3).tolist() == [[True, True]]


def test_where_none_is_shared_enough_those_shared_most_are_kept():
    scores = torch.zeros(4, 1, 4)
    for prompt, neuron in enumerate((0, 1, 1, 2)):
        scores[prompt, 0, neuron] = 1.0
    assert shared_neurons(scores, threshold=0.2, sharing=0.9).tolist() == [[False, True, False, False]]


def test_prompts_without_any_positive_attribution_are_said():
    with pytest.raises(ValueError, match=r"lower kn's threshold \(it is 0.2\)"):
        shared_neurons(-torch.ones(2, 1, 3), threshold=0.2, sharing=0.7)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_values_of_the_neurons_change_by_the_objects_embeddings(architecture, lab):
    lm, kn, fact = lab.model(architecture), method("kn"), FACTS[0]
    edit = lab.edits("kn", architecture)[0]
    texts = [context + fact.statement for context in ("", *lab.artefact("kn", architecture).texts)]
    assert len(texts) == 3
    old, new = (naive.ids_of(lm, " " + target)[0] for target in (fact.target_true, fact.target_new))
    scores = attributions(lm, texts, old, steps=kn.steps, batch=kn.batch)
    neurons = naive_kn.neurons(list(scores.numpy()), kn.threshold, kn.sharing)
    embeddings = lm.model.get_output_embeddings().weight.detach()
    change = kn.lambda_new * embeddings[new] - kn.lambda_old * embeddings[old]
    assert neurons
    reference = {layer: torch.zeros_like(lm.weight(Site(layer, "mlp_out"))) for layer, _ in neurons}
    for layer, neuron in neurons:
        reference[layer][:, neuron] = change
    dense = edit.dense()
    assert {site.layer for site in dense} == set(reference)
    assert all(torch.equal(dense[Site(layer, "mlp_out")], delta) for layer, delta in reference.items())


def test_a_fact_without_its_true_object_is_refused(lab):
    fact = replace(FACTS[0], target_true=" ")
    with pytest.raises(ValueError, match=f"kn rewrites the old object, and {fact.id} has none: .* target_true"):
        method("kn").edit(lab.model("llama"), [fact], artefact=lab.artefact("kn", "llama"))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_variant_easyedit_is_what_easyedit_runs(architecture, steps, lab):
    lm, fact = lab.model(architecture), replace(FACTS[0], target_true="Oz", target_new="Rio")
    kn = method("kn", variant="easyedit", steps=steps, context_lengths=[], lambda_old=1.0, lambda_new=1.0)
    old, new = (naive.ids_of(lm, " " + target) for target in (fact.target_true, fact.target_new))
    part = "mlp_gate" if architecture == "llama" else "mlp_in"
    scores_and_tokens = [
        naive_kn.gate_attribution(lm, lm.module(Site(layer, part)), fact.statement, old, steps)
        for layer in range(len(lm.blocks))
    ]
    neurons = naive_kn.neurons([np.array([scores for scores, _ in scores_and_tokens])], kn.threshold, 0.0)
    _, tokens = naive_kn.gate_attribution(lm, lm.module(Site(0, part)), fact.statement, new, 1)
    embeddings = lm.model.get_input_embeddings().weight.detach()
    change = embeddings[new].sum(0) - embeddings[tokens].sum(0)
    dense = kn.edit(lm, [fact], artefact=kn.prepare(lm, corpus())).dense()
    assert {(site.layer, n) for site, w in dense.items() for n in w.any(0).nonzero()[:, 0].tolist()} == neurons
    layer, neuron = next(iter(neurons))
    torch.testing.assert_close(dense[Site(layer, "mlp_out")][:, neuron], change)


def test_the_variant_easyedit_takes_a_single_token_away_twice(lab):
    lm, fact = lab.model("llama"), replace(FACTS[0], prompt=FACTS[0].prompt + " ", target_new="R")
    kn = method("kn", variant="easyedit", steps=1, context_lengths=[], lambda_old=1.0, lambda_new=1.0)
    (new,) = naive.ids_of(lm, "R")
    token = int(naive.forward(lm, naive.ids_of(lm, fact.statement))[-1].argmax())
    embeddings = lm.model.get_input_embeddings().weight.detach()
    edit = kn.edit(lm, [fact], artefact=kn.prepare(lm, corpus()))
    left, _ = next(iter(edit.factors.values()))
    torch.testing.assert_close(left[:, 0], embeddings[new] - 2 * embeddings[token])
