"""How many edits a data folder can hold: time and bytes of storing, listing, loading and replaying them.

    python -m benchmarks.many_edits --number 10000

The edits are random changes of rank one of a tiny random model, as many bytes each as those of ROME on that model. They
are written, listed and read by the project's own data sets, one sequence in one folder.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from edit_robustness.datasets.folders import Manifest, StoredItem
from edit_robustness.datasets.item_folders import EditsDataset
from edit_robustness.datasets.sequences import Checkpoint, edit_key, place, replays
from edit_robustness.editing.edits import Edit, LowRank
from edit_robustness.machine import Meter, machine
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.models.tiny import tiny_model
from edit_robustness.progress import track


@dataclass(frozen=True)
class Row:
    """One step of the benchmark.

    Attributes:
        step: What was done.
        seconds: By the clock.
        cpu_seconds: By the processor.
    """

    step: str
    seconds: float
    cpu_seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.many_edits", description=__doc__)
    options.add_argument("--number", type=int, default=10_000, help="number of edits (10000)")
    options.add_argument("--folder", type=Path, help="an empty folder to write to; by default a temporary one")
    choices = options.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = choices.folder or Path(temporary) / "edits"
        rows = measure(folder, choices.number)
        files = [path for path in folder.iterdir() if path.suffix == ".safetensors"]
        n_bytes = sum(path.stat().st_size for path in files)
        blocks = sum(path.stat().st_blocks * 512 for path in files)
    print(f"{choices.number} edits, {machine()}\n")  # noqa: T201
    print("| step | seconds | CPU seconds | ms per edit |\n| --- | --- | --- | --- |")  # noqa: T201
    for row in rows:
        ms = 1000 * row.seconds / choices.number
        print(f"| {row.step} | {row.seconds:.1f} | {row.cpu_seconds:.1f} | {ms:.2f} |")  # noqa: T201
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(  # noqa: T201
        f"\n{n_bytes / choices.number:.0f} bytes per edit, {blocks / choices.number:.0f} on the disk; "
        f"peak memory {peak:.0f} MB"
    )


def measure(folder: Path, number: int) -> list[Row]:
    """Store, list, load and replay edits.

    Args:
        folder: An empty folder.
        number: Number of edits.
    """
    lm, rows, meter = tiny_model("llama"), [], Meter()

    def step(name: str, work: Callable[[], object]) -> None:
        meter.lap()
        work()
        cost = meter.lap()
        rows.append(Row(name, cost.seconds, cost.cpu_seconds))

    def store() -> None:
        dataset = EditsDataset(str(folder))
        for piece in _pieces(lm, number):
            dataset.save(piece)

    step("store", store)
    step("list, as a run that goes on does", lambda: EditsDataset(str(folder)).fingerprints())
    step("load the list", lambda: EditsDataset(str(folder)).load())
    items = EditsDataset(str(folder)).load()
    step("read every edit", lambda: [item.read() for item in items.values()])
    points = [Checkpoint(0, count) for count in (number // 100, number // 10, number)]
    step("replay the sequence to 3 checkpoints", lambda: list(replays(items, points)))
    return rows


def _pieces(lm: LanguageModel, number: int) -> Iterator[Manifest | dict[str, StoredItem[Edit]]]:
    """Yield what a node yields: the manifest, and then edit by edit."""
    site, generator = Site(1, "mlp_out"), torch.Generator().manual_seed(0)
    rows, columns = lm.weight(site).shape
    keys = [edit_key(0, count) for count in range(1, number + 1)]
    yield Manifest({key: key for key in keys})
    for count, key in track(enumerate(keys, 1), "storing", number):
        factors = torch.randn(rows, 1, generator=generator), torch.randn(1, columns, generator=generator)
        yield {key: StoredItem.of(key, LowRank({site: factors}), **place(0, count))}


if __name__ == "__main__":
    main()
