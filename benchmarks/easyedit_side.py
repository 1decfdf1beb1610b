"""EasyEdit's side of the benchmark: its own methods on the same facts, contexts and second moments.

Runs in the Python of EasyEdit's environment and imports nothing of this project. EasyEdit's packages are put into
`sys.modules` bare, by their paths, so that their `__init__`, which pull the vision stack, do not run.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.jobs import Job, versions
from benchmarks.metering import Meter, forget_peak, peak_memory
from benchmarks.scoring import scores

FactEdit = Callable[[dict[str, Any]], contextlib.AbstractContextManager[None]]
"""Edits a model on a fact for the length of a `with` block."""

PACKAGES = ("", ".util", ".models", ".models.rome", ".models.memit", ".models.ft", ".models.grace")
MODULES = {
    "mlp_module_tmp": "model.layers.{}.mlp",
    "layer_module_tmp": "model.layers.{}",
    "attn_module_tmp": "model.layers.{}.self_attn",
    "ln_f_module": "model.norm",
    # the head is tied: by its own name MEMIT does not find it
    "lm_head_module": "model.embed_tokens",
}
SITE = "model.layers.{}.mlp.down_proj"
GRACE_DEFAULTS: dict[str, Any] = {
    "dist_fn": "euc",
    "val_train": "sgd",
    "val_reg": "None",
    "reg": "early_stop",
    "replacement": "replace_last",
    "eps_expand": "coverage",
    "num_pert": 8,
    "dropout": 0.0,
}
PARTS = {"mlp_in": "up_proj", "mlp_gate": "gate_proj", "mlp_out": "down_proj"}


def main(job_file: str, answer_file: str) -> None:
    """Do the job and write the answer."""
    job = Job.read(Path(job_file))
    bare_packages(job.clone)
    from transformers import AutoModelForCausalLM, AutoTokenizer  # not before `bare_packages`

    torch.manual_seed(job.seed)
    model = AutoModelForCausalLM.from_pretrained(job.folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(job.folder)
    tokenizer.pad_token_id, tokenizer.padding_side = tokenizer.eos_token_id, "right"
    forget_peak()
    # its methods print every step
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        answer = (statistics if job.method == "statistics" else edits)(model, tokenizer, job)
    Path(answer_file).write_text(json.dumps({**answer, "versions": versions(), "peak": peak_memory()}), "utf-8")


def bare_packages(clone: str, packages: Sequence[str] = PACKAGES) -> None:
    """Make EasyEdit's modules importable without running its packages' own code.

    Nor is torchvision imported, which no language model needs: one that does not fit its torch stops transformers.
    """
    sys.modules["torchvision"] = None  # type: ignore[assignment]
    for name in packages:
        package = types.ModuleType(f"easyeditor{name}")
        package.__path__ = [str(Path(clone, "easyeditor", *name.split(".")))]
        sys.modules[package.__name__] = package
    util: Any = sys.modules["easyeditor.util"]
    util.nethook = importlib.import_module("easyeditor.util.nethook")


def import_easyedit(name: str) -> Any:
    """Return a module of EasyEdit."""
    return importlib.import_module(f"easyeditor.{name}")


def edits(model: Any, tokenizer: Any, job: Job) -> dict[str, Any]:
    """Independent edits, the model restored after each, each timed and asked."""
    wear, meter, answers = WAYS[job.method](model, tokenizer, job), Meter(), []
    peak = 0
    for fact in job.facts:
        with contextlib.ExitStack() as stack:
            with meter.watch(model):
                meter.lap()
                stack.enter_context(wear(fact))
                lap = meter.lap()
            peak = max(peak, peak_memory())
            probe_scores = scores(model, tokenizer, fact["probes"])
        answers.append({**asdict(lap), "fact": fact["id"], "scores": probe_scores})
    return {"edits": answers, "editing_peak": peak}


def rome(model: Any, tokenizer: Any, job: Job) -> FactEdit:
    """ROME with the contexts and the inverse second moments of the job in its caches."""
    options, main, name = (
        job.settings,
        import_easyedit("models.rome.rome_main"),
        model.config._name_or_path.replace("/", "_"),
    )
    main.CONTEXT_TEMPLATES_CACHE = ["{}", *(context + "{}" for context in job.contexts)]
    inverse = torch.inverse(load_file(job.moments)[f"{options['layer']}.mlp_out"]).float()
    import_easyedit("models.rome.compute_u").inv_mom2_cache[name, SITE.format(options["layer"])] = inverse
    settings = import_easyedit("models.rome.rome_hparams").ROMEHyperParams(
        alg_name="ROME",
        layers=[options["layer"]],
        mom2_adjustment=True,
        context_template_length_params=[],
        **_value_settings(options, model),
    )
    return lambda fact: _apply_and_restore(model, main.apply_rome_to_model, tokenizer, [_request(fact)], settings)


def memit(model: Any, tokenizer: Any, job: Job) -> FactEdit:
    """MEMIT with the contexts and the second moments of the job in its caches."""
    options, main, name = (
        job.settings,
        import_easyedit("models.memit.memit_main"),
        model.config._name_or_path.replace("/", "_"),
    )
    main.CONTEXT_TEMPLATES_CACHE = [["{}"], [context + "{}" for context in job.contexts]]
    for site, moment in load_file(job.moments).items():
        main.COV_CACHE[name, SITE.format(site.partition(".")[0])] = moment.float()
    settings = import_easyedit("models.memit.memit_hparams").MEMITHyperParams(
        alg_name="MEMIT",
        layers=list(options["layers"]),
        layer_selection="all",
        mom2_adjustment=True,
        mom2_update_weight=options["mom2_update_weight"],
        **_value_settings(options, model),
    )
    return lambda fact: _apply_and_restore(model, main.apply_memit_to_model, tokenizer, [_request(fact)], settings)


def fine_tuning(model: Any, tokenizer: Any, job: Job) -> FactEdit:
    """FT: the loss on the object (FT-M), or at the prompt's last token with the norm constraint (FT-L)."""
    options, main = job.settings, import_easyedit("models.ft.ft_main")
    settings = import_easyedit("models.ft.ft_hparams").FTHyperParams(
        alg_name="FT",
        layers=[options["layer"]],
        num_steps=options["steps"],
        lr=options["lr"],
        weight_decay=0,
        kl_factor=0,
        norm_constraint=options.get("norm_constraint", False),
        objective_optimization="prompt_last" if job.method == "ft_l" else "target_new",
        batch_size=1,
        rewrite_module_tmp=f"{SITE}.weight",
        device="cpu",  # type: ignore[arg-type]
        model_name=model.config._name_or_path,
        **MODULES,
    )
    return lambda fact: _apply_and_restore(model, main.apply_ft_to_model, tokenizer, [_plain_request(fact)], settings)


def grace(model: Any, tokenizer: Any, job: Job) -> FactEdit:
    """GRACE in its defaults but for the place, the rate, the steps and the radius."""
    options, main = job.settings, import_easyedit("models.grace.grace_main")
    settings = import_easyedit("models.grace.grace_hparams").GraceHyperParams(
        alg_name="GRACE",
        edit_lr=options["lr"],
        n_iter=options["steps"],
        eps=options["eps_init"],
        val_init="cold",
        **GRACE_DEFAULTS,
        inner_params=[f"model.layers[{options['layer']}].mlp.{PARTS[options['part']]}.weight"],
        device="cpu",
        model_name=model.config._name_or_path,
    )

    @contextlib.contextmanager
    def apply(fact: dict[str, Any]) -> Iterator[None]:
        _, take_off = main.apply_grace_to_model(model, tokenizer, [_plain_request(fact)], settings)
        try:
            yield
        finally:
            take_off()

    return apply


WAYS = {"rome": rome, "memit": memit, "ft": fine_tuning, "ft_l": fine_tuning, "grace": grace}


def statistics(model: Any, tokenizer: Any, job: Job) -> dict[str, Any]:
    """Return the second moments of each site, one pass per site, and how far they are from those in the job's file."""
    stats = import_easyedit("models.rome.layer_stats")
    stats.load_dataset = lambda *_: {"train": [{"text": text} for text in job.texts]}
    settings = types.SimpleNamespace(device="cpu")
    our_moments, meter, apart = load_file(job.moments), Meter(), 0.0
    meter.lap()
    figures = {}
    for site in job.sites:
        name = SITE.format(site.partition(".")[0])
        # a corpus in memory has no file to be kept in: `force_recompute` turns its cache off
        figures[site] = stats.layer_stats(
            model, tokenizer, name, "nowhere", "wikipedia", ["mom2"], sample_size=len(job.texts),
            precision="float32", progress=lambda loader, total: loader, force_recompute=True, hparams=settings,
        ).mom2.moment()  # fmt: skip
    lap = meter.lap()
    for site, moment in figures.items():
        apart = max(apart, float((moment - our_moments[site]).norm() / our_moments[site].norm()))
    return {"statistics": asdict(lap), "apart": apart}


def _value_settings(settings: Any, model: Any) -> dict[str, Any]:
    """Return the settings that ROME and MEMIT share, in EasyEdit's names."""
    return {
        **MODULES,
        "fact_token": "subject_last",
        "v_num_grad_steps": settings["v_steps"],
        "v_lr": settings["v_lr"],
        "v_loss_layer": model.config.num_hidden_layers - 1,
        "v_weight_decay": settings["v_weight_decay"],
        "clamp_norm_factor": settings["clamp_norm_factor"],
        "kl_factor": settings["kl_factor"],
        "rewrite_module_tmp": SITE,
        "mom2_dataset": "given",
        "mom2_n_samples": 0,
        "mom2_dtype": "float32",
        "device": "cpu",
        "model_name": model.config._name_or_path,
        "stats_dir": "nowhere",
    }


def _request(fact: dict[str, Any]) -> dict[str, Any]:
    return {key: fact[key] for key in ("prompt", "subject", "target_new")} | {"case_id": fact["id"]}


def _plain_request(fact: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": fact["prompt"].replace("{}", fact["subject"]), "target_new": fact["target_new"]}


@contextlib.contextmanager
def _apply_and_restore(
    model: Any, apply: Callable[..., Any], tokenizer: Any, requests: list[dict[str, Any]], settings: Any
) -> Iterator[None]:
    """Yield the edited model for the length of the block, then the weights that the edit says it changed."""
    _, before = apply(model, tokenizer, requests, settings, return_orig_weights=True)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in before.items():
                model.get_parameter(name).copy_(weight)


if __name__ == "__main__":
    main(*sys.argv[1:])
