import pytest
import torch
from fabricated_edits import FACTS, TEXTS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from edit_robustness.editing.target import mean_key, split_prompts, statement_contexts
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.records import Fact


def test_contexts_have_the_lengths_asked_for_and_end_like_a_sentence(lab):
    lm = lab.model("llama")
    contexts = statement_contexts(lm, TEXTS, (5, 9, 30))
    for context, text, length in zip(contexts, TEXTS, (5, 9, 30), strict=False):
        assert context.endswith(". ")
        assert text.startswith(context.removesuffix(". "))
        assert length - 2 <= len(context) - 2 <= length


def test_contexts_leave_no_place_for_a_subject(lab):
    (context,) = statement_contexts(lab.model("llama"), ["A {} in\nbraces.{}"], (50,))
    assert context == "A in braces. "


def test_more_contexts_than_texts_are_refused(lab):
    with pytest.raises(ValueError, match="3 contexts are wanted, and the corpus has 2 texts"):
        statement_contexts(lab.model("llama"), TEXTS[:2], (5, 5, 5))


def test_rows_read_as_statement_with_target_and_as_essence(lab):
    lm, fact = lab.model("llama"), FACTS[2]
    prompts = split_prompts(lm, fact, ("It rained. ", "A bell rang in the fog. "))
    whole = torch.cat([prompts.head, prompts.tail], dim=1)
    texts = [lm.tokenizer.decode(row[real]) for row, real in zip(whole, prompts.mask.bool(), strict=True)]
    statement = fact.statement + " " + fact.target_new[:-1]
    assert texts == [
        statement,
        "It rained. " + statement,
        "A bell rang in the fog. " + statement,
        f"{fact.subject} is a",
    ]
    assert lm.tokenizer.decode(prompts.target) == " " + fact.target_new


def test_a_context_that_changes_the_subjects_tokens_is_left_out():
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<end>", *letters, "ab"])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    lm = LanguageModel(tiny_model("llama").model, PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>"))
    fact = Fact("b", "b", "P36", "{} is", "x", "y")
    assert len(split_prompts(lm, fact, ("c", "d")).head) == 4
    assert len(split_prompts(lm, fact, ("a", "d")).head) == 3


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_key_does_not_depend_on_padding_or_on_the_target(architecture, lab):
    lm, site, fact = lab.model(architecture), Site(2, "mlp_out"), FACTS[0]
    alone = [mean_key(lm, site, split_prompts(lm, Fact("x", fact.subject, "P36", c + fact.prompt, "a", "b"), ()))
             for c in ("", "It rained. ", "A bell rang in the fog. ")]  # fmt: skip
    together = mean_key(lm, site, split_prompts(lm, fact, ("It rained. ", "A bell rang in the fog. ")))
    torch.testing.assert_close(together, torch.stack(alone).mean(0), atol=1e-5, rtol=1e-4)
    assert together.shape == (48,)
    assert together.dtype == torch.float32
