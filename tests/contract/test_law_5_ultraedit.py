"""UltraEdit against a transcription of its equations, and the statistics that a sequence of its edits continues."""

import naive_editing as naive
import numpy as np
import pytest
import torch
from cells import every_architecture
from fabricated_edits import FACTS, method

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Dense, FeatureStatistics, LowRank
from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.trace import output_changed
from edit_robustness.records import Fact

SHORT = Fact("letter", "Q", "P36", "{} is the seat of ", "x", "y")
"""A fact of so few tokens that two factors are smaller than the weight."""


def naive_features(lm, site, facts):
    """Each token's input of a weight, and the gradient of the object's mean log-loss by the output there."""
    inputs, gradients = [], []
    for fact in facts:
        ids, target = naive.ids_of(lm, fact.statement), naive.ids_of(lm, " " + fact.target_new)
        records = []

        def add(site_input, output, records=records):
            zeros = torch.zeros_like(output, requires_grad=True)
            records.append((site_input, zeros))
            return output + zeros

        with output_changed(lm, site, add):
            logits = lm.model(torch.tensor([ids + target[:-1]])).logits[0, len(ids) - 1 :]
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.tensor(target))
        (site_input, zeros) = records[0]
        (gradient,) = torch.autograd.grad(loss, [zeros])
        inputs.append(site_input[0].detach().double().numpy())
        gradients.append(gradient[0].double().numpy())
    return np.concatenate(inputs), np.concatenate(gradients)


def naive_change(features, all_features, rate, ridge):
    """arXiv 2505.14679: (H^T H + I)^-1 H^T V, transposed; `all_features` are those that the statistics are of."""
    inputs, gradients = features
    seen = np.concatenate([np.concatenate(pair, axis=1) for pair in all_features])
    mean, deviation = seen.mean(0), seen.std(0, ddof=1)
    normal = (np.concatenate([inputs, gradients], axis=1) - mean) / (deviation + np.finfo(np.float32).eps)
    normal_inputs, normal_gradients = normal[:, : inputs.shape[1]], normal[:, inputs.shape[1] :]
    values = -rate * (normal_inputs**2).sum(1, keepdims=True) * normal_gradients
    return np.linalg.solve(inputs.T @ inputs + ridge * np.eye(inputs.shape[1]), inputs.T @ values).T


@every_architecture
def test_the_change_is_the_papers_in_a_sequence_of_batches(architecture):
    lm, ultraedit = tiny_model(architecture), method("ultraedit", rate=1e-2)
    shapes = {site: tuple(lm.weight(site).shape) for site in ultraedit.sites}
    history, seen = EditHistory(), {shape: [] for shape in shapes.values()}
    for facts in (FACTS[:2], FACTS[2:]):
        features = {site: naive_features(lm, site, facts) for site in ultraedit.sites}
        for site, shape in shapes.items():
            seen[shape].append(features[site])
        # no change is applied in between, so that both batches see the same model
        edit = ultraedit.edit(lm, facts, history=history)
        for site, change in edit.dense().items():
            formula = naive_change(features[site], seen[shapes[site]], ultraedit.rate, ultraedit.ridge)
            assert np.linalg.norm(change.numpy() - formula) < 2e-3 * np.linalg.norm(formula)
            assert np.linalg.norm(formula) > 0
        history += edit


def test_the_number_of_facts_per_pass_makes_no_difference(lab):
    lm = lab.model("llama")
    first, second = (method("ultraedit", step_facts=number).edit(lm, FACTS) for number in (1, 10))
    for site, change in first.dense().items():
        assert (change - second.dense()[site]).norm() < 1e-3 * change.norm()


def test_statistics_of_parts_are_those_of_the_whole():
    vectors = torch.randn(9, 4, generator=torch.Generator().manual_seed(1)) * 3 + 2
    whole = FeatureStatistics.of({"a": vectors})
    parts = FeatureStatistics.of({"a": vectors[:2]})
    parts = parts.then(FeatureStatistics.of({"a": vectors[2:], "b": vectors}))
    for merged, expected in zip(parts.statistics["a"], whole.statistics["a"], strict=True):
        torch.testing.assert_close(merged, expected)
    normal = whole.normalise("a", vectors)
    torch.testing.assert_close(normal.mean(0), torch.zeros(4).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(normal.std(0), torch.ones(4).double(), atol=1e-5, rtol=0)


def test_an_edit_brings_its_statistics_and_the_model_is_only_changed_in_its_weights(lab, tmp_path):
    lm, ultraedit = lab.model("llama"), method("ultraedit")
    edit = ultraedit.edit(lm, FACTS[:1])
    write_edit(tmp_path / "edit.safetensors", edit, {})
    stored_edit = read_edit(tmp_path / "edit.safetensors")
    _, statistics = stored_edit.parts()
    assert isinstance(statistics, FeatureStatistics)
    for name, parts in statistics.statistics.items():
        assert all(torch.equal(a, b) for a, b in zip(parts, edit.parts()[1].statistics[name], strict=True))
    weights = {site: lm.weight(site).clone() for site in ultraedit.sites}
    with statistics.applied(lm):
        assert all(torch.equal(lm.weight(site), weight) for site, weight in weights.items())
    history = EditHistory() + edit + ultraedit.edit(lm, FACTS[1:2], history=EditHistory() + edit)
    count = history.combined_edits["feature_statistics"].statistics
    n_tokens = sum(
        len(naive.ids_of(lm, f.statement)) + len(naive.ids_of(lm, " " + f.target_new)) - 1 for f in FACTS[:2]
    )
    shapes = ["x".join(map(str, lm.weight(site).shape)) for site in ultraedit.sites]
    assert {shape: int(number) for shape, (number, *_) in count.items()} == {
        shape: n_tokens * shapes.count(shape) for shape in shapes
    }


def test_many_tokens_are_stored_as_the_change_itself(lab):
    lm = lab.model("llama")
    few, many = (method("ultraedit").edit(lm, facts) for facts in ([SHORT], FACTS))
    assert isinstance(few.parts()[0], LowRank)
    assert isinstance(many.parts()[0], Dense)


def test_a_part_without_layers_is_refused():
    with pytest.raises(ValueError, match="layers_by_part names no weight"):
        method("ultraedit", layers_by_part={"mlp_out": []})
