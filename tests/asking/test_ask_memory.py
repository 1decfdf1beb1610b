import pytest

from edit_robustness.asking import ask as asking
from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.models.decode import bytes_per_token
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import RenderedPrompt
from edit_robustness.records import Probe


def probe(number, words):
    return Probe(f"{number}", "f", "statement", "edit", "owl", f"The {number} " + "owl " * words, "bird", "fish")


@pytest.mark.parametrize(("room", "max_rows"), [(10**9, 6), (3 * 15, 3), (1, 1)])
def test_long_prompts_are_asked_few_at_a_time(monkeypatch, room, max_rows):
    lm = tiny_model("llama")
    probes = [probe(number, 1 + number % 2) for number in range(6)]
    (full_answers,) = ask(lm, [(PromptPrefix(), probes)], Decoding(max_new_tokens=3))
    sizes = []
    run_rows = asking._Session._run
    monkeypatch.setattr(asking._Session, "_run", lambda self, rows: sizes.append(len(rows)) or run_rows(self, rows))
    monkeypatch.setattr(asking, "memory_at_hand", lambda lm: room * asking._COPIES * bytes_per_token(lm))
    (batch_answers,) = ask(lm, [(PromptPrefix(), probes)], Decoding(max_new_tokens=3))
    assert [answer.text for answer in batch_answers] == [answer.text for answer in full_answers]
    assert max(sizes) <= max_rows
    assert sum(sizes) == 6
    assert (len(sizes) == 1) == (max_rows == 6)


@pytest.mark.parametrize(("new", "sizes"), [(0, [4, 2]), (10, [2, 2, 2]), (10**6, [1] * 6)])
def test_room_for_answers_counts_beside_prompts(new, sizes):
    row = asking._Row(0, probe(0, 1), "", RenderedPrompt("owl"), list(range(10)), ())
    assert [len(batch) for batch in asking._split([row] * 6, 64, 40, new)] == sizes
