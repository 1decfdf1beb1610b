"""Answers of a clone of EasyEdit on tiny random models, for tests to read without one.

Record it with a clone and the Python of its environment, from the project's folder:

    python tests/reference/easyedit_exchange.py FOLDER_OF_THE_CLONE ITS_PYTHON

It writes `easyedit_exchange.safetensors` beside this file: the tensors of each answer, and in the header the requests,
the answers and the commit of the clone. The inputs are those of `parity_cases`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from parity import read_inputs, tiny, under
from parity_cases import CASES, CONTEXTS, Case
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from edit_robustness.editing.easyedit.process import CloneInputs, Installation, Session
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site

EXCHANGE = Path(__file__).with_name("easyedit_exchange.safetensors")
NAMES = ("rome", "memit", "memit_batch", "ft", "grace")
"""The cases of `parity_cases` that are recorded."""

RECORDED = {case.name: case for case in CASES if case.name in NAMES}

_MODULES = {
    "layer_module_tmp": "model.layers.{}",
    "mlp_module_tmp": "model.layers.{}.mlp",
    "attn_module_tmp": "model.layers.{}.self_attn",
    "ln_f_module": "model.norm",
    "lm_head_module": "model.embed_tokens",
}
_SITE = "model.layers.{}.mlp.down_proj"


def clone_inputs(case: Case) -> CloneInputs:
    """Return what the clone gets from this project."""
    moments = {Site.parse(name): moment for name, moment in read_inputs(case, "moments").items()}
    return CloneInputs(moments, CONTEXTS[: case.contexts]) if case.contexts else CloneInputs()


def hparams(case: Case) -> dict[str, Any]:
    """Return the hyperparameters of a case in EasyEdit's format."""
    settings, name = case.settings, case.method.upper()
    common = {"alg_name": name, "model_name": "tiny", "device": "cpu"}
    if name == "GRACE":
        return common | {
            "inner_params": [f"model.layers[{settings['layer']}].mlp.down_proj.weight"],
            "edit_lr": settings["lr"], "n_iter": settings["steps"], "eps": settings["eps_init"], "dist_fn": "euc",
            "val_init": "warm", "val_train": "sgd", "val_reg": "None", "reg": "early_stop",
            "replacement": "replace_last", "eps_expand": "coverage", "num_pert": 8, "dropout": 0.0,
        }  # fmt: skip
    if name == "FT":
        return common | _MODULES | {
            "layers": [settings["layer"]], "num_steps": settings["steps"], "lr": settings["lr"], "weight_decay": 0,
            "kl_factor": 0, "norm_constraint": False, "objective_optimization": "target_new", "batch_size": 1,
            "rewrite_module_tmp": f"{_SITE}.weight",
        }  # fmt: skip
    value = {
        "fact_token": "subject_last", "v_num_grad_steps": settings["v_steps"], "v_lr": settings["v_lr"],
        "v_loss_layer": 3, "v_weight_decay": settings["v_weight_decay"], "kl_factor": settings["kl_factor"],
        "clamp_norm_factor": settings["clamp_norm_factor"], "rewrite_module_tmp": _SITE, "mom2_dataset": "given",
        "mom2_n_samples": 1, "mom2_dtype": "float32", "stats_dir": "stats", "mom2_adjustment": True,
    }  # fmt: skip
    if name == "ROME":
        return common | _MODULES | value | {"layers": [settings["layer"]], "context_template_length_params": [[5, 5]]}
    layers = {"layers": list(settings["layers"]), "layer_selection": "all"}
    return common | _MODULES | value | layers | {"mom2_update_weight": settings["mom2_update_weight"]}


class Recorder(Session):
    """A session that keeps requests and answers."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.exchange: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.tensors: dict[str, torch.Tensor] = {}

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        message = super()._ask(request)
        number = len(self.exchange)
        self.tensors |= {f"{number}.{name}": value for name, value in load_file(request["output"]).items()}
        self.exchange.append((plain(request), message))
        return message


class Replayed(Session):
    """A session that answers as a clone did, and starts no process.

    Args:
        case: The case.
        lm: Its model.
    """

    def __init__(self, case: Case, lm: LanguageModel):
        super().__init__(Installation("", "", case.method.upper(), ""), lm, clone_inputs(case))
        with safe_open(EXCHANGE, framework="pt") as file:
            self._exchange = json.loads(file.metadata()["exchange"])[case.name]
        self._tensors, self._number = under(case.name, load_file(EXCHANGE)), 0
        self._temporary = tempfile.TemporaryDirectory()

    def export(self) -> Path:
        return Path(self._temporary.name)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        reference, message = self._exchange[self._number]
        if plain(request) != reference:
            raise ValueError(f"the request is not the recorded one: {plain(request)}, not {reference}")
        save_file(under(str(self._number), self._tensors), request["output"])
        self._number += 1
        return message


def plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a request asks for, without the names of its files."""
    return {"facts": request["facts"], "weights": bool(request["weights"]), "continues": request["continues"]}


def edit_all(session: Session, case: Case) -> list[Any]:
    """Return the edits of a case, each on the unedited model but for GRACE's, which follow one another."""
    grace = case.method == "grace"
    return [session.edit(facts, weights={}, continues=grace and number > 0).edit for number, facts in enumerate(case)]


def record(clone: str, python: str) -> None:
    """Record all cases."""
    exchange, tensors = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, case in RECORDED.items():
            path = Path(folder) / f"{name}.yaml"
            path.write_text(yaml.safe_dump(hparams(case)), encoding="utf-8")
            installation = Installation(clone, python, case.method.upper(), str(path))
            with Recorder(installation, tiny(case), clone_inputs(case)) as session:
                edit_all(session, case)
                exchange[name] = session.exchange
                tensors |= {f"{name}.{key}": value.contiguous() for key, value in session.tensors.items()}
    commit = subprocess.run(["git", "-C", clone, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    header = {"exchange": json.dumps(exchange, ensure_ascii=False), "commit": commit.stdout.strip()}
    save_file(tensors, EXCHANGE, metadata=header)


if __name__ == "__main__":
    torch.set_num_threads(1)
    record(*sys.argv[1:])
