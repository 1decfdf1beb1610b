"""Neurons that never fire, of pruned and of ReLU models, take no part in closed-form solutions."""

import numpy as np
import pytest
import torch
from fabricated_edits import FACTS, TEXTS, method

from edit_robustness.editing.closed_form import cholesky_factor, dead_figures, rank_one, solver
from edit_robustness.editing.method import Corpus, Unsolvable
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.report.runs import list_methods


def test_coordinates_that_never_fire_are_left_out_of_the_solve():
    keys = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).double()
    keys[:, [1, 4]] = 0
    live = [0, 2, 3, 5]
    moments = keys.T @ keys / len(keys)
    rows = torch.randn(3, 6, generator=torch.Generator().manual_seed(1)).double()
    reference = np.linalg.solve(moments[live][:, live].numpy(), rows[:, live].numpy().T).T
    solve = solver(cholesky_factor(moments))
    np.testing.assert_allclose(solve(rows)[:, live], reference, rtol=1e-10)
    assert (solve(rows)[:, [1, 4]] == 0).all()
    left, right = rank_one(torch.tensor([1.0, 2.0]), rows[0].float(), solve)
    torch.testing.assert_close((left @ right) @ rows[0].float(), torch.tensor([1.0, 2.0]))
    assert dead_figures({Site(2, "mlp_out"): moments}) == {"dead_coordinates": {"2.mlp_out": [2, 6]}}
    assert dead_figures({Site(2, "mlp_out"): torch.eye(3)}) == {}


def test_text_is_asked_for_only_where_it_can_help():
    for moments, message in [
        (torch.ones(3, 3), "compute them from more text"),
        (torch.zeros(3, 3), "every coordinate of the keys is 0"),
        (torch.full((3, 3), float("nan")), "not finite"),
    ]:
        with pytest.raises(Unsolvable, match=message):
            cholesky_factor(moments)


@pytest.mark.parametrize("name", ["rome", "memit", "pmet"])
def test_a_pruned_model_is_edited_and_its_dead_neurons_stay_as_they_are(name):
    lm = tiny_model("llama")
    neurons = [3, 5]
    for layer in range(4):
        for part in ("gate_proj", "up_proj"):
            getattr(lm.blocks[layer].mlp, part).weight.data[neurons] = 0
    editor = method(name)
    artefact = editor.prepare(lm, Corpus(tuple(TEXTS)))
    edit = editor.edit(lm, FACTS[:1], artefact=artefact)
    for site, change in edit.dense().items():
        assert change.isfinite().all()
        assert change.abs().sum() > 0
        assert (change[:, neurons] == 0).all()
        assert artefact.figures["dead_coordinates"][str(site)] == [2, change.shape[1]]
    (row,) = list_methods([{"methods": {"m": {name: {}}}, "figures": {"m": {name: artefact.figures}}}])
    assert f"2 of {change.shape[1]} key coordinates at {site} are always 0 and left out of the solve" in row["note"]
