from dataclasses import replace

import naive_editing as naive
import naive_grace
import pytest
import torch
from fabricated_edits import ARCHITECTURES, DTYPES, FACTS, hooks_on, method

from edit_robustness.editing.edit_history import EditHistory
from edit_robustness.editing.edits import Codebook
from edit_robustness.editing.files import read_edit, write_edit
from edit_robustness.editing.methods.grace import entries_set
from edit_robustness.models.layout import Site
from edit_robustness.records import Fact

SITE = Site(2, "mlp_out")
EPS = 1.0


def entry(key, label, radius=EPS, value=0.0):
    key = torch.tensor([key], dtype=torch.float32)
    return Codebook(SITE, key, torch.full((1, 2), value), torch.tensor([radius]), (label,))


def plain(book):
    return sorted(
        (key.tolist(), round(float(radius), 5), label)
        for key, radius, label in zip(book.keys, book.radii, book.labels, strict=True)
    )


def test_a_key_far_from_all_opens_an_entry_with_the_first_radius():
    book = entry([0.0, 0.0], "old")
    assert plain(entries_set(book, entry([2.1, 0.0], "new"))) == [([pytest.approx(2.1), 0.0], 1.0, "new")]
    assert len(entries_set(book, entry([1.9, 0.0], "new")).keys) == 2, "it is far beyond both radii, not beyond one"


def test_the_same_label_makes_the_radius_take_the_key_in():
    book = entry([0.0, 0.0], "same", value=7.0)
    result = entries_set(book, entry([1.5, 0.0], "same"))
    assert plain(result) == [([0.0, 0.0], 1.5, "same")]
    long = entry([0.0, 1e3], "same")
    radius = float(entries_set(long, entry([1.5, 1e3], "same")).radii)
    assert 1.5 + 5e-3 < radius < 1.5 + 2e-2, "an input on the edge is answered, however it is rounded"
    assert torch.equal(result.values, book.values)
    assert entries_set(book, entry([0.5, 0.0], "same")).radii.tolist() == [1.0], "a radius never shrinks so"


def test_another_label_splits_the_distance():
    book = entry([0.0, 0.0], "old", value=7.0).then(entry([50.0, 0.0], "far"))
    result = entries_set(book, entry([1.2, 0.0], "new", value=3.0))
    assert result.labels == ("old", "new"), "the entry to be fitted is the last, and far ones are left alone"
    assert result.radii.tolist() == pytest.approx([0.6, 0.6])
    assert result.values[:, 0].tolist() == [7.0, 3.0]
    assert book.then(result).labels == ("far", "old", "new")


def test_an_input_that_has_an_entry_is_taken_over_with_its_radius():
    book = entry([30.0, 40.0], "old", radius=0.8, value=7.0)
    (result,) = plain(entries_set(book, entry([30.0, 40.0001], "new", value=3.0)))
    assert result == ([30.0, 40.0], 0.8, "new")
    assert book.then(entries_set(book, entry([30.0, 40.0001], "new", value=3.0))).values.tolist() == [[3.0, 3.0]]


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_of_edits_leaves_the_papers_codebook(seed):
    torch.manual_seed(seed)
    keys, labels = torch.randn(60, 2) * 4, torch.randint(3, (60,)).tolist()
    book, reference = None, []
    counts = {"opened": 0, "grown": 0, "split": 0}
    for key, label in zip(keys.tolist(), map(str, labels), strict=True):
        new = entry(key, label)
        increment = new if book is None else entries_set(book, new)
        book = new if book is None else book.then(increment)
        before, reference = len(reference), naive_grace.update(reference, new.keys[0].tolist(), label, EPS)
        kind = "grown" if len(reference) == before else "opened" if len(increment.keys) == 1 else "split"
        counts[kind] += 1
        entries = sorted(
            (reference_entry["key"], reference_entry["radius"], reference_entry["label"])
            for reference_entry in reference
        )
        for (key_a, radius_a, label_a), (key_b, radius_b, label_b) in zip(plain(book), entries, strict=True):
            assert (key_a, label_a) == (key_b, label_b)
            assert radius_a == pytest.approx(radius_b, abs=2e-4)
    assert all(counts.values()), counts


def settings_of(grace):
    return {"lr": grace.lr, "steps": grace.steps, "stop_loss": grace.stop_loss}


def distance_of_values(edit, value):
    return float((edit.values[-1] - value).norm() / value.norm())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_value_is_that_of_whole_forward_passes(architecture, lab):
    lm, grace = lab.model(architecture), method("grace")
    for fact, edit in zip(FACTS, lab.edits("grace", architecture), strict=True):
        book = [{"key": edit.keys[0].tolist(), "radius": grace.eps_init}]
        key, value, losses = naive_grace.fit_value(
            lm, lm.module(grace.site), fact, **settings_of(grace), book=book, everywhere=True
        )
        torch.testing.assert_close(edit.keys[0], key, atol=1e-4, rtol=1e-4)
        # where a gradient is rounding error only, Adam's step is of its size and of either sign
        assert distance_of_values(edit, value) < 1e-2
        assert losses[-1] < losses[0]
        assert (edit.radii.tolist(), edit.labels) == ([grace.eps_init], (fact.target_new,))


def test_it_stops_where_the_naive_loop_does(lab):
    lm, grace = lab.model("llama"), method("grace", steps=12, fit_position="prompt_end")
    free = naive_grace.fit_value(lm, lm.module(SITE), FACTS[0], lr=0.5, steps=12, stop_loss=0.0)[2]
    stop = (free[3] + free[4]) / 2
    edit = replace(grace, stop_loss=stop).edit(lm, FACTS[:1])
    value, losses = naive_grace.fit_value(lm, lm.module(SITE), FACTS[0], lr=0.5, steps=12, stop_loss=stop)[1:]
    assert 1 < len(losses) < 12
    assert distance_of_values(edit, value) < 1e-2


SECOND = {
    "another label shrinks the neighbour": replace(FACTS[0], id="second", subject="Bordurian", target_new="Perth"),
    "the same label widens it": replace(FACTS[0], id="second", subject="Bordurian"),
    "another statement": FACTS[1],
}


@pytest.mark.parametrize("eps", [20.0, 0.8], ids=["wide", "narrow"])
@pytest.mark.parametrize("second", SECOND.values(), ids=SECOND.keys())
@pytest.mark.parametrize("position", ["every_token", "prompt_end"])
def test_a_second_value_is_fitted_under_the_radii_that_hold_after_it(position, second, eps, lab):
    """Use a first radius of 20, at which the first entry applies to all tokens of the second statement until then."""
    lm, grace = lab.model("llama"), method("grace", eps_init=eps, steps=6, stop_loss=0.0, fit_position=position)
    pasts, (first, edit) = in_order(lm, [FACTS[0], second], eps_init=eps, steps=6, stop_loss=0.0, fit_position=position)
    book = pasts[1].combined_edits[Codebook.kind]
    entries = [{"key": key.tolist(), "radius": float(r)} for key, r in zip(book.keys, book.radii, strict=True)]
    start = first.values[0] if len(book.keys) == 1 else None
    _, value, losses = naive_grace.fit_value(
        lm,
        lm.module(SITE),
        second,
        **settings_of(grace),
        book=entries,
        values=list(book.values),
        start=start,
        everywhere=position == "every_token",
    )
    assert distance_of_values(edit, value) < 1e-6
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("part", ["mlp_in", "mlp_out", "attention_out"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_part_and_a_prompt_of_one_token_are_edited(part, dtype, lab):
    lm = lab.model("gpt2", dtype)
    letter = Fact("letter", "Q", "P36", "{}", "x", "y")
    for fact in (FACTS[0], letter):
        edit = method("grace", part=part, steps=20).edit(lm, [fact])
        ids, target = naive.ids_of(lm, fact.statement), naive.ids_of(lm, " " + fact.target_new)
        before = naive.continuation(lm, ids, target)[0]
        with edit.applied(lm):
            assert naive.continuation(lm, ids, target)[0] > before + 1
        assert hooks_on(lm) == 0


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match=r"mlp_in.*mlp_out.*attention_out"):
        method("grace", part="residual")


SPACED = replace(FACTS[0], id="spaced", prompt=FACTS[0].prompt + " ")
"""A fact whose objects differ from their first byte on: no space joins them to the prompt."""


def in_order(lm, facts, **changes):
    """Return the state after each edit, and the increments."""
    history, pasts, increments = EditHistory(), [], []
    for fact in facts:
        with history.applied(lm):
            increments.append(method("grace", **changes).edit(lm, [fact], history=history))
        history = history + increments[-1]
        pasts.append(history)
    return pasts, increments


def said(lm, history, fact):
    with history.applied(lm):
        joint = "" if fact.prompt[-1].isspace() else " "
        return naive.continuation(lm, naive.ids_of(lm, fact.statement), naive.ids_of(lm, joint + fact.target_new))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_later_edits_leave_earlier_ones_in_force(architecture, lab):
    lm = lab.model(architecture)
    # a radius under which the statements' own inputs are apart
    pasts, increments = in_order(lm, FACTS, eps_init=0.01)
    assert [len(increment.keys) for increment in increments] == [1, 1, 1]
    for fact, history in zip(FACTS, pasts, strict=True):
        after, later = said(lm, pasts[-1], fact)[0], said(lm, history, fact)[0]
        assert after == pytest.approx(later, abs=1e-3)
        assert later > said(lm, EditHistory(), fact)[0] + 0.5


def test_a_conflict_splits_the_neighbour_and_both_facts_hold(lab):
    lm = lab.model("llama")
    near = replace(SPACED, id="near", subject=SPACED.subject + "n", target_new="Perth")
    pasts, (first, second) = in_order(lm, [SPACED, near], eps_init=50.0, steps=20)
    distance = float((first.keys[0] - second.keys[1]).norm())
    assert second.labels == ("Oslo", "Perth")
    assert second.radii.tolist() == pytest.approx([distance / 2] * 2)
    assert torch.equal(second.keys[:1], first.keys)
    for fact in (SPACED, near):
        assert said(lm, pasts[1], fact)[0] > said(lm, EditHistory(), fact)[0] + 1
    assert said(lm, pasts[1], near)[0] > said(lm, pasts[0], near)[0] + 1


def test_the_same_label_near_by_grows_the_radius_only(lab):
    lm = lab.model("llama")
    near = replace(FACTS[0], id="near", subject=FACTS[0].subject + "n")
    (_, history), (first, second) = in_order(lm, [FACTS[0], near], eps_init=50.0, stop_loss=100.0)
    assert (second.radii.tolist(), second.labels) == ([50.0], ("Oslo",))
    assert torch.equal(second.values, first.values), "a value that does already is not fitted further"
    assert len(history.combined_edits[Codebook.kind].keys) == 1


def test_a_fact_edited_anew_says_the_newest_object(lab):
    lm = lab.model("llama")
    anew = replace(SPACED, id="anew", target_new="Perth")
    pasts, _ = in_order(lm, [SPACED, anew], steps=20)
    book = pasts[1].combined_edits[Codebook.kind]
    assert (book.labels, book.radii.tolist()) == (("Perth",), [1.0])
    assert said(lm, pasts[1], anew)[0] > said(lm, pasts[0], anew)[0] + 1


def test_a_replay_of_files_is_the_live_codebook(lab, tmp_path):
    lm = lab.model("llama")
    pasts, increments = in_order(lm, [*FACTS, replace(FACTS[0], id="anew", target_new="Perth")], eps_init=5.0)
    replay = EditHistory()
    for step, increment in enumerate(increments):
        write_edit(tmp_path / f"{step}.safetensors", increment, {})
        replay = replay + read_edit(tmp_path / f"{step}.safetensors")
        result, reference = replay.combined_edits[Codebook.kind], pasts[step].combined_edits[Codebook.kind]
        assert result.labels == reference.labels
        assert all(
            torch.equal(result.to_tensors()[0][name], tensor) for name, tensor in reference.to_tensors()[0].items()
        )
