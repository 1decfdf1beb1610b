from edit_robustness.text.writable import writable


def test_half_a_surrogate_pair_is_replaced_and_all_else_stays():
    assert writable("a\ud83d b\ude00") == "a\ufffd b\ufffd"
    assert writable("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"
    text = "Île \U0001f600\x00\n"
    assert writable(text) is text
