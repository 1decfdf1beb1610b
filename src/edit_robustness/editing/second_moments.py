"""Second moments of the keys: statistics of the edited weights' inputs over running text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from edit_robustness.editing.method import Corpus
from edit_robustness.models.batching import batched_by_length, up_to
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tokens import RenderedPrompt, pad, positions, prompt_ids
from edit_robustness.models.trace import inputs_at
from edit_robustness.models.writing import sample_texts


def key_moments(lm: LanguageModel, corpus: Corpus, sites: Sequence[Site], *, tokens: int) -> dict[Site, Tensor]:
    """Return the second moments of each site's keys: those that the corpus has, the others computed in one pass."""
    missing_sites = [site for site in sites if site not in corpus.moments]
    new_moments = second_moments(lm, corpus.texts, missing_sites, tokens=tokens) if missing_sites else {}
    moments = {**new_moments, **corpus.moments}
    return {site: moments[site] for site in sites}


_BATCH = 16
_LONGEST = 256


@torch.no_grad()
def second_moments(
    lm: LanguageModel,
    texts: Sequence[str],
    sites: Sequence[Site],
    *,
    tokens: int,
    progress: Callable[[Sequence[list[list[int]]]], Iterable[list[list[int]]]] = iter,
) -> dict[Site, Tensor]:
    """Compute C = E[k k^T] of the inputs k of each site, all sites in one pass (ROME, Meng et al. 2022, eq. 2).

    Args:
        lm: The model.
        texts: Running text; each text is truncated to 256 tokens.
        sites: The weights whose inputs are used.
        tokens: Maximum number of tokens.
        progress: Wraps the batches, to show progress.

    Returns:
        For each site the uncentred second moment, (d_in, d_in) in float64 on the CPU.

    Raises:
        ValueError: If there are no more tokens than a key is wide, so that C has no inverse.
    """
    rows = _tokenize(lm, texts, tokens)
    count = sum(map(len, rows))
    widest = max(lm.weight(site).shape[1] for site in sites)
    if count <= widest:
        raise ValueError(
            f"second moments of keys {widest} wide need more than {widest} tokens; the corpus gave {count}: "
            "give it more text (corpus_source) or raise the number of tokens (mom2_tokens)"
        )
    total = {site: torch.zeros(lm.weight(site).shape[1], lm.weight(site).shape[1]).double() for site in sites}
    for batch in progress(_batches(rows)):
        ids, mask = pad(batch, lm.pad_id, side="right", device=lm.device)
        inputs = inputs_at(lm, sites, input_ids=ids, attention_mask=mask, position_ids=positions(mask))
        for site, keys in inputs.items():
            real_keys = keys[mask.bool()].float()
            total[site] += (real_keys.T @ real_keys).double().cpu()
    return {site: moment / count for site, moment in total.items()}


@torch.no_grad()
def energy_inside(
    lm: LanguageModel, texts: Sequence[str], projections: Mapping[Site, Callable[[Tensor], Tensor]], *, tokens: int
) -> tuple[dict[Site, float], int]:
    """Measure the share of the keys' mean squared length that lies inside a subspace.

    Args:
        lm: The model.
        texts: Running text.
        projections: For each site the orthogonal projection of keys (n, d_in) onto its subspace.
        tokens: Maximum number of tokens.

    Returns:
        The share for each site, and the number of tokens that it was measured on.
    """
    rows = _tokenize(lm, texts, tokens)
    inside_energy, total_energy = dict.fromkeys(projections, 0.0), dict.fromkeys(projections, 0.0)
    for batch in _batches(rows):
        ids, mask = pad(batch, lm.pad_id, side="right", device=lm.device)
        inputs = inputs_at(lm, list(projections), input_ids=ids, attention_mask=mask, position_ids=positions(mask))
        for site, keys in inputs.items():
            real_keys = keys[mask.bool()].float().cpu().double()
            inside_energy[site] += float(projections[site](real_keys).square().sum())
            total_energy[site] += float(real_keys.square().sum())
    shares = {site: inside_energy[site] / total_energy[site] for site in projections if total_energy[site]}
    return shares, sum(map(len, rows))


def unread_texts(lm: LanguageModel, texts: Sequence[str], tokens: int) -> Sequence[str]:
    """Return the texts that `second_moments` does not read."""
    return texts[len(_tokenize(lm, texts, tokens)) :]


def count_tokens(lm: LanguageModel, texts: Sequence[str], limit: int) -> int:
    """Count the tokens that `second_moments` would read from these texts, up to a limit."""
    return sum(map(len, _tokenize(lm, texts, limit)))


_ROUNDS = 16


def write_texts(
    lm: LanguageModel,
    *,
    tokens: int,
    tokens_per_text: int,
    texts: int = 0,
    seed: int = 0,
    spare_texts: int = 0,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[str]:
    """Generate texts with the model until there are enough of them with enough tokens, or for 16 rounds at most.

    A model may end its texts early, and each of them at once, so that one round may be too little and no number of
    rounds enough.

    Args:
        lm: The model.
        tokens: Number of tokens that `second_moments` must be able to read from all texts.
        tokens_per_text: Maximum number of tokens per text.
        texts: Minimum number of texts.
        seed: Seed of the first round; each later round has the next one.
        spare_texts: Number of texts per round after the first, beyond those that the missing tokens need.
        progress: Wraps the batches of a round, to show progress.
    """
    corpus: list[str] = []
    for round_number in range(_ROUNDS):
        shortage = max(tokens - count_tokens(lm, corpus, tokens), 0)
        n_texts = max(-(-shortage // tokens_per_text), texts - len(corpus))
        if n_texts <= 0:
            break
        if round_number:
            n_texts += spare_texts
        corpus += sample_texts(lm, texts=n_texts, tokens=tokens_per_text, seed=seed + round_number, progress=progress)
    return corpus


def _tokenize(lm: LanguageModel, texts: Sequence[str], tokens: int) -> list[list[int]]:
    rows: list[list[int]] = []
    remaining_tokens = tokens
    for text in texts:
        if remaining_tokens <= 0:
            break
        row = prompt_ids(lm, RenderedPrompt(text))[: min(_LONGEST, remaining_tokens)]
        rows.append(row)
        remaining_tokens -= len(row)
    return rows


def _batches(rows: Sequence[list[int]]) -> list[list[list[int]]]:
    return batched_by_length(rows, len, up_to(_BATCH), longest_first=True)
