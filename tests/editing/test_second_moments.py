import naive_editing as naive
import numpy as np
import pytest
import torch
from fabricated_edits import TEXTS

from edit_robustness.editing.second_moments import energy_inside, second_moments, unread_texts
from edit_robustness.models.layout import Site

SITE = Site(1, "mlp_out")


def test_several_sites_take_one_pass_and_equal_one_at_a_time(lab):
    lm, sites = lab.model("gpt2"), [Site(2, "attention_out"), SITE, Site(3, "mlp_in")]
    together = second_moments(lm, TEXTS, sites, tokens=400)
    assert set(together) == set(sites)
    for site in sites:
        assert torch.equal(together[site], second_moments(lm, TEXTS, [site], tokens=400)[site])
        assert together[site].shape == (lm.weight(site).shape[1],) * 2


def test_only_so_many_tokens_are_used(lab):
    lm = lab.model("llama")
    moments = second_moments(lm, [TEXTS[0] * 3, TEXTS[1] * 3], [SITE], tokens=200)[SITE]
    first = naive.ids_of(lm, TEXTS[0] * 3)
    second = naive.ids_of(lm, TEXTS[1] * 3)[: 200 - len(first)]
    assert 0 < len(second) < len(naive.ids_of(lm, TEXTS[1] * 3))
    keys = np.concatenate([naive.keys_of(lm, lm.module(SITE), ids) for ids in (first, second)])
    np.testing.assert_allclose(moments.numpy(), keys.T @ keys / 200, atol=1e-5)


def test_long_texts_are_cut(lab):
    lm = lab.model("llama")
    long = "An owl sat on a roof. " * 40
    moments = second_moments(lm, [long], [SITE], tokens=10_000)[SITE]
    keys = naive.keys_of(lm, lm.module(SITE), naive.ids_of(lm, long)[:256])
    np.testing.assert_allclose(moments.numpy(), keys.T @ keys / 256, atol=1e-5)


def test_too_little_text_is_refused_with_the_way_out(lab):
    with pytest.raises(ValueError, match="keys 48 wide need more than 48 tokens; the corpus gave 6: give it more text"):
        second_moments(lab.model("llama"), ["An owl"], [SITE], tokens=400)
    with pytest.raises(ValueError, match=r"the corpus gave 48: .* or raise the number of tokens"):
        second_moments(lab.model("llama"), TEXTS, [SITE], tokens=48)


def test_progress_wraps_the_batches(lab):
    lengths = []

    def progress(batches):
        lengths.append(len(batches))
        return iter(batches)

    second_moments(lab.model("llama"), TEXTS * 2, [SITE], tokens=10_000, progress=progress)
    assert lengths == [-(-2 * len(TEXTS) // 16)]


def test_the_energy_inside_a_subspace_is_that_of_every_key(lab):
    lm, other_site = lab.model("llama"), Site(3, "mlp_out")
    width = lm.weight(SITE).shape[1]
    masks = {SITE: torch.arange(width) < 10, other_site: torch.ones(width, dtype=torch.bool)}
    projections = {site: lambda keys, mask=mask: keys * mask for site, mask in masks.items()}
    shares, tokens = energy_inside(lm, TEXTS, projections, tokens=10_000)
    keys = np.concatenate([naive.keys_of(lm, lm.module(SITE), naive.ids_of(lm, text)) for text in TEXTS])
    assert shares[SITE] == pytest.approx((keys[:, :10] ** 2).sum() / (keys**2).sum(), rel=1e-4)
    assert shares[other_site] == pytest.approx(1)
    assert tokens == len(keys)
    assert energy_inside(lm, [], projections, tokens=10) == ({}, 0)


def test_texts_that_the_moments_do_not_read_are_left(lab):
    lm = lab.model("llama")
    first, second = (len(naive.ids_of(lm, text)) for text in TEXTS[:2])
    assert unread_texts(lm, TEXTS, first) == TEXTS[1:]
    assert unread_texts(lm, TEXTS, first + 1) == TEXTS[2:], "a text that is read in part is no held-out text"
    assert unread_texts(lm, TEXTS, first + second) == TEXTS[2:]
    assert not unread_texts(lm, TEXTS, 10_000)
