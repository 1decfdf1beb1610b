"""Speed and success on SmolLM2 (docs/explanation/quality.md): `pytest -n 0 -m slow --log-cli-level=INFO`."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import replace

import pandas as pd
import pytest
import yaml
from fabricated_edits import REPOSITORY

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.target import optimise_value
from edit_robustness.metrics.recall import recall_table
from edit_robustness.metrics.scores import score_answers
from edit_robustness.models.writing import sample_texts
from edit_robustness.pipelines.ingest.nodes import validate_facts
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.statistics.intervals import rates
from edit_robustness.tables import answers_to_table, facts_from_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
logger = logging.getLogger(__name__)

CHOSEN_ON = frozenset(
    [
        "p1303-antonio-vivaldi",
        "p1376-tokyo",
        "p36-france",
        "p178-macos",
        "p17-thessaloniki",
        "p495-bicho-de-sete-cabecas",
        "p1303-brad-delson",
        "p495-wiener-schnitzel",
        "p101-john-calvin",
        "p449-springwatch",
        "p176-walkman",
        "p159-irish-ferries",
    ]
)
"""Facts on which hyperparameters were chosen; they are not measured here."""

MEASURED = 64
EASYEDIT_CONTEXTS = (5,) * 10 + (10,) * 10
"""With the bare statement and the essence prompt 22 rows, as many as EasyEdit runs at each step."""


@pytest.fixture(scope="module")
def templates():
    return read_relations(yaml.safe_load((REPOSITORY / "data/01_raw/relations.yml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    raw = pd.read_csv(REPOSITORY / "data/01_raw/facts.csv", dtype=str, keep_default_na=False)
    return validate_facts(raw, yaml.safe_load((REPOSITORY / "data/01_raw/relations.yml").read_text("utf-8")))[0]


@pytest.fixture(scope="module")
def rome():
    settings = yaml.safe_load((REPOSITORY / "conf/base/parameters/methods/rome.yml").read_text(encoding="utf-8"))
    return METHODS["rome"](**settings["methods"]["rome"]["smollm2"])


@pytest.fixture(scope="module")
def corpus(smollm2) -> Corpus:
    return Corpus(tuple(sample_texts(smollm2, texts=96, tokens=64, seed=0)))


def answers(lm, edits, probes, method: str) -> pd.DataFrame:
    """The answers under each fact's edit."""
    requests = [(edit, [probe for probe in probes if probe.fact_id == key]) for key, edit in edits.items()]
    answer_list = [answer for row in ask(lm, requests, Decoding(batch_rows=256)) for answer in row]
    return answers_to_table(answer_list, model=lm.name, method=method)


@pytest.fixture(scope="module")
def known_facts(smollm2, table, templates) -> list:
    """Facts that the model recalls, less those on which hyperparameters were chosen."""
    facts = facts_from_table(table)
    statements = build_probes(facts, templates, [], kinds=["statement"], neighbours=0, seed=0)
    answer_table = answers(smollm2, {fact.id: PromptPrefix() for fact in facts}, statements, "none")
    memory = recall_table(answer_table, table).set_index("fact_id")
    find_recalled_facts = [fact for fact in facts if memory["recalled"][fact.id] and fact.id not in CHOSEN_ON]
    random.Random(0).shuffle(find_recalled_facts)
    return find_recalled_facts


def test_rome_holds_on_facts_that_the_model_knows(smollm2, known_facts, table, templates, corpus, rome):
    facts = known_facts[:MEASURED]
    kinds = ["statement", "paraphrase", "neighbourhood"]
    probes = build_probes(facts, templates, facts_from_table(table), kinds=kinds, neighbours=3, seed=0)
    artefact = rome.prepare(smollm2, corpus)
    start = time.process_time()
    edits = {fact.id: edit for fact, edit in zip(facts, rome.edit_each(smollm2, facts, artefact=artefact), strict=True)}
    logger.info("%d ROME edits, %.1f CPU s an edit", len(edits), (time.process_time() - start) / len(edits))
    answer_tables = [
        answers(smollm2, dict.fromkeys(edits, PromptPrefix()), probes, "none"),
        answers(smollm2, edits, probes, "rome"),
    ]
    scores = score_answers(pd.concat(answer_tables, ignore_index=True))
    scores["subject"] = scores["fact_id"]
    rate_table = rates(scores[scores["method"] == "rome"], ["kind", "protocol", "metric"], cluster="subject")
    logger.info("ROME on %d known facts\n%s", len(facts), rate_table.to_string(index=False))
    rate = rate_table.set_index(["kind", "protocol", "metric"])["value"]
    assert rate["statement", "free", "success"] >= 0.9
    assert rate["statement", "teacher_forced", "success"] >= 0.95


def test_cached_value_optimisation_takes_a_fraction_of_the_full_pass(smollm2, known_facts, corpus, rome):
    rome = replace(rome, context_lengths=EASYEDIT_CONTEXTS)
    artefact = rome.prepare(smollm2, corpus)
    for fact in known_facts[:4]:
        seconds, results = {}, {}
        for use_cache in (True, False):
            one_step, nine_steps = replace(rome.objective, steps=1), replace(rome.objective, steps=9, stop_loss=0.0)
            times = []
            for objective in (one_step, nine_steps):
                start = time.process_time()
                results[use_cache] = optimise_value(
                    smollm2, [rome.site], fact, artefact.texts, objective, use_cache=use_cache
                )
                times.append(time.process_time() - start)
            seconds[use_cache] = (times[1] - times[0]) / 8
        fast, slow = (results[use_cache].changes[rome.site] for use_cache in (True, False))
        apart = (fast - slow).norm() / slow.norm()
        logger.info(
            "%s: suffix of %d tokens, %.2f CPU s a step cached, %.2f in full: %.1f times less; values differ by %.1e",
            fact.statement, results[True].suffix, seconds[True], seconds[False], seconds[False] / seconds[True], apart,
        )  # fmt: skip
        assert apart < 1e-3
        assert seconds[False] > 2.0 * seconds[True]


def test_many_edits_in_one_batch_take_a_fraction_of_one_at_a_time(smollm2, known_facts, table, templates, corpus, rome):
    facts = known_facts[:16]
    kinds = ["statement", "paraphrase", "question", "neighbourhood"]
    probes = build_probes(facts, templates, facts_from_table(table), kinds=kinds, neighbours=3, seed=0)
    edits = list(rome.edit_each(smollm2, facts, artefact=rome.prepare(smollm2, corpus)))
    requests = [(edit, [p for p in probes if p.fact_id == fact.id]) for fact, edit in zip(facts, edits, strict=True)]
    seconds, answers_by_mode = {}, {}
    for together in (True, False):
        start = time.process_time()
        answers_by_mode[together] = [a for row in ask(smollm2, requests, Decoding(), together=together) for a in row]
        seconds[together] = time.process_time() - start
    tokens = sum(answer.tokens for answer in answers_by_mode[True])
    logger.info(
        "%d probes of %d edits, %d tokens: %.1f CPU s together (%.0f tokens a CPU s), %.1f one at a time: %.1f times",
        len(probes), len(facts), tokens, seconds[True], tokens / seconds[True], seconds[False],
        seconds[False] / seconds[True],
    )  # fmt: skip
    assert [a.text for a in answers_by_mode[True]] == [a.text for a in answers_by_mode[False]]
    assert seconds[False] > 1.3 * seconds[True]
