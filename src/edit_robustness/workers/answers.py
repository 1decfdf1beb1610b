"""Asking the model under edits: the answers of each edit are one item of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edit_robustness.asking.ask import Decoding, ask, cut_batches
from edit_robustness.asking.lengths import check_fit, longest
from edit_robustness.asking.queries import probe_query
from edit_robustness.datasets.folders import Landing, Manifest, StoredItem, stale_mark
from edit_robustness.editing.artefacts import NO_ARTEFACT, Artefact
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.records import Answer, Probe
from edit_robustness.workers.pool import current_workers
from edit_robustness.workers.work import Task, Work


def answers_under(
    lm: LanguageModel,
    edits: Mapping[str, StoredItem[Edit]],
    probes: Mapping[str, Sequence[Probe]],
    inventory: Mapping[str, str],
    decoding: Decoding,
    task: str,
    artefact: Artefact = NO_ARTEFACT,
    shorten: str = "leave these kinds out of probes.kinds, or lower decoding.max_new_tokens",
) -> Landing:
    """Ask the probes of each edit that a folder has no answers to yet.

    Args:
        lm: The unedited model.
        edits: For each key its edit.
        probes: For each key the probes of its edit; the keys are those of the manifest.
        inventory: Fingerprints of the answers in the folder.
        decoding: How answers are generated.
        task: What is done, for the log.
        artefact: The artefact of the method, if its edits cannot be applied without it.
        shorten: What makes prompts that are too long shorter, for the error.
    """
    protocol = (FORMAT, decoding.describe(lm), lm.fingerprint)
    manifest = Manifest({key: fingerprint(*protocol, edits[key].fingerprint, list(probes[key])) for key in probes})
    yield manifest
    missing_keys = manifest.missing_keys(inventory)
    if not missing_keys:
        return
    keys = list(manifest)
    sizes = [len(probes[key]) for key in keys]
    batches = [[keys[place] for place in places] for places in cut_batches(sizes, decoding.batch_rows)]

    work = Work(_ask, {key: (edits[key], probes[key]) for key in keys}, (decoding, artefact, shorten))
    attempts = current_workers().attempts(lm, Task(work, missing_keys, task, batches=batches))
    for attempt in track(attempts, task, len(missing_keys)):
        # what is asked in one batch comes at once: only the sum over all edits means something
        header = {"seconds": attempt.seconds, "probes": len(probes[attempt.key]), "environment": attempt.environment}
        header |= stale_mark(edits[attempt.key])
        yield attempt.to_items(manifest[attempt.key], header, fact_id=attempt.key)


def _ask(
    lm: LanguageModel,
    items: Sequence[tuple[StoredItem[Edit], Sequence[Probe]]],
    decoding: Decoding,
    artefact: Artefact,
    shorten: str,
) -> Iterator[list[Answer]]:
    pairs = [(item.read().with_artefact(artefact), probes) for item, probes in items]
    prompts = [(edit.text_before(probe_query(probe)), probe) for edit, edit_probes in pairs for probe in edit_probes]
    check_fit(lm, {"edit": longest(lm, prompts, decoding)}, shorten=shorten)
    return ask(lm, pairs, decoding)
