"""Familiarity: how near the unedited model is to the true object, and what fact and tokenizer look like to it.

No generation: one pass over every statement, its last logits only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

import pandas as pd
import torch
from torch import Tensor

from edit_robustness.models.decode import prefill
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tokens import Rendered, prompt_ids, target_ids
from edit_robustness.prompts.names import names_any, new_names, plain, true_names
from edit_robustness.records import SLOT, Fact
from edit_robustness.text.joining import joined

FAMILIARITY_COLUMNS = {
    "fact_id": "str",
    "rank_true": "Int64",
    "margin_true": "Float64",
    "subject_tokens": "Int64",
    "object_similarity": "Float64",
}
"""Columns of `familiarity`'s tables."""


def familiarity(lm: LanguageModel, facts: Sequence[Fact], *, rows: int) -> Iterator[pd.DataFrame]:
    """What one pass over the statements shows, some facts at a time, those of like length together.

    - `rank_true`: of the true object's first token after the statement, 1 being the most probable; tokens that are
      exactly as probable do not push it back.
    - `margin_true`: by how many nats that token's log-probability leads the best other token; negative where it is
      not the most probable.
    - `subject_tokens`: how many tokens of the statement hold a part of the subject.
    - `object_similarity`: cosine of the two objects, each the mean of the model's input embeddings of its tokens.

    What needs the true object is missing where there is none; rank and margin also where logits are not finite.

    Args:
        lm: The unedited model.
        facts: Whose statements.
        rows: Statements in one pass.
    """
    ids = {fact.id: prompt_ids(lm, Rendered(fact.statement)) for fact in facts}
    ordered = sorted(facts, key=lambda fact: len(ids[fact.id]))
    for start in range(0, len(ordered), rows):
        some = ordered[start : start + rows]
        logits = prefill(lm, [ids[fact.id] for fact in some]).logits
        yield _table([_measured(lm, fact, own) for fact, own in zip(some, logits, strict=True)])


def familiarity_table(parts: Sequence[pd.DataFrame], facts: Sequence[Fact]) -> pd.DataFrame:
    """One table of many, in the order of the facts."""
    whole = pd.concat(parts, ignore_index=True) if parts else _table([])
    return whole.set_index("fact_id").loc[[fact.id for fact in facts]].reset_index()


def rank_and_margin(logits: Tensor, token: int) -> tuple[int, float] | None:
    """The rank of a token, and its lead over the best other one.

    Args:
        logits: (vocabulary,).
        token: Its id.

    Returns:
        None where a logit is not a number, or the token's is not finite.
    """
    wide = logits.float()
    own = wide[token]
    if bool(wide.isnan().any()) or not bool(own.isfinite()):
        return None
    rank = int((wide > own).sum()) + 1
    others = wide.clone()
    others[token] = -torch.inf
    # the softmax's denominator is the same for both
    return rank, float(own - others.max())


def subject_tokens(lm: LanguageModel, fact: Fact) -> int:
    """How many tokens of the statement hold a part of the subject."""
    start = fact.prompt.index(SLOT)
    end = start + len(fact.subject)
    _, offsets = lm.encode_with_offsets(fact.statement)
    return sum(first < end and last > start for first, last in offsets)


@torch.no_grad()
def similarity(lm: LanguageModel, some: Sequence[int], others: Sequence[int]) -> float:
    """Cosine of the mean input embeddings of two runs of tokens."""
    weight = lm.model.get_input_embeddings().weight
    means = [weight[torch.tensor(list(ids), device=weight.device)].float().mean(0) for ids in (some, others)]
    return float(torch.cosine_similarity(means[0], means[1], dim=0))


def _measured(lm: LanguageModel, fact: Fact, logits: Tensor) -> dict[str, object]:
    row: dict[str, object] = {"fact_id": fact.id, "subject_tokens": subject_tokens(lm, fact)}
    if not fact.target_true.strip():
        return row
    prompt = Rendered(fact.statement, join=fact.join)
    true, new = (target_ids(lm, prompt, name) for name in (fact.target_true, fact.target_new))
    rank, margin = rank_and_margin(logits, true[0]) or (None, None)
    return row | {"rank_true": rank, "margin_true": margin, "object_similarity": similarity(lm, true, new)}


def _table(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    columns = FAMILIARITY_COLUMNS.items()
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in columns})


def recall_demonstrations(fact: Fact, related: Sequence[Fact], number: int, seed: int) -> str:
    """Facts of the same relation, said with their true objects, to stand before a statement (arXiv 2402.05827).

    Never about the fact's own subject, and never with one of its objects, which could be copied from there.

    Args:
        fact: Whose statement comes after.
        related: Facts of its relation.
        number: How many, or as many as there are.
        seed: Of the choice, together with the fact.
    """
    objects = (*true_names(fact), *new_names(fact))
    able = [
        other
        for other in related
        if other.target_true.strip()
        and plain(other.subject) != plain(fact.subject)
        and not names_any(joined(other.statement, other.target_true, other.join), objects)
    ]
    chosen = Random(f"{seed}/{fact.id}").sample(able, min(number, len(able)))
    return "".join(f"{joined(other.statement, other.target_true, other.join)}.\n" for other in chosen)
