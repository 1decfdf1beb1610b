"""Record of a run, the same for every pipeline."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from edit_robustness.datasets.folders import StoredItem, successful_items
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.method import Method
from edit_robustness.machine import RunMeter, machine
from edit_robustness.models.language_model import LanguageModel


def run_record(
    lm: LanguageModel,
    settings: Mapping[str, Mapping[str, Any]],
    edits: Mapping[str, Mapping[str, StoredItem[Edit]]],
    packages: Sequence[str],
    result_folders: Iterable[Mapping[str, StoredItem[Any]]] = (),
) -> dict[str, Any]:
    """Return the model, its methods with hyperparameters and figures, costs and contexts of an edit, and versions.

    The time of the run is that since it began, or since the record of the model before.

    What the items of the run were made with stands there, too: environments, and how many another version made.

    Args:
        lm: The model.
        settings: For each method its hyperparameters.
        edits: For each method its folder of edits.
        packages: Whose versions count.
        result_folders: Folders of what was measured under the edits.
    """
    cost = RunMeter.lap()
    return {
        **collect_environments(lm.name, [*edits.values(), *result_folders]),
        "models": {lm.name: {**lm.description, "fingerprint": lm.fingerprint}},
        "methods": {lm.name: dict(settings)},
        "figures": {lm.name: {name: figures for name, folder in edits.items() if (figures := _figures(folder))}},
        "seconds_per_edit": {lm.name: {name: mean_of(folder, "seconds") for name, folder in edits.items()}},
        "bytes_per_edit": {lm.name: {name: mean_of(folder, "bytes") for name, folder in edits.items()}},
        "contexts": {lm.name: {name: context_use(folder) for name, folder in edits.items()}},
        "unmet": {lm.name: {name: count_unmet(folder) for name, folder in edits.items()}},
        "versions": {package: version(package) for package in packages},
        "seconds": round(cost.seconds, 1),
        "cpu_seconds": round(cost.cpu_seconds, 1),
        "machine": machine(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def collect_environments(model: str, folders: Iterable[Mapping[str, StoredItem[Any]]]) -> dict[str, Any]:
    """Return what the items of a model were made with: environments, and how many another version made."""
    items = [item for folder in folders for item in folder.values() if not item.failure]
    return {
        "environments": {model: environments(items)},
        "stale": {model: {"items": len(items), "stale": sum("stale" in item.header for item in items)}},
    }


def environments(items: Iterable[StoredItem[Any]]) -> list[dict[str, Any]]:
    """Return each environment that items were made in (libraries, device, precision), with the number of items."""
    counts = Counter(json.dumps(item.header.get("environment", {}), sort_keys=True) for item in items)
    return [{**json.loads(text), "items": number} for text, number in counts.most_common()]


def prepared_name(method: Method, preparation: StoredItem[Artefact]) -> str:
    """Return what an edit's fingerprint contains of what its method prepared.

    That is the fingerprint of what the artefact follows from, and for edits that can be applied only with the artefact
    its bits, too: the same training may give others on another machine, and the edits made before refuse them.
    """
    if method.edits_need_artefact and not preparation.failure:
        return fingerprint(preparation.fingerprint, preparation.read().fingerprint)
    return preparation.fingerprint


def figures_of(preparation: StoredItem[Artefact]) -> dict[str, Any]:
    """Return what an edit's header repeats of what its method measured when it was prepared."""
    figures = preparation.header.get("figures")
    return {"figures": figures} if figures else {}


def _figures(edits: Mapping[str, StoredItem[Edit]]) -> Mapping[str, Any]:
    """Return what the headers of a folder of edits repeat; all are the same."""
    return next((edit.header["figures"] for edit in edits.values() if "figures" in edit.header), {})


def context_use(edits: Mapping[str, StoredItem[Edit]]) -> dict[str, int] | None:
    """Count the contexts that the edits of a folder were made with; None for a method without contexts.

    Returns:
        `facts` that were edited, each counted once however many orders it is edited in, `contexts` of all edits
        together, `unused` those that could not be used, and `facts_short` the facts where there are such.
    """
    origins = [edit.header.get("origin") or {} for edit in edits.values()]
    origins = [origin for origin in origins if origin.get("contexts")]
    if not origins:
        return None
    unused_contexts = [short for origin in origins for short in origin["unused_contexts"].items()]
    return {
        "facts": len({fact for origin in origins for fact in origin["facts"]}),
        "contexts": sum(len(origin["facts"]) * origin["contexts"] for origin in origins),
        "unused": sum(number for _, number in unused_contexts),
        "facts_short": len({fact for fact, _ in unused_contexts}),
    }


def count_unmet(edits: Mapping[str, StoredItem[Edit]]) -> dict[str, float] | None:
    """Count the optimisations that used up their steps without reaching the loss at which they stop.

    Returns:
        `facts`, the number of facts whose edit was optimised, `unmet`, that of optimisations above their stop, and
        `stop_loss`; None for a method without a stop, and if the edits are of a version that did not record this.
    """
    origins = [edit.header.get("origin") or {} for edit in edits.values()]
    origins = [origin for origin in origins if "unmet_losses" in origin and _stop_loss(origin)]
    if not origins:
        return None
    return {
        "facts": sum(len(origin["facts"]) for origin in origins),
        "unmet": sum(len(origin["unmet_losses"]) for origin in origins),
        "stop_loss": max(map(_stop_loss, origins)),
    }


def _stop_loss(origin: Mapping[str, Any]) -> float:
    settings = origin.get("settings") or {}
    return float(settings.get("v_stop_loss") or settings.get("stop_loss") or 0)


def mean_of(edits: Mapping[str, StoredItem[Edit]], name: str) -> float | None:
    """Return the mean of one value in the headers of the edits that could be made; None without any."""
    values = [edit.header[name] for edit in successful_items(edits).values()]
    return sum(values) / len(values) if values else None


def probes_per_second(answers: Mapping[str, StoredItem[Any]]) -> float | None:
    """Compute probes per second over both protocols, for the answers that have a time; None without any."""
    headers = [item.header for item in answers.values() if "seconds" in item.header]
    seconds = sum(header["seconds"] for header in headers)
    return sum(header["probes"] for header in headers) / seconds if seconds else None
