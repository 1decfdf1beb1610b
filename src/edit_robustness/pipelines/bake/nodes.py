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
from edit_robustness.datasets.baked import Baked, NothingBaked
from edit_robustness.datasets.folders import Stored, made
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.exchange.card import AskedPrompt, Card
from edit_robustness.editing.exchange.export import refuse_hooks_and_words
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.sentences import first_sentence
from edit_robustness.pipelines.bake.selection import ALONE, CONDITION, NO_EDIT, TOGETHER, Selection, select
from edit_robustness.prompts.kinds import KINDS
from edit_robustness.prompts.names import answer_names
from edit_robustness.records import Fact
from edit_robustness.report.findings import UNEDITED
from edit_robustness.setting_types import STRICT
from edit_robustness.tables import answers_from_table, answers_to_table, check_answers, facts_from_table
from edit_robustness.text.closest import did_you_mean

logger = logging.getLogger(__name__)

HERE = "here"
"""What a card calls the sum of edits that its model is."""

_ALWAYS = ("statement", "paraphrase")
"""Kinds that every baked model is asked, beside those of specificity and those that have a threshold."""


def _existing_kinds(must_hold: dict[str, float]) -> dict[str, float]:
    for kind in must_hold:
        if kind not in KINDS:
            raise ValueError(f"bake.must_hold: no kind of prompt `{kind}`; {did_you_mean(kind, KINDS)}")
    return must_hold


@dataclass(frozen=True, config=STRICT)
class Baking:
    """What is baked.

    Attributes:
        method: Row of METHODS.
        must_hold: For each kind of prompt the least share of a fact's prompts that must hold by free generation, alone
            and in the baked model; 0 for no threshold.
    """

    method: str
    must_hold: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], AfterValidator(_existing_kinds)]

    @property
    def thresholds(self) -> dict[str, float]:
        """The kinds that have a threshold."""
        return {kind: least for kind, least in self.must_hold.items() if least > 0}


def choose(
    lm: LanguageModel,
    sampled_facts: pd.DataFrame,
    edits: Mapping[str, Stored[Edit]],
    answers: pd.DataFrame,
    decoding: Decoding,
    settings: Baking,
) -> tuple[Selection, pd.DataFrame]:
    """Choose the edits to bake, asking the sum again until all in it hold; and the verdict on each edit.

    Raises:
        ValueError: If there are no edits of the method, a kind with a threshold was not asked, or the answers were
            generated with other settings than those of this run.
        NotWeights: If the edits are no changes of weights.
    """
    facts = facts_from_table(sampled_facts)
    own = _asked_prompts(answers, settings, lm, decoding)
    able = made(edits)
    parts = {fact.id: able[fact.id].read() for fact in facts if fact.id in able}
    if not parts:
        raise ValueError(f"bake.method: {lm.name} has no edits by {settings.method}; run it with that cell of the grid")
    for edit in parts.values():
        refuse_hooks_and_words(edit)
    probes = {
        str(fact): [answer.probe for answer in answers_from_table(rows)]
        for fact, rows in own[own["method"] == settings.method].groupby("fact_id", sort=False)
    }

    def ask_again(ids: Sequence[str]) -> pd.DataFrame:
        asked = [probe for fact in ids for probe in probes.get(fact, ())]
        logger.info("%s: asking %d prompts about the sum of %d edits", lm.name, len(asked), len(ids))
        (said,) = ask(lm, [(summed(parts, ids), asked)], decoding, together=False)
        return answers_to_table(said, model=lm.name, method=settings.method, decoding=decoding.described(lm))

    selection = select(list(parts), own, settings.method, settings.thresholds, ask_again)
    failed = {key: f"its edit could not be made: {item.failed}" for key, item in edits.items() if item.failed}
    selection = replace(selection, left_out={**_with_shared_edits(selection, parts), **failed})
    for fact, reason in selection.left_out.items():
        logger.warning("%s: the edit of %s by %s is left out: %s", lm.name, fact, settings.method, reason)
    return selection, _verdicts([fact for fact in facts if fact.id in edits], selection)


def put_together(
    lm: LanguageModel,
    sampled_facts: pd.DataFrame,
    edits: Mapping[str, Stored[Edit]],
    selection: Selection,
    settings: Baking,
) -> Baked | NothingBaked:
    """Sum the chosen edits, with the card of the model that they make; or say why there are none."""
    if not selection.chosen:
        return NothingBaked(
            f"none of {len(edits)} edits of {lm.name} by {settings.method} held on "
            f"{', '.join(settings.thresholds)}: there is nothing to bake. The reasons are in the table of verdicts "
            f"({lm.name}.{settings.method}_verdicts in the catalog); lower the thresholds in bake.must_hold"
        )
    records = facts_from_table(sampled_facts)
    facts = {fact.id: fact for fact in records if fact.id in selection.chosen}
    parts = {fact: edits[fact].read() for fact in facts}
    origin = next(iter(parts.values())).origin
    note = (
        f"{len(facts)} of the {len(edits)} edits of a run. Each edit was made on the unedited model by itself, and "
        f"then all were summed. `{ALONE}` is the share of prompts that hold with each edit by itself, `{HERE}` "
        f"the share in this model, by free generation; the model was asked again {_times(selection.rounds)}. A prompt "
        f"about another fact holds if the answer is that of the unedited model.{_unscored(selection)}"
    )
    return Baked(
        summed(parts, list(parts)),
        lm,
        Card(
            method=settings.method,
            settings=origin.settings if origin else {},
            facts=list(facts.values()),
            scores={fact: _columns(selection, fact) for fact in facts},
            prompts=_prompts(selection),
            left_out={fact.id: selection.left_out[fact.id] for fact in records if fact.id in selection.left_out},
            note=note,
        ),
    )


def summed(edits: Mapping[str, Edit], facts: Sequence[str]) -> Edit:
    """Return the sum of some facts' edits.

    Equal edits count once: a folder that several facts share must not be added twice.
    """
    return reduce(add, dict.fromkeys(edits[fact] for fact in facts))


def _unscored(selection: Selection) -> str:
    """Say how many answers about the chosen facts could not be scored, which the shares leave out."""
    asked = selection.answers[selection.answers["fact_id"].isin(selection.chosen)]
    counts = []
    for name, condition, sides in ((ALONE, ALONE, selection.alone), (HERE, TOGETHER, selection.together)):
        scored = sum(n for fact in selection.chosen for _, n in sides.get(fact, {}).values())
        if missing := int((asked[CONDITION] == condition).sum()) - scored:
            counts.append(f"{missing} of `{name}`")
    if not counts:
        return ""
    return (
        f" The shares leave out {' and '.join(counts)}: a limit of tokens cut these answers, or those of the unedited "
        "model, before they named an object, or the log-probabilities were no numbers."
    )


def _with_shared_edits(selection: Selection, edits: Mapping[str, Edit]) -> dict[str, str]:
    """Add to the reasons where an edit is in the sum all the same, because facts that stay share it."""
    staying = {edits[fact] for fact in selection.chosen}
    shared = "; but facts that stay share its edit, so the model has it"
    return {fact: why + shared * (edits[fact] in staying) for fact, why in selection.left_out.items()}


def _times(rounds: int) -> str:
    return "once" if rounds == 1 else f"{rounds} times, each time without the edits that had fallen"


def _asked_prompts(answers: pd.DataFrame, settings: Baking, lm: LanguageModel, decoding: Decoding) -> pd.DataFrame:
    """The answers of the unedited model and of the method, about the kinds that the sum is asked again."""
    check_answers(answers)
    own = answers[answers["method"].isin((UNEDITED, settings.method))]
    kinds = set(own["kind"])
    if missing := settings.thresholds.keys() - kinds:
        raise ValueError(
            f"bake.must_hold: no prompts of the kind {', '.join(sorted(missing))} were asked; there are "
            f"{', '.join(dict.fromkeys(own['kind']))}. Ask it (probes.kinds) or set its threshold to 0"
        )
    how = decoding.described(lm)
    if others := set(own["decoding"]) - {how}:
        raise ValueError(
            f"bake: the answers of {lm.name} were generated with other settings ({', '.join(sorted(others))}) than "
            f"this run's ({how}): run edit_eval again, or set decoding as it was"
        )
    specificity = {kind for kind in kinds if KINDS[kind].family == "locality"}
    measured = (specificity | {*_ALWAYS} | settings.thresholds.keys()) & kinds
    measured |= {follows for kind in measured if (follows := KINDS[kind].follows)}
    return own[own["kind"].isin(measured)]


def _verdicts(facts: Sequence[Fact], selection: Selection) -> pd.DataFrame:
    """A row for each edit: whether it is baked, why not, its shares alone and together, and the prompts behind them."""
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
            "baked": fact.id in selection.chosen,
            "reason": selection.left_out.get(fact.id, ""),
        }
        for kind in kinds:
            for side, shares in ((ALONE, alone), (TOGETHER, together)):
                row[f"{kind}_{side}"], row[f"{kind}_n_{side}"] = shares.get(kind, (None, None))
        rows.append(row)
    counts = [f"{kind}_n_{side}" for kind in kinds for side in (ALONE, TOGETHER)]
    return pd.DataFrame(rows).astype(dict.fromkeys(counts, "Int64"))


def _columns(selection: Selection, fact: str) -> dict[str, float]:
    """A fact's shares under the card's headings, each kind alone and then in this model."""
    alone, together = selection.alone.get(fact, {}), selection.together.get(fact, {})
    sides = ((ALONE, alone), (HERE, together))
    return {f"{kind} {where}": side[kind][0] for kind in alone for where, side in sides if kind in side}


def _prompts(selection: Selection) -> list[AskedPrompt]:
    """Every prompt of the chosen facts with what was said to it: unedited, with its edit alone, and in the model."""
    said = selection.answers[selection.answers["fact_id"].isin(selection.chosen)]
    texts = {
        str(condition): {a.probe.id: first_sentence(a.text, answer_names(a.probe)) for a in answers_from_table(rows)}
        for condition, rows in said.groupby(CONDITION, sort=False)
    }
    return [
        AskedPrompt(
            fact=answer.probe.fact_id,
            kind=answer.probe.kind,
            prompt=" / ".join([*(turn.text for turn in answer.probe.history), answer.probe.text]),
            unedited=texts[NO_EDIT][answer.probe.id],
            alone=texts[ALONE][answer.probe.id],
            here=texts[TOGETHER][answer.probe.id],
        )
        for answer in answers_from_table(said[said[CONDITION] == TOGETHER])
    ]
