"""EasyEdit's side of the exchange: edits by a clone of EasyEdit, in the Python of its own environment.

Run by `process` as ``python script.py job.json``. It needs the standard library and what EasyEdit needs (torch,
transformers, safetensors), and imports nothing of this project. It reads one request per line of its input, and writes
one message per line of its output; tensors go through safetensors files. What EasyEdit prints goes to the error output.

Edits come from `apply_...` functions, the entries of EasyEdit's `ALG_DICT`. `BaseEditor.edit` evaluates every edit, and
takes it off again before it returns.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import random
import re
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterable, Mapping, MutableSequence
from pathlib import Path
from typing import Any

ALGORITHMS = "easyeditor.util.alg_dict"
SEED = 42
"""Seed of every edit: the one that EasyEdit sets when it is imported."""

PADS_RIGHT = (
    *("ROME", "R-ROME", "MEMIT", "MEMIT-FE", "PMET", "EMMET", "EAMET", "AlphaEdit", "CORE", "SPHERE"),
    *("UnKE", "UnKE_ARE"),
)
"""Methods that count positions of tokens from the beginning of a prompt. The others get padding on the left, as from
EasyEdit's editor."""

_EDITOR_PADS_LEFT = ("MEMIT-FE", "PMET")
"""Methods of `PADS_RIGHT` that EasyEdit's editor pads on the left."""

_CACHE = "cache_c_new"
"""Global name in AlphaEdit's and SPHERE's modules: whether there is a cache of earlier edits' keys."""


class Refused(Exception):
    """Something that the user named cannot be used; the message says what to change."""


class Side:
    """A clone of EasyEdit with one method and one model.

    Args:
        job: What `process` asks for.
        send: Writes a message.
    """

    def __init__(self, job: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]):
        self.job, self.send = job, send
        self.notes: set[str] = set()
        self.apply, self.hparams = open_clone(job)
        if job["folder"]:
            self.load_model()

    def load_model(self) -> None:
        """Load the exported model as EasyEdit's editor does, but from its files whatever its name."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # the last lines of the output are for errors
        device = read_device(getattr(self.hparams, "device", None), torch)
        model = AutoModelForCausalLM.from_pretrained(self.job["folder"])
        self.model = (model.half() if getattr(self.hparams, "fp16", False) else model.float()).eval().to(device)
        # files of statistics are named by it
        self.model.config._name_or_path = str(self.hparams.model_name)
        self.tokenizer = AutoTokenizer.from_pretrained(self.job["folder"])
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token_id = self.tokenizer.eos_token_id
        self.side = "right" if self.job["method"] in PADS_RIGHT else "left"
        if self.job["method"] in _EDITOR_PADS_LEFT:
            self.note(
                f"{self.job['method']} counts positions from the beginning of a prompt, and EasyEdit's own editor "
                "pads its prompts on the left, which moves them; they are padded on the right here"
            )
        self.base = {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
        self.hooks = count_hooks(self.model)
        self.adapter: tuple[str, Any] | None = None
        self.labels: list[str] = []
        self.records: list[Any] = []
        self.give_inputs()
        self.record_factors()

    def note(self, text: str) -> None:
        """Tell the user something, once."""
        if text not in self.notes:
            self.notes.add(text)
            self.send({"kind": "note", "text": text})

    def give_inputs(self) -> None:
        """Put this project's second moments and contexts in the place of those that the clone would make."""
        from safetensors.torch import load_file

        if self.job["moments"]:
            moments = load_file(self.job["moments"])

            def layer_stats(model: Any, tokenizer: Any, layer_name: str, *_args: Any, **_options: Any) -> Any:
                if layer_name not in moments:
                    raise Refused(f"no second moments of `{layer_name}` were given; there are {', '.join(moments)}")
                return types.SimpleNamespace(mom2=types.SimpleNamespace(moment=lambda: moments[layer_name].float()))

            replace_everywhere("layer_stats", layer_stats)
        if self.job["contexts"] is not None:
            contexts = list(self.job["contexts"])

            def generate_fast(*_args: Any, **_options: Any) -> list[str]:
                # the clone asks once for each length of its contexts
                texts = list(contexts)
                contexts.clear()
                return texts

            replace_everywhere("generate_fast", generate_fast)
        write_contexts = namespace_of(self.apply).get("get_context_templates")
        if write_contexts is not None:
            # from the unedited model, whichever edit of a sequence is the first of this process
            arguments = [self.model, self.tokenizer, getattr(self.hparams, "context_template_length_params", None)]
            self.seed()
            self.tokenizer.padding_side = self.side
            write_contexts(*arguments[: len(inspect.signature(write_contexts).parameters)])

    def record_factors(self) -> None:
        """Keep what the method's `execute_...` function returns: for some methods the factors of the change."""
        namespace = namespace_of(self.apply)
        for name in [name for name in namespace if name.startswith("execute_")]:
            namespace[name] = recorded(namespace[name], self.records)

    def seed(self) -> None:
        """Set every generator, so that an edit does not depend on those before it."""
        import numpy
        import torch

        random.seed(SEED)
        numpy.random.seed(SEED)
        torch.manual_seed(SEED)

    def serve(self, lines: Iterable[str]) -> None:
        """Answer requests until there are no more."""
        for line in lines:
            self.send(self.edit(json.loads(line)))

    def edit(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make one edit of one or more facts, and return the message about it.

        Args:
            request: `facts` (EasyEdit's requests), `weights` (a file of weights that differ from the exported ones),
                `continues` (whether the state that the last edit left in this process is kept) and `output`.
        """
        import torch
        from safetensors.torch import load_file

        if not request["continues"]:
            self.forget()
        weights = load_file(request["weights"]) if request["weights"] else {}
        before = self.set_weights(weights) if self.adapter is None else {}
        self.seed()
        self.tokenizer.padding_side = self.side
        self.records.clear()
        options = {"copy": False, "return_orig_weights": True, "keep_original_weight": False}
        options["reset_cache"] = not request["continues"]
        start, cpu_start = time.perf_counter(), time.process_time()
        result = self.apply(self.model, self.tokenizer, request["facts"], self.hparams, **accepted(self.apply, options))
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        if self.tokenizer.padding_side != self.side:
            self.note(
                f"{self.job['method']} left the tokenizer's padding on the {self.tokenizer.padding_side}; every edit "
                f"starts with it on the {self.side}"
            )
        if not isinstance(result, tuple) or len(result) != 2:
            raise Refused(f"{self.job['method']} returned {type(result).__name__}, and no model with its old weights")
        self.labels.extend(fact["target_new"] for fact in request["facts"])
        adapter = find_adapter(self.model)
        with torch.no_grad():
            answer = self.read_codebook(*adapter) if adapter else self.read_weights(result, before)
        from safetensors.torch import save_file

        save_file(answer.pop("tensors"), request["output"])
        return {"kind": "edit", "seconds": seconds, "cpu_seconds": cpu_seconds, **answer}

    def forget(self) -> None:
        """Take off what an edit left beside the weights."""
        if self.adapter is not None:
            path, adapter = self.adapter
            parent, _, name = path.rpartition(".")
            setattr(self.model.get_submodule(parent), name, adapter.layer)
            self.adapter = None
        self.labels = []
        namespace = namespace_of(self.apply)
        if namespace.get(_CACHE):
            namespace[_CACHE] = False
            self.note(
                f"{self.job['method']} keeps the keys of earlier edits in a global cache, and EasyEdit's own editor "
                "lets them into independent edits; the cache is reset before every single edit here"
            )
        owner: Any = getattr(self.apply, "__self__", None)
        if getattr(owner, "is_init", False) and self.job["method"] != "MEND":
            # an executor that keeps statistics of its edits; MEND keeps only its trained networks
            owner.is_init = False

    def set_weights(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """Set every weight to the exported one, or to the given one, and return them by name."""
        import torch

        before = {}
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                value = weights.get(name)
                before[name] = self.base[name] if value is None else value.to(weight)
                if not torch.equal(weight, before[name]):
                    weight.copy_(before[name])
        return before

    def read_weights(self, result: tuple[Any, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """Return the change of each changed weight: its factors, or the whole of it."""
        import torch

        model, originals = result
        method = self.job["method"]
        after = dict(model.named_parameters()) if isinstance(model, torch.nn.Module) else {}
        wrapper = type(model).__name__
        if after.keys() != before.keys():
            names = sorted(after.keys() ^ before.keys())
            end = f"whose parameter `{names[0]}` is not one of both" if after else "which has no parameters"
            raise Refused(f"{method} returned a {wrapper} {end}: only changed weights can be read")
        for name, weight in after.items():
            if weight.shape != before[name].shape:
                raise Refused(
                    f"{method} returned `{name}` of shape {tuple(weight.shape)}; the model's is "
                    f"{tuple(before[name].shape)}: only changed weights can be read"
                )
        if count_hooks(model) > self.hooks:
            raise Refused(f"{method} left hooks on the model, which are no change of weights")
        names = [name for name, weight in after.items() if not torch.equal(weight, before[name])]
        missing_copies = [name for name in names if isinstance(originals, dict) and name not in originals]
        if missing_copies:
            self.note(
                f"{method} returned no copy of `{missing_copies[0]}`, which it changed: EasyEdit's own editor leaves "
                "such a weight changed for the next edit; this project restores every weight itself"
            )
        deltas = next((record for record in reversed(self.records) if isinstance(record, dict)), {})
        tensors = {}
        for name in names:
            factors = thin_factors(before[name], after[name], deltas.get(name))
            if factors:
                tensors[f"{name}.left"], tensors[f"{name}.right"] = (factor.float().contiguous() for factor in factors)
            else:
                tensors[f"{name}.change"] = (after[name].float() - before[name].float()).contiguous()
        return {"form": "weights", "tensors": {name: tensor.cpu() for name, tensor in tensors.items()}}

    def read_codebook(self, path: str, adapter: Any) -> dict[str, Any]:
        """Return the entries of GRACE's adapter: keys, values and radii."""
        self.adapter = path, adapter
        settings = {"replacement": "replace_last", "dist_fn": "euc"}
        for name, value in settings.items():
            if str(getattr(self.hparams, name, value)) != value:
                raise Refused(
                    f"{self.job['hparams']}: `{name}: {getattr(self.hparams, name)}` cannot be expressed as a "
                    f"codebook: set `{name}: {value}`"
                )
        # an entry that a later edit widened has the label of its first edit
        labels = self.labels = self.labels[: len(adapter.keys)]
        tensors = {"keys": adapter.keys, "values": adapter.values, "radii": adapter.epsilons.reshape(-1)}
        tensors = {name: tensor.detach().float().cpu().contiguous().clone() for name, tensor in tensors.items()}
        return {"form": "codebook", "module": path, "labels": labels, "tensors": tensors}


def open_clone(job: Mapping[str, Any]) -> tuple[Callable[..., Any], Any]:
    """Import EasyEdit from the clone, and return the method's function and its hyperparameters."""
    clone = Path(job["clone"])
    sys.path[0] = str(clone)
    try:
        algorithms = importlib.import_module(ALGORITHMS)
    except Exception as error:
        raise Refused(describe_import(error, clone)) from error
    source = Path(str(algorithms.__file__)).resolve()
    if clone.resolve() not in source.parents:
        raise Refused(f"{sys.executable} imports EasyEdit from {source}, and not from the clone {clone}")
    table = algorithms.ALG_DICT
    if job["method"] not in table:
        raise Refused(f"this clone has no method `{job['method']}`; it has {', '.join(table)}")
    kind = hparams_class(job["method"], algorithms)
    try:
        hparams = kind.from_hparams(job["hparams"])
    except Exception as error:
        raise Refused(
            f"{job['hparams']} cannot be read as {kind.__name__} ({type(error).__name__}: {error}): compare it with a "
            f"file of {clone / 'hparams' / job['method']}"
        ) from error
    return table[job["method"]], hparams


def describe_import(error: Exception, clone: Path) -> str:
    """Return which module cannot be imported, where, and what to do."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    where = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else str(clone)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(clone)]
    if inside:
        where = f"{inside[-1].filename}, line {inside[-1].lineno}"
    module = getattr(error, "name", None)
    cause = f"module `{module}` is missing" if isinstance(error, ModuleNotFoundError) and module else ""
    return (
        f"`import easyeditor` fails in {sys.executable}: {cause or f'{type(error).__name__}: {error}'} ({where}): "
        f"install what EasyEdit needs there ({sys.executable} -m pip install -r {clone / 'requirements.txt'}), or name "
        "another `python`"
    )


def hparams_class(method: str, algorithms: Any) -> Any:
    """Return the class of a method's hyperparameters: the one of EasyEdit's that bears its name."""
    key = plain(method)
    for name, value in vars(algorithms).items():
        is_named = plain(name) in (f"{key}hyperparams", f"{key}hparams")
        if is_named and isinstance(value, type) and hasattr(value, "from_hparams"):
            return value
    raise Refused(f"this clone has no class of hyperparameters for `{method}`")


def plain(name: str) -> str:
    """Return a name in small letters, without signs."""
    return re.sub("[^a-z0-9]", "", name.lower())


def read_device(device: Any, torch: Any) -> Any:
    """Return the device that hyperparameters name, as EasyEdit reads it: a number is a GPU."""
    name = "" if device is None else str(device).strip()
    name = f"cuda:{name}" if name.isdigit() else name
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise Refused(f"the hyperparameters name the device {name}, and {sys.executable} has no GPU: set `device: cpu`")
    return torch.device(name)


def namespace_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the names of the module that a function, or a method of an object, is defined in."""
    namespace: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    return namespace


def replace_everywhere(name: str, function: Callable[..., Any]) -> None:
    """Put a function in the place of another, in every module of EasyEdit that has it."""
    for module in [module for key, module in sys.modules.items() if key.startswith("easyeditor.")]:
        if callable(vars(module).get(name)):
            setattr(module, name, function)


def recorded(function: Any, records: MutableSequence[Any]) -> Any:
    """Return a function that also keeps what it returns."""
    if not callable(function):
        return function

    def record(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        records.append(result)
        return result

    return record


def accepted(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a function has an argument for."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return {name: value for name, value in options.items() if name != "reset_cache" or name in parameters}
    return {name: value for name, value in options.items() if name in parameters}


def count_hooks(model: Any) -> int:
    """Return how many forward hooks a model's modules have."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def find_adapter(model: Any) -> tuple[str, Any] | None:
    """Return the path and the module of GRACE's adapter, if the model has one."""
    return next(((path, module) for path, module in model.named_modules() if is_codebook(module)), None)


def is_codebook(module: Any) -> bool:
    """Return whether a module replaces outputs near keys."""
    return all(hasattr(module, name) for name in ("keys", "values", "epsilons", "layer"))


def thin_factors(before: Any, after: Any, delta: Any) -> tuple[Any, Any] | None:
    """Return factors that make this change but for the rounding of their product in float32; None if none are known.

    Factors come from the method, or are the rows or columns that it set. The difference of the weights is never
    factorised: it is rounded itself, and so of full rank.

    Args:
        before: The weight, as it is stored.
        after: The edited weight.
        delta: What the method says it added: two vectors, or two matrices with the same number of columns.
    """
    import torch

    rows, columns = before.shape if before.ndim == 2 else (0, 0)
    if isinstance(delta, tuple) and len(delta) == 2 and rows and all(map(torch.is_tensor, delta)):
        left_factor, right_factor = (factor.detach().to(before.device).float() for factor in delta)
        left_factor, right_factor = (
            factor[:, None] if factor.ndim == 1 else factor for factor in (left_factor, right_factor)
        )
        if (left_factor.shape[0], right_factor.shape[0]) != (rows, columns):
            left_factor, right_factor = right_factor, left_factor
        if (left_factor.shape[0], right_factor.shape[0]) == (rows, columns) and left_factor.shape[1] * (
            rows + columns
        ) < rows * columns:
            # the bound of a sum of products (Higham 2002, section 3.1), with the factors rounded too
            unit = torch.finfo(before.dtype).eps / 2
            rounding = (left_factor.shape[1] + 3) * (left_factor.abs() @ right_factor.abs().T) + 2 * torch.maximum(
                before.abs(), after.abs()
            )
            if ((before + (left_factor @ right_factor.T).to(before.dtype) - after).abs() <= unit * rounding).all():
                return left_factor, right_factor.T
    if not rows:
        return None
    change = after.float() - before.float()
    for dim, size in ((1, rows), (0, columns)):
        index = change.ne(0).any(dim).nonzero()[:, 0]
        if len(index) * (rows + columns) < rows * columns:
            one_hot = torch.eye(size, device=change.device)[:, index]
            return (one_hot, change[index]) if dim == 1 else (change[:, index], one_hot.T)
    return None


def main(job_file: str) -> None:
    """Do what a job asks for; a failure is a message, and the process ends."""
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what EasyEdit prints is no message

    def send(message: Mapping[str, Any]) -> None:
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    try:
        side = Side(json.loads(Path(job_file).read_text("utf-8")), send)
        send({"kind": "ready"})
        if side.job["folder"]:
            side.serve(sys.stdin)
    except Refused as error:
        send({"kind": "refused", "text": str(error)})
    except Exception as error:  # noqa: BLE001 - every failure of the clone reaches the user
        traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        send({"kind": "failed", "text": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main(sys.argv[1])
