"""A device that is not the CPU, for machines without one: tensors there are the CPU's, and never mix with others.

`torch` takes the backend of a third party in Python (its key `PrivateUse1`). This one wraps each tensor, runs every
operation on the CPU, and refuses one that gets tensors of both devices, as a GPU does. Registering it is for the whole
process, so tests start this file as a program: it writes what models on both devices say.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from fabricated_edits import FACTS, METHOD_NAMES, corpus, method, probes
from lm_eval.api.instance import Instance
from torch.utils import _pytree as nested
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from edit_robustness.abilities.engine import Generated, answered
from edit_robustness.abilities.requests import planned
from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.features.familiarity import familiarity
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.writing import written_texts
from edit_robustness.records import Turn
from edit_robustness.speakers.local import LocalSpeaker, Speaking

NAME, CPU = "pretended", torch.device("cpu")
ATEN = torch.ops.aten

_setup_privateuseone_for_python_backend(NAME)
# torch.tensor(..., device=NAME) then makes its tensor on the CPU and moves it
torch._C._set_only_lift_cpu_tensors(True)

COPIES = {ATEN.copy_, ATEN._copy_from, ATEN._to_copy}
INDEXED = {ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._index_put_impl_}
"""Operations in which a GPU takes tensors of both devices: copies, and a tensor there at places that are named here."""


class There(torch.Tensor):
    """A tensor on the device; `here` is the CPU's that it stands for."""

    @staticmethod
    def __new__(cls, here):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=f"{NAME}:0",
        )

    def __init__(self, here):
        self.here = here

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return run(operation, args, kwargs or {})

    @property
    def data(self):
        return There(self.here)

    @data.setter
    def data(self, other):
        self.here = other.here

    def tolist(self):
        return self.here.tolist()


def run(operation, args, kwargs):
    """One operation on the CPU; what it makes is on the device, unless it was asked for on the CPU."""
    leaves = nested.tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    there = {id(tensor.here): tensor for tensor in tensors if isinstance(tensor, There)}
    ruled = (args[:1], args[2:], kwargs) if operation.overloadpacket in INDEXED else (args, kwargs)
    same = [
        isinstance(leaf, There) for leaf in nested.tree_leaves(ruled) if isinstance(leaf, torch.Tensor) and leaf.dim()
    ]
    if there and not all(same) and operation.overloadpacket not in COPIES:
        raise RuntimeError(f"{operation} gets tensors of both devices")
    asked = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    own_args, own_kwargs = nested.tree_map(_here, (args, kwargs))
    with torch.no_grad():
        made = operation(*own_args, **own_kwargs)
    if operation.overloadpacket is ATEN._copy_from:
        return args[1]
    if asked == CPU or (operation.overloadpacket is ATEN.copy_ and not isinstance(args[0], There)):
        return made
    # what an operation in place gives back is what it got
    return nested.tree_map_only(torch.Tensor, lambda one: there[id(one)] if id(one) in there else There(one), made)


def _here(leaf):
    return leaf.here if isinstance(leaf, There) else CPU if isinstance(leaf, torch.device) else leaf


LIBRARY = torch.library.Library("_", "IMPL")
LIBRARY.fallback(lambda operation, *args, **kwargs: run(operation, args, kwargs), "PrivateUse1")


def edited(lm: LanguageModel, name: str) -> Any:
    """What a method's edits of all facts are asked, in one batch."""
    used = method(name)
    edits = used.edit_each(lm, FACTS, prepared=used.prepare(lm, corpus()))
    wanted = probes(("statement", "paraphrase", "question", "doubt", "neighbourhood"))
    said = ask(lm, [(edit, wanted) for edit in edits], Decoding(max_new_tokens=4))
    return [(answer.text, answer.logprob_new, answer.kl) for own in said for answer in own]


def abilities(lm: LanguageModel) -> Any:
    """Log-likelihoods, a text's and generations."""
    told = "A tale of owls, of geese and of a mill by the river.\n\n"
    scored = [("loglikelihood", (told + "The owl", end)) for end in (" sat there", " sat here", " flew")]
    free = [("generate_until", (told + start, {"until": ["."], "max_gen_toks": 6})) for start in ("The mill", "Geese")]
    asked = [*scored, ("loglikelihood_rolling", (told,)), *free]
    work = planned(lm, [Instance(kind, {}, words, number, ("", 0, 1)) for number, (kind, words) in enumerate(asked)])
    return [one.text if isinstance(one, Generated) else one for one in answered(lm, work)]


def spoken(lm: LanguageModel) -> Any:
    """A greedy turn and a drawn one."""
    turns = [Turn("user", "Where do owls sleep?")]
    speakers = [LocalSpeaker(lm, Speaking(max_new_tokens=5, temperature=warm)) for warm in (0.0, 1.0)]
    return [turn for speaker in speakers for turn in speaker.replies([turns])]


PARTS: dict[str, Callable[[LanguageModel], Any]] = {
    **{name: lambda lm, name=name: edited(lm, name) for name in METHOD_NAMES},
    "abilities": abilities,
    "familiarity": lambda lm: [table.to_dict("list") for table in familiarity(lm, FACTS, rows=2)],
    "speaking": spoken,
    "writing": lambda lm: written_texts(lm, texts=3, tokens=9, seed=1),
    "fingerprint": lambda lm: LanguageModel(lm.model, lm.tokenizer).fingerprint,
}
"""What is done with a model on either device."""


def refused() -> str:
    """What comes of adding tensors of two devices."""
    try:
        torch.ones(2, device=NAME) + torch.ones(2)
    except RuntimeError as error:
        return str(error)
    return ""


def main() -> None:
    """For each part what both devices say, as JSON."""
    found: dict[str, Any] = {"refused": refused()}
    for name, part in PARTS.items():
        here, there = tiny_model(sys.argv[1]), tiny_model(sys.argv[1])
        there.model.to(NAME).tie_weights()
        found[name] = [part(here), part(there)]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
