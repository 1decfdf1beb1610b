import pytest
import torch
from external_models import write_adapter

from edit_robustness.editing.edits import (
    EDITS,
    Adam,
    AdamTrace,
    Codebook,
    Dense,
    ExternalEdit,
    FactMemory,
    FeatureStatistics,
    LowRank,
    MemoryEntry,
    PromptPrefix,
    ScopedMemory,
    all_applied,
)
from edit_robustness.editing.exchange.model_folders import checksum
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Owners
from edit_robustness.models.tiny import tiny_model

SITES = (Site(0, "mlp_out"), Site(2, "mlp_out"))


def low_rank(rank=2, seed=0):
    torch.manual_seed(seed)
    return LowRank({site: (torch.randn(32, rank), torch.randn(rank, 48)) for site in SITES})


def test_adam_is_torchs_adam():
    torch.manual_seed(0)
    gradients = [torch.randn(5, 7) * 10.0 ** torch.randint(-3, 3, (5, 7)) for _ in range(20)]
    weight = torch.nn.Parameter(torch.zeros(5, 7))
    optimiser = torch.optim.Adam([weight], lr=0.03)
    trace = Adam(0.03).run(torch.zeros(5, 7))
    assert not next(trace).any()
    for gradient in gradients:
        total = trace.send(gradient)
        weight.grad = gradient.clone()
        optimiser.step()
        torch.testing.assert_close(total, weight.data, rtol=1e-5, atol=1e-7)


def test_a_low_rank_change_is_a_product_at_each_site():
    edit = low_rank()
    for site, (left, right) in edit.factors.items():
        assert torch.equal(edit.dense()[site], left @ right)
    assert set(edit.dense()) == set(SITES)


def test_low_rank_deltas_are_those_of_the_dense_change():
    edit, inputs = low_rank(), torch.randn(2, 3, 48)
    for site, delta in edit.deltas(torch.device("cpu")).items():
        torch.testing.assert_close(delta(inputs), inputs @ edit.dense()[site].T, rtol=1e-4, atol=1e-4)


def test_a_delta_is_computed_in_float32_and_given_in_the_inputs_dtype():
    delta = low_rank().deltas(torch.device("cpu"))[SITES[0]]
    inputs = torch.randn(2, 3, 48).bfloat16()
    assert delta(inputs).dtype == torch.bfloat16
    assert torch.equal(delta(inputs), delta(inputs.float()).bfloat16())


def test_every_kind_reads_back_what_it_says(tmp_path):
    made_elsewhere = write_adapter(tmp_path, {"model.layers.1.mlp.down_proj": (32, 48)})
    edits = [
        low_rank(),
        LowRank({}),
        Dense({SITES[1]: torch.randn(32, 48), SITES[0]: torch.randn(32, 48)}),
        Dense({site: torch.randn(32, 48) for site in SITES}, {SITES[1]: torch.randn(3, 48)}),
        AdamTrace(SITES[0], torch.randn(4, 48), torch.randn(3, 4, 32), 1e-3 / 3),
        PromptPrefix("Néw Fact: {}\n"),
        PromptPrefix(),
        Codebook(SITES[1], torch.randn(2, 48), torch.randn(2, 32), torch.rand(2), ("Zürich", "")),
        PromptPrefix("One. ") + low_rank() + PromptPrefix("Two. "),
        FeatureStatistics.of({"3x2": torch.randn(4, 5)}),
        ScopedMemory((("The seat of power in {} is", "Île", "Zürich", ""),), "fingerprint of the networks"),
        FactMemory(
            (MemoryEntry(("Île", "Ilha"), "P36", "The seat of Île is", "The seat of Île is B."),), 2, 0.5, "subject"
        ),
        ExternalEdit(str(made_elsewhere), checksum(made_elsewhere), "llama"),
    ]
    assert {type(edit) for edit in edits} == set(EDITS.values()), "a kind of edit is not tested here"
    for edit in edits:
        tensors, texts = edit.to_tensors()
        again = type(edit).from_tensors(tensors, texts)
        assert all(isinstance(text, str) for text in texts.values())
        assert again.text_before("Of ilha") == edit.text_before("Of ilha")
        assert all(torch.equal(change, edit.dense()[site]) for site, change in again.dense().items())
        assert again.dense().keys() == edit.dense().keys()
        assert again.protected_keys.keys() == edit.protected_keys.keys()
        assert all(torch.equal(keys, again.protected_keys[site]) for site, keys in edit.protected_keys.items())


def test_adding_happens_in_float32_and_is_rounded_once():
    lm = tiny_model("llama", dtype=torch.bfloat16)
    change = torch.full((32, 48), 1e-3)
    before = lm.weight(SITES[0]).clone()
    edit = LowRank({SITES[0]: (change[:, :1], torch.ones(1, 48))})
    with edit.applied(lm):
        assert torch.equal(lm.weight(SITES[0]), (before.float() + change).bfloat16())


def test_the_second_of_two_sites_of_the_wrong_shape_leaves_the_first_alone():
    lm = tiny_model("llama")
    before = lm.weight(SITES[0]).clone()
    edit = LowRank({SITES[0]: (torch.ones(32, 1), torch.ones(1, 48)), SITES[1]: (torch.ones(3, 1), torch.ones(1, 4))})
    with (
        pytest.raises(ValueError, match=r"changes 2.mlp_out by \(3, 4\), but tiny-llama has \(32, 48\)"),
        edit.applied(lm),
    ):
        pass
    assert torch.equal(lm.weight(SITES[0]), before)


def test_an_edit_without_rows_in_the_batch_does_nothing(lab):
    lm, ids = lab.model("llama"), torch.tensor([[5, 6, 7]])
    owners = Owners([0])
    with torch.no_grad():
        plain = lm.model(input_ids=ids).logits
        with all_applied(lm, [low_rank()], [owners.rows(1)]):
            assert torch.equal(lm.model(input_ids=ids).logits, plain)
        with all_applied(lm, [low_rank()], [owners.rows(0)]):
            assert not torch.equal(lm.model(input_ids=ids).logits, plain)


def test_edits_and_rows_go_in_pairs(lab):
    with (
        pytest.raises(ValueError),
        all_applied(lab.model("llama"), [PromptPrefix(), PromptPrefix()], [Owners([0]).rows(0)]),
    ):
        pass
