"""Nodes of conversation. Transcripts and a judge's replies land one file an edit, so a killed run goes on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as validated

from edit_robustness.asking.converse import Conversing, converse
from edit_robustness.asking.topics import topic
from edit_robustness.datasets.failures import PATIENCE, attempts, failed_table
from edit_robustness.datasets.folders import Landing, Manifest, Stored, from_stale, made
from edit_robustness.datasets.run_record import made_with
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.prepared import NOTHING, Prepared
from edit_robustness.metrics.conversation import LABELS, other_objects, turns_table, verdict_table
from edit_robustness.metrics.conversation_judge import judged_table, question
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Transcript
from edit_robustness.report.conversations import SILENT, Conversations, render
from edit_robustness.setting_types import STRICT
from edit_robustness.speakers.speaker import Speaker
from edit_robustness.speakers.unset import UnsetSpeaker
from edit_robustness.statistics.agreement import agreement
from edit_robustness.statistics.intervals import rates
from edit_robustness.tables import facts_from_table

logger = logging.getLogger(__name__)

_JUDGED_AT_ONCE = 8


@validated(frozen=True, config=STRICT)
class Reporting:
    """How conversations are summed up.

    Attributes:
        confidence: Level of all intervals.
        bootstrap: Resamples of subjects behind the interval of an agreement.
        seed: Of the resampling.
        shown: Transcripts on the page for each model and method; all are kept in their folders.
    """

    confidence: float = Field(default=0.95, gt=0, lt=1)
    bootstrap: PositiveInt = 2000
    seed: int = 0
    shown: NonNegativeInt = 50


def talk_with(method: str) -> Callable[..., Landing]:
    """The node that talks under the edits of one method; facts whose edit could not be made are not talked about."""

    def talk(
        lm: LanguageModel,
        edits: Mapping[str, Stored[Edit]],
        sampled_facts: pd.DataFrame,
        raw_relations: dict,
        stored: Mapping[str, str],
        tester: Speaker,
        settings: Conversing,
        prepared: Mapping[str, Stored[Prepared]] | None = None,
    ) -> Landing:
        relations = read_relations(raw_relations).relations
        topics = {fact.id: topic(fact, relations.get(fact.relation)) for fact in facts_from_table(sampled_facts)}
        common = (FORMAT, "transcript", method, lm.fingerprint, tester.fingerprint, _plain(settings))
        able = [key for key in topics if key not in edits or not edits[key].failed]
        wanted = Manifest({key: fingerprint(*common, edits[key].fingerprint, topics[key]) for key in able})
        yield wanted
        missing, what = wanted.missing(stored), f"{lm.name}: {method}, talking"
        if not missing:
            return
        artefact = next((item.read() for item in (prepared or {}).values()), NOTHING)

        def make(keys: Sequence[str]) -> Iterator[Transcript]:
            talks = [(edits[key].read().with_prepared(artefact), topics[key]) for key in keys]
            return converse(lm, talks, tester, settings, method=method)

        for one in track(attempts(missing, make, what, patience=PATIENCE), what, len(missing)):
            about = {"environment": lm.environment, **from_stale(edits[one.key])}
            yield one.stored(wanted[one.key], about, fact_id=one.key)

    return talk


def judge(
    transcripts: Mapping[str, Stored[Transcript]],
    sampled_facts: pd.DataFrame,
    judge: Speaker,
    stored: Mapping[str, str],
) -> Landing:
    """The judge's words on every conversation, each as it was said; none where the catalog sets no judge."""
    if isinstance(judge, UnsetSpeaker):
        yield Manifest({})
        return
    facts = {fact.id: fact for fact in facts_from_table(sampled_facts)}
    held = {key: item.read() for key, item in made(transcripts).items()}
    asked = {key: question(one, facts[key]) for key, one in held.items() if one.said}
    wanted = Manifest({key: fingerprint(FORMAT, "opinion", judge.fingerprint, turns) for key, turns in asked.items()})
    yield wanted
    missing = wanted.missing(stored)
    if not missing:
        return

    def make(keys: Sequence[str]) -> Iterator[list[str]]:
        for first in range(0, len(keys), _JUDGED_AT_ONCE):
            some = keys[first : first + _JUDGED_AT_ONCE]
            yield from ([reply] for reply in judge.replies([asked[key] for key in some]))

    what = f"{judge.name}: judging"
    for one in track(attempts(missing, make, what, patience=PATIENCE), what, len(missing)):
        yield one.stored(wanted[one.key], {"judge": judge.name}, fact_id=one.key)


def rule_with(methods: Sequence[str], model: str) -> Callable[..., tuple[pd.DataFrame, ...]]:
    """The node that labels the conversations of one model by rules: verdicts, a judge's beside them, and all turns."""

    def rule(facts: pd.DataFrame, sampled_facts: pd.DataFrame, *folders: Mapping) -> tuple[pd.DataFrame, ...]:
        talked, judged = folders[: len(methods)], folders[len(methods) :]
        own = facts_from_table(sampled_facts)
        others = other_objects(own, [*own, *facts_from_table(facts)])
        transcripts = [item.read() for folder in talked for item in made(folder).values()]
        if silent := Counter(one.method for one in transcripts if not one.said):
            logger.warning(
                "%s: %d of %d conversations (%s) have no turn of the model, because the edit's words and the first "
                "question leave no room in its context; no figure counts them: lower conversation.max_new_tokens",
                *(model, silent.total(), len(transcripts), ", ".join(f"{name} {n}" for name, n in silent.items())),
            )
        verdicts = verdict_table(transcripts, {fact.id: fact for fact in own}, others, model=model)
        items = {
            (name, key): item for name, own in zip(methods, judged, strict=True) for key, item in made(own).items()
        }
        replies = {key: item.read()[0] for key, item in items.items()}
        name = next((str(item.header["judge"]) for item in items.values()), "")
        return verdicts, judged_table(verdicts, replies, name), turns_table(transcripts, model=model)

    return rule


def list_failures_with(methods: Sequence[str], model: str) -> Callable[..., pd.DataFrame]:
    """The node that lists the edits, conversations and replies of a judge of one model that could not be made.

    Conversations in which no turn of the model had room are listed, too.
    """

    def list_failures(*folders: Mapping[str, Stored[Any]]) -> pd.DataFrame:
        owners = [(method, stage) for stage in ("edit", "talk", "judge") for method in methods]
        left = [(*owner, folder) for owner, folder in zip(owners, folders, strict=True)]
        silent = [(method, SILENT, _silent(folder)) for method, stage, folder in left if stage == "talk"]
        return failed_table(model, [*left, *silent])

    return list_failures


def describe_with(model: str) -> Callable[..., dict[str, Any]]:
    """The node that tells in which environments, and by which versions, edits and conversations were made."""

    def describe(*folders: Mapping[str, Stored[Any]]) -> dict[str, Any]:
        return made_with(model, folders)

    return describe


def _silent(transcripts: Mapping[str, Stored[Transcript]]) -> dict[str, Stored[Transcript]]:
    """The conversations without a turn of the model, as items that could not be made."""
    reason = "the edit's words and the first question leave no room in the context: lower conversation.max_new_tokens"
    return {
        key: Stored.lost(item.fingerprint, reason, fact_id=key)
        for key, item in made(transcripts).items()
        if not item.read().said
    }


def sum_up(verdicts: pd.DataFrame, judged: pd.DataFrame, settings: Reporting) -> tuple[pd.DataFrame, pd.DataFrame]:
    """For each model and method: the share of each label with its interval, and the agreement with the judge."""
    keys = ["model", "method", "fact_id", "subject"]
    scores = verdicts.melt(keys, list(LABELS), "label").astype({"value": float})
    shares = rates(scores, ["model", "method", "label"], confidence=settings.confidence)
    shares = shares.rename(columns={"n_probes": "n"}).drop(columns=["n_facts", "n_missing"])
    agreed = agreement(
        judged,
        ["model", "judge", "label"],
        first="rules",
        second="judged",
        confidence=settings.confidence,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
    )
    return shares, agreed


def write_page(
    verdicts: pd.DataFrame,
    turns: pd.DataFrame,
    shares: pd.DataFrame,
    agreed: pd.DataFrame,
    failed: pd.DataFrame,
    settings: Reporting,
    *runs: Mapping[str, Any],
) -> str:
    """The page."""
    return render(
        Conversations(
            verdicts,
            turns,
            shares,
            agreed,
            shown=settings.shown,
            confidence=settings.confidence,
            failed_items=failed,
            runs=runs,
        )
    )


def _plain(settings: Conversing) -> dict[str, int]:
    """What transcripts follow from; how many are held at once changes none."""
    names = ("rounds", "retries", "max_new_tokens", "max_thinking_tokens", "seed")
    return {name: getattr(settings, name) for name in names}
