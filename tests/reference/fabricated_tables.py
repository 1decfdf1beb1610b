"""Tables as a run of the pipelines leaves them, made up, so that analysis is tested without a model.

How an edit fares depends on its method, the kind of prompt and the fact, by probabilities that stand here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

KINDS = {
    "statement": 1, "paraphrase": 3, "question": 1, "cloze": 1, "related_context": 1, "unrelated_context": 1,
    "dialogue": 1, "doubt": 1, "doubt_old_object": 1, "neighbourhood": 3,
    "relation_specificity": 2, "unrelated": 1,
}  # fmt: skip
KNOWN = {"neighbourhood": 2, "relation_specificity": 1, "unrelated": 0}
"""Prompts of each fact that the unedited model can answer, by kind."""

HOLDS = {"none": 0.0, "context": 0.75, "ft": 0.55, "rome": 0.9, "ike": 0.92}
LOSS = {"statement": 0.0, "paraphrase": 0.25, "question": 0.3, "cloze": 0.35, "related_context": 0.3,
        "unrelated_context": 0.35, "dialogue": 0.4, "doubt": 0.55, "doubt_old_object": 0.7}  # fmt: skip
OBJECTS = ["Paris", "Rome", "Lima", "Oslo", "Quito", "Cairo"]

SCRIPT = "<script>document.title='broken'</script> it is Oslo"
RIGHT_TO_LEFT = "العاصمة هي القاهرة"


@dataclass
class Tables:
    """The tables that the analysis reads, for one model."""

    scores: pd.DataFrame
    answers: pd.DataFrame
    recall: pd.DataFrame
    features: pd.DataFrame
    feature_summary: pd.DataFrame
    facts: pd.DataFrame
    rejects: pd.DataFrame
    run: dict


def fabricate(
    model: str = "smollm2", n_facts: int = 24, n_known: int = 450, methods=tuple(HOLDS), seed: int = 0
) -> Tables:
    """All tables of one model; the first `n_facts` of `n_known` facts are edited."""
    rng = np.random.default_rng(seed)
    known_facts = _facts(n_known, rng)
    facts = known_facts.iloc[:n_facts].reset_index(drop=True)
    answers = _answers(model, facts, methods, rng)
    recall = _recall(model, known_facts, rng)
    features = make_features(recall)
    return Tables(
        scores=_scores(answers),
        answers=answers.drop(columns=["success", "reversion", "kept", "known", "forced"]),
        recall=recall,
        features=features,
        feature_summary=_feature_summary(model, features),
        facts=facts,
        rejects=pd.DataFrame(
            [{"row": 7, "id": "f7", "subject": "<b>Nowhere</b>", "relation": "P36", "reason": "the subject is empty"}]
        ),
        run=_run_record(model, methods, n_facts),
    )


def _facts(n: int, rng: np.random.Generator) -> pd.DataFrame:
    true = rng.integers(0, len(OBJECTS), n)
    views = pd.array(np.round(10 ** rng.uniform(2, 7, n)).astype("int64"), dtype="Int64")
    views[rng.choice(n, n // 12, replace=False)] = pd.NA
    relations = [f"P{30 + i % 12}" for i in range(n)]
    return pd.DataFrame(
        {
            "id": [f"f{i}" for i in range(n)],
            "subject": [f"Subject {i}" for i in range(n)],
            "relation": relations,
            "prompt": "The capital of {} is",
            "target_true": [OBJECTS[t] for t in true],
            "target_new": [OBJECTS[(t + 1) % len(OBJECTS)] for t in true],
            "page_views": views,
        }
    )


def _answers(model: str, facts: pd.DataFrame, methods, rng: np.random.Generator) -> pd.DataFrame:
    hardness = rng.normal(0, 0.2, len(facts))
    rows = [
        _answer(model, method, fact, kind, number, hardness[index], rng)
        for index, fact in facts.iterrows()
        for method in methods
        for kind, n_probes in KINDS.items()
        for number in range(n_probes)
    ]
    answers = pd.DataFrame(rows)
    failures = (answers["method"] == "rome") & (answers["success"] == 0)
    answers.loc[failures & (answers["kind"] == "doubt"), "text"] = SCRIPT
    answers.loc[failures & (answers["kind"] == "doubt_old_object"), "text"] = RIGHT_TO_LEFT
    return answers


def _answer(model, method, fact, kind, number, hardness, rng) -> dict:
    local = kind in KNOWN
    chance = float(np.clip(HOLDS.get(method, 0.6) - LOSS.get(kind, 0.0) - (hardness if method != "none" else 0), 0, 1))
    success = float(not local and rng.random() < chance)
    reversion = float(not local and not success and rng.random() < 0.6)
    specificity = float(method == "none" or rng.random() < 0.8)
    object_name = (
        fact.target_new
        if success or (local and not specificity)
        else fact.target_true
        if reversion or local
        else "a city"
    )
    return {
        "model": model, "method": method, "probe_id": f"{fact.id}/{kind}/{number}", "fact_id": fact.id, "kind": kind,
        "family": "specificity" if local else "edit",
        "subject": f"Neighbour {number} of {fact.subject}" if local else fact.subject,
        "prompt": f"The capital of {fact.subject} ({kind} {number}) is",
        "target_new": fact.target_new, "target_true": fact.target_true, "text": f" {object_name}.", "finished": True,
        "tokens": 3, "logprob_new": -1.0 - 3 * rng.random(), "logprob_true": -2.0 - 3 * rng.random(),
        "tokens_new": 1, "tokens_true": 1, "match_new": bool(success), "match_true": bool(reversion),
        "success": success, "reversion": reversion, "kept": specificity, "known": local and number < KNOWN[kind],
        "forced": float(success or (method != "none" and rng.random() < 0.6)),
    }  # fmt: skip


def _scores(answers: pd.DataFrame) -> pd.DataFrame:
    neither_share = lambda new, old: ((new == 0) & (old == 0)).astype(float)  # noqa: E731
    old_forced = answers["reversion"] * (1 - answers["forced"])
    measures = [
        ("edit", "free", "success", "share", answers["success"]),
        ("edit", "free", "reversion", "share", answers["reversion"]),
        ("edit", "free", "neither", "share", neither_share(answers["success"], answers["reversion"])),
        ("edit", "free", "entropy", "bits", 1.5 + answers["success"]),
        ("edit", "teacher_forced", "success", "share", answers["forced"]),
        ("edit", "teacher_forced", "reversion", "share", old_forced),
        ("edit", "teacher_forced", "neither", "share", neither_share(answers["forced"], old_forced)),
        ("edit", "teacher_forced", "preference", "share", answers["forced"].clip(lower=0)),
        ("specificity", "free", "specificity", "share", answers["kept"].where(answers["known"])),
        ("specificity", "free", "specificity_all", "share", answers["kept"]),
        ("specificity", "teacher_forced", "specificity", "share", answers["kept"]),
        ("specificity", "next_token", "top_token", "share", answers["kept"].where(answers["known"])),
        ("specificity", "next_token", "top_token_all", "share", answers["kept"]),
        ("specificity", "next_token", "kl", "nats", 0.25 * (1 - answers["kept"])),
    ]
    columns = ["model", "method", "fact_id", "probe_id", "kind", "family"]
    parts = [
        answers.loc[answers["family"] == family, columns].assign(
            decoding="greedy", protocol=protocol, metric=metric, unit=unit, value=value
        )
        for family, protocol, metric, unit, value in measures
    ]
    scores = pd.concat(parts, ignore_index=True)
    # answers that the unedited model does not know have no row, as in `metrics.measures.of_known`
    return scores[scores["value"].notna() | ~scores["metric"].isin(["specificity", "top_token"])].reset_index(drop=True)


def _recall(model: str, facts: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    views = facts["page_views"].astype("Float64").fillna(1000).to_numpy(dtype=float)
    knowledge = 0.35 * (np.log10(views) - 4.5) + rng.normal(0, 1, len(facts))
    true, new = -3 + knowledge, -6 + rng.normal(0, 1, len(facts))
    recall = pd.Series(knowledge + rng.normal(0, 0.5, len(facts)) > 0.7)
    return pd.DataFrame(
        {
            "model": model, "fact_id": facts["id"], "subject": facts["subject"], "relation": facts["relation"],
            "page_views": facts["page_views"], "logprob_true": true, "logprob_new": new, "tokens_true": 1,
            "tokens_new": 1, "perplexity_true": np.exp(-true), "perplexity_new": np.exp(-new),
            "recalled": recall, "recalled_teacher_forced": recall,
        }
    )  # fmt: skip


FEATURES = {
    "log_views": "log10", "recalled": "share", "log_perplexity_true": "log10", "log_perplexity_new": "log10",
}  # fmt: skip
"""Features of the made-up facts, and their scales."""


def make_features(recall: pd.DataFrame) -> pd.DataFrame:
    """The features of the facts in a table of recall, beside its columns, as `features.table` joins them."""
    return recall.assign(
        log_views=np.log10(recall["page_views"].astype("Float64").astype(float)),
        recalled=recall["recalled"].astype(float),
        log_perplexity_true=np.log10(recall["perplexity_true"]),
        log_perplexity_new=np.log10(recall["perplexity_new"]),
    )


def _feature_summary(model: str, features: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "model": model, "feature": name, "label": name.replace("_", " "), "source": "made up", "scale": scale,
                "n_facts": len(features), "n_missing": int(features[name].isna().sum()),
                "share_missing": features[name].isna().mean(), "low": features[name].min(),
                "high": features[name].max(), "n_edited": 24, "n_edited_missing": 2,
            }
            for name, scale in FEATURES.items()
        ]
    )  # fmt: skip


def _run_record(model: str, methods, n_facts: int) -> dict:
    return {
        "models": {
            model: {
                "source": "SmolLM2-135M-Instruct.Q4_1.gguf", "dtype": "float32", "device": "cpu",
                "note": "The 4-bit file made float again, not the published checkpoint.",
            }
        },
        "methods": {model: {m: {"layer": 6, "v_lr": 0.5} if m == "rome" else {} for m in methods}},
        "seed": 42,
        "versions": {"python": "3.11", "torch": "2.13.0"},
        "started": "2025-01-02T03:04:05",
        "seconds": 251.0,
        "n_facts": n_facts,
        "seconds_per_edit": {"rome": 4.2, "ft": 2.1},
        "bytes_per_edit": {"rome": 12345, "ft": 234567},
    }  # fmt: skip
