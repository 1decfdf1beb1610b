"""Naive transcriptions of MEMIT, PMET and AlphaEdit: dense inverses, one prompt at a time, weights really changed.

Written from the papers, with K and R as matrices of columns, so that they share no code with what they check.
"""

from __future__ import annotations

from collections.abc import Callable

import naive_editing as naive
import numpy as np
import torch

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.records import Fact


def memit(
    residual: np.ndarray, keys: np.ndarray, moment: np.ndarray, weight: float, before: np.ndarray | None = None
) -> np.ndarray:
    """Meng et al. 2023, eq. 14 and 15: R K^T (C_0 + K K^T)^-1 with C_0 = lambda E[k k^T], and + K_p K_p^T if given."""
    earlier = 0 if before is None else before @ before.T
    return residual @ keys.T @ np.linalg.inv(weight * moment + earlier + keys @ keys.T)


def emmet(residual: np.ndarray, keys: np.ndarray, moment: np.ndarray, weight: float, ridge: float) -> np.ndarray:
    """Gupta et al. 2024: R (K^T C_0^-1 K + emmet_lambda I)^-1 K^T C_0^-1 with C_0 = mom2_update_weight E[k k^T]."""
    inverse = np.linalg.inv(weight * moment)
    return residual @ np.linalg.inv(keys.T @ inverse @ keys + ridge * np.eye(keys.shape[1])) @ keys.T @ inverse


def projection(moment: np.ndarray, threshold: float) -> np.ndarray:
    """Fang et al. 2025, section 3.2: P = U U^T of the singular vectors of K_0 K_0^T with singular values near zero."""
    vectors, values, _ = np.linalg.svd(moment)
    null = vectors[:, values < threshold]
    return null @ null.T


def alphaedit(
    residual: np.ndarray, keys: np.ndarray, before: np.ndarray, projector: np.ndarray, weight: float
) -> np.ndarray:
    """Fang et al. 2025, the closed form of its section 3.3: R K^T P (K_p K_p^T P + K K^T P + L2 I)^-1."""
    inner = before @ before.T @ projector + keys @ keys.T @ projector + weight * np.eye(len(projector))
    return residual @ keys.T @ projector @ np.linalg.inv(inner)


def output_of(lm: LanguageModel, module: torch.nn.Module, fact: Fact) -> np.ndarray:
    """What a module puts out at the subject's last token of the bare statement."""
    outputs = []

    def keep(_, args, output):
        states = output[0] if isinstance(output, tuple) else output
        outputs.append(states[0, naive.subject_place(lm, fact.prompt, fact.subject)].double().numpy())

    handle = module.register_forward_hook(keep)
    with torch.no_grad():
        naive.forward(lm, naive.ids_of(lm, fact.statement))
    handle.remove()
    return outputs[0]


def layer_by_layer(
    lm: LanguageModel,
    facts: list[Fact],
    contexts: tuple[str, ...],
    goals: list[np.ndarray],
    *,
    modules: list[torch.nn.Module],
    goal: torch.nn.Module,
    share: Callable[[int], float],
    change: Callable[[int, np.ndarray, np.ndarray], np.ndarray],
) -> list[np.ndarray]:
    """Meng et al. 2023, algorithm 1: the change of each written weight, (d_out, d_in); the model is changed.

    Args:
        lm: The model.
        facts: The facts.
        contexts: Texts before the statements.
        goals: What `goal` should put out for each fact.
        modules: The modules whose weights are changed, from the lowest layer on.
        goal: The module whose output is meant.
        share: Of the number of layers still to be written, the part of what is missing that one takes.
        change: Of a layer's number, R and K, its change.
    """
    changes = []
    for number, module in enumerate(modules):
        keys = np.stack([naive.mean_key(lm, module, fact, contexts) for fact in facts], axis=1)
        outputs = [output_of(lm, goal, fact) for fact in facts]
        residual = np.stack(
            [goal_output - current_output for goal_output, current_output in zip(goals, outputs, strict=True)], axis=1
        )
        changes.append(change(number, residual * share(len(modules) - number), keys))
        update = torch.tensor(changes[-1]).float()
        with torch.no_grad():
            module.weight += update.T if lm.layout.transposed else update
    return changes
