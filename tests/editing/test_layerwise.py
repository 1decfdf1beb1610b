import logging

import naive_editing as naive
import naive_memit
import pytest
import torch
from fabricated_edits import FACTS, TEXTS, bits, corpus, hooks_on, method, same_bits, same_edit

from edit_robustness.editing import layerwise, second_moments, target
from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import LowRank
from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.editing.keys import keys_in_prompts, mean_key
from edit_robustness.editing.layerwise import outputs_at_subjects
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.target import optimise_value, split_prompts
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model

every_layerwise = pytest.mark.parametrize("name", ["memit", "pmet", "alphaedit"])


@pytest.mark.parametrize("part", ["residual", "mlp_out"])
def test_outputs_are_those_of_the_bare_statements(part, lab):
    lm, place = lab.model("llama"), Site(2, part)
    facts = FACTS * 7
    outputs = outputs_at_subjects(lm, place, facts)
    reference = [naive_memit.output_of(lm, lm.module(place), fact) for fact in FACTS] * 7
    for row, output in zip(outputs, reference, strict=True):
        torch.testing.assert_close(row.double(), torch.tensor(output), atol=1e-5, rtol=1e-4)
    assert hooks_on(lm) == 0


def test_the_blocks_above_the_place_are_not_run(lab):
    lm, ran = lab.model("llama"), []
    handles = [block.register_forward_pre_hook(lambda *_, n=n: ran.append(n)) for n, block in enumerate(lm.blocks)]
    outputs_at_subjects(lm, Site(1, "residual"), FACTS)
    for handle in handles:
        handle.remove()
    assert ran == [0, 1]


@every_layerwise
def test_an_edit_makes_its_object_likelier(name, lab):
    lm, editor = lab.model("gpt2"), method(name, v_steps=20, clamp_norm_factor=4)
    for fact, edit in zip(FACTS, editor.edit_each(lm, FACTS, artefact=lab.artefact(name, "gpt2")), strict=True):
        ids, target = naive.ids_of(lm, fact.statement), naive.ids_of(lm, " " + fact.target_new)
        before = naive.continuation(lm, ids, target)[0]
        with edit.applied(lm):
            assert naive.continuation(lm, ids, target)[0] > before + 0.5


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox"])
@every_layerwise
def test_with_little_weight_on_other_keys_a_batch_brings_its_values_about(architecture, name, lab):
    lm = lab.model(architecture)
    strong = {"l2": 1e-7} if name == "alphaedit" else {"mom2_update_weight": 1e-5}
    editor = method(name, context_lengths=[], **strong)
    goal = editor.places[0]
    edit = editor.edit(lm, FACTS, artefact=editor.prepare(lm, corpus()))
    values = [optimise_value(lm, editor.places, fact, (), editor.objective) for fact in FACTS]
    before = outputs_at_subjects(lm, goal, FACTS)
    with edit.applied(lm):
        changes = outputs_at_subjects(lm, goal, FACTS) - before
    target = torch.stack([value.changes[goal] for value in values])
    assert (changes - target).norm() < 0.02 * target.norm()


@every_layerwise
def test_nothing_is_factored_when_editing_and_the_corpus_is_passed_once(name, lab, monkeypatch):
    lm, passes, factorings = lab.model("llama"), [], []
    inner = second_moments.inputs_at
    monkeypatch.setattr(second_moments, "inputs_at", lambda lm, sites, **b: passes.append(b) or inner(lm, sites, **b))
    for function_name in ("cholesky_ex", "eigh"):
        function = getattr(torch.linalg, function_name)
        monkeypatch.setattr(torch.linalg, function_name, lambda c, f=function: factorings.append(len(c)) or f(c))
    editor = method(name)
    artefact = editor.prepare(lm, corpus())
    # alphaedit looks once more, at the text that is held out
    assert len(passes) == (2 if name == "alphaedit" else 1)
    count = len(passes)
    assert len(factorings) == len(editor.layers)
    assert len(list(editor.edit_each(lm, FACTS, artefact=artefact))) == len(FACTS)
    editor.edit(lm, FACTS, artefact=artefact)
    assert len(passes) == count
    assert len(factorings) == len(editor.layers)


@every_layerwise
def test_moments_that_the_corpus_has_are_not_taken_again(name, lab, monkeypatch):
    lm, editor, before = lab.model("llama"), method(name), lab.artefact(name, "llama")
    moments = second_moments.second_moments(lm, TEXTS, editor.key_sites, tokens=editor.mom2_tokens)
    monkeypatch.setattr(second_moments, "second_moments", None)
    assert editor.prepare(lm, Corpus(TEXTS, moments=moments)).fingerprint == before.fingerprint


@pytest.mark.parametrize("calls", [1, 2, 3])
@every_layerwise
def test_a_failure_between_the_layers_leaves_the_weights_as_they_were(name, calls, lab, monkeypatch):
    lm, calls_left, inner = tiny_model("gpt2"), iter(range(calls)), layerwise.mean_key

    def fail(*arguments):
        next(calls_left)
        return inner(*arguments)

    monkeypatch.setattr(layerwise, "mean_key", fail)
    weights = bits(lm)
    with pytest.raises(StopIteration):
        method(name).edit(lm, FACTS[:2], artefact=lab.artefact(name, "gpt2"))
    assert same_bits(bits(lm), weights)


def test_upper_layers_see_the_lower_ones_written(lab):
    lm, memit, artefact = lab.model("llama"), method("memit"), lab.artefact("memit", "llama")
    factors = memit.edit(lm, FACTS[:1], artefact=artefact).factors
    lower, upper = memit.key_sites
    before = outputs_at_subjects(lm, memit.places[0], FACTS[:1])
    with LowRank({lower: factors[lower]}).applied(lm):
        change = outputs_at_subjects(lm, memit.places[0], FACTS[:1]) - before
    target = 2 * factors[lower][0].T
    assert change.norm() > 0.05 * target.norm()
    torch.testing.assert_close(factors[upper][0].T, target - change, atol=1e-4, rtol=1e-3)


def test_alphaedit_leaves_what_the_corpus_asks_alone_and_says_which_keys_to_protect(lab, tmp_path):
    lm, editor = lab.model("gpt2"), method("alphaedit")
    edit = editor.edit(lm, FACTS, artefact=lab.artefact("alphaedit", "gpt2"))
    moments = second_moments.second_moments(lm, TEXTS, editor.key_sites, tokens=editor.mom2_tokens)
    for site, change in edit.dense().items():
        values, vectors = torch.linalg.eigh(moments[site])
        known_space = vectors[:, values >= editor.nullspace_threshold].float()
        assert (change @ known_space).norm() < 1e-5 * change.norm()
    write_edit(tmp_path / "edit.safetensors", edit, {})
    stored_keys = read_edit(tmp_path / "edit.safetensors").protected_keys
    assert stored_keys.keys() == edit.protected_keys.keys() == set(editor.key_sites)
    assert all(
        torch.equal(stored_keys[site], keys) and keys.shape == (3, 48) for site, keys in edit.protected_keys.items()
    )


HISTORY = {"alphaedit": {}, "memit": {"protect_history": True}, "pmet": {"protect_history": True}}
every_history = pytest.mark.parametrize("protect_history", [True, False], ids=["protect_history", "none"])


@every_layerwise
def test_earlier_edits_are_disturbed_less_where_their_keys_are_known(name, lab):
    lm, editor, artefact = lab.model("gpt2"), method(name, **HISTORY[name]), lab.artefact(name, "gpt2")
    history = EditHistory() + editor.edit(lm, FACTS[:1], artefact=artefact)
    with history.applied(lm):
        edit_with_history = editor.edit(lm, FACTS[1:2], artefact=artefact, history=history)
        ignorant = editor.edit(lm, FACTS[1:2], artefact=artefact)
    assert not same_edit(edit_with_history, ignorant)
    for site, keys in history.keys.items():
        assert (edit_with_history.dense()[site] @ keys.T).norm() < (ignorant.dense()[site] @ keys.T).norm()


@pytest.mark.parametrize("name", ["memit", "pmet"])
def test_without_history_there_are_no_keys_to_protect_and_no_notice_is_taken_of_them(name, lab):
    lm, artefact = lab.model("llama"), lab.artefact(name, "llama")
    editor = method(name, protect_history=False)
    alone = editor.edit(lm, FACTS[:1], artefact=artefact)
    assert not alone.protected_keys
    other_edit = lab.edits("alphaedit", "llama")[1]
    keys_only = EditHistory(keys=(EditHistory() + other_edit).keys)
    assert same_edit(editor.edit(lm, FACTS[:1], artefact=artefact, history=keys_only), alone)


@every_history
def test_the_first_step_of_a_sequence_is_the_independent_edit_and_files_replay_it(protect_history, lab, tmp_path):
    lm, memit, artefact = (
        lab.model("llama"),
        method("memit", protect_history=protect_history),
        lab.artefact("memit", "llama"),
    )
    (alone,) = memit.edit_each(lm, FACTS[:1], artefact=artefact)
    history, replay = EditHistory(), EditHistory()
    for number, fact in enumerate(FACTS):
        with history.applied(lm):
            edit = memit.edit(lm, [fact], artefact=artefact, history=history)
        if number == 0:
            assert same_edit(
                edit, method("memit", protect_history=not protect_history).edit(lm, [fact], artefact=artefact)
            )
            assert same_edit(edit, alone)
        write_edit(tmp_path / "edit.safetensors", edit, {})
        again = read_edit(tmp_path / "edit.safetensors")
        assert same_edit(again, edit)
        history, replay = history + edit, replay + again
        assert bool(history.keys) == protect_history
        for site in history.keys:
            assert torch.equal(replay.keys[site], history.keys[site])
            assert len(history.keys[site]) == number + 1
        assert all(torch.equal(replay.changes[site], change) for site, change in history.changes.items())


@pytest.mark.parametrize("least_count", [False, True])
def test_many_facts_show_how_far_they_are(least_count, lab, caplog):
    lm, facts = lab.model("llama"), FACTS * 4 if least_count else FACTS
    with caplog.at_level(logging.INFO):
        method("memit", v_steps=1).edit(lm, facts, artefact=lab.artefact("memit", "llama"))
    assert ("tiny-llama: memit values: 12" in caplog.text) == least_count


@pytest.mark.parametrize(
    ("layers", "complaint"),
    [([2, 1], r"layers must ascend strictly; they are \[2, 1\]"), ([1, 1], "must ascend"), ([], "at least 1 item")],
)
@every_layerwise
def test_layers_in_another_order_are_refused(name, layers, complaint):
    with pytest.raises(ValueError, match=complaint):
        method(name, layers=layers)


@every_layerwise
def test_a_layer_that_the_model_has_not_is_named_before_anything_is_taken(name, lab):
    with pytest.raises(ValueError, match="tiny-llama has layers 0 to 3; the setting asks for 9"):
        method(name, layers=[1, 9]).prepare(lab.model("llama"), corpus())


@pytest.mark.parametrize("measure", [{"threshold": 1e-9, "energy": None}, {"threshold": None, "energy": 1e-9}])
def test_a_measure_without_a_null_space_is_refused_when_preparing(measure, lab):
    settings = {f"nullspace_{name}": value for name, value in measure.items()}
    with pytest.raises(ValueError, match="raise it"):
        method("alphaedit", **settings).prepare(lab.model("llama"), corpus())


@pytest.mark.parametrize(("threshold", "energy", "state"), [(0.05, 0.01, "both are"), (None, None, "none is")])
def test_alphaedit_takes_one_measure_of_its_null_space(threshold, energy, state):
    with pytest.raises(ValueError, match=f"one of nullspace_energy and nullspace_threshold, and {state} set"):
        method("alphaedit", nullspace_threshold=threshold, nullspace_energy=energy)
    for wrong in (0.0, 1.0):
        with pytest.raises(ValueError, match="nullspace_energy"):
            method("alphaedit", nullspace_threshold=None, nullspace_energy=wrong)


def test_alphaedit_measures_what_its_changes_touch_on_text_that_was_held_out(lab):
    lm, editor = lab.model("llama"), method("alphaedit", nullspace_threshold=None, nullspace_energy=0.05)
    artefact = editor.prepare(lm, corpus())
    moments = second_moments.second_moments(lm, TEXTS, editor.key_sites, tokens=editor.mom2_tokens)
    held_out_texts = second_moments.unread_texts(lm, TEXTS, editor.mom2_tokens)
    assert 0 < len(held_out_texts) < len(TEXTS)
    assert artefact.figures["held_out_tokens"] == sum(len(naive.ids_of(lm, text)) for text in held_out_texts)
    for site in editor.key_sites:
        values, vectors = torch.linalg.eigh(moments[site])
        null = vectors[:, values.cumsum(0) <= 0.05 * values.sum()].numpy()
        keys = [naive.keys_of(lm, lm.module(site), naive.ids_of(lm, text)) for text in held_out_texts]
        share = sum(((key @ null) ** 2).sum() for key in keys) / sum((key**2).sum() for key in keys)
        assert artefact.figures["held_out_energy"][str(site)] == pytest.approx(share, abs=1e-4)
        assert share > 0.02


def test_a_corpus_that_leaves_no_text_to_hold_out_is_said(lab, caplog):
    artefact = method("alphaedit", mom2_tokens=10_000).prepare(lab.model("llama"), corpus())
    assert artefact.figures == {"held_out_energy": {}, "held_out_tokens": 0}
    assert "mom2_tokens: 10000 reads the whole corpus" in caplog.text


@every_layerwise
def test_with_shares_each_prompt_gets_the_mean_of_what_the_layers_give_it(name, lab, monkeypatch):
    lm, searches = lab.model("llama"), []
    monkeypatch.setattr(layerwise, "optimise_value", lambda *a, **k: searches.append(k) or optimise_value(*a, **k))
    editor, artefact = method(name, v_shares=True, v_steps=3), lab.artefact(name, "llama")
    editor.edit(lm, FACTS[:1], artefact=artefact)
    (shares,) = (search["shares"] for search in searches)
    prompts = split_prompts(lm, FACTS[0], artefact.texts)
    sites = editor.key_sites[-1:] if name == "pmet" else editor.key_sites
    parts = []
    for site in sites:
        keys = keys_in_prompts(lm, [site], prompts)[site]
        key = mean_key(lm, site, prompts, editor.statement_weight)
        right = editor.directions(site, key[None], artefact, EditHistory())[0].float()
        parts.append([float(right @ prompt_key / (right @ key)) for prompt_key in keys])
    torch.testing.assert_close(shares, torch.tensor(parts).mean(0), atol=1e-4, rtol=1e-3)
    assert len(shares) == 2 + len(artefact.texts)


def test_a_batch_says_which_of_its_facts_used_up_their_steps(lab):
    lm, artefact = lab.model("llama"), lab.artefact("memit", "llama")
    edit = method("memit", v_steps=2, v_stop_loss=1e-3).edit(lm, FACTS[:2], artefact=artefact)
    assert edit.origin.unmet_losses.keys() == {fact.id for fact in FACTS[:2]}
    assert not method("memit", v_stop_loss=50.0).edit(lm, FACTS[:2], artefact=artefact).origin.unmet_losses


def test_encores_norm_is_added_to_the_second_moments(lab):
    lm = lab.model("llama")
    encore = method("memit", norm_weight=20.0)
    artefact = encore.prepare(lm, corpus())
    plain = method("memit").prepare(lm, corpus())
    site = encore.key_sites[0]
    moment = plain.tensors[str(site)] @ plain.tensors[str(site)].T
    keys = torch.randn(2, len(moment), generator=torch.Generator().manual_seed(0))
    weighted = moment + 20.0 / encore.mom2_update_weight * torch.eye(len(moment), dtype=torch.float64)
    residual = torch.eye(2).double().numpy()
    formula = naive_memit.memit(residual, keys.double().numpy().T, weighted.numpy(), encore.mom2_update_weight, None)
    right = encore.directions(site, keys, artefact, EditHistory())
    torch.testing.assert_close(right, torch.tensor(formula), atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("n_leads", [1, 2, 3])
def test_the_search_stops_when_the_object_has_led_so_often(n_leads, lab, monkeypatch):
    lm, fact = lab.model("llama"), FACTS[0]
    # the object is what the model would say anyway, so that it leads from the first loss on
    monkeypatch.setattr(target, "target_ids", lambda *_: [probable_token(lm, fact)])
    editor = method("memit", v_steps=9, v_stop_loss=0.0, v_stop_leads=n_leads, context_lengths=[])
    value = optimise_value(lm, editor.places, fact, (), editor.objective)
    assert (len(value.losses), value.is_met) == (n_leads, True)
    patient = method("memit", v_steps=9, v_stop_loss=0.0, context_lengths=[])
    assert len(optimise_value(lm, patient.places, fact, (), patient.objective).losses) == 9


def probable_token(lm, fact):
    logits = lm.model(torch.tensor([naive.ids_of(lm, fact.statement)])).logits
    return int(logits[0, -1].argmax())
