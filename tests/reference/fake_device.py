"""A device that is not the CPU, for machines without one: tensors there are the CPU's, and never mix with others.

`torch` takes the backend of a third party in Python (its key `PrivateUse1`). This one wraps each tensor, runs every
operation on the CPU, and refuses one that gets tensors of both devices, as a GPU does. Registering it is for the whole
process, so tests start this file as a program: it writes what models say that are on the CPU, on the device, and with
some blocks on each of them. torch has one device of such a kind only, so the second one is the CPU.
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

from edit_robustness.abilities.engine import GeneratedText, answer_requests
from edit_robustness.abilities.requests import plan_requests
from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets.language_model import LanguageModelDataset
from edit_robustness.editing.edit_sequence import edit_sequence
from edit_robustness.features.object_ranks import cut_batches, object_ranks
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.writing import sample_texts
from edit_robustness.records import Turn
from edit_robustness.speakers.local import LocalSpeaker, LocalSpeakerSettings

NAME, CPU = "pretended", torch.device("cpu")
ATEN = torch.ops.aten

_setup_privateuseone_for_python_backend(NAME)
# torch.tensor(..., device=NAME) then makes its tensor on the CPU and moves it
torch._C._set_only_lift_cpu_tensors(True)

COPIES = {ATEN.copy_, ATEN._copy_from, ATEN._to_copy}
INDEXED = {ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._index_put_impl_}
"""Operations in which a GPU takes tensors of both devices: copies, and a tensor there at places that are named here."""


class DeviceTensor(torch.Tensor):
    """A tensor on the device; `cpu_tensor` is the CPU's that it stands for."""

    @staticmethod
    def __new__(cls, cpu_tensor):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            cpu_tensor.shape,
            strides=cpu_tensor.stride(),
            storage_offset=cpu_tensor.storage_offset(),
            dtype=cpu_tensor.dtype,
            device=f"{NAME}:0",
        )

    def __init__(self, cpu_tensor):
        self.cpu_tensor = cpu_tensor

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return run_operation(operation, args, kwargs or {})

    @property
    def data(self):
        return DeviceTensor(self.cpu_tensor)

    @data.setter
    def data(self, source):
        self.cpu_tensor = source.cpu_tensor

    def tolist(self):
        return self.cpu_tensor.tolist()


def run_operation(operation, args, kwargs):
    """One operation on the CPU; what it makes is on the device, unless it was asked for on the CPU."""
    leaves = nested.tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    device_tensors = {id(tensor.cpu_tensor): tensor for tensor in tensors if isinstance(tensor, DeviceTensor)}
    arguments = (args[:1], args[2:], kwargs) if operation.overloadpacket in INDEXED else (args, kwargs)
    on_device = [
        isinstance(leaf, DeviceTensor)
        for leaf in nested.tree_leaves(arguments)
        if isinstance(leaf, torch.Tensor) and leaf.dim()
    ]
    if device_tensors and not all(on_device) and operation.overloadpacket not in COPIES:
        raise RuntimeError(f"{operation} gets tensors of both devices")
    target_device = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    own_args, own_kwargs = nested.tree_map(_to_cpu, (args, kwargs))
    with torch.no_grad():
        result = operation(*own_args, **own_kwargs)
    if operation.overloadpacket is ATEN._copy_from:
        return args[1]
    if target_device == CPU or (operation.overloadpacket is ATEN.copy_ and not isinstance(args[0], DeviceTensor)):
        return result
    # what an operation in place gives back is what it got
    return nested.tree_map_only(
        torch.Tensor,
        lambda tensor_result: (
            device_tensors[id(tensor_result)] if id(tensor_result) in device_tensors else DeviceTensor(tensor_result)
        ),
        result,
    )


def _to_cpu(leaf):
    return leaf.cpu_tensor if isinstance(leaf, DeviceTensor) else CPU if isinstance(leaf, torch.device) else leaf


LIBRARY = torch.library.Library("_", "IMPL")
LIBRARY.fallback(lambda operation, *args, **kwargs: run_operation(operation, args, kwargs), "PrivateUse1")


def edit_answers_of(lm: LanguageModel, name: str) -> Any:
    """What a method's edits of two facts are asked, in one batch."""
    return _ask(lm, name, ("statement", "neighbourhood"))


def conversations_with(lm: LanguageModel) -> Any:
    """What is answered to a question and to doubt in the answer, with words before the question."""
    return _ask(lm, "context", ("question", "doubt"))


def _ask(lm: LanguageModel, name: str, kinds: tuple[str, ...]) -> Any:
    editor = method(name)
    edits = editor.edit_each(lm, FACTS[:2], artefact=editor.prepare(lm, corpus()))
    edit_probes = probes(kinds)
    answers = ask(lm, [(edit, edit_probes) for edit in edits], Decoding(max_new_tokens=2))
    return [(answer.text, answer.logprob_new, answer.kl) for edit_answers in answers for answer in edit_answers]


def sequence_of(lm: LanguageModel, name: str) -> Any:
    """What two edits of a method, one after the other, are asked after the second."""
    editor = method(name)
    artefact = editor.prepare(lm, corpus())
    *_, step = edit_sequence(lm, editor, [[fact] for fact in FACTS[:2]], artefact=artefact)
    if step.error is not None:
        raise step.error
    (answers,) = ask(lm, [(step.history, probes(("statement", "neighbourhood")))], Decoding(max_new_tokens=2))
    return [(answer.text, answer.logprob_new, answer.kl) for answer in answers]


def abilities(lm: LanguageModel) -> Any:
    """Log-likelihoods, a text's and generations."""
    context = "A tale of owls, of geese and of a mill by the river.\n\n"
    likelihoods = [("loglikelihood", (context + "The owl", end)) for end in (" sat there", " sat here", " flew")]
    free = [
        ("generate_until", (context + start, {"until": ["."], "max_gen_toks": 6})) for start in ("The mill", "Geese")
    ]
    requests = [*likelihoods, ("loglikelihood_rolling", (context,)), *free]
    work = plan_requests(
        lm, [Instance(kind, {}, words, number, ("", 0, 1)) for number, (kind, words) in enumerate(requests)]
    )
    return [
        response.text if isinstance(response, GeneratedText) else response for response in answer_requests(lm, work)
    ]


def draw_turns(lm: LanguageModel) -> Any:
    """A greedy turn and a drawn one."""
    turns = [Turn("user", "Where do owls sleep?")]
    speakers = [LocalSpeaker(lm, LocalSpeakerSettings(max_new_tokens=5, temperature=warm)) for warm in (0.0, 1.0)]
    return [turn for speaker in speakers for turn in speaker.replies([turns])]


IN_SEQUENCE = ("rome", "alphaedit", "ft", "grace", "serac", "ultraedit")
"""Methods whose edits in sequence are of different kinds, or follow from what earlier edits left."""

PARTS: dict[str, Callable[[LanguageModel], Any]] = {
    **{name: lambda lm, name=name: edit_answers_of(lm, name) for name in METHOD_NAMES},
    **{f"{name}, in sequence": lambda lm, name=name: sequence_of(lm, name) for name in IN_SEQUENCE},
    "conversations": conversations_with,
    "abilities": abilities,
    "object_ranks": lambda lm: [table.to_dict("list") for table in object_ranks(lm, cut_batches(lm, FACTS, rows=2))],
    "speaking": draw_turns,
    "writing": lambda lm: sample_texts(lm, texts=3, tokens=9, seed=1),
    "fingerprint": lambda lm: LanguageModel(lm.model, lm.tokenizer).fingerprint,
}
"""Operations on a model that are compared between devices."""


def read_refusal() -> str:
    """What comes of adding tensors of two devices."""
    try:
        torch.ones(2, device=NAME) + torch.ones(2)
    except RuntimeError as error:
        return str(error)
    return ""


def main() -> None:
    """For each part what is said on the CPU, on the device, and on both in both orders, as JSON."""
    results: dict[str, Any] = {"refused": read_refusal(), "blocks": []}
    for name in sys.argv[2:] or PARTS:
        cpu_lm, device_lm = tiny_model(sys.argv[1]), tiny_model(sys.argv[1])
        device_lm.model.to(NAME).tie_weights()
        split_lms = [
            LanguageModelDataset(cpu_lm.name, random=sys.argv[1], device=setting)._from_source()
            for setting in (f"{NAME},cpu", f"cpu,{NAME}")
        ]
        results["blocks"] = [[next(block.parameters()).device.type for block in lm.blocks] for lm in split_lms]
        results[name] = [PARTS[name](lm) for lm in (cpu_lm, device_lm, *split_lms)]
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
