import pytest
import torch
from fabricated_edits import ARCHITECTURES, bits, same_bits

from edit_robustness.models.tiny import tiny_model, tiny_tokenizer


@pytest.mark.parametrize("text", ["An owl.", "Zürich", "北京 · القاهرة", "🦉\n\ttab", "{} <end?"])
def test_the_tokenizer_reads_any_text_back(text):
    tokenizer = tiny_tokenizer()
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_seed_gives_its_model_and_leaves_the_generator_alone(architecture):
    state = torch.get_rng_state()
    first, second, third = (tiny_model(architecture, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), state)
    assert same_bits(bits(first), bits(second))
    assert not same_bits(bits(first), bits(third))
    assert first.model.config.model_type == architecture


def test_tied_weights_are_among_the_tiny_models():
    values = [tiny_model(name).model.config.tie_word_embeddings for name in ARCHITECTURES]
    assert any(values)
    assert not all(values)


def test_an_unknown_architecture_lists_those_there_are():
    with pytest.raises(ValueError, match="no tiny `bert`; there are llama"):
        tiny_model("bert")
