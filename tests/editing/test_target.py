import json
from dataclasses import replace

import naive_editing as naive
import numpy as np
import pytest
import torch
from fabricated_edits import FACTS, TEXTS, corpus, method
from merging import SHORT, merging_model

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.contexts import statement_contexts
from edit_robustness.editing.edits import Origin
from edit_robustness.editing.keys import keys_in_contexts, mean_key
from edit_robustness.editing.target import split_prompts
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import SubjectNotFound
from edit_robustness.models.writing import CONTEXT_OPENINGS
from edit_robustness.records import Fact

CONTEXTS = ("It rained. ", "A bell rang, ")


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
    with pytest.raises(ValueError, match="context_lengths asks for 3 contexts, and the corpus has 2 texts"):
        statement_contexts(lab.model("llama"), TEXTS[:2], (5, 5, 5))


def test_rows_read_as_statement_with_target_and_as_essence(lab):
    lm, fact = lab.model("llama"), FACTS[2]
    prompts = split_prompts(lm, fact, ("It rained. ", "A bell rang in the fog. "))
    ids = torch.cat([prompts.head, prompts.tail], dim=1)
    texts = [lm.tokenizer.decode(row[real]) for row, real in zip(ids, prompts.mask.bool(), strict=True)]
    statement = fact.statement + " " + fact.target_new[:-1]
    assert texts == [
        statement,
        "It rained. " + statement,
        "A bell rang in the fog. " + statement,
        f"{fact.subject} is a",
    ]
    assert lm.tokenizer.decode(prompts.target) == " " + fact.target_new


def test_every_context_is_used_whatever_the_subjects_tokens_are_there():
    lm = merging_model()
    prompts = split_prompts(lm, SHORT, CONTEXTS)
    ids = torch.cat([prompts.head, prompts.tail], dim=1)
    texts = [lm.tokenizer.decode(row[real]) for row, real in zip(ids, prompts.mask.bool(), strict=True)]
    statement = f"{SHORT.statement} {SHORT.target_new[:-1]}"
    assert texts == [statement, *[context + statement for context in CONTEXTS], "Qu is a"]
    assert lm.tokenizer.convert_ids_to_tokens(prompts.tail[:, 0]) == ["u", "ĠQu", "ĠQu", "u"]
    assert method("rome").context_use(lm, [SHORT], Artefact(texts=CONTEXTS)) == (2, {})


def test_contexts_that_cannot_be_used_are_left_out_and_counted(caplog):
    # after ". " this tokenizer drops the subject, after ", " it does not
    lm = merging_model(dropped_text=". Qu")
    assert len(split_prompts(lm, SHORT, CONTEXTS).head) == 3
    artefact = replace(method("rome").prepare(lm, corpus()), texts=CONTEXTS)
    edit = method("rome").edit(lm, [SHORT], artefact=artefact)
    assert (edit.origin.contexts, edit.origin.unused_contexts) == (2, {SHORT.id: 1})
    assert Origin.parse(json.loads(json.dumps(edit.origin.plain()))) == edit.origin
    assert "1 of 2 contexts cannot be used for P36-short" in caplog.text


def test_a_statement_without_its_subject_is_an_error():
    with pytest.raises(SubjectNotFound, match="no token contains the end of the subject `Qu`"):
        split_prompts(merging_model(dropped_text="Qu"), SHORT, CONTEXTS)


def test_contexts_may_be_the_models_own():
    lm, artefact = merging_model(), {}
    for seed in (0, 0, 1):
        rome = method("rome", contexts="model", context_lengths=[5, 10, 20, 20, 20, 20], context_seed=seed)
        artefact.setdefault(seed, []).append(rome.prepare(lm, corpus()))
    (first, again), (other_texts,) = artefact.values()
    assert first.fingerprint == again.fingerprint != other_texts.fingerprint
    for text, opening in zip(first.texts, [*CONTEXT_OPENINGS, "The"], strict=True):
        assert text.startswith(opening)
        assert text.endswith(". ")
        assert "{}" not in text


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_key_of_a_subject_with_other_tokens_in_contexts_is_the_mean_of_each(architecture):
    lm, site = merging_model(architecture), Site(2, "mlp_out")
    together = mean_key(lm, site, split_prompts(lm, SHORT, CONTEXTS)).double().numpy()
    np.testing.assert_allclose(together, naive.mean_key(lm, lm.module(site), SHORT, CONTEXTS), atol=1e-5, rtol=1e-4)


def test_the_bare_statement_may_weigh_as_much_as_all_contexts_in_a_key(lab):
    lm, site, fact = lab.model("llama"), Site(2, "mlp_out"), FACTS[0]
    prompts, bare = split_prompts(lm, fact, CONTEXTS), split_prompts(lm, fact, ())
    statement, *contexts = keys_in_contexts(lm, site, prompts)
    torch.testing.assert_close(statement, mean_key(lm, site, bare, "half"))
    torch.testing.assert_close(mean_key(lm, site, prompts, "half"), statement / 2 + sum(contexts) / 4)
    torch.testing.assert_close(mean_key(lm, site, prompts), (statement + sum(contexts)) / 3)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_key_does_not_depend_on_padding_or_on_the_target(architecture, lab):
    lm, site, fact = lab.model(architecture), Site(2, "mlp_out"), FACTS[0]
    alone = [mean_key(lm, site, split_prompts(lm, Fact("x", fact.subject, "P36", c + fact.prompt, "a", "b"), ()))
             for c in ("", "It rained. ", "A bell rang in the fog. ")]  # fmt: skip
    together = mean_key(lm, site, split_prompts(lm, fact, ("It rained. ", "A bell rang in the fog. ")))
    torch.testing.assert_close(together, torch.stack(alone).mean(0), atol=1e-5, rtol=1e-4)
    assert together.shape == (48,)
    assert together.dtype == torch.float32
