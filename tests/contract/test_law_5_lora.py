"""LoRA against PEFT's own training and merging of a copy of the model, and what PEFT leaves behind."""

import copy
from collections.abc import Sequence

import naive_editing as naive
import peft
import pytest
import torch
from cells import APART, every_architecture, logprobs
from fabricated_edits import FACTS, TEXTS, bits, corpus, method, same_bits
from transformers.pytorch_utils import Conv1D

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import LowRank
from edit_robustness.editing.exchange.export import export_lora
from edit_robustness.editing.methods.ft import object_batch
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import positions

FUSED = {"gpt2": "c_attn", "gpt_neox": "query_key_value", "phi3": "qkv_proj"}
"""The matrix of queries, keys and values, in the architectures that have only one."""


@pytest.fixture
def fork_rng():
    with torch.random.fork_rng(devices=[]):
        yield


def peft_model(lm: LanguageModel, editor, names: Sequence[str]):
    """A copy of the model with a new adapter, as a user of PEFT makes one."""
    torch.manual_seed(editor.seed)
    # of a vision model beside the language model PEFT would adapt the same parts
    targets = [
        name
        for name, _ in lm.model.named_modules()
        if name.endswith(tuple(f".{end}" for end in names)) and name.startswith(lm.layout.blocks)
    ]
    options = {"fan_in_fan_out": lm.layout.transposed}
    config = peft.LoraConfig(r=editor.rank, lora_alpha=editor.alpha, target_modules=targets, **options)
    return peft.get_peft_model(copy.deepcopy(lm.model), config)


def merged_changes(lm: LanguageModel, model) -> dict[str, torch.Tensor]:
    """What merging the adapter changes, (d_out, d_in), by the full names of modules."""
    merged_model, changes = model.merge_and_unload(), {}
    for name, module in lm.model.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D):
            change = (merged_model.get_submodule(name).weight - module.weight).detach()
            if change.any():
                changes[name] = change.T if isinstance(module, Conv1D) else change
    return changes


def trained_by_peft(lm, editor, facts, contexts=()):
    """Train PEFT's model on the batch of this project, as `Lora` says; the facts must fit into one step."""
    model = peft_model(lm, editor, [FUSED.get(lm.model.config.model_type, "q_proj"), "v_proj"])
    batch = object_batch(lm, facts, even=True, contexts=("", *contexts))
    optimiser = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=editor.lr)
    for _ in range(editor.epochs):
        logits = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=positions(batch.mask),
            use_cache=False,
            logits_to_keep=batch.columns,
        ).logits
        losses = torch.nn.functional.cross_entropy(logits[batch.row, batch.place], batch.label, reduction="none")
        optimiser.zero_grad()
        (losses * batch.share).sum().backward()
        optimiser.step()
    return model


@every_architecture
def test_the_change_is_that_of_pefts_merged_model(architecture, lab, fork_rng):
    lm, editor = lab.model(architecture), method("lora", epochs=3, stop_loss=0.0)
    artefact = editor.prepare(lm, corpus())
    edit = editor.edit(lm, FACTS[:2], artefact=artefact)
    changes = merged_changes(lm, trained_by_peft(lm, editor, FACTS[:2], artefact.texts))
    assert isinstance(edit, LowRank)
    assert {lm.layout.module(site) for site in edit.dense()} == set(changes)
    for site, change in edit.dense().items():
        # the merged weight was rounded
        torch.testing.assert_close(change, changes[lm.layout.module(site)], atol=2e-6, rtol=1e-4)
    assert {(up.shape[1], len(down)) for up, down in edit.factors.values()} == {(editor.rank, editor.rank)}


def test_the_loss_is_the_mean_over_prompts_of_the_likelihood_of_the_object(lab, fork_rng):
    """PEFT's usual training loop: labels of -100 for the prompt, prompt by prompt."""
    lm, editor = lab.model("llama"), method("lora", epochs=2, stop_loss=0.0)
    contexts = ("A cat sat there. ", "It rained. ")
    model = peft_model(lm, editor, ["q_proj", "v_proj"])
    optimiser = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=editor.lr)
    for _ in range(2):
        losses = []
        for fact in FACTS[:2]:
            for context in ("", *contexts):
                ids = naive.ids_of(lm, context + fact.statement)
                target = naive.ids_of(lm, " " + fact.target_new)
                labels = torch.tensor([[-100] * len(ids) + target])
                losses.append(model(input_ids=torch.tensor([ids + target]), labels=labels).loss)
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        optimiser.step()
    changes = merged_changes(lm, model)
    for site, change in editor.edit(lm, FACTS[:2], artefact=Artefact(texts=contexts)).dense().items():
        reference = changes[lm.layout.module(site)]
        # Adam's first steps are rates in the direction of a sign, so that rounding shows where a gradient is nearly 0
        assert (change - reference).norm() < 0.02 * reference.norm()


@every_architecture
def test_peft_leaves_the_model_as_it_was(architecture):
    lm, editor = tiny_model(architecture), method("lora", epochs=1)
    some_weight = next(iter(lm.model.parameters())).requires_grad_()
    modules, names = list(lm.model.named_modules()), set(vars(lm.model))
    editor.edit(lm, FACTS[:1])
    assert [(name, id(module)) for name, module in lm.model.named_modules()] == [
        (name, id(module)) for name, module in modules
    ]
    assert set(vars(lm.model)) == names
    assert [weight for weight in lm.model.parameters() if weight.requires_grad] == [some_weight]
    assert all(weight.grad is None for weight in lm.model.parameters())
    assert LanguageModel(lm.model, lm.tokenizer).fingerprint == lm.fingerprint


def test_peft_leaves_the_model_as_it_was_if_the_training_fails(lab, monkeypatch):
    lm = lab.model("llama")
    modules, weights, names = list(lm.model.modules()), bits(lm), set(vars(lm.model))

    def fail(*_, **__):
        assert any("lora" in type(module).__module__ for module in lm.model.modules())
        raise KeyError("in training")

    monkeypatch.setattr(torch.optim.Adam, "step", fail)
    with pytest.raises(KeyError, match="in training"):
        method("lora").edit(lm, FACTS[:1])
    assert list(lm.model.modules()) == modules
    assert set(vars(lm.model)) == names
    assert same_bits(bits(lm), weights)
    assert not any(weight.requires_grad for weight in lm.model.parameters())


@pytest.mark.parametrize("architecture", APART)
def test_the_new_object_is_learned_after_the_statement_and_in_a_context(architecture, lab):
    lm = lab.model(architecture)
    # no stop: the logits of a random model are so small that no loss is near 0
    editor = method("lora", rank=8, alpha=16, lr=2e-2, epochs=80, stop_loss=0.0)
    artefact = editor.prepare(lm, corpus())
    edit = editor.edit(lm, FACTS[:2], artefact=artefact)
    assert edit.origin.contexts == 1
    for fact in FACTS[:2]:
        for context in ("", *artefact.texts):
            ids, target = naive.ids_of(lm, context + fact.statement), naive.ids_of(lm, " " + fact.target_new)
            before = logprobs(lm, ids + target[:-1])[0, len(ids) - 1 :].argmax(-1)
            with edit.applied(lm):
                after = logprobs(lm, ids + target[:-1])[0, len(ids) - 1 :].argmax(-1)
            assert after.tolist() == target != before.tolist()


@pytest.mark.parametrize(
    ("architecture", "parts"),
    [
        ("llama", {"attention_q", "attention_v"}),
        ("gptj", {"attention_q", "attention_v"}),
        *((name, {"attention_qkv"}) for name in FUSED),
    ],
)
def test_the_default_weights_are_queries_and_values_of_all_layers(architecture, parts, lab):
    sites = method("lora").sites(lab.model(architecture))
    assert set(sites) == {Site(layer, part) for layer in range(4) for part in parts}
    assert len(sites) == len(set(sites))


def test_parts_and_layers_choose_the_weights(lab):
    edit = method("lora", parts="mlp_out attention_k", layers=[1, 3], epochs=1).edit(lab.model("llama"), FACTS[:1])
    assert set(edit.factors) == {Site(layer, part) for layer in (1, 3) for part in ("mlp_out", "attention_k")}


def test_the_training_ends_with_an_epoch_below_the_stop(lab):
    lm = lab.model("llama")
    free = method("lora", epochs=6, stop_loss=0.0)
    losses = [
        method("lora", epochs=epochs, stop_loss=1e-9).edit(lm, FACTS[:1]).origin.unmet_losses[FACTS[0].id]
        for epochs in (3, 4)
    ]
    assert losses[1] < losses[0]
    stopping = method("lora", epochs=6, stop_loss=sum(losses) / 2).edit(lm, FACTS[:1])
    three_steps = method("lora", epochs=3, stop_loss=0.0).edit(lm, FACTS[:1])
    assert not stopping.origin.unmet_losses
    assert all(torch.equal(change, three_steps.dense()[site]) for site, change in stopping.dense().items())
    assert not free.edit(lm, FACTS[:1]).origin.unmet_losses


def test_several_facts_per_step_and_their_order_follow_from_the_seed(lab):
    lm = lab.model("llama")
    edits = [
        method("lora", epochs=2, step_facts=1, stop_loss=0.0, seed=seed).edit(lm, FACTS).dense() for seed in (0, 0, 1)
    ]
    site = Site(1, "attention_q")
    assert torch.equal(edits[0][site], edits[1][site])
    assert not torch.equal(edits[0][site], edits[2][site])
    # three steps of one fact per epoch
    assert (
        edits[0][site].norm()
        > method("lora", epochs=2, step_facts=3, stop_loss=0.0).edit(lm, FACTS).dense()[site].norm()
    )


def test_the_factors_of_a_model_in_bfloat16_are_trained_in_float32(lab):
    edit = method("lora", epochs=2, lr=1e-4, stop_loss=0.0).edit(lab.model("llama", torch.bfloat16), FACTS[:1])
    for up, down in edit.factors.values():
        assert up.dtype == down.dtype == torch.float32
        # two steps of 1e-4 are too small for numbers of eight bits
        assert not torch.equal(down.bfloat16().float(), down)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_an_edit_is_an_adapter_for_peft(architecture, lab, tmp_path):
    lm, edit = lab.model(architecture), lab.first_edit("lora", architecture)
    export_lora(edit, lm, tmp_path / "adapter")
    ids = torch.tensor([naive.ids_of(lm, TEXTS[0])])
    model = peft.PeftModel.from_pretrained(copy.deepcopy(lm.model), tmp_path / "adapter")
    with torch.no_grad(), edit.applied(lm):
        torch.testing.assert_close(lm.model(ids).logits, model(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
