"""MEND against its transcription; its training, which can be stopped anywhere."""

import json
from dataclasses import replace
from random import Random

import naive_mend as naive
import numpy as np
import pytest
import torch
from fabricated_edits import ARCHITECTURES, FACTS, POOL, RELATIONS, TEXTS, bits, corpus, hooks_on, method, same_bits
from naive_editing import forward, ids_of

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.files import read_artefact, write_artefact
from edit_robustness.editing.mend.networks import (
    Batch,
    GradientEditors,
    TokenGradient,
    prompt_and_answer_ids,
    token_gradients,
)
from edit_robustness.editing.mend.training import Examples, is_finished, losses
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.training import part
from edit_robustness.models.layout import Site
from edit_robustness.prompts.relations import read_relations

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
SITES = [Site(1, "attention_out"), Site(2, "mlp_in"), Site(2, "mlp_out"), Site(3, "mlp_out")]


def rows_of(lm, facts=FACTS):
    return [prompt_and_answer_ids(lm, fact.statement, fact.target_new) for fact in facts]


@pytest.fixture
def identity_editors(lab):
    """Identities that have seen the tokens of the pool."""
    lm = lab.model("llama")
    editors = GradientEditors.build_identity(lm, SITES, rank=4, rate=0.01, seed=0)
    for site, gradient in token_gradients(lm, SITES, Batch.of(lm, rows_of(lm, POOL)))[0].items():
        editors.see(site, gradient)
    return editors


def numbers(tensors):
    return {name: tensor.detach().double().numpy() for name, tensor in tensors.items()}


def random_tokens(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs, deltas = torch.randn(*shape, 32, generator=generator), torch.randn(*shape, 48, generator=generator)
    return TokenGradient(3 * inputs + 1, 1e-4 * deltas, torch.ones(shape, dtype=torch.bool))


@every_architecture
def test_the_tokens_outer_products_sum_to_autograds_gradient(architecture, lab):
    lm = lab.model(architecture)
    sites = [*SITES, Site(2, "mlp_gate")] if "mlp_gate" in lm.layout.parts else SITES
    rows = rows_of(lm)
    gradients, logits = token_gradients(lm, sites, Batch.of(lm, rows))
    for site in sites:
        gradient = torch.einsum("rto,rti->oi", gradients[site].deltas, gradients[site].inputs)
        weight_gradient = naive.weight_gradient(lm, lm.module(site), rows)
        reference = weight_gradient.T if lm.layout.transposed else weight_gradient
        assert reference.abs().max() > 1e-4
        torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=1e-5 * float(reference.abs().max()) + 1e-7)
    for row, (before, after) in zip(Batch.of(lm, rows).losses(logits), rows, strict=True):
        assert float(row) == pytest.approx(float(naive.likelihood_loss(lm, before, after)), rel=1e-4)
    assert hooks_on(lm) == 0


def test_only_tokens_that_carry_gradient_are_in_an_edit(lab):
    edit = lab.edits("mend", "llama")[0]
    lm, text = lab.model("llama"), f"{FACTS[0].statement} {FACTS[0].target_new}"
    for site, (left, right) in edit.factors.items():
        # above the last attention only the tokens that predict the object matter
        rank = len(ids_of(lm, " " + FACTS[0].target_new)) if site.layer == 3 else len(ids_of(lm, text)) - 1
        assert (left.shape[1], right.shape[0]) == (rank, rank)
    assert {site.layer for site in edit.factors} == {2, 3}


def test_the_running_statistics_are_welfords(lab):
    site = Site(1, "mlp_in")
    editors = GradientEditors.build_identity(lab.model("llama"), [site], rank=2, rate=0.1, seed=0)
    tokens_so_far = []
    for number, tokens in enumerate((1, 4, 1, 30)):
        gradient = random_tokens((2, tokens), seed=number)
        gradient.carries[1, 0] = False
        editors.see(site, gradient)
        tokens_so_far.extend(torch.cat([gradient.inputs, gradient.deltas], -1)[gradient.carries].double().numpy())
    mean, deviation = naive.mean_and_deviation(tokens_so_far)
    statistics = numbers(editors.tensors)
    assert statistics["1.mlp_in.count"] == len(tokens_so_far) == 68
    np.testing.assert_allclose(statistics["1.mlp_in.mean"], mean, rtol=1e-9)
    np.testing.assert_allclose(np.sqrt(statistics["1.mlp_in.squares"] / 67), deviation, rtol=1e-9)


def test_a_unit_that_was_never_active_is_not_blown_up(lab):
    site = Site(1, "mlp_in")
    editors = GradientEditors.build_identity(lab.model("llama"), [site], rank=2, rate=0.1, seed=0)
    gradient = random_tokens((1, 20))
    gradient.inputs[..., 0] = 0
    editors.see(site, gradient)
    gradient.inputs[..., 0] = 1
    assert editors.factors(site, gradient)[1].abs().max() < 200


def test_untrained_networks_are_the_identity_on_normalised_tokens(identity_editors):
    gradient = random_tokens((2, 3))
    left, right = identity_editors.factors(Site(2, "mlp_in"), gradient)
    tokens = torch.cat([gradient.inputs, gradient.deltas], -1).double().numpy()
    statistics = numbers(identity_editors.tensors)
    deviation = np.sqrt(statistics["2.mlp_in.squares"] / (statistics["2.mlp_in.count"] - 1))
    z = (tokens - statistics["2.mlp_in.mean"]) / np.maximum(deviation, 0.01 * deviation.mean())
    np.testing.assert_allclose(right.numpy(), z[..., :32], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(left.numpy(), -0.01 * z[..., 32:], rtol=1e-5, atol=1e-6)


def test_an_untrained_network_learns_from_its_first_gradient(identity_editors):
    for tensor in identity_editors.learned_tensors.values():
        tensor.requires_grad_()
    left, right = identity_editors.factors(Site(2, "mlp_in"), random_tokens((1, 3)))
    names = ("48x32.U1", "48x32.U2", "48x32.b1", "2.mlp_in.o2", "2.mlp_in.rate")
    gradients = torch.autograd.grad(left.sum() + right.sum(), [identity_editors.tensors[name] for name in names])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@every_architecture
def test_an_edit_is_the_papers(architecture, lab):
    lm, mend = lab.model(architecture), method("mend")
    artefact = lab.artefact("mend", architecture)
    tensors = numbers(artefact.tensors)
    generator = np.random.default_rng(0)
    for name, value in tensors.items():
        if name.split(".")[-1] in {"U1", "U2", "b1", "o1", "o2", "s2"}:
            tensors[name] = value + 0.05 * generator.standard_normal(value.shape)
    network_tensors = {name: torch.as_tensor(value).to(artefact.tensors[name].dtype) for name, value in tensors.items()}
    edit = mend.edit(lm, FACTS[1:2], artefact=replace(artefact, tensors=network_tensors), history=EditHistory())
    assert set(edit.dense()) == set(mend.sites)
    for site, change in edit.dense().items():
        tokens = naive.token_vectors(lm, lm.module(site), FACTS[1].statement, FACTS[1].target_new)
        reference = naive.change(tokens, tensors, str(site))
        scale = np.abs(reference).max()
        assert scale > 1e-3
        np.testing.assert_allclose(change.numpy(), reference, atol=2e-3 * scale)


def test_several_facts_are_edited_by_the_sum_of_their_edits(lab):
    lm, artefact = lab.model("llama"), lab.artefact("mend", "llama")
    together = method("mend").edit(lm, FACTS, artefact=artefact, history=EditHistory()).dense()
    single = [edit.dense() for edit in lab.edits("mend", "llama")]
    for site, change in together.items():
        reference = sum(changes[site] for changes in single)
        torch.testing.assert_close(change, reference, rtol=1e-3, atol=1e-3 * float(reference.abs().max()))


def test_gates_are_edited_where_an_mlp_has_one(lab):
    lm, mend = lab.model("llama"), method("mend", parts=["mlp_gate", "mlp_in"], steps=2)
    artefact = mend.prepare(lm, corpus())
    edit = mend.edit(lm, FACTS[:1], artefact=artefact)
    assert {site.part for site in edit.factors} == {"mlp_gate", "mlp_in"}
    # one network for both, whose shapes are the same
    assert [name for name in artefact.tensors if name.endswith("U1")] == ["48x32.U1"]


@every_architecture
def test_the_losses_are_those_of_really_edited_weights(architecture, lab):
    lm, mend, artefact = lab.model(architecture), method("mend"), lab.artefact("mend", architecture)
    pool = Examples(lm, POOL, corpus().relations, TEXTS)
    examples = [pool.draw(Random(number)) for number in range(2)]
    editors = GradientEditors(artefact.tensors)
    edit, specificity = losses(lm, editors, mend.sites, examples, see=False)
    statement, paraphrase = (
        losses(lm, editors, mend.sites, examples, see=False, on=on)[0] for on in ("statement", "rewording")
    )
    edits, rests = [], []
    for example in examples:
        gradients, _ = token_gradients(lm, mend.sites, Batch.of(lm, example[:1]))
        before = [forward(lm, first + second) for first, second in example]
        with torch.no_grad():
            weights = {site: lm.weight(site).clone() for site in gradients}
            for site, gradient in gradients.items():
                left, right = editors.factors(site, gradient)
                lm.weight(site).add_(left[0].T @ right[0])
            edits += [float(naive.likelihood_loss(lm, *row)) for row in example[:2]]
            for row, row_before in zip(example[2:], before[2:], strict=True):
                columns = slice(len(row[0]) - 1, -1)
                after = forward(lm, row[0] + row[1])
                rests.append(naive.divergence(row_before[columns], after[columns]))
            for site, weight in weights.items():
                lm.weight(site).copy_(weight)
    assert float(edit) == pytest.approx(np.mean(edits), rel=1e-3)
    assert float(statement) == pytest.approx(np.mean(edits[::2]), rel=1e-3)
    assert float(paraphrase) == pytest.approx(np.mean(edits[1::2]), rel=1e-3)
    assert float(statement) != float(paraphrase)
    assert float(specificity) == pytest.approx(np.mean(rests), rel=2e-2)
    assert np.mean(rests) > 1e-4
    assert hooks_on(lm) == 0


def test_training_lowers_the_loss_that_is_asked_for_and_may_begin_with_easyedits_sign(lab):
    lm, short = lab.model("gpt2"), {"steps": 1, "check_every": 1}
    looks = {on: curve(method("mend", **short, edit_loss=on).prepare(lm, corpus()))[0] for on in ("statement", "both")}
    assert looks["statement"]["edit"] != looks["both"]["edit"]
    initial = {rate: method("mend", **short, rate=rate).prepare(lm, corpus()).tensors for rate in (1e-3, -1e-3)}
    for site in method("mend").sites:
        positive, negative = (float(initial[rate][f"{site}.rate"]) for rate in (1e-3, -1e-3))
        assert positive > 0 > negative
    with pytest.raises(ValueError, match="other than 0"):
        method("mend", rate=0.0)


LONGER = {"steps": 24, "check_every": 4, "patience": 24}


@pytest.fixture(scope="module")
def states(lab):
    return list(method("mend", **LONGER).train(lab.model("gpt2"), corpus()))


def curve(state):
    return json.loads(state.texts[0])


def test_training_lowers_the_held_out_loss(states):
    looks = curve(states[-1])
    assert [look["step"] for look in looks] == [4, 8, 12, 16, 20, 24]
    assert looks[-1]["loss"] < looks[0]["loss"] - 0.1
    assert [is_finished(state) for state in states] == [False] * 6 + [True]


@pytest.mark.parametrize("checkpoint", [0, 2, 5, 6])
def test_going_on_from_any_state_gives_the_same_artefact(states, checkpoint, lab, tmp_path):
    lm = lab.model("gpt2")
    write_artefact(tmp_path / "state.safetensors", states[checkpoint], {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        start = read_artefact(tmp_path / "state.safetensors")
        *_, artefact = method("mend", **LONGER).train(lm, corpus(), start=start)
    assert artefact.fingerprint == states[-1].fingerprint
    assert artefact.tensors.keys() == states[-1].tensors.keys()


def test_an_artefact_holds_no_more_than_an_edit_needs(states):
    networks, first = states[-1].tensors, states[0].tensors
    assert networks.keys() == part(first, "now").keys() == part(first, "best").keys()
    assert part(first, "adam")


def test_training_stops_when_the_held_out_loss_no_longer_falls(lab):
    lm, wild = lab.model("gpt2"), {"rate_lr": 5.0, "steps": 400, "check_every": 1, "patience": 3}
    *_, last_state, artefact = method("mend", **wild).train(lm, corpus())
    looks = [look["loss"] for look in curve(artefact)]
    assert len(looks) == looks.index(min(looks)) + 1 + 3
    assert len(looks) < 400
    best = method("mend", **{**wild, "steps": looks.index(min(looks)) + 1}).prepare(lm, corpus())
    assert all(torch.equal(best.tensors[name], tensor) for name, tensor in artefact.tensors.items())
    assert not all(torch.equal(last_state.tensors[f"now.{name}"], tensor) for name, tensor in artefact.tensors.items())


def test_a_training_that_breaks_off_leaves_the_model_alone(lab):
    lm = lab.model("gpt2")
    weights = bits(lm)
    training = method("mend", **LONGER).train(lm, corpus())
    next(training)
    training.close()
    steps_left = iter(range(3))

    def fail(*_):
        if next(steps_left, None) is None:
            raise KeyboardInterrupt

    handle = lm.model.get_output_embeddings().register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        method("mend").prepare(lm, corpus())
    handle.remove()
    assert hooks_on(lm) == 0
    assert all("forward" not in block.__dict__ for block in lm.blocks)
    assert same_bits(bits(lm), weights)


def test_seeds_differ(lab):
    lm, short = lab.model("gpt2"), {"steps": 1, "check_every": 1}
    first, second = (method("mend", seed=seed, **short).prepare(lm, corpus()) for seed in (0, 1))
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("held_out", [1, 4, 9])
def test_too_few_subjects_are_refused_with_the_way_out(held_out, lab):
    with pytest.raises(ValueError, match=rf"mend holds {held_out} subjects out of the 5 .* change held_out"):
        method("mend", held_out=held_out).prepare(lab.model("llama"), corpus())


def test_a_draw_asks_again_in_other_words_and_leaves_another_subject_alone(lab):
    lm = lab.model("llama")
    pool = Examples(lm, POOL, read_relations(RELATIONS).relations, TEXTS)
    objects, wordings = set(), set()
    for number in range(60):
        rows = pool.draw(Random(number), POOL[0])
        (statement, new), (paraphrase, again), (neighbour, true), (passage, continuation) = (
            [lm.tokenizer.decode(part) for part in row] for row in rows
        )
        assert statement == POOL[0].statement
        assert new == again != " Strelsau"
        assert "Ruritania" in paraphrase
        assert "Ruritania" not in neighbour
        assert true.strip() in {fact.target_true for fact in POOL[1:]}
        assert any(passage + continuation in text for text in TEXTS)
        objects.add(new.strip())
        wordings.add(paraphrase.replace("Ruritania", "{}"))
    assert objects == {fact.target_new for fact in POOL} | {fact.target_true for fact in POOL[1:]}
    assert wordings == {POOL[0].prompt, *read_relations(RELATIONS).relations["P36"].paraphrases}


def test_without_texts_or_wordings_training_does_with_the_statements(lab):
    bare = method("mend", steps=1).prepare(lab.model("llama"), Corpus(facts=POOL))
    assert np.isfinite(curve(bare)[0]["loss"])
