"""This project's side of the parity tests: the edits of a case, and how far they are from the recorded ones.

Print the table of all cases with `.venv/bin/python tests/reference/parity.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import torch
from fabricated_edits import method
from parity_cases import CASES, CONTEXTS, RECORDING, Case
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_sequence import edit_sequence
from edit_robustness.editing.edits import Codebook
from edit_robustness.editing.method import Corpus, Method
from edit_robustness.editing.methods.kn import attributions, generated_attributions
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import RenderedPrompt, target_ids

TOLERANCE = 1e-4
"""Largest relative difference, in the Frobenius norm, between the two codes' results."""

POSITIONS = 512
"""How many positions the tiny models have embeddings for, where positions have embeddings."""


def under(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under a name, without it."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


@cache
def read_recording() -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of the recording and the texts of its header."""
    with safe_open(RECORDING, framework="pt") as file:
        return load_file(RECORDING), file.metadata()


def read_inputs(case: Case, name: str) -> dict[str, Tensor]:
    """Return what both codes got for a case's model: its `weights`, `moments` or `networks`."""
    return under(f"{case.model}.{name}", read_recording()[0])


def results(case: Case) -> dict[str, Tensor]:
    """Return what the reference code computed for a case."""
    return under(case.name, read_recording()[0])


def tiny(case: Case) -> LanguageModel:
    """Return the tiny model of a case with the recorded weights."""
    lm = tiny_model(case.model)
    weights = read_inputs(case, "weights")
    with torch.no_grad():
        for name, parameter in lm.model.named_parameters():
            parameter.zero_()
            parameter[: len(weights[name])] = weights[name]
    return LanguageModel(lm.model, lm.tokenizer, lm.name)


def artefact(case: Case, lm: LanguageModel, editor: Method) -> Artefact:
    """Return what the reference code got in place of what the method would prepare."""
    if case.method == "mend":
        return Artefact(read_inputs(case, "networks"))
    contexts = CONTEXTS[: case.contexts]
    if not editor.key_sites:
        return Artefact(texts=contexts)
    moments = {Site.parse(name): moment.double() for name, moment in read_inputs(case, "moments").items()}
    return replace(editor.prepare(lm, Corpus(texts=("Rain.",), moments=moments)), texts=contexts)


def compute(case: Case, **changes: object) -> dict[str, Tensor]:
    """Compute with this project what the reference code computed.

    Args:
        case: The case.
        changes: Settings that replace the case's own.
    """
    lm = tiny(case)
    if case.attributions:
        return {"attributions": paper_attributions(case, lm)}
    nothing_learned = {"context_lengths": ()} if "context_lengths" in vars(method(case.method)) else {}
    editor = method(case.method, **{**nothing_learned, **case.settings, **case.switches, **changes})
    *_, last = edit_sequence(lm, editor, list(case), artefact=artefact(case, lm, editor))
    tensors = {str(site): change for site, change in last.history.changes.items()}
    book = last.history.combined_edits.get(Codebook.kind)
    if isinstance(book, Codebook):
        tensors |= {"keys": book.keys, "values": book.values, "radii": book.radii}
    if case.method == "kn":
        tensors["attributions"] = easyedit_attributions(case, lm)
    return tensors


def easyedit_attributions(case: Case, lm: LanguageModel) -> Tensor:
    """Compute the attributions of the variant `easyedit`, (layers, neurons)."""
    ((fact,),) = case
    target = target_ids(lm, RenderedPrompt(fact.statement), fact.target_true)
    return generated_attributions(lm, [fact.statement], target, steps=case.settings["steps"], batch=100)[0]


def paper_attributions(case: Case, lm: LanguageModel) -> Tensor:
    """Compute the attributions of the paper, (layers, neurons)."""
    ((fact,),) = case
    (token,) = target_ids(lm, RenderedPrompt(fact.statement), fact.target_true)
    return attributions(lm, [fact.statement], token, steps=case.settings["steps"], batch=100)[0]


def read_reference(case: Case) -> dict[str, Tensor]:
    """Return what `compute` is compared with.

    The paper's integral has the points 1/m .. 1, the reference code's zero, too: of its sum over all m + 1 points the
    part at zero is taken away.
    """
    if not case.attributions:
        return results(case)
    points, reference = case.settings["steps"], results(case)
    return {"attributions": ((points + 1) * reference["from_zero"] - reference["at_zero"]) / points}


def relative_difference(tensors: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> float:
    """Return the relative difference of the whole change of the weights, or of another result if that is larger."""
    if tensors.keys() != reference.keys():
        raise ValueError(f"this project gives {sorted(tensors)}, the recording has {sorted(reference)}")
    weights = [name for name in reference if name[0].isdigit()]
    groups = [weights] * bool(weights) + [[name] for name in reference if name not in weights]
    return max(apart([tensors[name] for name in group], [reference[name] for name in group]) for group in groups)


def apart(tensors: list[Tensor], reference: list[Tensor]) -> float:
    """Return |tensors - reference| / |reference| in the Frobenius norm, of all tensors as one."""
    flat, reference_flat = (
        torch.cat([tensor.double().flatten() for tensor in group]) for group in (tensors, reference)
    )
    return float((flat - reference_flat).norm() / reference_flat.norm())


def difference(case: Case, **changes: object) -> float:
    """Return how far this project's result is from the recorded one; `changes` as in `compute`."""
    return relative_difference(compute(case, **changes), read_reference(case))


def switches(case: Case) -> str:
    """Return the switches of a case as the table shows them."""
    return ", ".join(f"`{name}: {json.dumps(value)}`" for name, value in case.switches.items()).replace('"', "")


def table() -> str:
    """Return the table of `docs/explanation/methods.md`."""
    rows = [f"| `{case.method}` | `{case.name}` | {difference(case):.0e} | {switches(case)} |" for case in CASES]
    return "\n".join(["| method | case | difference | switches set here |", "| --- | --- | --- | --- |", *rows])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(f"{table()}\n")
