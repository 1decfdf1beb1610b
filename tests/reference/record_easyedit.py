"""Record what EasyEdit computes on the inputs of `parity_cases`, for the parity tests to compare with.

Clone https://github.com/zjunlp/EasyEdit. Add what its methods import to a copy of this project's environment, and run
this file there, from the project's folder:

    pip install --no-deps einops higher matplotlib contourpy cycler fonttools kiwisolver pillow pyparsing
    PYTHONPATH=. python tests/reference/record_easyedit.py FOLDER_OF_THE_CLONE

It writes `easyedit.safetensors` beside this file: the tiny models' weights, the second moments and the networks that
both codes get, and what EasyEdit made of them. The header holds the commit of the clone, the versions of the libraries
and the inputs of the cases. EasyEdit runs in float32 on the CPU, with one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from fabricated_edits import TEXTS
from parity import POSITIONS, under
from parity_cases import CASES, CONTEXTS, RECORDING, Case
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.easyedit_side import GRACE_DEFAULTS, PACKAGES, bare_packages, import_easyedit
from benchmarks.jobs import versions
from edit_robustness.editing.mend.networks import GradientEditors
from edit_robustness.editing.second_moments import second_moments
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.records import Fact

MORE_PACKAGES = (
    *(".models.alphaedit", ".models.pmet", ".models.kn", ".models.mend"),
    *(".trainer", ".trainer.algs"),
)
MODULES: Mapping[str, Mapping[str, str]] = {
    "llama": {
        "mlp_module_tmp": "model.layers.{}.mlp",
        "layer_module_tmp": "model.layers.{}",
        "attn_module_tmp": "model.layers.{}.self_attn",
        "ln_f_module": "model.norm",
        # the heads are tied, and EasyEdit finds no parameter under a tied head's own name
        "lm_head_module": "model.embed_tokens",
    },
    "gpt2": {
        "mlp_module_tmp": "transformer.h.{}.mlp",
        "layer_module_tmp": "transformer.h.{}",
        "attn_module_tmp": "transformer.h.{}.attn",
        "ln_f_module": "transformer.ln_f",
        "lm_head_module": "transformer.wte",
    },
}
PARTS: Mapping[str, Mapping[str, str]] = {
    "llama": {"mlp_in": "model.layers.{}.mlp.up_proj", "mlp_out": "model.layers.{}.mlp.down_proj"},
    "gpt2": {"mlp_in": "transformer.h.{}.mlp.c_fc", "mlp_out": "transformer.h.{}.mlp.c_proj"},
}
FOLDERS: Mapping[str, str] = {"llama": "tiny-llama", "gpt2": "tiny-gpt2-xl"}
"""Folders of the tiny models. EasyEdit recognises an architecture by its name in the folder's."""

Tensors = dict[str, Tensor]


class Reference:
    """A fresh tiny model for one case, with what EasyEdit's methods get.

    Args:
        case: The case.
        inputs: What `given_inputs` returns for the case's model.
    """

    def __init__(self, case: Case, inputs: Mapping[str, Tensor]):
        self.case, self.kind = case, case.model
        self.moments, self.networks = under("moments", inputs), under("networks", inputs)
        self.model = AutoModelForCausalLM.from_pretrained(FOLDERS[case.model], dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(FOLDERS[case.model])
        self.tokenizer.padding_side = "right"
        self.name = self.model.config._name_or_path
        self.contexts = [context + "{}" for context in CONTEXTS[: case.contexts]]

    def part(self, part: str) -> str:
        """Return the name of a part's modules, with a slot for the layer."""
        return PARTS[self.kind][part]

    def weight_name(self, site: Site) -> str:
        """Return the name of a site's parameter."""
        return f"{self.part(site.part).format(site.layer)}.weight"

    @property
    def weights(self) -> dict[Site, Tensor]:
        """The MLP weights, (d_out, d_in). `LanguageModel` would change the model's attention."""
        sites = [Site(layer, part) for layer in range(self.model.config.num_hidden_layers) for part in PARTS[self.kind]]
        parameters = {site: self.model.get_parameter(self.weight_name(site)).detach() for site in sites}
        return {site: weight.T if self.kind == "gpt2" else weight for site, weight in parameters.items()}

    @property
    def value_settings(self) -> dict[str, Any]:
        """Hyperparameters of the methods that optimise a value, under EasyEdit's names."""
        case_settings = self.case.settings
        return {
            **MODULES[self.kind],
            "layers": list(case_settings.get("layers", (case_settings.get("layer"),))),
            "fact_token": "subject_last",
            "v_num_grad_steps": case_settings["v_steps"],
            "v_lr": case_settings["v_lr"],
            "v_loss_layer": self.model.config.num_hidden_layers - 1,
            "v_weight_decay": case_settings["v_weight_decay"],
            "clamp_norm_factor": case_settings["clamp_norm_factor"],
            "kl_factor": case_settings["kl_factor"],
            "rewrite_module_tmp": self.part("mlp_out"),
            "mom2_adjustment": case_settings.get("mom2_adjustment", True),
            "mom2_dataset": "given",
            "mom2_n_samples": 0,
            "mom2_dtype": "float32",
            "device": "cpu",
            "model_name": self.name,
            "stats_dir": "nowhere",
        }

    def changes(self, edit: Callable[[list[Fact]], object]) -> Tensors:
        """Make the edits, and return what they together add to each MLP weight that they change, (d_out, d_in)."""
        before = {site: weight.clone() for site, weight in self.weights.items()}
        for facts in self.case:
            edit(facts)
        changes = {site: weight - before[site] for site, weight in self.weights.items()}
        return {str(site): change for site, change in changes.items() if change.any()}


def rome(reference: Reference) -> Tensors:
    """Run ROME, with the contexts and the inverse second moments in its caches."""
    main, layer = import_easyedit("models.rome.rome_main"), reference.case.settings["layer"]
    main.CONTEXT_TEMPLATES_CACHE = ["{}", *reference.contexts]
    key = reference.name, reference.part("mlp_out").format(layer)
    inverse = torch.inverse(reference.moments[f"{layer}.mlp_out"].double()).float()
    import_easyedit("models.rome.compute_u").inv_mom2_cache[key] = inverse
    settings = import_easyedit("models.rome.rome_hparams").ROMEHyperParams(
        alg_name="ROME", context_template_length_params=[], **reference.value_settings
    )
    return reference.changes(
        lambda facts: main.apply_rome_to_model(reference.model, reference.tokenizer, requests(facts), settings)
    )


def memit(reference: Reference) -> Tensors:
    """Run MEMIT."""
    main = layerwise(reference, "models.memit.memit_main")
    settings = import_easyedit("models.memit.memit_hparams").MEMITHyperParams(
        alg_name="MEMIT",
        layer_selection="all",
        mom2_update_weight=reference.case.settings["mom2_update_weight"],
        **reference.value_settings,
    )
    return reference.changes(
        lambda facts: main.apply_memit_to_model(reference.model, reference.tokenizer, requests(facts), settings)
    )


def alphaedit(reference: Reference) -> Tensors:
    """Run AlphaEdit, which computes its projections from the second moments in its cache."""
    main, case_settings = layerwise(reference, "models.alphaedit.AlphaEdit_main"), reference.case.settings
    settings = import_easyedit("models.alphaedit.AlphaEdit_hparams").AlphaEditHyperParams(
        alg_name="AlphaEdit",
        layer_selection="all",
        mom2_update_weight=0.0,
        nullspace_threshold=case_settings["nullspace_threshold"],
        L2=case_settings["l2"],
        P_loc="no projections here",
        **reference.value_settings,
    )
    # else the keys of the case before are still protected
    main.cache_c_new = False
    return reference.changes(
        lambda facts: main.apply_AlphaEdit_to_model(reference.model, reference.tokenizer, requests(facts), settings)
    )


def pmet(reference: Reference) -> Tensors:
    """Run PMET on the MLP's weights."""
    main = layerwise(reference, "models.pmet.pmet_main")
    settings = import_easyedit("models.pmet.pmet_hparams").PMETHyperParams(
        alg_name="PMET",
        layer_selection="all",
        mom2_update_weight=reference.case.settings["mom2_update_weight"],
        nll_loss_factor=1.0,
        rewrite_module_tmps=[reference.part("mlp_out")],
        **reference.value_settings,
    )

    def edit(facts: list[Fact]) -> None:
        # for Llama it adds no space before an object
        spaced_requests = [{**request, "target_new": " " + request["target_new"]} for request in requests(facts)]
        main.apply_pmet_to_model(reference.model, reference.tokenizer, spaced_requests, settings)

    return reference.changes(edit)


def layerwise(reference: Reference, module: str) -> Any:
    """Return a module of a method that writes several layers, with contexts and second moments in its caches."""
    main = import_easyedit(module)
    main.CONTEXT_TEMPLATES_CACHE = [["{}"], reference.contexts] if reference.contexts else [["{}"]]
    main.COV_CACHE = {
        (reference.name, reference.part("mlp_out").format(Site.parse(site).layer)): moment
        for site, moment in reference.moments.items()
    }
    return main


def fine_tuning(reference: Reference) -> Tensors:
    """Run FT: the loss on each token of the object after those before it, or on all after the prompt (FT-L)."""
    main, case_settings = import_easyedit("models.ft.ft_main"), reference.case.settings
    # it takes the first tokens of a row for padding
    reference.tokenizer.padding_side = "left"
    settings = import_easyedit("models.ft.ft_hparams").FTHyperParams(
        alg_name="FT",
        layers=[case_settings["layer"]],
        num_steps=case_settings["steps"],
        lr=case_settings["lr"],
        weight_decay=0,
        kl_factor=0,
        norm_constraint=case_settings.get("norm_constraint", False),
        objective_optimization="prompt_last" if reference.case.method == "ft_l" else "target_new",
        rewrite_module_tmp=f"{reference.part('mlp_out')}.weight",
        device="cpu",  # type: ignore[arg-type]
        model_name=reference.name,
        **MODULES[reference.kind],
    )
    return reference.changes(
        lambda facts: main.apply_ft_to_model(reference.model, reference.tokenizer, statements(facts), settings)
    )


def grace(reference: Reference) -> Tensors:
    """Run GRACE with one codebook for all edits. Values start at the module's own output, not at random."""
    main, case_settings = import_easyedit("models.grace.grace_main"), reference.case.settings
    module = reference.part(case_settings["part"])
    settings = import_easyedit("models.grace.grace_hparams").GraceHyperParams(
        alg_name="GRACE",
        edit_lr=case_settings["lr"],
        n_iter=case_settings["steps"],
        eps=case_settings["eps_init"],
        val_init="warm",
        **GRACE_DEFAULTS,
        inner_params=[f"{module.replace('.{}.', '[{}].').format(case_settings['layer'])}.weight"],
        device="cpu",
        model_name=reference.name,
    )
    first, *later = [statements(facts) for facts in reference.case]
    editor, _ = main.apply_grace_to_model(reference.model, reference.tokenizer, first, settings)
    for (request,) in later:
        # a second `apply_grace_to_model` freezes the values, and fails where an entry is fitted further
        tokens = main.tokenize(request, tokenizer=reference.tokenizer, device="cpu")
        editor.edit(config=settings, tokens=tokens, edit_id=request["target_new"])
    codebook = reference.model.get_submodule(module.format(case_settings["layer"]))
    tensors = {"keys": codebook.keys, "values": codebook.values, "radii": codebook.epsilons.view(-1)}
    return {name: tensor.detach() for name, tensor in tensors.items()}


def kn(reference: Reference) -> Tensors:
    """Run KN: the attributions, and the edit."""
    main, case_settings = import_easyedit("models.kn.kn_main"), reference.case.settings
    ((fact,),) = reference.case
    steps = case_settings["steps"]
    # it takes the objects as they are, without a space before them
    request = {
        "prompt": fact.statement,
        "ground_truth": f" {fact.target_true}",
        "target_new": f" {fact.target_new}",
    }
    settings = import_easyedit("models.kn.kn_hparams").KNHyperParams(
        alg_name="KN",
        lr_scale=1.0,
        n_toks=1,
        refine=False,
        batch_size=steps,
        steps=steps,
        adaptive_threshold=case_settings["threshold"],
        p=case_settings["sharing"],
        model_name=reference.name,
        device="cpu",  # type: ignore[arg-type]
    )
    scores = attributions(reference, neurons(reference), request["ground_truth"], points=steps)
    changes = reference.changes(
        lambda _: main.apply_kn_to_model(reference.model, reference.tokenizer, [request], settings)
    )
    return {"attributions": scores, **changes}


def kn_attributions(reference: Reference) -> Tensors:
    """Run KN's attributions of what the activation function returns, at zero alone and at all points from zero on."""
    ((fact,),) = reference.case
    finder = neurons(reference)
    finder.input_ff_attr = "mlp.act"
    points = {"at_zero": 1, "from_zero": reference.case.settings["steps"] + 1}
    return {name: attributions(reference, finder, fact.target_true, points=number) for name, number in points.items()}


def neurons(reference: Reference) -> Any:
    """Return EasyEdit's finder of knowledge neurons."""
    main = import_easyedit("models.kn.kn_main")
    kind = main.model_type(reference.name)
    return main.KnowledgeNeurons(reference.model, reference.tokenizer, model_type=kind, device="cpu")


def attributions(reference: Reference, finder: Any, target: str, *, points: int) -> Tensor:
    """Return the attributions of a target after the case's statement, (layers, neurons)."""
    ((fact,),) = reference.case
    return finder.get_scores(fact.statement, target, batch_size=points, steps=points, pbar=False).detach()


def mend(reference: Reference) -> Tensors:
    """Run MEND's edit by given networks, without its training."""
    case_settings = reference.case.settings
    sites = [Site(layer, part) for layer in case_settings["layers"] for part in case_settings["parts"]]
    names = {site: reference.weight_name(site) for site in sites}
    settings = types.SimpleNamespace(
        **dict.fromkeys(("one_sided", "x_only", "delta_only", "model_parallel"), False),
        **dict.fromkeys(("norm", "combine", "shared"), True),
        inner_params=list(names.values()),
        edit_lr=case_settings["rate"],
        n_hidden=1,
        init="id",
        act="relu",
        rank=case_settings["rank"],
        mlp_class="IDMLP",
        device="cpu",
        model_name=reference.name,
        model_class=type(reference.model).__name__,
    )
    main = import_easyedit("models.mend.mend_main")
    executor = main.MendRewriteExecutor()
    executor.model, executor.tokenizer, executor.is_init = reference.model, reference.tokenizer, True
    executor.alg = main.MEND(reference.model, settings, None)
    copy_networks(reference.networks, executor.alg, names)
    return reference.changes(
        lambda facts: executor.apply_to_model(reference.model, reference.tokenizer, statements(facts), settings)
    )


@torch.no_grad()
def copy_networks(networks: Mapping[str, Tensor], editor: Any, names: Mapping[Site, str]) -> None:
    """Copy this project's networks into EasyEdit's, which has one set of statistics per shape of weight."""
    for site, name in names.items():
        d_in, d_out = editor.get_shape(editor.model.get_parameter(name))
        network, number = editor.mend[str((d_in, d_out))], editor.shape_dict[d_in, d_out].index(name)
        for layer, linear in enumerate(network.mlp.layers, 1):
            linear.u.copy_(networks[f"{d_out}x{d_in}.U{layer}"])
            linear.v.copy_(networks[f"{d_out}x{d_in}.V{layer}"])
            linear.bias.copy_(networks[f"{d_out}x{d_in}.b{layer}"])
            linear.mode_scale.weight[number] = networks[f"{site}.s{layer}"]
            linear.mode_shift.weight[number] = networks[f"{site}.o{layer}"]
        deviation = (networks[f"{site}.squares"] / (networks[f"{site}.count"] - 1)).sqrt()
        for letter, part in (("u", slice(d_in)), ("v", slice(d_in, None))):
            getattr(network, f"{letter}_mean").copy_(networks[f"{site}.mean"][part])
            getattr(network, f"{letter}_std").copy_(deviation[part])


METHODS: Mapping[str, Callable[[Reference], Tensors]] = {
    "rome": rome,
    "memit": memit,
    "alphaedit": alphaedit,
    "pmet": pmet,
    "ft": fine_tuning,
    "ft_l": fine_tuning,
    "grace": grace,
    "kn": kn,
    "mend": mend,
}


def requests(facts: Iterable[Fact]) -> list[dict[str, str]]:
    """Return facts in EasyEdit's form, with a slot for the subject."""
    return [
        {"case_id": fact.id, "prompt": fact.prompt, "subject": fact.subject, "target_new": fact.target_new}
        for fact in facts
    ]


def statements(facts: Iterable[Fact]) -> list[dict[str, str]]:
    """Return facts in EasyEdit's form, as whole statements."""
    return [{"prompt": fact.statement, "target_new": fact.target_new} for fact in facts]


def tiny(kind: str) -> LanguageModel:
    """Return a tiny model whose weights half precision holds exactly, so that they are recorded in half the bytes.

    Embeddings of positions from `POSITIONS` on, which no case reaches, are zero.
    """
    lm = tiny_model(kind, seed=12)
    with torch.no_grad():
        for parameter in lm.model.parameters():
            parameter.copy_(parameter.half().float())
            if len(parameter) == lm.max_length:
                parameter[POSITIONS:] = 0
    return lm


def random_networks(lm: LanguageModel, case: Case) -> Tensors:
    """Return random networks for MEND, because untrained ones are the identity.

    All sites have the same statistics. The rates are negative, because EasyEdit adds the edit that this project
    subtracts.
    """
    case_settings, generator = case.settings, torch.Generator().manual_seed(5)
    sites = [Site(layer, part) for layer in case_settings["layers"] for part in case_settings["parts"]]
    networks = GradientEditors.untrained(
        lm, sites, rank=case_settings["rank"], rate=-case_settings["rate"], seed=5
    ).tensors
    for name, tensor in networks.items():
        if not name.endswith(("rate", "count", "mean", "squares")):
            networks[name] = tensor + 0.2 * torch.randn(tensor.shape, generator=generator)
    for site in sites:
        d_out, d_in = lm.weight(site).shape
        # the sizes of what enters a weight and of the gradients of what leaves it
        deviation = torch.cat([torch.full((d_in,), 0.5), torch.full((d_out,), 0.03)]).double()
        networks[f"{site}.mean"], networks[f"{site}.count"] = deviation / 10, torch.tensor(101).double()
        networks[f"{site}.squares"] = 100 * deviation.square()
    return networks


def given_inputs(kind: str) -> Tensors:
    """Write a tiny model into its folder, and return its weights, second moments and networks."""
    lm = tiny(kind)
    lm.model.save_pretrained(FOLDERS[kind])
    lm.tokenizer.save_pretrained(FOLDERS[kind])
    weights = {f"weights.{name}": tensor.detach()[:POSITIONS].half() for name, tensor in lm.model.named_parameters()}
    moments = second_moments(lm, TEXTS, [Site(layer, "mlp_out") for layer in range(3)], tokens=10_000)
    networks = random_networks(lm, next(case for case in CASES if case.method == "mend"))
    return {
        **weights,
        **{f"moments.{site}": moment.float() for site, moment in moments.items()},
        **{f"networks.{name}": tensor for name, tensor in networks.items()},
    }


def record(clone: Path) -> tuple[Tensors, dict[str, str]]:
    """Make the edits of all cases with the code of a clone.

    Returns:
        The tensors of the recording, and the texts of its header.
    """
    stub_imports(clone)
    tensors: Tensors = {}
    # AlphaEdit leaves a file in the working directory
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        inputs = {kind: given_inputs(kind) for kind in FOLDERS}
        for kind, group in inputs.items():
            tensors |= {f"{kind}.{name}": tensor for name, tensor in group.items()}
        for case in CASES:
            # EasyEdit prints every step
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                method = kn_attributions if case.attributions else METHODS[case.method]
                results = method(Reference(case, inputs[case.model]))
            tensors |= {f"{case.name}.{name}": tensor for name, tensor in results.items()}
    head = subprocess.run(["git", "-C", clone, "rev-parse", "HEAD"], text=True, capture_output=True, check=True)
    header = {"code": "https://github.com/zjunlp/EasyEdit", "commit": head.stdout.strip()}
    inputs_of_cases = {case.name: case.inputs for case in CASES}
    return tensors, {**header, "versions": json.dumps(versions()), "cases": json.dumps(inputs_of_cases)}


def stub_imports(clone: Path) -> None:
    """Make EasyEdit's methods importable by path, without what they import and do not use here."""
    bare_packages(str(clone), (*PACKAGES, *MORE_PACKAGES))
    sys.modules["hydra"] = types.ModuleType("hydra")
    sys.modules["easyeditor.trainer"].MEND = import_easyedit("trainer.algs.MEND").MEND  # type: ignore[attr-defined]


def main() -> None:
    """Read the command line, and write the recording."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("clone", type=Path, help="folder of a clone of EasyEdit")
    torch.set_num_threads(1)
    tensors, header = record(options.parse_args().clone.resolve())
    # a copy of each, for files refuse tensors that share memory
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, RECORDING, header)
    sys.stdout.write(f"{len(CASES)} cases in {RECORDING}: {RECORDING.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
