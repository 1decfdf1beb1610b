"""Tables as a run of sequential_eval leaves them, made up, so that their analysis is tested without a model.

What a model still answers after so many edits follows from its method, by the probabilities that stand here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from edit_robustness.records import Document
from edit_robustness.tables import documents_to_table

LEFT_AFTER_20 = {"ft": 0.95, "rome": 0.3, "memit": 0.9, "alphaedit": 0.97, "grace": 1.0}
"""The share of what a model can do above chance that 20 edits leave."""

HOLDS = {"ft": 0.5, "rome": 0.8, "memit": 0.85, "alphaedit": 0.9, "grace": 1.0}
BENCHMARKS = {
    "common_knowledge": (4, 0.7, "acc", "none"),
    "arithmetic": (4, 0.6, "acc", "none"),
    "reading": (0, 0.8, "exact_match", "strict-match"),
    "prose": (1, 0.0, "perplexity", "none"),
}
"""Number of options (0: generated; 1: a text), the unedited model's score, metric and filter."""

_ABILITIES = {"common_knowledge": "knowledge", "prose": "language"}
SAFETY = {"toxigen": (2, 0.7, "acc", "none"), "truthfulqa_mc1": (4, 0.6, "acc", "none")}
SCRIPT = "<script>document.title='broken'</script>"


@dataclass
class Sequences:
    """The tables that `sequential_eval` passes to the analysis, for one model."""

    documents: pd.DataFrame
    benchmarks: pd.DataFrame
    sequence_answers: pd.DataFrame
    sequence_scores: pd.DataFrame
    sequence_facts: pd.DataFrame
    drift: pd.DataFrame
    sequence_run: dict


def fabricate_sequences(
    model: str = "smollm2",
    methods=("none", *LEFT_AFTER_20),
    checkpoints=(1, 5, 20),
    orders: int = 1,
    n: int = 50,
    benchmarks=None,
    nan_method: str = "",
    seed: int = 0,
) -> Sequences:
    """All tables of one model; the method `nan_method` leaves a model of NaN from the second checkpoint on."""
    benchmarks = BENCHMARKS if benchmarks is None else benchmarks
    cells = [("none", 0, 0)] + [
        (method, order, edits)
        for method in methods
        if method != "none"
        for order in range(orders)
        for edits in checkpoints
    ]
    nan_from = sorted(checkpoints)[min(1, len(checkpoints) - 1)]
    documents = [
        documents_to_table(
            _documents(model, method, order, edits, n, benchmarks, method == nan_method and edits >= nan_from, seed),
            model=model, method=method, order=order, edits=edits,
        )
        for method, order, edits in cells
    ]  # fmt: skip
    answers, scores = _answers(model, cells, max(checkpoints), seed)
    return Sequences(
        documents=pd.concat(documents, ignore_index=True),
        benchmarks=_benchmarks(benchmarks, n),
        sequence_answers=answers,
        sequence_scores=scores,
        sequence_facts=_facts(answers),
        drift=_drift(model, cells),
        sequence_run=_run_record(model, methods, checkpoints, orders, nan_method),
    )


def _retention(method: str, edits: int) -> float:
    return LEFT_AFTER_20.get(method, 1.0) ** (edits / 20)


def _documents(model, method, order, edits, n, benchmarks, nan, seed) -> list[Document]:
    # the same document is as hard at every checkpoint
    hardness = np.random.default_rng(seed).random((len(benchmarks), n))
    shift = np.random.default_rng([seed, order, edits, sum(map(ord, method))]).random((len(benchmarks), n))
    knowledge_retention = 1.0 if method == "none" else _retention(method, edits)
    return [
        _document(model, name, *about, number, hardness[row, number], shift[row, number], knowledge_retention, nan)
        for row, (name, about) in enumerate(benchmarks.items())
        for number in range(n)
    ]


def _document(
    model, name, options, score, metric, filter_name, number, hardness, shift, knowledge_retention, nan
) -> Document:
    chance = 1 / options if options > 1 else 0.0
    right = hardness < score and (shift < knowledge_retention or shift * hardness < chance / 4)
    gold = number % options if options > 1 else -1
    logprobs = (
        [-6.0 - 0.01 * number] * options
        if options > 1
        else [-60.0 / max(knowledge_retention, 0.05)]
        if options == 1
        else []
    )
    if options > 1:
        logprobs[gold if right else (gold + 1) % options] = -1.0 - hardness - (1 - knowledge_retention)
        logprobs[gold] += -0.5 * (1 - knowledge_retention)
    if nan:
        logprobs = [float("nan")] * len(logprobs)
    flags = ("not_finite",) if nan and options else ()
    value = 0.0 if nan else float(np.exp(-logprobs[0] / 20)) if options == 1 else float(right)
    text = "" if options else "the" if nan else f"{SCRIPT} {number}" if right else f"a city {number}"
    return Document(
        benchmark=name, task=name, filter=filter_name, metric=metric, number=number, doc_hash=f"{name}{number}",
        prompt_hash=f"p{name}{number}", shots=0, score=value, metrics={metric: value}, gold=gold,
        logprobs=tuple(logprobs), text=text, tokens=20 if options == 1 else 0 if options else 16 if nan else 4,
        capped=bool(nan and not options), flags=flags,
    )  # fmt: skip


def _benchmarks(benchmarks, n: int) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "benchmark": name, "task": name, "ability": "safety" if name in SAFETY else _ABILITIES.get(name, name),
                "metric": metric, "filter": filter_name, "shots": 0, "n_documents": n,
                "chance": 1 / options if options > 1 else 0.0 if options == 0 else np.nan,
                "constant_answer": 1 / options + 0.04 if options > 1 else 0.0 if options == 0 else np.nan,
                "max_new_tokens": 0 if options else 16, "note": "<i>ours</i>",
            }
            for name, (options, _, metric, filter_name) in benchmarks.items()
        ]
    )  # fmt: skip


def _answers(model, cells, last: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed + 7)
    answers, scores = [], []
    for method, order, edits in cells:
        facts = [(f"f{i}", "edited", i + 1) for i in range(last if method == "none" else edits)]
        facts += [(f"r{i}", "retained", 0) for i in range(12)]
        for fact, group, position in facts:
            for kind, n_probes in (
                ("statement", 1),
                ("paraphrase", 2),
                ("neighbourhood", 1),
                ("relation_specificity", 1),
            ):
                if group == "retained" and kind != "statement":
                    continue
                for number in range(n_probes):
                    about = {
                        "model": model, "method": method, "order": order, "edits": edits, "fact_role": group,
                        "position": position, "fact_id": fact, "probe_id": f"{fact}/{kind}/{number}", "kind": kind,
                        "family": "edit" if kind in ("statement", "paraphrase") else "specificity",
                    }  # fmt: skip
                    answers.append({**about, "subject": f"Subject of {fact}", "text": f" {SCRIPT}"})
                    scores += _scores(about, kind, group, rng)
    return pd.DataFrame(answers), pd.DataFrame(scores)


def _facts(answers: pd.DataFrame) -> pd.DataFrame:
    about = answers.drop_duplicates("fact_id")[["fact_id", "fact_role", "subject"]]
    return about.rename(columns={"fact_id": "id"}).assign(relation="P36", dataset="made_up", weight=1.0)


def _scores(about: dict, kind: str, group: str, rng) -> list[dict]:
    method, edits = about["method"], about["edits"]
    holds = 0.0 if method == "none" else HOLDS[method] * (0.6 if kind == "paraphrase" else 1)
    knowledge_retention = 1.0 if method == "none" else _retention(method, edits)
    common = {**about, "decoding": "greedy", "unit": "share"}
    if about["family"] == "specificity":
        shares = {p: {**common, "protocol": p, "value": float(rng.random() < knowledge_retention)} for p in _BOTH}
        rows = [{**row, "metric": "specificity"} for row in shares.values()]
        # the unedited model knows none of the other relations
        known_rows = rows if kind == "neighbourhood" else rows[1:]
        return [*known_rows, {**shares["free"], "metric": "specificity_all"}]
    rows = []
    for protocol in _BOTH:
        easier = 0.1 if protocol == "teacher_forced" and method != "none" else 0
        says_new = float(group == "edited" and rng.random() < holds + easier)
        says_old = float(not says_new and (group == "edited" or rng.random() < knowledge_retention))
        rows.append({**common, "protocol": protocol, "metric": "success", "value": says_new})
        rows.append({**common, "protocol": protocol, "metric": "reversion", "value": says_old})
    return [*rows, {**common, "unit": "bits", "protocol": "free", "metric": "entropy", "value": 1.5}]


_BOTH = ("free", "teacher_forced")


def _drift(model, cells) -> pd.DataFrame:
    rows = [
        {
            "model": model, "method": method, "order": order, "edits": edits, "layer": layer, "part": "mlp_out",
            "norm": 0.1 * edits, "relative": 0.01 * edits,
        }
        for method, order, edits in cells
        if method not in ("none", "grace")
        for layer in ((6,) if method == "rome" else (4, 5, 6))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "method", "order", "edits", "layer", "part", "norm", "relative"])


def _run_record(model, methods, checkpoints, orders, nan_method) -> dict:
    edit_methods = [method for method in methods if method != "none"]
    sequence = {
        method: {
            "failed": [{"order": 0, "position": 3, "reason": f"{SCRIPT} singular"}] if method == nan_method else [],
            "seconds_per_edit": 1.5,
            "prefix_tokens": {str(edits): 40 * edits if method in ("ike", "context") else 0 for edits in checkpoints},
            "seconds_per_benchmark": {str(edits): {"arithmetic": 2.0} for edits in checkpoints},
        }
        for method in edit_methods
    }
    return json.loads(
        json.dumps(
            {
                "models": {model: {"source": "a file", "dtype": "float32", "device": "cpu", "note": "4-bit once"}},
                "methods": {model: {method: {"layer": 6} if method == "rome" else {} for method in methods}},
                "seconds_per_edit": {model: dict.fromkeys(edit_methods, 1.5)},
                "n_facts": max(checkpoints),
                "versions": {"python": "3.11"},
                "sequence": {"checkpoints": list(checkpoints), "orders": orders, "seed": 0, "batch_size": 1},
                "sequences": {model: sequence},
            }
        )
    )
