import torch
from fabricated_edits import bits, hooks_on, same_bits

from edit_robustness.models.writing import CONTEXT_OPENINGS, OPENINGS, sample_beginnings, sample_texts


def test_texts_are_the_models_own_and_follow_the_seed(lab):
    lm = lab.model("llama")
    weights, state = bits(lm), torch.get_rng_state()
    texts = sample_texts(lm, texts=5, tokens=12, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert texts == sample_texts(lm, texts=5, tokens=12, seed=1)
    assert texts != sample_texts(lm, texts=5, tokens=12, seed=2)
    assert same_bits(bits(lm), weights)
    assert hooks_on(lm) == 0


def test_texts_begin_with_the_openings_in_turn(lab):
    texts = sample_texts(lab.model("llama"), texts=len(OPENINGS) + 2, tokens=4, seed=0)
    assert len(texts) == len(OPENINGS) + 2
    for text, opening in zip(texts, [*OPENINGS, *OPENINGS[:2]], strict=True):
        assert text.startswith(opening)
    assert len(set(texts)) > len(OPENINGS) / 2


def test_progress_wraps_the_batches(lab, monkeypatch):
    monkeypatch.setattr("edit_robustness.models.writing._ROWS", 2)
    lengths = []

    def progress(batches):
        lengths.append(len(batches))
        return iter(batches)

    sample_texts(lab.model("llama"), texts=5, tokens=1, seed=0, progress=progress)
    assert lengths == [3]


def test_beginnings_have_the_lengths_asked_for_and_begin_as_in_the_released_codes(lab):
    lm, lengths = lab.model("llama"), [5, 12, 12, 12, 12, 12, 30]
    state = torch.get_rng_state()
    texts = sample_beginnings(lm, lengths, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert texts == sample_beginnings(lm, lengths, seed=0)
    assert texts != sample_beginnings(lm, lengths, seed=1)
    # a token is a byte here, and some letters take several
    assert len(texts[0]) == 5 < len(texts[1]) < len(texts[-1])
    for text, length, opening in zip(texts, lengths, [*CONTEXT_OPENINGS, *CONTEXT_OPENINGS[:2]], strict=True):
        assert text.startswith(opening)
        assert len(text) <= max(length, len(opening))
    assert sample_beginnings(lm, [], seed=0) == []
    assert sample_beginnings(lm, [2, 2], seed=0) == ["The", "Therefore"]


def test_beginnings_are_of_the_five_likeliest_tokens_whatever_the_model_is_set_to(lab, monkeypatch):
    lm, batches = lab.model("llama"), []
    monkeypatch.setattr(lm.tokenizer, "batch_decode", lambda rows, **_: batches.append(rows) or [""] * len(rows))
    sample_beginnings(lm, [24], seed=3)
    settings = lm.model.generation_config
    monkeypatch.setattr(settings, "temperature", 0.01)
    monkeypatch.setattr(settings, "top_p", 0.1)
    sample_beginnings(lm, [24], seed=3)
    ((ids,), again) = batches
    assert again == [ids]
    likeliest = lm.model(input_ids=torch.tensor([ids])).logits[0].topk(5).indices
    assert len(ids) == 24
    assert all(ids[place + 1] in likeliest[place] for place in range(2, 23))
