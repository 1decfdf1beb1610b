from contextlib import ExitStack

import pytest
import torch
from fabricated_edits import ARCHITECTURES

from edit_robustness.models.layout import LAYOUTS, PARTS, RESIDUAL, Site, layout_of
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids
from edit_robustness.models.trace import output_changed

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
every_part = pytest.mark.parametrize("part", PARTS)
every_part_there_is = pytest.mark.parametrize(
    ("architecture", "part"),
    [(name, part) for name, layout in LAYOUTS.items() for part in layout.parts if part != RESIDUAL],
)
UNGATED = ("gpt2", "gpt_neox", "gptj", "phi3")
"""No gate of its own: Phi-3's is in one matrix with the weights into the MLP."""
FUSED = ("gpt2", "gpt_neox", "phi3")
"""One matrix of queries, keys and values."""
SEPARATE = {"attention_q", "attention_k", "attention_v"}


@every_architecture
def test_a_row_names_every_part_of_every_block(architecture, lab):
    lm = lab.model(architecture)
    assert len(lm.blocks) == lm.config.num_hidden_layers
    gaps = {"mlp_gate"} if architecture in UNGATED else set()
    gaps |= SEPARATE if architecture in FUSED else {"attention_qkv"}
    assert {*PARTS, RESIDUAL} - set(lm.layout.parts) == gaps
    assert lm.module(Site(1, RESIDUAL)) is lm.blocks[1]
    modules = [lm.module(Site(layer, part)) for layer in range(len(lm.blocks)) for part in lm.layout.parts]
    assert len(set(map(id, modules))) == len(modules)


@every_part_there_is
def test_a_weight_is_seen_as_d_out_by_d_in(architecture, part, lab):
    """W x is what the module puts out for x, its bias taken off."""
    lm, site, records = lab.model(architecture), Site(2, part), []

    def keep(inputs, output):
        records.append((inputs, output))
        return output

    with output_changed(lm, site, keep), torch.no_grad():
        lm.model(input_ids=torch.tensor([prompt_ids(lm, RenderedPrompt("An owl sat on a roof"))]))
    inputs, output = records[0]
    bias = getattr(lm.module(site), "bias", None)
    reference = output if bias is None else output - bias
    assert lm.weight(site).shape == (output.shape[-1], inputs.shape[-1])
    torch.testing.assert_close(inputs @ lm.weight(site).T, reference, atol=1e-5, rtol=1e-4)
    assert reference.abs().max() > 1e-2


@every_architecture
def test_the_widths_say_which_part_is_which(architecture, lab):
    lm = lab.model(architecture)
    width, inner = lm.config.hidden_size, 48
    into = 2 * inner if architecture == "phi3" else inner
    heads = lm.config.num_attention_heads * (getattr(lm.config, "head_dim", None) or width // 4)
    shapes = {part: tuple(lm.weight(Site(0, part)).shape) for part in lm.layout.parts if part != RESIDUAL}
    gate = {} if architecture in UNGATED else {"mlp_gate": (inner, width)}
    n_heads = lm.config.num_attention_heads
    values = heads * getattr(lm.config, "num_key_value_heads", n_heads) // n_heads
    attention_in = {"attention_q": (heads, width), "attention_k": (values, width), "attention_v": (values, width)}
    if architecture in FUSED:
        attention_in = {"attention_qkv": (heads + 2 * values, width)}
    mlp = {"mlp_in": (into, width), "mlp_out": (width, inner), **gate}
    assert shapes == {**mlp, "attention_out": (width, heads), **attention_in}


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - set(UNGATED)))
def test_the_gate_is_the_factor_that_goes_through_the_activation(architecture, lab):
    """down(act(gate x) * up x): doubling `up` doubles the MLP's output, doubling the gate does not."""
    lm = lab.model(architecture)
    ids = torch.tensor([prompt_ids(lm, RenderedPrompt("An owl"))])

    def put_out(part):
        with output_changed(lm, Site(0, part), lambda _, output: output * 2):
            records = []
            with output_changed(lm, Site(0, "mlp_out"), lambda _, output: records.append(output) or output):
                lm.model(input_ids=ids)
        return records[0]

    records = []
    with output_changed(lm, Site(0, "mlp_out"), lambda _, output: records.append(output) or output):
        lm.model(input_ids=ids)
    torch.testing.assert_close(put_out("mlp_in"), 2 * records[0])
    assert not torch.allclose(put_out("mlp_gate"), 2 * records[0], atol=1e-3)


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - set(FUSED)))
def test_the_values_are_the_factor_that_attention_averages(architecture, lab):
    """Doubling the values doubles the input of attention's last weight; doubling queries or keys does not."""
    lm = lab.model(architecture)
    ids = torch.tensor([prompt_ids(lm, RenderedPrompt("An owl"))])

    def averages(part=None):
        records = []
        with ExitStack() as hooks:
            if part:
                hooks.enter_context(output_changed(lm, Site(0, part), lambda _, output: output * 2))
            hooks.enter_context(
                output_changed(lm, Site(0, "attention_out"), lambda inputs, output: records.append(inputs) or output)
            )
            lm.model(input_ids=ids)
        return records[0]

    torch.testing.assert_close(averages("attention_v"), 2 * averages())
    for part in ("attention_q", "attention_k"):
        assert not torch.allclose(averages(part), 2 * averages(), atol=1e-3)


@pytest.mark.parametrize("architecture", UNGATED)
def test_a_part_that_an_architecture_has_not_is_named_with_those_there_are(architecture, lab):
    with pytest.raises(
        ValueError,
        match=f"tiny-{architecture} is a {architecture}, which has no part `mlp_gate`; its parts are mlp_in, mlp_out, ",
    ):
        lab.model(architecture).module(Site(0, "mlp_gate"))


@every_part_there_is
def test_a_part_that_is_changed_reaches_the_logits(architecture, part, lab):
    """Changing a part of the last block changes the logits; the layout points at what the model runs."""
    lm, site = lab.model(architecture), Site(3, part)
    ids = torch.tensor([prompt_ids(lm, RenderedPrompt("An owl"))])
    with torch.no_grad():
        before = lm.model(input_ids=ids).logits
        # turned, for the norm that follows some outputs would undo a stretching
        with output_changed(lm, site, lambda _, output: output.roll(1, -1) * 3):
            after = lm.model(input_ids=ids).logits
    assert (after - before).abs().max() > 1e-3


@every_architecture
def test_writing_to_a_weight_edits_the_model(architecture):
    lm, site = tiny_model(architecture), Site(1, "mlp_in")
    lm.weight(site)[3, 5] = 7.0
    parameter = lm.module(site).weight
    assert float(parameter[5, 3] if lm.layout.transposed else parameter[3, 5]) == 7.0


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_layer_that_is_not_there_is_named(layer, lab):
    with pytest.raises(ValueError, match=f"tiny-llama has layers 0 to 3; the setting asks for {layer}"):
        lab.model("llama").module(Site(layer, "mlp_out"))


def test_an_unknown_architecture_lists_those_there_are():
    with pytest.raises(ValueError, match=r"architecture `bert` has no row in models/layout.py \(rows: .*gpt2"):
        layout_of("bert")


@every_part
def test_a_site_reads_back_from_its_name(part):
    assert Site.parse(str(Site(17, part))) == Site(17, part)


@pytest.mark.parametrize("name", ["5.mlp", "x.mlp_out", "mlp_out", "-1.mlp_out", ""])
def test_what_names_no_site_is_refused(name):
    with pytest.raises(ValueError, match=r"is not a site; sites look like `5.mlp_out`"):
        Site.parse(name)


def test_the_table_is_read_only():
    with pytest.raises(TypeError):
        LAYOUTS["bert"] = LAYOUTS["llama"]
