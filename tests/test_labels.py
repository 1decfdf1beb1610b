from edit_robustness.labels import KINDS, METHODS, in_order, spoken, term_label


def test_known_names_first_in_their_order_then_the_others():
    assert in_order(["zebra", "rome", "none", "alpha", "rome"], METHODS) == ["none", "rome", "alpha", "zebra"]


def test_a_name_that_is_not_known_is_readable():
    assert spoken("multi_hop_question", KINDS) == "multi hop question"


def test_terms_are_spoken():
    assert term_label("method=rome") == "Method: ROME"
    assert term_label("kind=related_context") == "Kind: Related context"
    assert term_label("log_views") == "Page views of the subject, × 10"
