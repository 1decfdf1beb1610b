import json

import naive_editing as naive
import naive_grace
import pytest
import torch
from fabricated_edits import ARCHITECTURES, FACTS, bits, hooks_on, same_bits

from edit_robustness.editing.edits import Codebook, NotCombined, all_applied
from edit_robustness.editing.edits.chain import combine_edits
from edit_robustness.models.decode import greedy, prefill
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Owners
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import pad

SITE = Site(2, "mlp_out")
NEW = 4
PROMPTS = (FACTS[0].statement, "A short one", "Another row, longer than the one that is looked at, and padded less")


def book(keys, radii, labels=None, seed=0):
    torch.manual_seed(seed)
    keys = torch.as_tensor(keys, dtype=torch.float32)
    values = torch.randn(len(keys), 5)
    return Codebook(SITE, keys, values, torch.tensor(radii), tuple(labels or map(str, range(len(keys)))))


def plain(edit):
    return [
        {"key": key.tolist(), "radius": float(radius), "label": label}
        for key, radius, label in zip(edit.keys, edit.radii, edit.labels, strict=True)
    ]


def test_each_token_is_answered_by_its_nearest_entry_if_within_its_radius():
    torch.manual_seed(1)
    edit = book(torch.randn(6, 3), [0.1, 0.5, 1.0, 1.5, 0.0, 2.0])
    inputs, output = torch.randn(4, 7, 3), torch.randn(4, 7, 5)
    inputs[0, 0] = edit.keys[4]
    result = edit.answers(inputs, output)
    count = 0
    for row in range(4):
        for token in range(7):
            site_output = output[row, token].tolist()
            target = naive_grace.answers(plain(edit), edit.values.tolist(), inputs[row, token].tolist(), site_output)
            assert result[row, token].tolist() == target
            count += target != site_output
    assert 5 < count < 23
    assert torch.equal(result[0, 0], edit.values[4]), "an input that is a key is answered whatever the radius"


def test_small_distances_between_long_vectors_are_exact():
    edit = book(torch.full((40, 64), 100.0), [0.5] * 40)
    edit.keys[:, 0] += torch.arange(40.0) * 1e-2
    distances, entry = edit.nearest(edit.keys[None])
    assert entry[0].tolist() == list(range(40))
    assert not distances.any()


def test_answers_come_in_the_models_dtype_and_padding_that_is_no_number_is_left():
    edit = book(torch.zeros(1, 3), [9.0])
    inputs = torch.zeros(1, 2, 3, dtype=torch.bfloat16)
    inputs[0, 1] = float("nan")
    result = edit.answers(inputs, torch.zeros(1, 2, 5, dtype=torch.bfloat16))
    assert result.dtype == torch.bfloat16
    assert torch.equal(result[0, 0], edit.values[0].bfloat16())
    assert not result[0, 1].any()


def test_a_later_entry_takes_the_place_of_one_with_its_key():
    first = book([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]], [0.1, 0.2, 0.3], "abc")
    later = book([[1.0, 0, 0], [5, 0, 0]], [0.7, 0.8], "xy", seed=1)
    union = first.then(later)
    assert union.labels == ("a", "c", "x", "y")
    assert union.keys[:, 0].tolist() == [0, 2, 1, 5]
    assert union.radii.tolist() == pytest.approx([0.1, 0.3, 0.7, 0.8])
    assert torch.equal(union.values, torch.cat([first.values[[0, 2]], later.values]))
    assert first.labels == ("a", "b", "c")


def test_independent_codebooks_add_up_and_other_sites_do_not():
    first, second = book([[0.0, 0, 0]], [0.1], "a"), book([[1.0, 0, 0]], [0.1], "b", seed=1)
    together = combine_edits((first + second).parts())[Codebook.kind]
    assert together.labels == ("a", "b")
    elsewhere = Codebook(Site(1, "mlp_out"), first.keys, first.values, first.radii, first.labels)
    with pytest.raises(NotCombined, match=r"at 1.mlp_out cannot follow one at 2.mlp_out: .* one `layer`"):
        first.then(elsewhere)


def test_a_file_holds_numbers_as_tensors_and_labels_as_text():
    edit = book([[0.0, 1, 2], [3, 4, 5]], [0.1, 0.2], ["Zürich", 'O"slo'])
    tensors, texts = edit.to_tensors()
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "keys": (2, 3),
        "values": (2, 5),
        "radii": (2,),
    }
    assert json.loads(texts["labels"]) == ["Zürich", 'O"slo']
    again = Codebook.from_tensors(tensors, texts)
    assert (again.site, again.labels) == (edit.site, edit.labels)
    assert torch.equal(again.keys, edit.keys)


def test_a_codebook_of_another_shape_is_refused():
    lm = tiny_model("llama")
    with pytest.raises(ValueError, match=r"for 2.mlp_out of shape \(5, 3\), but in tiny-llama its shape is \(32, 48\)"):
        book([[0.0, 0, 0]], [1.0]).apply_unchecked(lm, None).__enter__()
    assert hooks_on(lm) == 0


def likeliest(lm, ids):
    """Greedy tokens by a plain forward pass each, nothing cached."""
    answers = []
    for _ in range(NEW):
        answers.append(int(naive.forward(lm, ids + answers)[-1].argmax()))
    return answers


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generate_with_a_cache_and_left_padding_says_what_plain_forwards_say(architecture, lab):
    lm, edit = lab.model(architecture), lab.edits("grace", architecture)[0]
    rows = [naive.ids_of(lm, prompt) for prompt in PROMPTS]
    ids, mask = pad(rows, lm.pad_id, side="left", device=lm.device)
    weights = bits(lm)
    with torch.no_grad():
        unedited_logits = lm.model(input_ids=torch.tensor([rows[0]])).logits
        with edit.applied(lm):
            edited_logits = lm.model(input_ids=torch.tensor([rows[0]])).logits
            reference = [likeliest(lm, row) for row in rows]
            answers = lm.model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=NEW,
                min_new_tokens=NEW,
                pad_token_id=lm.pad_id,
            )
    for row, target in zip(answers[:, ids.shape[1] :].tolist(), reference, strict=True):
        if not lm.stop_ids & set(target):
            assert row == target
    assert (edited_logits - unedited_logits).abs().max() > 0.1, "the edit did nothing, so nothing was tested"
    assert same_bits(bits(lm), weights)


def test_rows_that_leave_the_batch_keep_their_codebooks(lab):
    lm, edits = lab.model("gpt2"), lab.edits("grace", "gpt2")
    rows = [naive.ids_of(lm, fact.statement) for fact in (*FACTS, FACTS[0])]
    owners = Owners([0, 1, 2, 1])
    always = torch.ones(lm.config.vocab_size, dtype=torch.bool)
    alone = []
    with torch.no_grad():
        for number, row in zip([0, 1, 2, 1], rows, strict=True):
            with edits[number].applied(lm):
                alone.append(likeliest(lm, row))
        with all_applied(lm, edits, [owners.rows(number) for number in range(3)]):
            stops = {lm.tokenizer.decode(alone[1][:2]), lm.tokenizer.decode(alone[3][:4])}
            answers = greedy(
                lm, prefill(lm, rows), limit=NEW, end_rule=lambda text: text in stops, may_end=always, owners=owners
            )
    for answer, reference in zip(answers, alone, strict=True):
        assert answer.ids == reference[: len(answer.ids)]
    assert [len(answer.ids) for answer in answers][1] == 2
