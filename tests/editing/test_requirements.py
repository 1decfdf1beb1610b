"""Checks of a method's settings against a model's configuration, without its weights."""

from collections.abc import Mapping
from dataclasses import fields

import pytest
from fabricated_edits import ARCHITECTURES, FACTS, METHOD_NAMES, TEXTS, corpus, method

from edit_robustness.editing.defaults import TUNED
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import LAYERS, TextNeed, misfits, refuse_short_corpus, text_need
from edit_robustness.models.shape import Shape
from edit_robustness.models.tiny import tiny_model

SHAPE = Shape(layers=4, parts=TUNED["smollm2"].parts, key_width=48, context=2048)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sizes_are_those_of_the_loaded_model(lab, architecture):
    lm = lab.model(architecture)
    assert lm.shape.layers == len(lm.blocks)
    assert lm.shape.context == lm.max_length
    assert lm.shape.key_width == lm.weight(method("rome").site).shape[1]
    assert set(lm.shape.parts) < set(lm.layout.parts)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_the_settings_of_every_method_fit_and_layers_beyond_the_last_are_named(name):
    assert list(misfits("x", method(name), "tiny", SHAPE)) == []
    for setting in (field.name for field in fields(METHODS[name])):
        assert (setting in LAYERS) == ("layer" in setting or setting == "blocks")
        if setting in LAYERS:
            value = getattr(method(name), setting)
            beyond = (99,) if isinstance(value, tuple) else {"mlp_out": [99]} if isinstance(value, Mapping) else 99
            messages = list(misfits("methods.m.tiny", method(name, **{setting: beyond}), "tiny", SHAPE))
            assert messages == [f"methods.m.tiny.{setting}: there is no layer 99; tiny has layers 0 to 3"]


def test_a_part_that_the_architecture_lacks_is_named():
    shape = Shape(4, ("mlp_in", "mlp_out", "attention_out"), 48, 2048)
    messages = list(misfits("x", method("mend", parts="mlp_in mlp_gate"), "tiny", shape))
    assert messages == ["x.parts: tiny has no part `mlp_gate`; it has mlp_in, mlp_out, attention_out"]


def test_a_part_with_layers_that_the_architecture_lacks_is_named():
    shape = Shape(4, ("mlp_in", "mlp_out", "attention_out"), 48, 2048)
    messages = list(misfits("x", method("ultraedit", layers_by_part={"mlp_gate": [1]}), "tiny", shape))
    assert messages == ["x.layers_by_part: tiny has no part `mlp_gate`; it has mlp_in, mlp_out, attention_out"]


def test_fewer_tokens_than_a_key_is_wide_are_refused():
    wide = Shape(4, SHAPE.parts, 4864, 2048)
    (message,) = misfits("methods.rome.qwen", method("rome", mom2_tokens=4000), "qwen", wide)
    assert message.startswith("methods.rome.qwen.mom2_tokens: it is 4000, and qwen's keys are 4864 wide: ")
    assert not list(misfits("x", method("rome", mom2_adjustment=False, mom2_tokens=4000), "qwen", wide))


def test_methods_read_as_much_text_as_the_one_that_reads_most():
    rome, memit = method("rome", mom2_tokens=500, context_lengths=[1, 2, 3]), method("memit", mom2_tokens=900)
    assert text_need({"methods.rome.x": rome, "methods.memit.x": memit}) == TextNeed(
        900, 3, "methods.memit.x.mom2_tokens"
    )
    assert text_need({"rome": method("rome", mom2_adjustment=False)}).tokens == 0
    assert text_need({"rome": method("rome", contexts="model")}).texts == 0
    assert text_need({}) == TextNeed()


def test_a_corpus_that_is_too_short_is_told_with_what_there_is(lab):
    lm = lab.model("llama")
    refuse_short_corpus(lm, TEXTS, TextNeed(400, 2))
    with pytest.raises(ValueError, match=r"its texts have 6 tokens .*, and r\.mom2_tokens reads 400: give"):
        refuse_short_corpus(lm, ["An owl"], TextNeed(400, 1, "r.mom2_tokens"))
    with pytest.raises(ValueError, match="it has 1 texts, and 2 contexts are taken"):
        refuse_short_corpus(lm, ["An owl"], TextNeed(0, 2))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_methods_that_edit_by_words_are_marked_and_their_words_are_known_without_a_run(lab, name):
    edits = lab.edits(name, "llama")
    texts = [edit.text_before(fact.statement) for edit, fact in zip(edits, FACTS, strict=True)]
    assert all(texts) == any(texts) == METHODS[name].is_in_context
    assert [edit.acts_in_context for edit in edits] == [bool(text) for text in texts]
    if any(texts):
        lm, material = tiny_model("llama"), corpus()
        lm.model.register_forward_pre_hook(refuse_to_run)
        artefact = method(name).prepare(lm, Corpus(facts=material.facts, relations=material.relations))
        again = method(name).increments(lm, FACTS, artefact=artefact)
        assert [edit.text_before(fact.statement) for edit, fact in zip(again, FACTS, strict=True)] == texts


def refuse_to_run(*_):
    raise AssertionError("the model was run")
