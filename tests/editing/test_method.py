from dataclasses import MISSING, dataclass, fields, replace

import pytest
from fabricated_edits import FACTS, METHOD_NAMES, TINY_SETTINGS, method
from pydantic import ValidationError

from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.methods import METHODS
from edit_robustness.records import Relation

RELATION = Relation("P36", "capital", "The seat of {} is", ("{} is ruled from",), "Whence?", "____", "Maps.")


def test_equal_values_have_equal_fingerprints():
    assert fingerprint("a", 1, {"x": 1, "y": (2.5, None)}) == fingerprint("a", 1, {"y": (2.5, None), "x": 1})
    assert fingerprint(FACTS[0]) == fingerprint(replace(FACTS[0]))


@pytest.mark.parametrize(
    "change",
    [{"target_new": "Rome"}, {"target_true_aliases": ("S",)}, {"prompt": "{} has its seat in"}, {"page_views": 1}],
)
def test_a_fingerprint_follows_every_field(change):
    assert fingerprint(1, FACTS[0]) != fingerprint(1, replace(FACTS[0], **change))


def test_a_fingerprint_follows_what_is_nested():
    corpus = Corpus(("a",), FACTS, {"P36": RELATION})
    variants = [
        replace(corpus, texts=("a", "b")),
        replace(corpus, facts=FACTS[:2]),
        replace(corpus, facts=FACTS[::-1]),
        replace(corpus, relations={"P36": replace(RELATION, question="Where?")}),
    ]
    assert len({fingerprint(value) for value in [corpus, *variants]}) == 5


def test_neighbouring_parts_do_not_run_together():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint(["a"], "b") != fingerprint("a", ["b"])


def test_what_is_no_plain_value_is_refused():
    with pytest.raises(TypeError, match="cannot fingerprint set"):
        fingerprint({1, 2})


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_settings_are_plain_and_give_the_method_back(name):
    editor = method(name)
    assert METHODS[name](**editor.settings()) == editor
    assert fingerprint(editor.settings()) == fingerprint(METHODS[name](**editor.settings()).settings())


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_misspelt_hyperparameter_is_refused(name):
    with pytest.raises(ValidationError, match="layr"):
        METHODS[name](**TINY_SETTINGS[name], layr=3)


@pytest.mark.parametrize("name", [name for name in METHOD_NAMES if TINY_SETTINGS[name]])
def test_every_hyperparameter_without_a_default_must_be_given(name):
    for left_out in [field.name for field in fields(METHODS[name]) if field.default is MISSING]:
        settings = {key: value for key, value in TINY_SETTINGS[name].items() if key != left_out}
        with pytest.raises(ValidationError, match=left_out):
            METHODS[name](**settings)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rome", {"layer": -1}),
        ("rome", {"kl_position": "end"}),
        ("memit", {"contexts": "corpora"}),
        ("rome", {"v_steps": 0}),
        ("rome", {"v_lr": "fast"}),
        ("rome", {"context_lengths": [5, 0]}),
        ("ft", {"lr": 0}),
        ("ike", {"copy": -1}),
    ],
)
def test_a_value_out_of_range_is_refused(name, change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        method(name, **change)


def test_a_limit_of_several_facts_is_said(lab):
    @dataclass(frozen=True)
    class Pairs(METHODS["none"]):
        batch_size = 2

    lm = lab.model("llama")
    Pairs().edit(lm, FACTS[:2])
    with pytest.raises(ValueError, match=r"none edits 2 facts per call, and was given 3: .*sequence\.batch_size: 2\)"):
        Pairs().edit(lm, FACTS)
