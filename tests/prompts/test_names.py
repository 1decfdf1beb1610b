import pytest

from edit_robustness.prompts.names import first_named


@pytest.mark.parametrize(
    ("text", "names", "besides", "name"),
    [
        ("Rome is old.", ["Paris", "Rome"], [], "Rome"),
        ("Romeo is young.", ["Rome"], [], None),
        ("ROME is old.", ["Rome"], [], "Rome"),
        ("Nothing is named.", ["", "  "], [], None),
        # words of two letters are told from names by their capitals
        ("He asked us about it.", ["IT", "US"], [], None),
        ("He asked us about it.", ["He"], [], "He"),
        # what stands inside the subject's own name is not given away, what stands beside it is
        ("The BBC Radio Orchestra plays.", ["BBC"], ["BBC Radio Orchestra"], None),
        ("The BBC Radio Orchestra plays at the BBC.", ["BBC"], ["BBC Radio Orchestra"], "BBC"),
        ("New York is large.", ["York"], ["New York"], None),
        # but a name is not taken for part of the subject because the subject is part of it
        ("New York is large.", ["New York"], ["York"], "New York"),
        ("首都は東京です", ["東京"], [], "東京"),
        ("O'Neill’s town", ["O'Neill"], [], "O'Neill"),
        ("a {} in braces", ["{}"], [], "{}"),
    ],
)
def test_which_name_a_text_holds(text, names, besides, name):
    assert first_named(text, names, besides=besides) == name
