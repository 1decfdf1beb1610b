import naive_editing as naive
import pytest
import torch
from fabricated_edits import ARCHITECTURES, hooks_on

from edit_robustness.models.layout import RESIDUAL, Site
from edit_robustness.models.tokens import pad, positions
from edit_robustness.models.trace import inputs_at, output_changed


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_inputs_are_those_of_a_plain_forward(architecture, lab):
    lm = lab.model(architecture)
    rows = [naive.ids_of(lm, text) for text in ("An owl sat on a roof", "Oslo")]
    sites = [Site(2, part) for part in lm.layout.parts if part != RESIDUAL] + [Site(0, "mlp_out")]
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    with torch.no_grad():
        inputs_by_site = inputs_at(lm, sites, input_ids=ids, attention_mask=mask, position_ids=positions(mask))
    assert set(inputs_by_site) == set(sites)
    for site, inputs in inputs_by_site.items():
        for row, keys, real in zip(rows, inputs, mask.bool(), strict=True):
            reference = torch.tensor(naive.keys_of(lm, lm.module(site), row))
            torch.testing.assert_close(keys[real].double(), reference, atol=1e-5, rtol=1e-4)
    assert hooks_on(lm) == 0


def test_the_pass_stops_at_the_last_site(lab):
    lm, layers = lab.model("llama"), []
    handle = lm.blocks[2].register_forward_pre_hook(lambda *_: layers.append(2))
    inputs_at(lm, [Site(1, "mlp_out"), Site(0, "mlp_in")], input_ids=torch.tensor([[1, 2]]))
    handle.remove()
    assert not layers


def test_hooks_come_off_after_an_exception(lab):
    lm = lab.model("llama")
    with pytest.raises(KeyError), output_changed(lm, Site(1, "mlp_out"), lambda _, output: output):
        assert hooks_on(lm) == 1
        raise KeyError
    with pytest.raises(TypeError):
        inputs_at(lm, [Site(1, "mlp_out")], nonsense=torch.tensor(1), input_ids="text")
    assert hooks_on(lm) == 0


def test_an_error_of_the_change_itself_is_not_swallowed(lab):
    lm = lab.model("llama")

    def broken(_, output):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), output_changed(lm, Site(1, "mlp_out"), broken):
        lm.model(input_ids=torch.tensor([[1, 2]]))
    assert hooks_on(lm) == 0


def test_a_change_gets_input_and_output(lab):
    lm, site, shapes = lab.model("llama"), Site(1, "mlp_out"), []

    def change(inputs, output):
        shapes.append((inputs.shape, output.shape))
        return output * 0

    with output_changed(lm, site, change) as model:
        assert model is lm
        lm.model(input_ids=torch.tensor([[1, 2, 3]]))
    assert shapes == [((1, 3, 48), (1, 3, 32))]
