import torch
from fabricated_edits import bits, hooks_on, same_bits

from edit_robustness.models.writing import OPENINGS, written_texts


def test_texts_are_the_models_own_and_follow_the_seed(lab):
    lm = lab.model("llama")
    weights, state = bits(lm), torch.get_rng_state()
    texts = written_texts(lm, texts=5, tokens=12, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert texts == written_texts(lm, texts=5, tokens=12, seed=1)
    assert texts != written_texts(lm, texts=5, tokens=12, seed=2)
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0


def test_texts_begin_with_the_openings_in_turn(lab):
    texts = written_texts(lab.model("llama"), texts=len(OPENINGS) + 2, tokens=4, seed=0)
    assert len(texts) == len(OPENINGS) + 2
    for text, opening in zip(texts, [*OPENINGS, *OPENINGS[:2]], strict=True):
        assert text.startswith(opening)
    assert len(set(texts)) > len(OPENINGS) / 2


def test_progress_wraps_the_batches(lab, monkeypatch):
    monkeypatch.setattr("edit_robustness.models.writing._ROWS", 2)
    seen = []

    def progress(batches):
        seen.append(len(batches))
        return iter(batches)

    written_texts(lab.model("llama"), texts=5, tokens=1, seed=0, progress=progress)
    assert seen == [3]
