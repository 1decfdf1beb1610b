"""Material of the benchmarks: a model of the catalog, facts, texts, and the hyperparameters of the methods."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import AbstractDataset

from benchmarks.jobs import ROOT, Job
from edit_robustness.editing.contexts import statement_contexts
from edit_robustness.editing.method import Method, TrainedMethod
from edit_robustness.editing.methods import METHODS
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.writing import sample_texts
from edit_robustness.pipelines.ingest.nodes import validate_facts
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Probe
from edit_robustness.settings import CONFIG_LOADER_ARGS
from edit_robustness.tables import facts_from_table
from edit_robustness.text.joining import join_prompt

TINY = "tiny:"
"""Before the architecture of a tiny random model: `tiny:llama`."""

UNEDITED = ("none",)

COMPARED: Mapping[str, Mapping[str, Any]] = {
    "rome": {"v_stop_loss": 0.05, "context_lengths": [5] * 10 + [10] * 10},
    "memit": {"v_stop_loss": 0.05, "context_lengths": [10] * 5},
    "ft": {"stop_loss": 0.01},
    "ft_l": {"stop_loss": 0.01},
    "grace": {"stop_loss": 0.0},
}
"""Values from EasyEdit's code that are not in its settings, so that both sides do the same work: the loss at which it
stops (GRACE never does), and the number of contexts of each length."""

_PROBED = ("statement", "paraphrase", "neighbourhood")
_POOL = 400


@dataclass(frozen=True)
class Material:
    """One model with what its methods are tried on.

    Attributes:
        name: What the model is called.
        folder: The model in the format of transformers, which both sides load.
        lm: The model.
        facts: Rows of a job, with their probes.
        pool: Rows of a job that are not edited.
        texts: Running text.
        settings: Hyperparameters by method.
    """

    name: str
    folder: str
    lm: LanguageModel
    facts: list[dict[str, Any]]
    pool: list[dict[str, Any]]
    texts: list[str]
    settings: dict[str, dict[str, Any]]

    def method(self, name: str) -> Method:
        """Return a method with its hyperparameters."""
        return METHODS[name](**self.settings[name])

    def job(self, method: str, **overrides: Any) -> Job:
        """Return the job of one side for one method."""
        settings = self.settings.get(method, {})
        contexts = statement_contexts(self.lm, self.texts, settings.get("context_lengths", ()))
        return Job(
            folder=self.folder,
            name=self.name,
            method=method,
            settings=settings,
            facts=self.facts,
            pool=self.pool,
            texts=self.texts,
            contexts=list(contexts),
            **overrides,
        )


def gather(
    model: str,
    work: Path,
    *,
    environment: str,
    facts: int,
    seed: int,
    texts: int,
    changes: Sequence[str],
    with_easyedit: bool,
) -> Material:
    """Load the model, keep it in `work` as both sides load it, draw facts, and have the model write texts."""
    conf = configuration(model, environment)
    lm = load(model, conf["catalog"])
    folder = work / "model"
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    sample, pool = draw(facts, seed)
    # a template's braces would be taken for places by `str.format`, with which EasyEdit fills its own
    braces = {ord("{"): " ", ord("}"): " "}
    texts_written = [text.translate(braces) for text in sample_texts(lm, texts=texts, tokens=64, seed=seed)]
    settings = settings_of(model, conf)
    if with_easyedit:
        settings = {
            method: {**method_settings, **COMPARED.get(method, {})} for method, method_settings in settings.items()
        }
    return Material(lm.name, str(folder), lm, sample, pool, texts_written, change_settings(settings, changes))


def configuration(model: str, environment: str) -> OmegaConfigLoader:
    """Return the project's configuration in one of Kedro's environments; tiny models have their own."""
    arguments: dict[str, Any] = {**CONFIG_LOADER_ARGS}
    environment_name = "test" if model.startswith(TINY) else environment
    return OmegaConfigLoader(conf_source=str(ROOT / "conf"), env=environment_name, **arguments)


def load(model: str, catalog: Mapping[str, Any]) -> LanguageModel:
    """Return a tiny random model, or one of the catalog.

    Raises:
        ValueError: If the catalog has no such model.
    """
    if model.startswith(TINY):
        return tiny_model(model.removeprefix(TINY))
    entry = f"{model}.language_model"
    if entry not in catalog:
        models = [name.removesuffix(".language_model") for name in catalog if name.endswith(".language_model")]
        raise ValueError(f"the catalog has no {entry}; there are {', '.join(models)}, and {TINY}llama and its like")
    lm: LanguageModel = AbstractDataset.from_config(entry, catalog[entry]).load()
    return lm


def settings_of(model: str, conf: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the hyperparameters for a model, by method; those of every tiny model stand under `tiny`."""
    methods, key = conf["parameters"]["methods"], "tiny" if model.startswith(TINY) else model
    return {name: dict(methods[name][key] or {}) for name in METHODS if key in methods.get(name, {})}


def select_methods(methods: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """Return the methods asked for; without any, all that edit and have hyperparameters, except those that train
    networks.

    Raises:
        ValueError: For a method that has no hyperparameters for the model.
    """
    for name in methods:
        if name not in settings:
            raise ValueError(f"{name} has no hyperparameters for this model; there are some of {', '.join(settings)}")
    return list(methods) or [n for n in settings if n not in UNEDITED and not issubclass(METHODS[n], TrainedMethod)]


def change_settings(settings: Mapping[str, Mapping[str, Any]], changes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Hyperparameters with changes of the form `rome.v_lr=0.5`.

    Raises:
        ValueError: For a change of another form, or of a method without hyperparameters for the model.
    """
    result = {method: dict(method_settings) for method, method_settings in settings.items()}
    for change in changes:
        where, equals, value = change.partition("=")
        method, dot, name = where.partition(".")
        if not (equals and dot) or method not in result:
            raise ValueError(f"`{change}` changes nothing: write method.name=value, of {', '.join(result)}")
        result[method][name] = yaml.safe_load(value)
    return result


def draw(number: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Facts of the embedded table with their probes, and others of other subjects, as rows of a job.

    Raises:
        ValueError: If there are not so many facts.
    """
    raw = pd.read_csv(ROOT / "data/01_raw/facts.csv", dtype=str, keep_default_na=False)
    relations = yaml.safe_load((ROOT / "data/01_raw/relations.yml").read_text("utf-8"))
    all_facts = facts_from_table(validate_facts(raw, relations)[0])
    if not 0 < number <= len(all_facts):
        raise ValueError(f"--facts must be 1 to {len(all_facts)} (it is {number})")
    all_in_random_order = random.Random(seed).sample(all_facts, len(all_facts))
    facts, subjects = all_in_random_order[:number], {fact.subject for fact in all_in_random_order[:number]}
    probes = build_probes(facts, read_relations(relations), all_facts, kinds=_PROBED, neighbours=3, seed=seed)
    rows = [
        {
            **dataclasses.asdict(fact),
            "probes": [
                {"kind": p.kind, "text": p.text, "new": _after(p, p.target_new), "true": _after(p, p.target_true)}
                for p in probes
                if p.fact_id == fact.id
            ],
        }
        for fact in facts
    ]
    other_facts = [fact for fact in all_in_random_order[number:] if fact.subject not in subjects][:_POOL]
    return rows, [dataclasses.asdict(fact) for fact in other_facts]


def _after(probe: Probe, target: str) -> str:
    """Return a target as it follows a probe, what stands before it included."""
    return join_prompt(probe.text, target, probe.join)[len(probe.text) :]
