import torch
from fabricated_edits import bits, same_bits

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import LowRank, PromptPrefix
from edit_robustness.models.layout import Site


def increment(seed, layer=1):
    torch.manual_seed(seed)
    return LowRank({Site(layer, "mlp_out"): (torch.randn(32, 1), torch.randn(1, 48))})


def test_increments_are_added_in_order():
    edits = [increment(seed) for seed in range(6)]
    total = EditHistory()
    for edit in edits:
        total = total + edit
    reference = edits[0].dense()[Site(1, "mlp_out")]
    for edit in edits[1:]:
        reference = reference + edit.dense()[Site(1, "mlp_out")]
    assert torch.equal(total.changes[Site(1, "mlp_out")], reference)


def test_sites_and_words_are_kept_apart():
    history = (
        EditHistory() + increment(0, layer=1) + PromptPrefix("One. ") + increment(1, layer=2) + PromptPrefix("Two. ")
    )
    assert set(history.changes) == {Site(1, "mlp_out"), Site(2, "mlp_out")}
    assert history.text_before("A prompt") == "One. Two. "


def test_no_past_is_the_model_itself(lab):
    lm = lab.model("llama")
    weights = bits(lm)
    with EditHistory().applied(lm) as model:
        assert model is lm
        assert same_bits(bits(lm), weights)


def test_the_past_of_one_edit_is_that_edit(lab):
    lm, edit = lab.model("llama"), increment(0)
    with edit.applied(lm):
        bits_after = bits(lm)
    with (EditHistory() + edit).applied(lm):
        assert same_bits(bits(lm), bits_after)
