import naive_editing as naive
import pytest
from fabricated_edits import FACTS, TEXTS, method

from edit_robustness.editing.method import Corpus


def test_what_is_prepared_is_the_sites_moments_and_the_contexts(lab):
    rome = method("rome", context_lengths=[5, 9])
    prepared = rome.prepare(lab.model("llama"), Corpus(TEXTS))
    assert set(prepared.tensors) == {str(rome.site)}
    assert prepared.tensors[str(rome.site)].shape == (48, 48)
    assert len(prepared.texts) == 2


def test_a_layer_that_the_model_has_not_is_named(lab):
    with pytest.raises(ValueError, match="tiny-llama has layers 0 to 3; the setting asks for 9"):
        method("rome", layer=9).prepare(lab.model("llama"), Corpus(TEXTS))


def test_the_edit_makes_the_new_object_likelier(lab):
    for fact, edit in zip(FACTS, lab.edits("rome", "gpt2"), strict=True):
        lm = lab.model("gpt2")
        ids, target = naive.ids_of(lm, fact.statement), naive.ids_of(lm, " " + fact.target_new)
        before = naive.continuation(lm, ids, target)[0]
        with edit.applied(lm):
            assert naive.continuation(lm, ids, target)[0] > before
