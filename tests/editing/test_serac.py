"""SERAC against its naive transcription, in every form in which a model is called, and its training."""

import re
from functools import cache
from random import Random

import naive_serac as naive
import pytest
import torch
from fabricated_edits import ARCHITECTURES, FACTS, POOL, RELATIONS, TEXTS, corpus, hooks_on, method
from naive_editing import ids_of
from transformers import DynamicCache

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import NotCombined, NotRowwise, ScopedMemory
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.serac.networks import Scope, build_small_model, build_truncated, scope_of
from edit_robustness.editing.serac.training_examples import (
    behind_text,
    choose_statements,
    copying_loss,
    exercise,
    memory_distances,
    scope_loss,
    training_examples,
    views,
)
from edit_robustness.editing.training import part
from edit_robustness.models.rows import Owners
from edit_robustness.models.tokens import pad
from edit_robustness.records import Fact, fill

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
TEXT = f"{FACTS[0].statement} Oslo, and {POOL[0].statement} so"
PLACES = (3, len(FACTS[0].statement) - 1, len(FACTS[0].statement), len(TEXT) - 5, len(TEXT) - 1)
LIMIT = 3
WORDINGS = {name: (own["statement"], *own["paraphrases"]) for name, own in RELATIONS["relations"].items()}


@pytest.fixture
def build_edit(lab):
    """Return a function that returns a model, the prepared artefact, and the memory of all facts."""

    def make(architecture="llama"):
        first, *later = lab.edits("serac", architecture)
        memory = first
        for edit in later:
            memory = memory.then(edit)
        return lab.model(architecture), lab.artefact("serac", architecture), memory

    return make


@torch.no_grad()
def said(lm, ids, **inputs):
    return lm.model(input_ids=torch.tensor([ids]), **inputs).logits[0].float().log_softmax(-1)


def greedily(lm, artefact, ids, states_of):
    """Return the naive transcription's continuation of a prompt, and the fact behind each token."""
    ids, spoke = list(ids), []
    for _ in range(LIMIT):
        logits, number = naive.says(lm, artefact.tensors, list(FACTS), ids, states_of)
        ids.append(int(logits.argmax()))
        spoke.append(number)
    return ids[-LIMIT:], spoke


@pytest.fixture(scope="module")
def naive_tokens(lab):
    """What the naive transcription says at each of PLACES, and the fact behind it, once per architecture."""

    @cache
    def of(architecture):
        lm, tensors = lab.model(architecture), lab.artefact("serac", architecture).tensors
        ids, states_of = ids_of(lm, TEXT), naive.states_once(lm)
        return [naive.says(lm, tensors, list(FACTS), ids[: place + 1], states_of) for place in PLACES]

    return of


@every_architecture
def test_every_token_is_said_by_whom_the_paper_says(architecture, build_edit, naive_tokens):
    lm, _, memory = build_edit(architecture)
    ids = ids_of(lm, TEXT)
    with memory.applied(lm):
        logits = said(lm, ids)
    spoke = []
    for place, (reference, number) in zip(PLACES, naive_tokens(architecture), strict=True):
        torch.testing.assert_close(logits[place], reference, atol=1e-4, rtol=0)
        spoke.append(number)
    assert spoke[1] == 0, "the statement is in its own scope"
    assert -1 in spoke


@every_architecture
def test_generate_pads_left_caches_and_routes(architecture, build_edit):
    lm, artefact, memory = build_edit(architecture)
    rows = [ids_of(lm, text) for text in (FACTS[0].statement, "A short one", FACTS[2].statement)]
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    with memory.applied(lm):
        out = lm.model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=LIMIT, eos_token_id=-1
        )
    states_of = naive.states_once(lm)
    reference, spoke = zip(*(greedily(lm, artefact, row, states_of) for row in rows), strict=True)
    assert out[:, -LIMIT:].tolist() == list(reference)
    assert spoke[0][0] == 0
    assert spoke[2][0] == 2


def test_beams_that_change_places_take_their_tokens_along(build_edit):
    lm, _, memory = build_edit()
    ids = torch.tensor([ids_of(lm, FACTS[0].statement)])
    settings = {"num_beams": 4, "max_new_tokens": 8, "do_sample": False, "eos_token_id": -1}
    with memory.applied(lm):
        sequences = lm.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
        plain = lm.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **settings)
    assert torch.equal(sequences, plain)


@every_architecture
def test_tokens_out_of_scope_are_the_base_models_bit_for_bit(architecture, build_edit, naive_tokens):
    lm, _, memory = build_edit(architecture)
    ids = torch.tensor([ids_of(lm, TEXT)])
    with torch.no_grad():
        before = lm.model(input_ids=ids).logits[0]
        with memory.applied(lm):
            after = lm.model(input_ids=ids).logits[0]
    equal = (before == after).all(-1)
    for place, (_, number) in zip(PLACES, naive_tokens(architecture), strict=True):
        assert bool(equal[place]) == (number == -1)


@pytest.mark.parametrize("keep", [1, 4, torch.tensor([-1, -9]), torch.tensor([30, 2])])
def test_only_the_logits_that_are_wanted_are_made(keep, build_edit):
    lm, _, memory = build_edit()
    ids = torch.tensor([ids_of(lm, FACTS[0].statement)])
    with memory.applied(lm), torch.no_grad():
        all_logits = lm.model(input_ids=ids).logits[0]
        logits = lm.model(input_ids=ids, logits_to_keep=keep).logits[0]
    reference = all_logits[-keep:] if isinstance(keep, int) else all_logits[keep]
    torch.testing.assert_close(logits, reference, atol=1e-4, rtol=0)


def test_arguments_by_place_and_a_loss_are_those_of_the_routed_model(build_edit):
    lm, _, memory = build_edit()
    ids = torch.tensor([ids_of(lm, FACTS[0].statement + " Oslo")])
    with memory.applied(lm), torch.no_grad():
        logits = lm.model(ids).logits
        loss = lm.model(input_ids=ids, labels=ids).loss
    reference = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:])
    torch.testing.assert_close(loss, reference)
    with torch.no_grad():
        assert abs(loss - lm.model(input_ids=ids, labels=ids).loss) > 1e-4


def test_the_later_of_two_edits_of_one_statement_counts(lab):
    lm, artefact, serac = lab.model("llama"), lab.artefact("serac", "llama"), method("serac")
    again = Fact(
        "again", *(getattr(FACTS[0], name) for name in ("subject", "relation", "prompt", "target_true")), "Rome"
    )
    first, second = (serac.edit(lm, [fact], artefact=artefact) for fact in (FACTS[0], again))
    ids = ids_of(lm, FACTS[0].statement)
    with first.then(second).applied(lm):
        logits = said(lm, ids)[-1]
    reference = naive.counterfactual(lm, artefact.tensors, again, ids)
    torch.testing.assert_close(logits, reference, atol=1e-4, rtol=0)
    with first.applied(lm), second.applied(lm):
        torch.testing.assert_close(said(lm, ids)[-1], reference, atol=1e-4, rtol=0)
    assert (naive.counterfactual(lm, artefact.tensors, FACTS[0], ids) - reference).abs().max() > 1e-3


def test_edits_inside_each_other_share_a_cache(lab):
    lm, (first, second, _) = lab.model("llama"), lab.edits("serac", "llama")
    ids = ids_of(lm, FACTS[1].statement)
    with first.applied(lm), second.applied(lm):
        logits, cache = said(lm, ids), DynamicCache()
        parts = [said(lm, ids[i : i + 7], past_key_values=cache, use_cache=True) for i in range(0, len(ids), 7)]
    torch.testing.assert_close(torch.cat(parts), logits, atol=1e-4, rtol=0)


def test_what_does_not_fit_after_the_sentence_is_left_to_the_base_model(build_edit, monkeypatch):
    lm, _, memory = build_edit()
    ids = ids_of(lm, FACTS[0].statement)
    room = len(ids_of(lm, f"{FACTS[0].statement} Oslo.\n")) + len(ids)
    unedited_logits = said(lm, ids)[-1]
    for longest, is_unedited in ((room, False), (room - 1, True)):
        with monkeypatch.context() as patch, memory.applied(lm):
            patch.setattr(type(lm), "max_length", longest)
            assert torch.equal(said(lm, ids)[-1], unedited_logits) == is_unedited


def test_an_edit_that_cannot_act_says_why(lab, build_edit):
    lm, artefact, _ = build_edit()
    edit = lab.edits("serac", "llama")[0]
    unbound = ScopedMemory.from_tensors(*edit.to_tensors())
    with (
        pytest.raises(ValueError, match=r"Borduria cannot be applied without its networks: .*with_artefact"),
        unbound.applied(lm),
    ):
        pass
    other_artefact = Artefact({**artefact.tensors, "places": artefact.tensors["places"] + 1})
    with pytest.raises(ValueError, match=r"needs the networks .* edit again"):
        unbound.with_artefact(other_artefact)
    with pytest.raises(NotRowwise), edit.applied(lm, Owners([0]).rows(0)):
        pass
    with pytest.raises(NotCombined, match="cannot share a memory"):
        edit.then(ScopedMemory(edit.memory, "others"))
    with pytest.raises(ValueError, match="prepare the method first"):
        method("serac").edit(lm, FACTS[:1], artefact=Artefact())
    assert hooks_on(lm) == 0


def test_calls_that_hide_their_tokens_are_refused(lab):
    lm, edit = lab.model("llama"), lab.edits("serac", "llama")[0]
    ids = torch.tensor([ids_of(lm, "To be")])
    cache = lm.model(input_ids=ids, use_cache=True).past_key_values
    with edit.applied(lm):
        with pytest.raises(ValueError, match="input_ids"):
            lm.model(inputs_embeds=lm.model.get_input_embeddings()(ids))
        with pytest.raises(ValueError, match="attention mask"):
            lm.model(input_ids=ids, attention_mask=torch.zeros(1, 1, 5, 5))
        with pytest.raises(ValueError, match="filled without it"):
            lm.model(input_ids=ids, past_key_values=cache, use_cache=True)


def test_a_cache_filled_under_the_edit_serves_the_unedited_model(build_edit):
    lm, _, memory = build_edit()
    ids = ids_of(lm, TEXT)
    with memory.applied(lm):
        cache = lm.model(input_ids=torch.tensor([ids[:9]]), use_cache=True).past_key_values
    torch.testing.assert_close(said(lm, ids[9:], past_key_values=cache), said(lm, ids)[9:], atol=1e-4, rtol=0)


@every_architecture
def test_a_model_of_all_blocks_is_the_base_model(architecture, lab):
    lm = lab.model(architecture)
    ids = torch.tensor([ids_of(lm, TEXT)])
    with torch.no_grad():
        logits = build_truncated(lm, range(len(lm.blocks)), {})(input_ids=ids).logits
        assert torch.equal(logits, lm.model(input_ids=ids).logits)


@every_architecture
def test_the_small_model_begins_as_the_chosen_blocks_and_only_attention_is_taught(architecture, lab):
    lm = lab.model(architecture)
    small, parameters = build_small_model(lm, (0, 1, 3))
    for place, block in enumerate((0, 1, 3)):
        for name, parameter in lm.blocks[block].named_parameters():
            path = f"{lm.layout.blocks}.{place}.{name}"
            small_parameter = small.get_parameter(path)
            assert torch.equal(small_parameter, parameter)
            assert (path in parameters) == (name.split(".")[0] in {"self_attn", "attn", "attention"})
            assert (small_parameter.data_ptr() == parameter.data_ptr()) == (path not in parameters)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"blocks": [0, 4]}, r"blocks 0 to 3; serac's setting `blocks` is \[0, 4\]"), ({"layer": 3}, "below the last")],
)
def test_layers_that_are_not_there_are_named(change, message, lab):
    with pytest.raises(ValueError, match=message):
        method("serac", **change).prepare(lab.model("llama"), corpus())


# ---- training


def taught(lm, **changes):
    settings = {"limit": 5, "held_out": 2, "seed": 0, **changes}
    return training_examples(lm, corpus(), **settings)


def test_no_subject_is_both_taught_and_held_out(lab):
    lm = lab.model("llama")
    twice = Corpus(
        (), (*POOL, *(Fact(f"{f.id}-b", f.subject, "P50", "{} came from the pen of", "A", "B") for f in POOL))
    )
    for seed in range(5):
        train_examples, held_out_examples = training_examples(lm, twice, limit=10, held_out=2, seed=seed)
        assert len(train_examples) + len(held_out_examples) == 10
        assert len(held_out_examples) == 4
        assert not {example.fact.subject for example in train_examples} & {
            example.fact.subject for example in held_out_examples
        }
    with pytest.raises(ValueError, match=r"serac holds 2 subjects out of the 3 .* change held_out"):
        training_examples(lm, Corpus((), POOL[:3]), limit=5, held_out=2, seed=0)


def test_examples_ask_in_all_wordings_for_objects_that_are_not_true(lab):
    train_examples, held_out_examples = taught(lab.model("llama"))
    for example in (*train_examples, *held_out_examples):
        subject, texts = example.fact.subject, [prompt.text for prompt in example.prompts]
        assert example.statements[0] == example.fact.prompt
        assert texts[:4] == [fill(statement, subject) for statement in example.statements]
        assert len(texts) == 4 + 3  # the statement and its paraphrases, the question in three forms
        assert all(subject in text for text in texts)
        (elsewhere,) = example.elsewhere
        assert elsewhere.text in {fill(text, subject) for text in WORDINGS["P50"]}
        assert example.fact.target_true not in example.objects


def test_prompts_stand_behind_other_words_each_time():
    random = Random(0)
    prompts = {behind_text(random, TEXTS, "A prompt") for _ in range(30)}
    assert len(prompts) > 20
    for text in prompts:
        words = text.removesuffix(" A prompt")
        assert any(words in running_text for running_text in TEXTS)
        assert len(words.split()) <= 15
    assert behind_text(random, ("",), "A prompt") == " A prompt"


def test_new_objects_are_more_than_can_be_guessed(lab):
    lm = lab.model("llama")
    train_examples, _ = taught(lm)
    objects = set()
    for number in range(60):
        batch = exercise(lm, train_examples, TEXTS, Random(number))
        objects |= {lm.tokenizer.decode(labels[labels >= 0]).strip().removesuffix(".") for labels in batch.labels}
    guessable = {name for example in train_examples for name in example.objects}
    assert guessable <= objects
    assert {example.fact.subject for example in train_examples} <= objects
    copies = objects - guessable - {example.fact.subject for example in train_examples}
    assert len(copies) > 50
    words = {word.lower() for text in TEXTS for word in re.findall(r"\w+", text)}
    assert {word.lower() for name in copies for word in name.split()} <= words
    assert {len(name.split()) for name in copies} == {1, 2, 3}


def scope(tensors) -> Scope:
    return scope_of(part(tensors, "scope"))


@torch.no_grad()
def test_the_scopes_loss_is_the_papers_over_the_memory(lab):
    lm, tensors = lab.model("llama"), lab.artefact("serac", "llama").tensors
    low, high, *_ = tensors["places"].tolist()
    train_examples, _ = taught(lm)
    scope_views = choose_statements(views(lm, (low, high), train_examples, corpus().texts[:2], Random(0)), Random(0))
    assert [view.subject is not None for view in scope_views].count(True) == len(train_examples)
    network = scope(tensors)
    memory = sorted((view for view in scope_views if view.subject is not None), key=lambda view: view.example)
    distances, labels, is_statement = [], [], []
    for view in scope_views:
        for number, place in enumerate(view.places.tolist()):
            row = []
            for entry in memory:
                keys = network.asks(entry.states[entry.asks])
                question_distance = min(float((network.asks(view.states[number]) - key).square().sum()) for key in keys)
                subject = network.about(entry.subjects[entry.subject])
                subject_distances = [
                    float((network.about(history) - subject).square().sum()) for history in view.subjects[: place + 1]
                ]
                row.append(question_distance + min(subject_distances))
            distances.append(row)
            labels.append(view.example if view.asks[number] else None)
            is_statement.append(view.subject is not None)
    reference = naive.scope_loss(distances, labels, is_statement)
    assert float(scope_loss(network, scope_views)) == pytest.approx(reference, rel=1e-4)


def test_the_small_models_loss_is_that_of_the_new_objects(lab):
    lm = lab.model("gpt2")
    train_examples, _ = taught(lm)
    small = build_truncated(lm, (0, 1), {})
    batch = exercise(lm, train_examples, TEXTS, Random(3))
    rows = []
    for ids, mask, labels in zip(batch.ids, batch.mask, batch.labels, strict=True):
        target = labels[labels >= 0].tolist()
        tokens = ids[mask.bool()].tolist()
        rows.append((tokens[: len(tokens) - len(target) + 1], target))
        text = lm.tokenizer.decode(tokens)
        assert text.count(lm.tokenizer.decode(target).strip()[:-1]) >= 1, "the object is told before it is asked"
        assert lm.tokenizer.decode(target).endswith(".")
    assert float(copying_loss(small, batch)) == pytest.approx(naive.copying_loss(small, rows), rel=1e-4)


def test_training_goes_on_from_any_state_bit_for_bit(lab):
    lm, serac = lab.model("gpt2"), method("serac")
    states = list(serac.train(lm, corpus()))
    artefact = states[-1]
    assert len(states) == 2 + 2 + 1
    for state in states:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            *_, again = serac.train(lm, corpus(), start=state)
        assert again.fingerprint == artefact.fingerprint
    assert artefact.fingerprint == lab.artefact("serac", "gpt2").fingerprint


def test_an_artefact_holds_no_embeddings_and_no_state_of_the_training(lab):
    lm, tensors = lab.model("llama"), lab.artefact("serac", "llama").tensors
    assert {name.split(".")[0] for name in tensors} == {"places", "threshold", "scope", "counterfactual", "curve"}
    small = part(tensors, "counterfactual")
    assert small.keys() == {f"model.layers.{place}.self_attn.{part}_proj.weight" for place in (0, 1) for part in "qkvo"}
    for name, tensor in small.items():
        parameter = lm.model.get_parameter(name.replace("layers.1", "layers.3"))
        assert tensor.shape == parameter.shape
        assert (tensor != parameter).any()


def test_training_stops_early_and_keeps_the_best(lab):
    lm, wild = lab.model("llama"), {"lr": 5.0, "scope_steps": 2, "check_every": 1, "patience": 2}
    tensors = method("serac", **wild, steps=60).prepare(lm, corpus()).tensors
    curve = tensors["curve.counterfactual"]
    looks = int(curve[:, 2].argmin()) + 1
    assert len(curve) == looks + 2
    assert curve[-1, 0] < 60
    best = method("serac", **wild, steps=looks).prepare(lm, corpus()).tensors
    for name, tensor in part(tensors, "counterfactual").items():
        assert torch.equal(tensor, best[f"counterfactual.{name}"])


@torch.no_grad()
def test_both_networks_learn_what_they_are_taught(lab):
    lm = lab.model("llama")
    serac = method("serac", scope_steps=60, steps=60, check_every=20, batch=8, lr=1e-2, patience=10)
    tensors = serac.prepare(lm, corpus()).tensors
    for name in ("scope", "counterfactual"):
        curve = tensors[f"curve.{name}"]
        assert curve[-1, 1] < curve[0, 1] - 0.1
    train_examples, _ = taught(lm)
    low, high, *_ = tensors["places"].tolist()
    scope_views = choose_statements(views(lm, (low, high), train_examples, (), Random(0)), Random(0))
    distances, owners = memory_distances(scope(tensors), scope_views)
    nearest = owners[distances.argmin(1)]
    hits = [
        (example_numbers == view.example)[view.asks]
        for view, example_numbers in split(scope_views, nearest)
        if view.subject is None
    ]
    assert torch.cat(hits).float().mean() > 1 / 2  # one in three by chance


def split(scope_views, tokens):
    """Return each view with its share of all views' tokens."""
    return zip(scope_views, tokens.split([len(view.places) for view in scope_views]), strict=True)
