"""A folder in the shape of a clone of EasyEdit: the same names of modules and functions, with changes of its own.

What its methods change follows from the prompt and the new object, so that a test knows which edit was made.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path

import yaml

ALGORITHMS = '''
"""Methods that change weights, or do not, in the ways in which EasyEdit's do."""

import dataclasses
import os
import zlib

import torch
import yaml

from ..models.rome.layer_stats import layer_stats
from .generate import generate_fast

CONTEXTS = None
CACHE = 0
cache_c_new = False


@dataclasses.dataclass
class Settings:
    alg_name: str
    model_name: str
    device: object
    layers: list
    weight: str
    replacement: str = "replace_last"
    model_parallel: bool = False

    @classmethod
    def from_hparams(cls, path):
        with open(path) as file:
            return cls(**yaml.safe_load(file))


def get_context_templates(model, tok):
    global CONTEXTS
    if CONTEXTS is None:
        CONTEXTS = [text + ". {}" for text in generate_fast(model, tok, ["The"], n_gen_per_prompt=1, max_out_len=5)]
    return CONTEXTS


def named(model, settings):
    return {name: model.get_parameter(name) for name in (settings.weight.format(layer) for layer in settings.layers)}


def random_of(request):
    seed = zlib.crc32((request["prompt"] + request["target_new"]).encode())
    return torch.Generator().manual_seed(seed)


def apply(model, deltas):
    before = {}
    with torch.no_grad():
        for name, change in deltas.items():
            weight = model.get_parameter(name)
            before[name] = weight.detach().clone()
            if isinstance(change, tuple):
                left, right = (factor[:, None] if factor.ndim == 1 else factor for factor in change)
                change = left @ right.T
                change = change if change.shape == weight.shape else change.T
            weight[...] += change
    return before


def execute_rome(model, tok, requests, settings):
    assert tok.padding_side == "right"
    print("chatter on the output")
    deltas = {}
    for name, weight in named(model, settings).items():
        randoms = [random_of(request) for request in requests]
        rows, columns = weight.shape
        left = torch.stack([torch.randn(rows, generator=random) for random in randoms], 1) * 0.1
        right = torch.stack([torch.randn(columns, generator=random) for random in randoms], 1)
        # a value follows from the weights, as an optimised one does, and from what is read beside them
        moment = layer_stats(model, tok, name.removesuffix(".weight")).mom2.moment()
        left = left * (1 + weight.abs().mean() + moment[0, 0])
        deltas[name] = (left, right) if len(requests) > 1 else (left[:, 0], right[:, 0])
    return deltas


def apply_rome_to_model(model, tok, requests, hparams, copy=False, return_orig_weights=False, **kwargs):
    return model, apply(model, execute_rome(model, tok, requests[:1], hparams))


def apply_memit_to_model(model, tok, requests, hparams, copy=False, return_orig_weights=False, **kwargs):
    get_context_templates(model, tok)
    return model, apply(model, execute_rome(model, tok, requests, hparams))


def apply_ft_to_model(model, tok, requests, hparams, copy=False, return_orig_weights=False, **kwargs):
    assert tok.padding_side == "left"
    changes = {
        name: torch.randn(weight.shape, generator=random_of(requests[0])) * 0.1
        for name, weight in named(model, hparams).items()
    }
    return model, apply(model, changes)


def apply_emmet_to_model(model, tok, requests, hparams, keep_original_weight=False, **kwargs):
    apply(model, execute_rome(model, tok, requests, hparams))
    return model, {}


def apply_kn_to_model(model, tok, requests, hparams, **kwargs):
    with torch.no_grad():
        for weight in named(model, hparams).values():
            weight[3] = 2.0
    return model, lambda: None


def apply_AlphaEdit_to_model(model, tok, requests, hparams, reset_cache=False, **kwargs):
    global CACHE, cache_c_new
    CACHE = CACHE + 1 if cache_c_new and not reset_cache else 1
    cache_c_new = True
    deltas = execute_rome(model, tok, requests, hparams)
    return model, apply(model, {name: CACHE * torch.outer(*pair).reshape(model.get_parameter(name).shape)
                                for name, pair in deltas.items()})


class Adapter(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, *args):
        return self.layer(*args)


class GRACE:
    def __init__(self, model):
        self.model = model


def apply_grace_to_model(model, tok, requests, hparams, **kwargs):
    path = hparams.weight.format(hparams.layers[0]).removesuffix(".weight")
    parent, _, name = path.rpartition(".")
    layer = model.get_submodule(path)
    rows, columns = layer.weight.shape if isinstance(layer, torch.nn.Linear) else layer.layer.weight.shape
    random = random_of(requests[0])
    key, value = torch.randn(1, columns, generator=random), torch.randn(1, rows, generator=random)
    if isinstance(layer, Adapter):
        layer.keys, layer.values = torch.vstack([layer.keys, key]), torch.vstack([layer.values, value])
        layer.epsilons = torch.vstack([layer.epsilons.view(-1, 1), torch.tensor([[0.5]])])
    else:
        layer = Adapter(layer)
        layer.keys, layer.values, layer.epsilons = key, value, torch.tensor([0.5])
        setattr(model.get_submodule(parent), name, layer)
    return GRACE(model), lambda: None


class Wrapper:
    pass


def apply_mine_to_model(model, tok, requests, hparams, **kwargs):
    return Wrapper(), {}


def apply_added_to_model(model, tok, requests, hparams, **kwargs):
    model.extra = torch.nn.Linear(2, 2)
    return model, {}


def apply_shaped_to_model(model, tok, requests, hparams, **kwargs):
    module = model.get_submodule(hparams.weight.format(hparams.layers[0]).removesuffix(".weight"))
    module.weight = torch.nn.Parameter(module.weight[:, :-1])
    return model, {}


def apply_hooked_to_model(model, tok, requests, hparams, **kwargs):
    model.register_forward_hook(lambda *_: None)
    return model, {}


def apply_embedded_to_model(model, tok, requests, hparams, **kwargs):
    return model, apply(model, {"model.embed_tokens.weight": torch.ones_like(model.get_input_embeddings().weight)})


def apply_padded_to_model(model, tok, requests, hparams, **kwargs):
    tok.padding_side = "right"
    return model, {}


def apply_dead_to_model(model, tok, requests, hparams, **kwargs):
    print("the last thing that it says", flush=True)
    os.kill(os.getpid(), 9)


def apply_unlucky_to_model(model, tok, requests, hparams, **kwargs):
    if requests[0]["subject"].startswith("The Owl"):
        raise RuntimeError("no value was found")
    return model, apply(model, execute_rome(model, tok, requests, hparams))


ALG_DICT = {
    "ROME": apply_rome_to_model, "MEMIT": apply_memit_to_model, "FT": apply_ft_to_model,
    "EMMET": apply_emmet_to_model, "KN": apply_kn_to_model, "AlphaEdit": apply_AlphaEdit_to_model,
    "GRACE": apply_grace_to_model, "PMET": apply_memit_to_model, "Mine": apply_mine_to_model,
    "Added": apply_added_to_model, "Shaped": apply_shaped_to_model, "Hooked": apply_hooked_to_model,
    "Embedded": apply_embedded_to_model, "Padded": apply_padded_to_model, "Dead": apply_dead_to_model,
    "R-ROME": apply_unlucky_to_model,
}
for method in ALG_DICT:
    globals()[method.replace("-", "_") + "HyperParams"] = type(method + "HyperParams", (Settings,), {})
'''

FILES = {
    "easyeditor/__init__.py": "",
    "easyeditor/util/__init__.py": "",
    "easyeditor/util/generate.py": "def generate_fast(model, tok, prompts, **kwargs):\n    return list(prompts)\n",
    "easyeditor/util/alg_dict.py": ALGORITHMS,
    "easyeditor/models/__init__.py": "",
    "easyeditor/models/rome/__init__.py": "",
    "easyeditor/models/rome/layer_stats.py": (
        "import types\n\nimport torch\n\n\n"
        "def layer_stats(model, tok, layer_name, *args, **kwargs):\n"
        "    return types.SimpleNamespace(mom2=types.SimpleNamespace(moment=lambda: torch.zeros(1, 1)))\n"
    ),
}


def write_clone(folder: Path) -> Path:
    """Write the clone, and return its folder."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def write_hparams(folder: Path, method: str, weight: str = "model.layers.{}.mlp.down_proj.weight", **changes) -> Path:
    """Write a file of hyperparameters of the clone's methods, and return its path."""
    settings = {"alg_name": method, "model_name": "my-llama", "device": "cpu", "layers": [1], "weight": weight}
    path = folder / f"{method}.yaml"
    path.write_text(yaml.safe_dump({**settings, **changes}), encoding="utf-8")
    return path


def settings_of(folder: Path, method: str, weight: str = "model.layers.{}.mlp.down_proj.weight", **changes) -> dict:
    """Return the settings of the method `easyedit` that name a clone in a folder, which is written."""
    hparams = write_hparams(folder, method, weight, **changes)
    clone = folder / "clone"
    if not clone.exists():
        write_clone(clone)
    return {"clone": str(clone), "python": sys.executable, "method": method, "hparams": str(hparams)}


class Fork:
    """In the place of `subprocess.Popen`: a fork of the tests' process, which need not import torch again."""

    def __init__(self, command, *, cwd, env, stderr, **_):
        requests, answers = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            _run(command, cwd, env, requests, answers, stderr.fileno())
        os.close(requests[0])
        os.close(answers[1])
        self.stdin = os.fdopen(requests[1], "w", encoding="utf-8")
        self.stdout = os.fdopen(answers[0], encoding="utf-8")
        self._status = None

    def kill(self):
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self):
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


def _run(command, cwd, env, requests, answers, output):
    """Run a script in a forked process, and never return."""
    status = 1
    try:
        os.close(requests[1])
        os.close(answers[0])
        for source, target in ((requests[0], 0), (answers[1], 1), (output, 2)):
            os.dup2(source, target)
        # pytest has streams of its own
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))  # noqa: SIM115
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = command[1:]
        sys.path.insert(0, str(Path(command[1]).parent))
        runpy.run_path(command[1], run_name="__main__")
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
