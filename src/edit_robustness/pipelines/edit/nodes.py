"""Nodes of edit. Each fills a folder of fingerprinted files, and makes only what is not there yet."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from edit_robustness.datasets.corpus import CorpusSource
from edit_robustness.datasets.folders import Landing, Manifest, Stored
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.method import Corpus, Method, Prepared, fingerprint
from edit_robustness.editing.methods import METHODS
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.writing import written_texts
from edit_robustness.progress import track
from edit_robustness.prompts.relations import read_relations
from edit_robustness.tables import facts_from_table

_KEY = "corpus"


def write_corpus(lm: LanguageModel, corpus_source: CorpusSource, stored: Mapping[str, str]) -> Landing:
    """The corpus of a model: the catalog's texts, or texts that the model writes."""
    name = fingerprint(FORMAT, corpus_source, None if corpus_source.texts else lm.fingerprint)
    yield Manifest({_KEY: name})
    if stored.get(_KEY) == name:
        return
    texts = list(corpus_source.texts)
    if not texts:
        texts = written_texts(
            lm,
            texts=corpus_source.number,
            tokens=corpus_source.tokens,
            seed=corpus_source.seed,
            progress=lambda batches: track(batches, f"{lm.name}: writing a corpus", len(batches)),
        )
    yield {_KEY: Stored.of(name, texts)}


def prepare_with(name: str) -> Callable[..., Landing]:
    """The node that prepares one method; kedro validates its hyperparameters by the annotation."""
    method_class = METHODS[name]

    def prepare(lm: LanguageModel, stored: Mapping[str, str], method: method_class, **sources: Any) -> Landing:  # type: ignore[valid-type]
        # kedro streams only functions that are generators themselves
        yield from _prepared(lm, stored, method, _corpus(**sources))

    return prepare


def edit_with(name: str) -> Callable[..., Landing]:
    """The node that edits with one method; kedro validates its hyperparameters by the annotation."""
    method_class = METHODS[name]

    def edit(
        lm: LanguageModel,
        sampled_facts: pd.DataFrame,
        stored: Mapping[str, str],
        method: method_class,  # type: ignore[valid-type]
        prepared: Mapping[str, Stored[Prepared]] | None = None,
    ) -> Landing:
        yield from _edits(lm, sampled_facts, stored, method, (prepared or {}).get(name, Stored.of("", Prepared())))

    return edit


def _prepared(lm: LanguageModel, stored: Mapping[str, str], method: Method, corpus: Corpus) -> Landing:
    wanted = fingerprint(FORMAT, method.name, method.settings(), lm.fingerprint, corpus)
    yield Manifest({method.name: wanted})
    if stored.get(method.name) != wanted:
        yield {method.name: Stored.of(wanted, method.prepare(lm, corpus), method=method.name)}


def _edits(
    lm: LanguageModel,
    sampled_facts: pd.DataFrame,
    stored: Mapping[str, str],
    method: Method,
    prepared: Stored[Prepared],
) -> Landing:
    facts = facts_from_table(sampled_facts)
    common = (FORMAT, method.name, method.settings(), lm.fingerprint, prepared.fingerprint)
    wanted = Manifest({fact.id: fingerprint(*common, fact) for fact in facts})
    yield wanted
    missing = [fact for fact in facts if stored.get(fact.id) != wanted[fact.id]]
    if not missing:
        return
    edits = method.edit_each(lm, missing, prepared=prepared.read())
    started = time.perf_counter()
    for fact, edit in zip(missing, track(edits, f"{lm.name}: {method.name} edits", len(missing)), strict=True):
        seconds, started = time.perf_counter() - started, time.perf_counter()
        header = {"method": method.name, "facts": [fact.id], "model": lm.fingerprint, "seconds": round(seconds, 3)}
        yield {fact.id: Stored.of(wanted[fact.id], edit, **header)}


def _corpus(
    corpus: Mapping[str, Stored[list[str]]] | None = None,
    facts: pd.DataFrame | None = None,
    sampled_facts: pd.DataFrame | None = None,
    raw_relations: dict | None = None,
) -> Corpus:
    """The parts of a corpus that a method asked for; no fact in it shares a subject with the facts of this run."""
    texts = tuple(corpus[_KEY].read()) if corpus else ()
    if facts is None or sampled_facts is None:
        return Corpus(texts)
    edited = set(sampled_facts["subject"])
    pool = tuple(fact for fact in facts_from_table(facts) if fact.subject not in edited)
    return Corpus(texts, pool, read_relations(raw_relations or {}).relations)
