"""Nodes of evaluate. Answers land one file an edit, so that a killed run goes on after the last one."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pandas as pd

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets.folders import Landing, Manifest, Stored
from edit_robustness.editing.edits import Edit, Frame
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.method import NOTHING, Prepared, fingerprint
from edit_robustness.metrics.memorisation import memorisation_table
from edit_robustness.metrics.scores import score_answers
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import Templates
from edit_robustness.records import Answer, Probe
from edit_robustness.tables import answers_to_table, facts_from_table, probes_from_table

_PACKAGES = ("edit_robustness", "kedro", "torch", "transformers", "scikit-learn", "statsmodels")


def evaluate(
    lm: LanguageModel,
    edits: Mapping[str, Stored[Edit]],
    probes: pd.DataFrame,
    stored: Mapping[str, str],
    decoding: Decoding,
    prepared: Mapping[str, Stored[Prepared]] | None = None,
) -> Landing:
    """Ask every probe under its edit; answers that are there already are not asked again.

    `prepared` holds what the method prepared, where its edits cannot be applied without it.
    """
    own: dict[str, list[Probe]] = {key: [] for key in edits}
    for probe in probes_from_table(probes):
        own[probe.fact_id].append(probe)
    artefact = next((item.read() for item in (prepared or {}).values()), NOTHING)
    yield from _answers(lm, edits, own, stored, decoding, f"{lm.name}: asking", artefact)


def recall(lm: LanguageModel, facts: pd.DataFrame, stored: Mapping[str, str], decoding: Decoding) -> Landing:
    """Ask the unedited model the statement of every fact."""
    unedited: Stored[Edit] = Stored.of(fingerprint(lm.fingerprint), Frame())
    statements = build_probes(facts_from_table(facts), Templates({}, ()), [], kinds=["statement"], neighbours=0, seed=0)
    probes = {probe.fact_id: [probe] for probe in statements}
    edits = dict.fromkeys(probes, unedited)
    yield from _answers(lm, edits, probes, stored, decoding, f"{lm.name}: recalling all facts")


def _answers(
    lm: LanguageModel,
    edits: Mapping[str, Stored[Edit]],
    probes: Mapping[str, Sequence[Probe]],
    stored: Mapping[str, str],
    decoding: Decoding,
    what: str,
    prepared: Prepared = NOTHING,
) -> Landing:
    asking = (FORMAT, decoding.max_new_tokens, lm.fingerprint)
    wanted = Manifest({key: fingerprint(*asking, edits[key].fingerprint, list(probes[key])) for key in probes})
    yield wanted
    missing = [key for key in probes if stored.get(key) != wanted[key]]
    if not missing:
        return
    answers = ask(lm, [(edits[key].read().with_prepared(prepared), probes[key]) for key in missing], decoding)
    for key, said in zip(missing, track(answers, what, len(missing)), strict=True):
        yield {key: Stored.of(wanted[key], said)}


def memorise(lm: LanguageModel, recalled: Mapping[str, Stored[list[Answer]]], facts: pd.DataFrame) -> pd.DataFrame:
    """What the unedited model knows of each fact."""
    answers = [answer for item in recalled.values() for answer in item.read()]
    return memorisation_table(answers_to_table(answers, model=lm.name, method="none"), facts)


def score_with(methods: Sequence[str]) -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """The node that makes one table of answers and one of scores from the answers of these methods."""

    def score(lm: LanguageModel, *answers: Mapping[str, Stored[list[Answer]]]) -> tuple[pd.DataFrame, pd.DataFrame]:
        tables = [
            answers_to_table([a for item in items.values() for a in item.read()], model=lm.name, method=method)
            for method, items in zip(methods, answers, strict=True)
        ]
        table = pd.concat(tables, ignore_index=True)
        return table, score_answers(table)

    return score


def describe_with(methods: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """The node that says what was run: the model, the methods with hyperparameters and costs, versions."""

    def describe(lm: LanguageModel, sampled_facts: pd.DataFrame, *rest: Any) -> dict[str, Any]:
        edits, settings = rest[: len(methods)], rest[len(methods) :]
        return {
            "models": {lm.name: {**lm.description, "fingerprint": lm.fingerprint}},
            "methods": {lm.name: {n: s.settings() for n, s in zip(methods, settings, strict=True)}},
            "seconds_per_edit": {lm.name: dict(zip(methods, (_mean(e, "seconds") for e in edits), strict=True))},
            "bytes_per_edit": {lm.name: dict(zip(methods, (_mean(e, "bytes") for e in edits), strict=True))},
            "n_facts": len(sampled_facts),
            "versions": {package: version(package) for package in _PACKAGES},
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    return describe


def _mean(edits: Mapping[str, Stored[Edit]], name: str) -> float:
    return sum(edit.header[name] for edit in edits.values()) / max(len(edits), 1)
