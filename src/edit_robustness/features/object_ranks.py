"""Prior knowledge of facts by the unedited model: rank and margin of the old object, and properties of the tokens.

Nothing is generated. The model runs once over every statement, and only the last logits are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random

import pandas as pd
import torch
from torch import Tensor

from edit_robustness.models.batching import batched_by_length, up_to
from edit_robustness.models.decode import prefill
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids, target_ids
from edit_robustness.prompts.names import names_any, new_names, plain, true_names
from edit_robustness.records import SLOT, Fact
from edit_robustness.text.joining import join_prompt

OBJECT_RANK_COLUMNS = {
    "fact_id": "str",
    "rank_true": "Int64",
    "margin_true": "Float64",
    "rank_new": "Int64",
    "subject_tokens": "Int64",
    "object_similarity": "Float64",
}
"""Columns of the tables of `object_ranks`."""


def cut_batches(lm: LanguageModel, facts: Sequence[Fact], *, rows: int) -> list[list[Fact]]:
    """Return facts in batches of at most so many statements of similar length."""
    lengths = {fact.id: len(prompt_ids(lm, RenderedPrompt(fact.statement))) for fact in facts}
    return batched_by_length(facts, lambda fact: lengths[fact.id], up_to(rows))


def object_ranks(lm: LanguageModel, batches: Iterable[Sequence[Fact]]) -> Iterator[pd.DataFrame]:
    """Yield for each batch of facts a table with their ranks of objects.

    - `rank_true`: rank of the old object's first token after the statement, 1 for the most probable. Tokens with
      equal probability do not increase it.
    - `margin_true`: log-probability of that token minus that of the best other token, in nats. It is negative if the
      token is not the most probable.
    - `rank_new`: rank of the new object's first token, in the same way. It does not need the old object.
    - `subject_tokens`: number of tokens of the statement that contain a part of the subject.
    - `object_similarity`: cosine of the two objects, each represented by the mean input embedding of its tokens.

    Values that need the old object are missing if it is not known. Ranks and margin are also missing if logits are
    not finite.

    Args:
        lm: The unedited model.
        batches: The facts whose statements are used (`cut_batches`).
    """
    for batch in batches:
        logits = prefill(lm, [prompt_ids(lm, RenderedPrompt(fact.statement)) for fact in batch]).logits
        yield _table([_measure(lm, fact, fact_logits) for fact, fact_logits in zip(batch, logits, strict=True)])


def object_ranks_table(parts: Sequence[pd.DataFrame], facts: Sequence[Fact]) -> pd.DataFrame:
    """Concatenate tables of `object_ranks` in the order of the facts."""
    table = pd.concat(parts, ignore_index=True) if parts else _table([])
    return table.set_index("fact_id").loc[[fact.id for fact in facts]].reset_index()


def rank_and_margin(logits: Tensor, token: int) -> tuple[int, float] | None:
    """Return the rank of a token, and its margin over the best other token in nats.

    Args:
        logits: Logits (vocabulary,).
        token: The token's id.

    Returns:
        None if a logit is NaN, or the token's logit is not finite.
    """
    float_logits = logits.float()
    token_logit = float_logits[token]
    if bool(float_logits.isnan().any()) or not bool(token_logit.isfinite()):
        return None
    rank = int((float_logits > token_logit).sum()) + 1
    other_logits = float_logits.clone()
    other_logits[token] = -torch.inf
    # the softmax's denominator is the same for both
    return rank, float(token_logit - other_logits.max())


def subject_tokens(lm: LanguageModel, fact: Fact) -> int:
    """Return how many tokens of the statement contain a part of the subject."""
    start = fact.prompt.index(SLOT)
    end = start + len(fact.subject)
    _, offsets = lm.encode_with_offsets(fact.statement)
    return sum(first < end and last > start for first, last in offsets)


@torch.no_grad()
def similarity(lm: LanguageModel, first_ids: Sequence[int], second_ids: Sequence[int]) -> float:
    """Return the cosine of the mean input embeddings of two token sequences."""
    weight = lm.model.get_input_embeddings().weight
    means = [weight[torch.tensor(list(ids), device=weight.device)].float().mean(0) for ids in (first_ids, second_ids)]
    return float(torch.cosine_similarity(means[0], means[1], dim=0))


def _measure(lm: LanguageModel, fact: Fact, logits: Tensor) -> dict[str, object]:
    row: dict[str, object] = {"fact_id": fact.id, "subject_tokens": subject_tokens(lm, fact)}
    prompt = RenderedPrompt(fact.statement, join=fact.join)
    new = target_ids(lm, prompt, fact.target_new)
    row["rank_new"] = (rank_and_margin(logits, new[0]) or (None,))[0]
    if not fact.target_true.strip():
        return row
    true = target_ids(lm, prompt, fact.target_true)
    rank, margin = rank_and_margin(logits, true[0]) or (None, None)
    return row | {"rank_true": rank, "margin_true": margin, "object_similarity": similarity(lm, true, new)}


def _table(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    columns = OBJECT_RANK_COLUMNS.items()
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in columns})


def recall_demonstrations(fact: Fact, candidates: Sequence[Fact], number: int, seed: int) -> str:
    """Return demonstrations with facts of the same relation and their true objects (arXiv 2402.05827).

    Facts about the same subject are left out. So are facts with one of the fact's objects, because the model could copy
    the object.

    Args:
        fact: The fact whose statement follows.
        candidates: Facts of its relation.
        number: Maximum number of demonstrations.
        seed: Seed of the choice, combined with the fact.
    """
    objects = (*true_names(fact), *new_names(fact))
    usable_facts = [
        candidate
        for candidate in candidates
        if candidate.target_true.strip()
        and plain(candidate.subject) != plain(fact.subject)
        and not names_any(join_prompt(candidate.statement, candidate.target_true, candidate.join), objects)
    ]
    sample = Random(f"{seed}/{fact.id}").sample(usable_facts, min(number, len(usable_facts)))
    return "".join(
        f"{join_prompt(candidate.statement, candidate.target_true, candidate.join)}.\n" for candidate in sample
    )
