"""Law 5 of MEMIT, PMET and AlphaEdit: each is the dense transcription of its paper, alone, in a batch, after others."""

from functools import cache
from math import sqrt

import naive_editing as naive
import naive_memit
import numpy as np
import pytest
import torch
from cells import APART, every_architecture, slow_unless
from fabricated_edits import ARCHITECTURES, FACTS, TEXTS, corpus, method

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import LowRank
from edit_robustness.editing.target import optimise_value
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model

EARLIER = 5
every_architecture_slowly = pytest.mark.parametrize(
    "architecture",
    [pytest.param(architecture, marks=slow_unless(architecture in APART)) for architecture in ARCHITECTURES],
)
"""Two architectures by default: earlier keys are not read from the model, so no architecture is a case of its own."""

EVERY_TOKEN = 10_000

BATCH = FACTS[:2]
"""The subject inside the prompt and at its beginning."""


@pytest.fixture(scope="module")
def moments_of(lab):
    """The naive second moments of an architecture's keys, taken once."""

    @cache
    def of(architecture):
        lm, sites = lab.model(architecture), method("memit").key_sites
        return {site: naive.second_moment(lm, lm.module(site), list(TEXTS)) for site in sites}

    return of


@pytest.fixture(scope="module")
def values_of(lab):
    """What the optimisation finds on an unedited model, once for methods that ask the same; it has laws of its own."""

    @cache
    def of(architecture, places, fact, contexts, objective):
        return optimise_value(lab.model(architecture), places, fact, contexts, objective)

    return of


def expected_changes(editor, architecture, facts, contexts, values_of, moments, before=None):
    """The naive changes on a model of its own."""
    lm = tiny_model(architecture)
    goal = Site(editor.layers[-1], "mlp_out" if editor.name == "pmet" else "residual")
    beside = (Site(editor.layers[-1], "attention_out"),) if editor.name == "pmet" else ()
    goals = []
    for fact in facts:
        value = values_of(architecture, (goal, *beside), fact, contexts, editor.objective).changes[goal]
        goals.append(naive_memit.output_of(lm, lm.module(goal), fact) + value.double().numpy())
    sites = [Site(layer, "mlp_out") for layer in editor.layers]

    def change(number, residual, keys):
        moment = moments[sites[number]]
        if editor.name == "alphaedit":
            projector = naive_memit.projection(moment, editor.nullspace_threshold)
            return naive_memit.alphaedit(residual, keys, before[sites[number]], projector, editor.l2)
        earlier = before[sites[number]] if editor.protect_history else None
        return naive_memit.memit(residual, keys, moment, editor.mom2_update_weight, earlier)

    return sites, naive_memit.layer_by_layer(
        lm,
        list(facts),
        contexts,
        goals,
        modules=[lm.module(site) for site in sites],
        goal=lm.module(goal),
        share=lambda layers_left: 1 / (sqrt(layers_left) if editor.name == "pmet" else layers_left),
        change=change,
    )


def same_changes(edit, sites, changes):
    assert edit.dense().keys() == set(sites)
    for site, change in zip(sites, changes, strict=True):
        scale = np.abs(change).max()
        assert scale > 1e-3
        np.testing.assert_allclose(edit.dense()[site].numpy(), change, atol=1e-3 * scale)


@pytest.mark.parametrize("name", ["memit", "pmet", "alphaedit"])
@every_architecture
def test_the_low_rank_edit_is_the_papers_dense_formula(architecture, name, lab, values_of, moments_of):
    editor = method(name, mom2_tokens=EVERY_TOKEN)
    artefact = editor.prepare(lab.model(architecture), corpus())
    moments = moments_of(architecture)
    no_keys = {site: np.zeros((moment.shape[0], 0)) for site, moment in moments.items()}
    edit = editor.edit(lab.model(architecture), BATCH, artefact=artefact)
    assert {output_factor.shape[1] for output_factor, _ in edit.factors.values()} == {len(BATCH)}
    same_changes(edit, *expected_changes(editor, architecture, BATCH, artefact.texts, values_of, moments, no_keys))


@pytest.mark.parametrize("name", ["alphaedit", "memit", "pmet"])
@every_architecture_slowly
def test_the_keys_of_earlier_edits_are_weighed(architecture, name, lab, values_of, moments_of):
    protect_history = {} if name == "alphaedit" else {"protect_history": True}
    editor = method(name, mom2_tokens=EVERY_TOKEN, **protect_history)
    artefact = editor.prepare(lab.model(architecture), corpus())
    moments = moments_of(architecture)
    torch.manual_seed(0)
    earlier = {site: torch.randn(EARLIER, moment.shape[0]) for site, moment in moments.items()}
    hidden = lab.model(architecture).config.hidden_size
    no_change = {site: (torch.zeros(hidden, 1), torch.zeros(1, len(moments[site]))) for site in earlier}
    history = EditHistory() + LowRank(no_change, earlier)
    edit = editor.edit(lab.model(architecture), BATCH, artefact=artefact, history=history)
    before = {site: keys.double().numpy().T for site, keys in earlier.items()}
    same_changes(edit, *expected_changes(editor, architecture, BATCH, artefact.texts, values_of, moments, before))
    alone = editor.edit(lab.model(architecture), BATCH, artefact=artefact)
    for site, keys in earlier.items():
        assert (edit.dense()[site] @ keys.T).norm() < 0.7 * (alone.dense()[site] @ keys.T).norm()
        assert torch.equal(edit.keys[site], (history + edit).keys[site][EARLIER:])
