"""How a node asks the model under edits: the answers of each edit are one item of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.asking.lengths import check_fit, longest
from edit_robustness.datasets.failures import attempts
from edit_robustness.datasets.folders import Landing, Manifest, Stored, from_stale
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.prepared import NOTHING, Prepared
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.records import Answer, Probe


def answers_under(
    lm: LanguageModel,
    edits: Mapping[str, Stored[Edit]],
    probes: Mapping[str, Sequence[Probe]],
    stored: Mapping[str, str],
    decoding: Decoding,
    what: str,
    prepared: Prepared = NOTHING,
    shorten: str = "leave these kinds out of probes.kinds, or lower decoding.max_new_tokens",
) -> Landing:
    """Ask about each edit what a folder has no answers to yet.

    Args:
        lm: The unedited model.
        edits: For each key its edit.
        probes: For each key what is asked under its edit; the keys are those of the manifest.
        stored: Fingerprints of the answers in the folder.
        decoding: How answers are generated.
        what: What is done, for the log.
        prepared: What the method prepared, where its edits cannot be applied without it.
        shorten: What makes prompts that are too long shorter, for the error.
    """
    asking = (FORMAT, decoding.described(lm), lm.fingerprint)
    wanted = Manifest({key: fingerprint(*asking, edits[key].fingerprint, list(probes[key])) for key in probes})
    yield wanted
    missing = wanted.missing(stored)
    if not missing:
        return

    def make(keys: Sequence[str]) -> Iterator[list[Answer]]:
        asked = [(edits[key].read().with_prepared(prepared), probes[key]) for key in keys]
        needs = longest(lm, [(edit.prefix, probe) for edit, own in asked for probe in own], decoding)
        check_fit(lm, {"edit": needs}, shorten=shorten)
        return ask(lm, asked, decoding)

    for one in track(attempts(missing, make, what), what, len(missing)):
        # what is asked in one batch comes at once: only the sum over all edits means something
        about = {"seconds": one.seconds, "probes": len(probes[one.key]), "environment": lm.environment}
        about |= from_stale(edits[one.key])
        yield one.stored(wanted[one.key], about, fact_id=one.key)
