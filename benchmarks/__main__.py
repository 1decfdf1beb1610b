"""The command: see the package's own text, and `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.jobs import run
from benchmarks.material import Material, gather, select_methods
from benchmarks.metering import limit_threads
from benchmarks.tables import COLUMNS, RATIOS, deliver, markdown, ratios, row

OURS, THEIRS = "benchmarks.our_side", "benchmarks.easyedit_side"
PEERS = ("rome", "memit", "ft", "ft_l", "grace")
"""The methods that are compared with EasyEdit's."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the tables."""
    options = parser().parse_args(arguments)
    if bool(options.easyedit) != bool(options.easyedit_python):
        raise SystemExit("--easyedit and --easyedit-python are given together, or neither")
    with ExitStack() as stack:
        work = Path(options.work or stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        stack.enter_context(limit_threads(options.threads))
        stack.enter_context(redirect_stdout(sys.stderr))
        result = measure(options, work.resolve())
    deliver(result, describe, options)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=sys.modules["benchmarks"].__doc__,
                                      formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    options.add_argument("--model", default="smollm2", help="of the catalog, or tiny:llama and its like")
    options.add_argument("--env", default="local", help="Kedro environment of the catalog and the hyperparameters")
    options.add_argument("--methods", nargs="*", default=[], help="default: all that edit, but for those that train")
    options.add_argument("--facts", type=int, default=5, help="how many edits of each method")
    options.add_argument("--seed", type=int, default=0, help="of the facts drawn and the texts written")
    options.add_argument("--threads", type=int, default=1, help="of every process, on both sides")
    options.add_argument("--texts", type=int, default=96, help="texts of 64 tokens that the model writes")
    options.add_argument("--set", nargs="*", default=[], metavar="METHOD.NAME=VALUE", help="change hyperparameters")
    options.add_argument("--easyedit", type=Path, help="a clone of EasyEdit")
    options.add_argument("--easyedit-python", help="the Python of an environment in which it runs")
    options.add_argument("--json", action="store_true", help="everything as JSON, not Markdown")
    options.add_argument("--output", type=Path, help="a file, instead of the terminal")
    options.add_argument("--work", type=Path, help="a folder in which jobs and answers stay")
    return options


def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Everything that was measured, as plain values."""
    with_easyedit = options.easyedit is not None
    material = gather(
        options.model,
        work,
        environment=options.env,
        facts=options.facts,
        seed=options.seed,
        texts=options.texts,
        changes=options.set,
        with_easyedit=with_easyedit,
    )
    methods = select_methods(options.methods, material.settings)
    result: dict[str, Any] = {"model": material.name, "threads": options.threads, "seed": options.seed, "rows": []}
    moments = str(work / "moments.safetensors") if with_easyedit else ""
    if with_easyedit:
        result["statistics"] = take_statistics(material, methods, moments, options, work)
    for method in methods:
        our_row = side(material, method, moments, options, work)
        result["rows"].append(our_row)
        if with_easyedit and method in PEERS:
            their_row = side(material, method, moments, options, work, clone=options.easyedit)
            result["rows"].append(their_row)
            result.setdefault("ratios", []).append(ratios(our_row, their_row))
    return result


def side(
    material: Material, method: str, moments: str, options: argparse.Namespace, work: Path, clone: Path | None = None
) -> dict[str, Any]:
    """Return the row of one method on one side."""
    module, python = (THEIRS, options.easyedit_python) if clone else (OURS, sys.executable)
    job = material.job(method, moments=moments, seed=options.seed, clone=str(clone.resolve()) if clone else "")
    return row(
        method, "EasyEdit" if clone else "ours", run(job, work, module=module, python=python, threads=options.threads)
    )


def take_statistics(
    material: Material, methods: Sequence[str], moments: str, options: argparse.Namespace, work: Path
) -> dict[str, Any]:
    """Return the second moments that the methods of both sides use, and what those of MEMIT's layers cost each side."""
    middle = len(material.lm.blocks) // 2
    layers = material.settings.get("memit", {}).get("layers", range(max(middle - 2, 0), middle + 3))
    sites = [f"{layer}.mlp_out" for layer in layers if layer < len(material.lm.blocks)]
    our_row = run(material.job("statistics", moments=moments, sites=sites), work, module=OURS,
               threads=options.threads)["statistics"]  # fmt: skip
    clone = str(options.easyedit.resolve())
    their_row = run(material.job("statistics", moments=moments, sites=sites, clone=clone), work, module=THEIRS,
                 python=options.easyedit_python, threads=options.threads)  # fmt: skip
    needed_sites = sorted({*sites, *(str(site) for name in methods for site in material.method(name).key_sites)})
    if needed_sites != sorted(sites):
        run(material.job("statistics", moments=moments, sites=needed_sites), work, module=OURS,
            threads=options.threads)  # fmt: skip
    return {
        "sites": sites,
        "ours": our_row,
        "easyedit": their_row["statistics"],
        "cpu_ratio": their_row["statistics"]["cpu"] / our_row["cpu"],
        "wall_ratio": their_row["statistics"]["wall"] / our_row["wall"],
        "apart": their_row["apart"],
    }


def describe(result: dict[str, Any]) -> str:
    """Return the tables in Markdown, with what they depend on."""
    versions = {row["side"]: row["versions"] for row in result["rows"]}
    parts = [
        f"{result['model']}, {result['threads']} thread(s), facts of seed {result['seed']}; mean (least to most) of an "
        "edit; a step is a backward pass; suffix: tokens from the subject's last one on.",
        *(
            f"{name}: " + ", ".join(f"{key} {value}" for key, value in packages.items())
            for name, packages in versions.items()
        ),
        markdown(result["rows"], COLUMNS),
    ]
    if "ratios" in result:
        parts += ["EasyEdit / ours, of this run:", markdown(result["ratios"], RATIOS)]
    if "statistics" in result:
        took = result["statistics"]
        parts.append(
            f"Second moments of {', '.join(took['sites'])}: ours {took['ours']['cpu']:.1f} CPU s in one pass, EasyEdit "
            f"{took['easyedit']['cpu']:.1f} in a pass a layer ({took['cpu_ratio']:.1f} times; wall "
            f"{took['wall_ratio']:.1f} times); they differ by {took['apart']:.0e} of their norm."
        )
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
