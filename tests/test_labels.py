import pytest

from edit_robustness.editing import methods
from edit_robustness.editing.registry import Entry
from edit_robustness.labels import BASELINE, KINDS, METHODS, NON_EDITS, in_order, label_of, term_label


def test_labels_of_methods_are_those_of_their_classes():
    assert {name: method.label for name, method in methods.METHODS.items()} == METHODS
    assert all(method.description for method in methods.METHODS.values())
    assert NON_EDITS == ("none", "context", "retrieve")
    assert BASELINE in NON_EDITS


def test_an_entry_that_names_another_method_is_refused():
    with pytest.raises(ValueError, match=r"the method `rom` names rome\.Rome, whose `name` is 'rome'"):
        Entry("rom", "rome.Rome", "ROM", "").load()


def test_known_names_first_in_their_order_then_the_others():
    assert in_order(["zebra", "rome", "none", "alpha", "rome"], METHODS) == ["none", "rome", "alpha", "zebra"]


def test_a_name_that_is_not_known_is_readable():
    assert label_of("multi_hop_question", KINDS) == "multi hop question"


def test_terms_are_spoken():
    assert term_label("method=rome") == "Method: ROME"
    assert term_label("kind=related_context") == "Kind: Related context"
    assert term_label("log_views") == "Page views of the subject, × 10"
