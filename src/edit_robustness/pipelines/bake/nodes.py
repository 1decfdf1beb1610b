"""Nodes of bake: choose the edits that hold alone and together, and sum them with a card."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Annotated

import pandas as pd
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets.baked import BakedModel, NoBakedModel
from edit_robustness.datasets.folders import StoredItem, successful_items
from edit_robustness.datasets.language_model import LanguageModelDataset
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.exchange.card import Card, CardPrompt
from edit_robustness.editing.exchange.export import refuse_hooks_and_words
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.sentences import first_sentence
from edit_robustness.pipelines.bake.selection import ALONE, CONDITION, NO_EDIT, TOGETHER, Selection, select
from edit_robustness.prompts.kinds import KINDS
from edit_robustness.prompts.names import answer_names
from edit_robustness.records import UNEDITED, Fact
from edit_robustness.setting_types import STRICT
from edit_robustness.tables import answers_from_table, answers_to_table, check_answers, facts_from_table
from edit_robustness.text.closest import did_you_mean

logger = logging.getLogger(__name__)

HERE = "here"
"""Name of the sum of edits in a model card."""

_ALWAYS = ("statement", "paraphrase")
"""Kinds that every baked model is asked, beside those of specificity and those that have a threshold."""


def _existing_kinds(thresholds: dict[str, float]) -> dict[str, float]:
    for kind in thresholds:
        if kind not in KINDS:
            raise ValueError(f"bake.thresholds: no kind of prompt `{kind}`; {did_you_mean(kind, KINDS)}")
    return thresholds


@dataclass(frozen=True, config=STRICT)
class BakeParameters:
    """Parameters of bake.

    Attributes:
        method: Row of METHODS.
        thresholds: For each kind of prompt the least share of a fact's prompts that must hold by free generation, alone
            and in the baked model; 0 for no threshold.
    """

    method: str
    thresholds: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], AfterValidator(_existing_kinds)]

    @property
    def active_thresholds(self) -> dict[str, float]:
        """Return the kinds that have a threshold above 0."""
        return {kind: share for kind, share in self.thresholds.items() if share > 0}


def choose(
    lm: LanguageModel,
    sampled_facts: pd.DataFrame,
    edits: Mapping[str, StoredItem[Edit]],
    answers: pd.DataFrame,
    decoding: Decoding,
    settings: BakeParameters,
) -> tuple[Selection, pd.DataFrame]:
    """Choose the edits to bake and return the verdict on each edit.

    The sum of edits is evaluated again until every edit in it meets the thresholds.

    Raises:
        ValueError: If there are no edits of the method, a kind with a threshold was not asked, or the answers were
            generated with other settings than those of this run.
        NotWeights: If the edits are no changes of weights.
    """
    lm = LanguageModelDataset.with_weights(lm)
    facts = facts_from_table(sampled_facts)
    answer_rows = _select_answers(answers, settings, lm, decoding)
    stored_edits = successful_items(edits)
    parts = {fact.id: stored_edits[fact.id].read() for fact in facts if fact.id in stored_edits}
    if not parts:
        raise ValueError(f"bake.method: {lm.name} has no edits by {settings.method}; run it with that cell of the grid")
    for edit in parts.values():
        refuse_hooks_and_words(edit)
    probes = {
        str(fact): [answer.probe for answer in answers_from_table(rows)]
        for fact, rows in answer_rows[answer_rows["method"] == settings.method].groupby("fact_id", sort=False)
    }

    def ask_again(ids: Sequence[str]) -> pd.DataFrame:
        sum_probes = [probe for fact in ids for probe in probes.get(fact, ())]
        logger.info("%s: asking %d prompts about the sum of %d edits", lm.name, len(sum_probes), len(ids))
        (sum_answers,) = ask(lm, [(sum_edits(parts, ids), sum_probes)], decoding, together=False)
        return answers_to_table(sum_answers, model=lm.name, method=settings.method, decoding=decoding.describe(lm))

    selection = select(list(parts), answer_rows, settings.method, settings.active_thresholds, ask_again)
    failures = {key: f"its edit could not be made: {item.failure}" for key, item in edits.items() if item.failure}
    selection = replace(selection, left_out={**_note_shared_edits(selection, parts), **failures})
    for fact, reason in selection.left_out.items():
        logger.warning("%s: the edit of %s by %s is left out: %s", lm.name, fact, settings.method, reason)
    return selection, _make_decisions([fact for fact in facts if fact.id in edits], selection)


def put_together(
    lm: LanguageModel,
    sampled_facts: pd.DataFrame,
    edits: Mapping[str, StoredItem[Edit]],
    selection: Selection,
    settings: BakeParameters,
) -> BakedModel | NoBakedModel:
    """Sum the chosen edits and write the model card, or return the reason why no edit was chosen."""
    if not selection.fact_ids:
        return NoBakedModel(
            f"none of {len(edits)} edits of {lm.name} by {settings.method} held on "
            f"{', '.join(settings.active_thresholds)}: there is nothing to bake. The reasons are in the table "
            f"{lm.name}.{settings.method}_decisions of the catalog; lower the thresholds in bake.thresholds"
        )
    records = facts_from_table(sampled_facts)
    facts = {fact.id: fact for fact in records if fact.id in selection.fact_ids}
    parts = {fact: edits[fact].read() for fact in facts}
    origin = next(iter(parts.values())).origin
    note = (
        f"{len(facts)} of the {len(edits)} edits of a run. Each edit was made on the unedited model by itself, and "
        f"then all were summed. `{ALONE}` is the share of prompts that hold with each edit by itself, `{HERE}` "
        f"the share in this model, by free generation; the model was asked again "
        f"{_describe_rounds(selection.rounds)}. A prompt about another fact holds if the answer is that of the "
        f"unedited model.{_describe_unscored(selection)}"
    )
    return BakedModel(
        sum_edits(parts, list(parts)),
        LanguageModelDataset.with_weights(lm),
        Card(
            method=settings.method,
            settings=origin.settings if origin else {},
            facts=list(facts.values()),
            scores={fact: _share_columns(selection, fact) for fact in facts},
            prompts=_list_prompts(selection),
            left_out={fact.id: selection.left_out[fact.id] for fact in records if fact.id in selection.left_out},
            note=note,
        ),
    )


def sum_edits(edits: Mapping[str, Edit], facts: Sequence[str]) -> Edit:
    """Return the sum of some facts' edits.

    Equal edits count once: a folder that several facts share must not be added twice.
    """
    return reduce(add, dict.fromkeys(edits[fact] for fact in facts))


def _describe_unscored(selection: Selection) -> str:
    """Return a sentence with the number of unscored answers about the chosen facts."""
    rows = selection.answers[selection.answers["fact_id"].isin(selection.fact_ids)]
    counts = []
    for name, condition, sides in ((ALONE, ALONE, selection.alone), (HERE, TOGETHER, selection.together)):
        n_scored = sum(count for fact in selection.fact_ids for _, count in sides.get(fact, {}).values())
        if n_missing := int((rows[CONDITION] == condition).sum()) - n_scored:
            counts.append(f"{n_missing} of `{name}`")
    if not counts:
        return ""
    return (
        f" The shares leave out {' and '.join(counts)}: a limit of tokens cut these answers, or those of the unedited "
        "model, before they named an object, or the log-probabilities were no numbers."
    )


def _note_shared_edits(selection: Selection, edits: Mapping[str, Edit]) -> dict[str, str]:
    """Return the reasons, and note where an edit is in the sum all the same because another chosen fact shares it."""
    chosen_edits = {edits[fact] for fact in selection.fact_ids}
    note = "; but facts that stay share its edit, so the model has it"
    return {fact: why + note * (edits[fact] in chosen_edits) for fact, why in selection.left_out.items()}


def _describe_rounds(rounds: int) -> str:
    return "once" if rounds == 1 else f"{rounds} times, each time without the edits that had fallen"


def _select_answers(
    answers: pd.DataFrame, settings: BakeParameters, lm: LanguageModel, decoding: Decoding
) -> pd.DataFrame:
    """Return the answers of the unedited model and of the method, for the kinds of prompt to measure."""
    check_answers(answers)
    rows = answers[answers["method"].isin((UNEDITED, settings.method))]
    kinds = set(rows["kind"])
    if missing_kinds := settings.active_thresholds.keys() - kinds:
        raise ValueError(
            f"bake.thresholds: no prompts of the kind {', '.join(sorted(missing_kinds))} were asked; there are "
            f"{', '.join(dict.fromkeys(rows['kind']))}. Ask it (probes.kinds) or set its threshold to 0"
        )
    decoding_label = decoding.describe(lm)
    if decodings := set(rows["decoding"]) - {decoding_label}:
        raise ValueError(
            f"bake: the answers of {lm.name} were generated with other settings ({', '.join(sorted(decodings))}) than "
            f"this run's ({decoding_label}): run edit_eval again, or set decoding as it was"
        )
    specificity = {kind for kind in kinds if KINDS[kind].family == "specificity"}
    select_kinds = (specificity | {*_ALWAYS} | settings.active_thresholds.keys()) & kinds
    select_kinds |= {previous_kind for kind in select_kinds if (previous_kind := KINDS[kind].follows)}
    return rows[rows["kind"].isin(select_kinds)]


def _make_decisions(facts: Sequence[Fact], selection: Selection) -> pd.DataFrame:
    """Return one row per edit: whether and why it is baked, its shares alone and together, and their counts."""
    kinds = list(dict.fromkeys(kind for shares in selection.alone.values() for kind in shares))
    rows = []
    for fact in facts:
        alone, together = selection.alone.get(fact.id, {}), selection.together.get(fact.id, {})
        row = {
            "fact_id": fact.id,
            "subject": fact.subject,
            "relation": fact.relation,
            "target_true": fact.target_true,
            "target_new": fact.target_new,
            "baked": fact.id in selection.fact_ids,
            "reason": selection.left_out.get(fact.id, ""),
        }
        for kind in kinds:
            for side, shares in ((ALONE, alone), (TOGETHER, together)):
                row[f"{kind}_{side}"], row[f"{kind}_n_{side}"] = shares.get(kind, (None, None))
        rows.append(row)
    counts = [f"{kind}_n_{side}" for kind in kinds for side in (ALONE, TOGETHER)]
    return pd.DataFrame(rows).astype(dict.fromkeys(counts, "Int64"))


def _share_columns(selection: Selection, fact: str) -> dict[str, float]:
    """Return a fact's shares under the card's headings, each kind alone and then in this model."""
    alone, together = selection.alone.get(fact, {}), selection.together.get(fact, {})
    sides = ((ALONE, alone), (HERE, together))
    return {f"{kind} {where}": side[kind][0] for kind in alone for where, side in sides if kind in side}


def _list_prompts(selection: Selection) -> list[CardPrompt]:
    """Return the prompts of the chosen facts with three answers: unedited, with the edit alone, and baked."""
    answers = selection.answers[selection.answers["fact_id"].isin(selection.fact_ids)]
    texts = {
        str(condition): {a.probe.id: first_sentence(a.text, answer_names(a.probe)) for a in answers_from_table(rows)}
        for condition, rows in answers.groupby(CONDITION, sort=False)
    }
    return [
        CardPrompt(
            fact=answer.probe.fact_id,
            kind=answer.probe.kind,
            prompt=" / ".join([*(turn.text for turn in answer.probe.previous_turns), answer.probe.text]),
            unedited=texts[NO_EDIT][answer.probe.id],
            alone=texts[ALONE][answer.probe.id],
            here=texts[TOGETHER][answer.probe.id],
        )
        for answer in answers_from_table(answers[answers[CONDITION] == TOGETHER])
    ]
