"""Second moments of the keys: what the inputs of the edited weights look like over running text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from edit_robustness.editing.method import Corpus
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import Rendered, pad, positions, prompt_ids
from edit_robustness.models.trace import inputs_at


def key_moments(lm: LanguageModel, corpus: Corpus, sites: Sequence[Site], *, tokens: int) -> dict[Site, Tensor]:
    """The second moments of the keys of each site: the corpus's own where it has them, the others in one pass."""
    missing = [site for site in sites if site not in corpus.moments]
    taken = second_moments(lm, corpus.texts, missing, tokens=tokens) if missing else {}
    both = {**taken, **corpus.moments}
    return {site: both[site] for site in sites}


_BATCH = 16
_LONGEST = 256


@torch.no_grad()
def second_moments(
    lm: LanguageModel,
    texts: Sequence[str],
    sites: Sequence[Site],
    *,
    tokens: int,
    progress: Callable[[Sequence], Iterable] = iter,
) -> dict[Site, Tensor]:
    """C = E[k k^T] of the inputs k of each site, all sites in one pass (Meng et al. 2022, ROME, eq. 2 and appendix).

    Args:
        lm: The model.
        texts: Running text; each is cut at 256 tokens.
        sites: The weights whose inputs are meant.
        tokens: How many tokens to use at most.
        progress: Wraps the batches, to show how far it is.

    Returns:
        For each site the uncentred second moment, (d_in, d_in) in float64 on the CPU.

    Raises:
        ValueError: If there are not more tokens than a key is wide, so that C has no inverse.
    """
    rows = _rows(lm, texts, tokens)
    used = sum(map(len, rows))
    widest = max(lm.weight(site).shape[1] for site in sites)
    if used <= widest:
        raise ValueError(
            f"second moments of keys {widest} wide need more than {widest} tokens; the corpus gave {used}: "
            "give it more text (corpus_source) or raise the number of tokens (mom2_tokens)"
        )
    total = {site: torch.zeros(lm.weight(site).shape[1], lm.weight(site).shape[1]).double() for site in sites}
    batches = [rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]
    for batch in progress(batches):
        ids, mask = pad(batch, lm.pad_id, side="right", device=lm.device)
        seen = inputs_at(lm, sites, input_ids=ids, attention_mask=mask, position_ids=positions(mask))
        for site, keys in seen.items():
            real = keys[mask.bool()].float()
            total[site] += (real.T @ real).double().cpu()
    return {site: moment / used for site, moment in total.items()}


@torch.no_grad()
def energy_inside(
    lm: LanguageModel, texts: Sequence[str], projections: Mapping[Site, Callable[[Tensor], Tensor]], *, tokens: int
) -> tuple[dict[Site, float], int]:
    """Return the share of the keys' mean squared length that lies inside a subspace, and over how many tokens.

    Args:
        lm: The model.
        texts: Running text.
        projections: For each site the orthogonal projection of keys (n, d_in) onto its subspace.
        tokens: How many tokens to use at most.
    """
    rows = _rows(lm, texts, tokens)
    inside, whole = dict.fromkeys(projections, 0.0), dict.fromkeys(projections, 0.0)
    for first in range(0, len(rows), _BATCH):
        ids, mask = pad(rows[first : first + _BATCH], lm.pad_id, side="right", device=lm.device)
        seen = inputs_at(lm, list(projections), input_ids=ids, attention_mask=mask, position_ids=positions(mask))
        for site, keys in seen.items():
            real = keys[mask.bool()].float().cpu().double()
            inside[site] += float(projections[site](real).square().sum())
            whole[site] += float(real.square().sum())
    return {site: inside[site] / whole[site] for site in projections if whole[site]}, sum(map(len, rows))


def unread_texts(lm: LanguageModel, texts: Sequence[str], tokens: int) -> Sequence[str]:
    """Return the texts from which `second_moments` takes no token."""
    return texts[len(_rows(lm, texts, tokens)) :]


def count_tokens(lm: LanguageModel, texts: Sequence[str], most: int) -> int:
    """Return how many tokens `second_moments` would take from these texts if it may take so many."""
    return sum(map(len, _rows(lm, texts, most)))


def _rows(lm: LanguageModel, texts: Sequence[str], tokens: int) -> list[list[int]]:
    rows: list[list[int]] = []
    left = tokens
    for text in texts:
        if left <= 0:
            break
        row = prompt_ids(lm, Rendered(text))[: min(_LONGEST, left)]
        rows.append(row)
        left -= len(row)
    return sorted(rows, key=len, reverse=True)
