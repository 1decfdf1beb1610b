"""Every kind of page that a run leaves, from made-up tables, in one folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from fabricated_outcomes import fabricate_outcomes, record_run, summarise
from fabricated_page import make_findings
from fabricated_sequences import BENCHMARKS, SAFETY, fabricate_sequences
from fabricated_tables import Tables, fabricate

from edit_robustness.datasets import TextFolder
from edit_robustness.datasets.failures import failed_table
from edit_robustness.features.fact_table import log10_positive
from edit_robustness.labels import METHODS
from edit_robustness.metrics.conversation import turns_table, verdict_table
from edit_robustness.pipelines.analyze_sequences import create_pipeline
from edit_robustness.pipelines.analyze_sequences.nodes import SequenceAnalysisParameters
from edit_robustness.plots.popularity import relation_figure
from edit_robustness.records import Fact, Transcript, Turn
from edit_robustness.report import render
from edit_robustness.report.conversations import Conversations
from edit_robustness.report.conversations import render as render_conversations
from edit_robustness.report.examples import ANSWER_FOLDER, write_answer_files
from edit_robustness.report.index import render_index
from edit_robustness.report.parity import SCORES, SIDES, render_parity
from edit_robustness.report.parity import summarise as summarise_parity
from edit_robustness.report.popularity import PopularityFindings, render_popularity
from edit_robustness.report.preflight import render_preflight
from edit_robustness.statistics.memory import popularity_correlations
from edit_robustness.statistics.predictor import read_predictor
from edit_robustness.statistics.predictor_training import validate_and_train
from edit_robustness.statistics.preflight import advise
from edit_robustness.statistics.validation import Validation

PAGES = ("report", "sequences", "popularity", "preflight", "parity", "conversations", "index")
"""Names of the pages, without their ending."""

SEQUENCE_TABLES = (
    *("documents", "benchmarks", "sequence_answers", "sequence_scores", "sequence_facts", "drift", "sequence_run"),
    "sequence_failed_items",
)
REJECTS = pd.DataFrame([{"row": 3, "id": "x", "subject": "Ruritania", "relation": "", "reason": "no object"}])


def write_pages(folder: Path) -> None:
    """Write all pages into a folder, as ``report.html`` and so on, and the files of answers beside the report."""
    pages = {
        "report": _make_report(),
        "sequences": _make_sequences(),
        "popularity": _make_popularity(),
        "preflight": _make_preflight(),
        "parity": _make_parity(),
        "conversations": _make_conversations(),
        "index": _make_index(),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    tables = _fabricate_answers()
    TextFolder(str(folder / ANSWER_FOLDER), ".js").save(write_answer_files(tables.answers, tables.scores, 5))


def _fabricate_answers() -> Tables:
    return fabricate(n_facts=12, n_known=200, methods=tuple(METHODS))


def _make_report() -> str:
    return render(make_findings(_fabricate_answers(), popularity=True))


def _make_sequences() -> str:
    tables = fabricate_sequences(
        methods=("none", "rome", "memit", "grace"),
        checkpoints=(1, 20),
        n=20,
        nan_method="memit",
        benchmarks=BENCHMARKS | SAFETY,
    )
    data = {f"smollm2_{name}": getattr(tables, name, failed_table("", [])) for name in SEQUENCE_TABLES}
    data["params:analyze_sequences"] = SequenceAnalysisParameters(bootstrap=100)
    for node in create_pipeline(["smollm2"]).nodes:
        data |= node.run({name: data[name] for name in node.inputs})
    return data["sequences"]


def _make_popularity() -> str:
    facts = fabricate(n_known=450).recall
    facts["log_views"] = log10_positive(facts["page_views"])
    correlations, relations, summary = popularity_correlations(facts)
    return render_popularity(PopularityFindings(correlations, relations, summary, relation_figure(relations)))


def _make_preflight() -> str:
    validation = Validation(bootstrap=100, permutations=0, predictors=("full",))
    outputs = validate_and_train(fabricate_outcomes(150, signal=2.0), summarise(), [record_run()], validation)
    predictor = read_predictor(outputs[-1], "tiny")
    facts = fabricate_outcomes(30, seed=5).drop_duplicates("fact_id").reset_index(drop=True)
    facts.loc[0, "log_perplexity_new"] = 50.0
    facts = facts.assign(target_true="Paris", target_new="Rome")
    table = predictor.predict(facts, ["ft", "rome"], ["statement", "cloze", "neighbourhood"])
    about = facts[["fact_id", "subject", "relation", "target_true", "target_new"]]
    predictions = about.merge(table, on="fact_id").assign(model="tiny")
    return render_preflight(
        {"tiny": predictor.plain()},
        predictions,
        advise(predictions, 0.5),
        REJECTS,
        threshold=0.5,
        rows_shown=100,
    )


def parity_row(fact: str, **changes) -> dict:
    """A fact that both codes edit alike, with changes."""
    scores = {f"{name}_{side}": 1.0 for name in SCORES for side in SIDES}
    return {
        **{"model": "tiny", "method": "rome", "easyedit_method": "ROME", "fact_id": fact, "subject": "<i>Owl</i>"},
        **{"relation": "P1", "target_true": "a", "target_new": "b", "cosine": 1.0, "relative": 1e-6},
        **{**scores, "cpu_seconds_ours": 1.0, "cpu_seconds_easyedit": 4.0, "failure_ours": "", "failure_easyedit": ""},
        **changes,
    }


def _make_parity() -> str:
    nothing = dict.fromkeys(("cosine", "relative", "efficacy_easyedit", "cpu_seconds_easyedit"), float("nan"))
    facts = pd.DataFrame([parity_row("1"), parity_row("2", **nothing, failure_easyedit="its process ended")])
    pairs = {"tiny": {"rome": {"method": "ROME", "hparams": "mine.yaml", "settings": {"variant": "rome"}}}}
    return render_parity(facts, summarise_parity(facts), pairs, share=True)


def _make_conversations() -> str:
    turns = [Turn("user", "Where is it?"), Turn("assistant", "It is in Oslo.")]
    talks = [
        Transcript("f", "rome", "script", tuple(turns * 2), refused=1),
        Transcript("f", "none", "script", (*turns, Turn("user", "Sure?"), Turn("assistant", "No, in Szohod."))),
    ]
    fact = Fact("f", "Borduria", "P36", "The capital of {} is", "Szohod", "Oslo")
    labels = ("holds", "reverts", "denies_both", "contradicts", "invents")
    shares = pd.DataFrame(
        [
            {"model": "tiny", "method": talk.method, "label": label, "value": 0.25, "low": 0.1, "high": 0.6, "n": 4}
            for talk in talks
            for label in labels
        ]
    )
    agreement = pd.DataFrame(columns=["model", "judge", "label"])
    verdicts = verdict_table(talks, {"f": fact}, {}, model="tiny")
    return render_conversations(Conversations(verdicts, turns_table(talks, model="tiny"), shares, agreement))


def _make_index() -> str:
    figure = {"value": 0.98, "low": 0.9, "high": 1.0}
    records = [
        {
            "id": f"2026010{day}-030405-aaaaaaaa", "started": f"2026-01-0{day}T03:04:05+00:00", "status": "finished",
            "pipeline": "edit_eval", "models": {"tiny": {}}, "methods": {"tiny": {"rome": {}, "none": {}}},
            "n_facts": {"tiny": 5}, "headline": [{"model": "tiny", "method": "rome", "efficacy": figure}],
        }
        for day in range(1, 5)
    ]  # fmt: skip
    pages = {record["id"]: ["report.html", "answers.csv"] for record in records}
    return render_index(records, pages, records[0]["id"])
