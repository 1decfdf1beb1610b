"""Law 5: a solver satisfies its own equation and matches a naive transcription of the paper.

These are about single methods; a new method with a closed form or an optimiser of its own adds its own here.
"""

import naive_editing as naive
import numpy as np
import pytest
import torch
from cells import every_architecture, every_dtype
from fabricated_edits import FACTS, TEXTS, method, same_edit

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Adam
from edit_robustness.editing.keys import mean_key
from edit_robustness.editing.second_moments import second_moments
from edit_robustness.editing.target import optimise_value, split_prompts
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model


@pytest.mark.parametrize(
    ("dtype", "fact"),
    # where the subject ends depends on the tokens only, not on the dtype
    [*((torch.float32, fact) for fact in FACTS), (torch.bfloat16, FACTS[0])],
    ids=lambda value: getattr(value, "id", str(value).removeprefix("torch.")),
)
@every_architecture
def test_rome_inserts_its_value_at_its_key(architecture, dtype, fact, lab):
    lm, artefact, rome = lab.model(architecture, dtype), lab.artefact("rome", architecture, dtype), method("rome")
    value = optimise_value(lm, [rome.site], fact, artefact.texts, rome.objective).changes[rome.site]
    key = mean_key(lm, rome.site, split_prompts(lm, fact, artefact.texts))
    change = lab.edits("rome", architecture, dtype)[FACTS.index(fact)].dense()[rome.site]
    torch.testing.assert_close(change @ key, value, rtol=1e-4, atol=1e-5)
    assert value.norm() > 0.01


@every_architecture
def test_rome_is_the_papers_formula(architecture, lab):
    lm, rome, fact = lab.model(architecture), method("rome"), FACTS[0]
    artefact = lab.artefact("rome", architecture)
    value = optimise_value(lm, [rome.site], fact, artefact.texts, rome.objective)
    change = value.changes[rome.site].double().numpy()
    weight = lm.weight(rome.site).double().numpy()
    key = naive.mean_key(lm, lm.module(rome.site), fact, artefact.texts)
    moment = artefact.tensors[str(rome.site)].numpy()
    formula = naive.rome(weight, moment, key, weight @ key + change)
    with lab.edits("rome", architecture)[0].applied(lm):
        weight_after = lm.weight(rome.site).double().numpy()
    scale = np.abs(formula - weight).max()
    assert scale > 1e-3
    np.testing.assert_allclose(weight_after - weight, formula - weight, atol=1e-4 * scale)


@every_architecture
def test_second_moments_are_the_mean_of_outer_products(architecture, lab):
    lm, site = lab.model(architecture), method("rome").site
    moment = second_moments(lm, TEXTS, [site], tokens=10_000)[site]
    formula = naive.second_moment(lm, lm.module(site), list(TEXTS))
    assert moment.dtype == torch.float64
    np.testing.assert_allclose(moment.numpy(), formula, rtol=1e-4, atol=1e-6 * np.abs(formula).max())


@pytest.mark.parametrize("facts", [FACTS[:1], FACTS], ids=["one fact", "a batch"])
@every_architecture
def test_ft_is_adam_on_the_weight_with_masked_labels(architecture, facts):
    lm, ft = tiny_model(architecture), method("ft", lr=1e-3)
    edit = ft.edit(lm, facts, history=EditHistory())
    (site,) = edit.dense()
    change, _ = naive.fine_tune(lm, lm.module(site), list(facts), lr=ft.lr, steps=ft.steps, stop_loss=ft.stop_loss)
    formula = change.T if lm.layout.transposed else change
    difference = (edit.dense()[site] - formula).abs()
    assert formula.abs().max() > 1e-3
    # where a gradient is rounding error only, Adam's step is of its size and of either sign
    assert (difference < 1e-5).float().mean() > 0.999


@pytest.mark.parametrize("loss_mean", ["tokens", "rows"])
def test_ft_weighs_the_facts_of_a_batch_by_tokens_or_by_rows(loss_mean):
    lm, ft = tiny_model("llama"), method("ft", lr=1e-3, steps=3, stop_loss=0.0, loss_mean=loss_mean)
    (change,) = ft.edit(lm, FACTS).dense().values()
    equal = {}
    for by_rows in (True, False):
        model = tiny_model("llama")
        module = model.module(Site(ft.layer, "mlp_out"))
        settings = {"lr": ft.lr, "steps": ft.steps, "stop_loss": 0.0, "by_rows": by_rows}
        formula, _ = naive.fine_tune(model, module, list(FACTS), **settings)
        equal[by_rows] = float(((change - formula).abs() < 1e-5).float().mean())
    # Adam's first step has the gradient's sign only, so that most entries agree either way
    assert equal[loss_mean == "rows"] > 0.999
    assert equal[loss_mean != "rows"] < 0.98


def test_ft_stops_where_the_naive_loop_does():
    lm, settings = tiny_model("llama"), {"lr": 1e-2, "steps": 60, "stop_loss": 3.0}
    edit = method("ft", **settings).edit(lm, FACTS[:1], history=EditHistory())
    _, losses = naive.fine_tune(lm, lm.module(next(iter(edit.dense()))), [FACTS[0]], **settings)
    assert losses[-1] < settings["stop_loss"]
    assert len(edit.gradients) == len(losses) - 1


@every_dtype
@every_architecture
def test_the_trace_replays_what_the_optimiser_had(architecture, dtype, lab, monkeypatch):
    totals = []
    original = Adam.run

    def record(self, like):
        inner = original(self, like)
        total = next(inner)
        while True:
            totals.append(total)
            gradient = yield total
            total = inner.send(gradient)

    with monkeypatch.context() as context:
        context.setattr(Adam, "run", record)
        edit = method("ft").edit(lab.model(architecture, dtype), FACTS[:1], history=EditHistory())
    assert len(totals) == len(edit.gradients) + 1
    (change,) = edit.dense().values()
    assert torch.equal(change, totals[-1])
    assert same_edit(edit, lab.edits("ft", architecture, dtype)[0])
