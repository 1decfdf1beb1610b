import pytest
import torch
from fabricated_edits import ARCHITECTURES
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from edit_robustness.models.language_model import LanguageModel, checksums, restore_after
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_fingerprint_survives_a_reload(architecture, tmp_path):
    lm = tiny_model(architecture)
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    again = LanguageModel(
        AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32),
        AutoTokenizer.from_pretrained(tmp_path),
        "another name",
    )
    assert again.fingerprint == lm.fingerprint
    assert again.tokenizer.chat_template == lm.tokenizer.chat_template


def one_bit(lm):
    weight = lm.weight(Site(3, "mlp_out"))
    weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(1e9))


def swapped_weights(lm):
    weight = lm.weight(Site(3, "mlp_out"))
    weight[0, 0], weight[0, 1] = weight[0, 1].clone(), weight[0, 0].clone()


def changed_config(lm):
    lm.model.config.rms_norm_eps *= 2


def changed_template(lm):
    lm.tokenizer.chat_template = "{{ messages[0]['content'] }}"


def changed_tokenizer(lm):
    lm.tokenizer.add_tokens(["owl"])


@pytest.mark.parametrize("change", [one_bit, swapped_weights, changed_config, changed_template, changed_tokenizer])
def test_the_fingerprint_follows_everything_that_answers_follow_from(change):
    lm = tiny_model("llama")
    change(lm)
    assert LanguageModel(lm.model, lm.tokenizer).fingerprint != tiny_model("llama").fingerprint


def test_the_fingerprint_follows_the_dtype_and_the_seed():
    names = [
        tiny_model("llama").fingerprint,
        tiny_model("llama", dtype=torch.bfloat16).fingerprint,
        tiny_model("llama", seed=1).fingerprint,
        tiny_model("mistral").fingerprint,
    ]
    assert len(set(names)) == 4
    assert tiny_model("llama").fingerprint == names[0]


def test_the_fingerprint_is_that_of_the_unedited_model():
    lm = tiny_model("llama")
    before = lm.fingerprint
    one_bit(lm)
    assert lm.fingerprint == before


def test_checksums_see_places_signs_and_views():
    numbers = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    assert checksums(numbers) == checksums(numbers.clone())
    assert checksums(numbers) != checksums(numbers.T)
    assert checksums(torch.tensor([0.0])) != checksums(torch.tensor([-0.0]))
    assert checksums(numbers.bfloat16()) != checksums(numbers)


def test_restoring_copies_every_tensor_back_after_an_exception():
    first, second = torch.tensor([0.1, 0.2]), torch.tensor([0.3])
    with pytest.raises(KeyError), restore_after([first, second]):
        first += 1
        second.zero_()
        raise KeyError
    assert torch.equal(first, torch.tensor([0.1, 0.2]))
    assert torch.equal(second, torch.tensor([0.3]))


def test_a_slow_tokenizer_is_refused():
    tokenizer = tiny_model("llama").tokenizer

    class Slow(PreTrainedTokenizerFast):
        is_fast = False

    with pytest.raises(ValueError, match="no character offsets; use its fast version"):
        LanguageModel(tiny_model("llama").model, Slow(tokenizer_object=tokenizer.backend_tokenizer), "slow")


def test_a_model_is_put_in_evaluation_mode_without_gradients():
    model = tiny_model("llama").model.train().requires_grad_(True)
    lm = LanguageModel(model, tiny_model("llama").tokenizer)
    assert not any(module.training for module in lm.model.modules())
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())


@pytest.mark.parametrize(("end_ids", "reference"), [(None, {0}), (5, {0, 5}), ([5, 7], {0, 5, 7})])
def test_what_ends_a_generation(end_ids, reference):
    lm = tiny_model("llama")
    lm.model.generation_config.eos_token_id = end_ids
    assert lm.stop_ids == reference
