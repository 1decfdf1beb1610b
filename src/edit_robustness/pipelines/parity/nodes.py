"""Nodes of parity. The edits of both codes and the answers under them are kept one file each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from edit_robustness.asking.ask import Decoding
from edit_robustness.datasets.failures import failed_table
from edit_robustness.datasets.folders import Landing, Manifest, StoredItem, stale_mark, successful_items
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.easyedit.process import CloneInputs, Session, TimedEdit
from edit_robustness.editing.edit_difference import EditDifference, compare_edits
from edit_robustness.editing.edits import Edit, PromptPrefix
from edit_robustness.editing.files import FORMAT, refuse_not_finite
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.method import Corpus, Method
from edit_robustness.editing.methods.easyedit import EasyEdit
from edit_robustness.editing.second_moments import key_moments
from edit_robustness.editing.target import ByValue
from edit_robustness.metrics.scores import score_answers
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.layout import Site
from edit_robustness.pipelines.parity.settings import ParityParameters
from edit_robustness.progress import track
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import UNEDITED, Answer, Fact, Probe
from edit_robustness.report.parity import EASYEDIT, OURS, SCORES, SIDES, render_parity, summarise
from edit_robustness.tables import answers_to_table, collect, facts_from_table, probes_from_table, probes_to_table
from edit_robustness.workers import Task, Work, current_workers
from edit_robustness.workers.answers import answers_under

_CORPUS = "corpus"
_ABOUT = ["subject", "relation", "target_true", "target_new"]


def check_parity_with(model: str) -> Callable[..., dict[str, Any]]:
    """Return the node that refuses a clone or pairs that cannot be compared, before the model is loaded."""

    def check_parity(methods: Mapping[str, Any], settings: ParityParameters) -> dict[str, Any]:
        """Refuse wrong paths and settings, import the clone, and read every file of hyperparameters with it."""
        if problems := list(dict.fromkeys(settings.problems(methods, model))):
            raise ValueError("\n".join(problems))
        for name in settings.of_model(model):
            settings.easyedit(model, name).check()
        return {"model": model, "pairs": {name: pair.method for name, pair in settings.of_model(model).items()}}

    return check_parity


def draw_facts(facts: pd.DataFrame, settings: ParityParameters) -> pd.DataFrame:
    """Draw the facts that both codes edit, no two of them about one subject."""
    order = facts["id"].map(lambda name: fingerprint(settings.seed, name))
    rows = facts.assign(order=order).sort_values("order").drop_duplicates("subject").head(settings.size)
    return facts[facts["id"].isin(rows["id"])].reset_index(drop=True)


def make_probes(
    sampled_facts: pd.DataFrame, facts: pd.DataFrame, raw_relations: dict[str, Any], settings: ParityParameters
) -> pd.DataFrame:
    """Build each fact's statement, paraphrases, and prompts about other subjects of its relation."""
    probes = build_probes(
        facts_from_table(sampled_facts),
        read_relations(raw_relations),
        facts_from_table(facts),
        kinds=list(dict.fromkeys(kind for kind, _ in SCORES.values())),
        neighbours=settings.neighbours,
        seed=settings.seed,
        paraphrases=settings.paraphrases,
    )
    return probes_to_table(probes)


def prepare_with(model: str) -> Callable[..., Landing]:
    """Return the node that computes what both codes get of each pair: second moments of keys, and contexts."""

    def prepare_parity(
        lm: LanguageModel,
        corpus: Mapping[str, StoredItem[list[str]]],
        inventory: Mapping[str, str],
        methods: Mapping[str, Any],
        settings: ParityParameters,
    ) -> Landing:
        texts = tuple(corpus[_CORPUS].read() or ())
        ours = {name: settings.ours(methods, model, name) for name in settings.of_model(model)}
        manifest = Manifest(
            {
                name: fingerprint(FORMAT, lm.fingerprint, texts if method.learns_from else (), name, method.settings())
                for name, method in ours.items()
            }
        )
        yield manifest
        work = Work(_prepare, ours, (texts,))
        task = Task(work, manifest.missing_keys(inventory), f"{lm.name}: statistics for both codes", in_batches=False)
        for attempt in current_workers().attempts(lm, task):
            yield attempt.to_items(
                manifest[attempt.key], stale_mark(corpus[_CORPUS]), stage="prepare", method=attempt.key
            )

    return prepare_parity


def _prepare(lm: LanguageModel, methods: Sequence[Method], texts: tuple[str, ...]) -> Iterator[Artefact]:
    for method in methods:
        corpus = Corpus(texts)
        moments = key_moments(lm, corpus, method.key_sites, tokens=method.corpus_tokens) if method.key_sites else {}
        contexts = method.context_texts(lm, corpus) if isinstance(method, ByValue) else ()
        yield Artefact({str(site): moment for site, moment in moments.items()}, contexts)


def edit_with(model: str) -> Callable[..., Landing]:
    """Return the node that edits each fact with both codes of each pair."""

    def edit_parity(
        lm: LanguageModel,
        sampled_facts: pd.DataFrame,
        inputs: Mapping[str, StoredItem[Artefact]],
        corpus: Mapping[str, StoredItem[list[str]]],
        inventory: Mapping[str, str],
        methods: Mapping[str, Any],
        settings: ParityParameters,
    ) -> Landing:
        """Make the edits that are missing, and keep the CPU time of each.

        The time does not include what is done once: starting a process, second moments and contexts.
        """
        facts = {fact.id: fact for fact in facts_from_table(sampled_facts)}
        cells = {
            (name, side): _cell(name, side, model, methods, settings)
            for name in settings.of_model(model)
            for side in SIDES
        }
        names = {
            (name, side): {
                _key(name, side, fact): fingerprint(
                    FORMAT,
                    lm.fingerprint,
                    side,
                    method.settings(),
                    settings.share,
                    inputs[name].fingerprint,
                    facts[fact],
                )
                for fact in facts
            }
            for (name, side), method in cells.items()
        }
        unedited_key = fingerprint(FORMAT, UNEDITED)
        yield Manifest({UNEDITED: unedited_key} | {key: name for cell in names.values() for key, name in cell.items()})
        if inventory.get(UNEDITED) != unedited_key:
            yield {UNEDITED: StoredItem.of(unedited_key, PromptPrefix())}
        texts = tuple(corpus[_CORPUS].read() or ())
        for (name, side), method in cells.items():
            keys = [key for key, value in names[name, side].items() if inventory.get(key) != value]
            label = f"{lm.name}: {name} by {side}"
            work = Work(
                _edit_ours if side == OURS else _edit_theirs,
                {key: facts[_fact_of(key)] for key in keys},
                (method, inputs[name], texts) if side == OURS else (method, inputs[name], settings.share),
            )
            task = Task(work, keys, label, check=lambda timed_edit: refuse_not_finite(timed_edit.edit))
            for attempt in track(current_workers().attempts(lm, task), label, len(keys)):
                yield _land(attempt, names[name, side][attempt.key], name)

    return edit_parity


def _cell(name: str, side: str, model: str, methods: Mapping[str, Any], settings: ParityParameters) -> Method:
    return settings.ours(methods, model, name) if side == OURS else settings.easyedit(model, name)


def _key(name: str, side: str, fact: str) -> str:
    return f"{name}.{side}.{fact}"


def _fact_of(key: str) -> str:
    return key.split(".", 2)[2]


def _land(attempt: Any, name: str, method: str) -> dict[str, StoredItem[Edit]]:
    """Return the item of one attempt, with the time of its edit in the header."""
    timed_edit: TimedEdit | None = attempt.value
    header = {
        **(
            {"seconds": round(timed_edit.seconds, 4), "cpu_seconds": round(timed_edit.cpu_seconds, 4)}
            if timed_edit
            else {}
        ),
        "environment": attempt.environment,
    }
    edit = timed_edit.edit if timed_edit else None
    return dict(
        replace(attempt, value=edit).to_items(
            name, header, fact_id=_fact_of(attempt.key), method=method, stage=f"edit ({attempt.key.split('.')[1]})"
        )
    )


def _edit_ours(
    lm: LanguageModel, facts: Sequence[Fact], method: Method, inputs: StoredItem[Artefact], texts: tuple[str, ...]
) -> Iterator[TimedEdit]:
    artefact = _read(inputs)
    moments = {Site.parse(name): moment for name, moment in artefact.tensors.items()}
    preparation = method.prepare(lm, Corpus(texts, moments=moments)) if method.learns_from else Artefact()
    yield from _timed(method.edit_each(lm, facts, artefact=preparation))


def _timed(edits: Iterable[Edit]) -> Iterator[TimedEdit]:
    start, cpu = time.perf_counter(), time.process_time()
    for edit in edits:
        yield TimedEdit(edit, time.perf_counter() - start, time.process_time() - cpu)
        start, cpu = time.perf_counter(), time.process_time()


def _edit_theirs(
    lm: LanguageModel, facts: Sequence[Fact], method: EasyEdit, inputs: StoredItem[Artefact], share: bool
) -> Iterator[TimedEdit]:
    artefact = _read(inputs)
    moments = {Site.parse(name): moment for name, moment in artefact.tensors.items()}
    clone_inputs = CloneInputs(moments, artefact.texts or None) if share else CloneInputs()
    with Session(method.installation, lm, clone_inputs) as session:
        for fact in facts:
            yield session.edit([fact], weights={})


def _read(inputs: StoredItem[Artefact]) -> Artefact:
    """Return what both codes get.

    Raises:
        RuntimeError: If it could not be computed.
    """
    if inputs.failure:
        raise RuntimeError(inputs.failure)
    return inputs.read()


def ask_parity(
    lm: LanguageModel,
    edits: Mapping[str, StoredItem[Edit]],
    probes: pd.DataFrame,
    inventory: Mapping[str, str],
    decoding: Decoding,
) -> Landing:
    """Ask every probe of the unedited model and under each edit of its fact."""
    all_probes = probes_from_table(probes)
    edit_probes: dict[str, list[Probe]] = {
        key: [probe for probe in all_probes if key == UNEDITED or probe.fact_id == _fact_of(key)]
        for key in successful_items(edits)
    }
    yield from answers_under(
        lm, edits, edit_probes, inventory, decoding, f"{lm.name}: asking", shorten="lower decoding.max_new_tokens"
    )


def compare_with(model: str) -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the node that joins edits and answers of both codes, fact by fact."""

    def compare_parity(
        lm: LanguageModel,
        sampled_facts: pd.DataFrame,
        edits: Mapping[str, StoredItem[Edit]],
        answers: Mapping[str, StoredItem[list[Answer]]],
        decoding: Decoding,
        settings: ParityParameters,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return a row per pair and fact, and a row per item that failed."""
        scores = _score(lm, answers, decoding)
        rows = [
            {
                "model": model,
                "method": name,
                "easyedit_method": pair.method,
                "fact_id": fact["id"],
                **{column: fact[column] for column in _ABOUT},
                **vars(_difference(edits, name, fact["id"])),
                **{key: value for side in SIDES for key, value in _of_side(edits, scores, name, side, fact["id"])},
            }
            for name, pair in settings.of_model(model).items()
            for fact in sampled_facts.to_dict(orient="records")
        ]
        failures = failed_table(model, [("", "edit", edits), ("", "ask", answers)])
        return pd.DataFrame(rows), failures

    return compare_parity


def _difference(edits: Mapping[str, StoredItem[Edit]], name: str, fact: str) -> EditDifference:
    ours, theirs = (edits[_key(name, side, fact)] for side in (OURS, EASYEDIT))
    return EditDifference() if ours.failure or theirs.failure else compare_edits(ours.read(), theirs.read())


def _score(
    lm: LanguageModel, answers: Mapping[str, StoredItem[list[Answer]]], decoding: Decoding
) -> dict[tuple[str, str, str], float]:
    """Return the mean of each score by key of the edit, kind of prompt and metric, by free generation."""
    label = decoding.describe(lm)
    tables = [
        answers_to_table(item.read(), model=lm.name, method=key, decoding=label)
        for key, item in successful_items(answers).items()
    ]
    if not tables:
        return {}
    scores = score_answers(pd.concat(tables, ignore_index=True), unedited_required=False)
    free = scores[scores["protocol"] == "free"]
    means = free.groupby(["method", "kind", "metric"])["value"].mean().reset_index()
    keys = zip(means["method"], means["kind"], means["metric"], strict=True)
    return dict(zip(keys, means["value"].astype(float), strict=True))


def _of_side(
    edits: Mapping[str, StoredItem[Edit]],
    scores: Mapping[tuple[str, str, str], float],
    name: str,
    side: str,
    fact: str,
) -> Iterator[tuple[str, Any]]:
    """Yield the columns of one code: its scores, its CPU seconds, and why an edit failed."""
    key = _key(name, side, fact)
    for column, (kind, metric) in SCORES.items():
        yield f"{column}_{side}", scores.get((key, kind, metric), float("nan"))
    yield f"cpu_seconds_{side}", float(edits[key].header.get("cpu_seconds", float("nan")))
    yield f"failure_{side}", edits[key].failure


def gather_parity(*tables: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the rows of all models, a summary per model and method, and what failed.

    Args:
        *tables: For each model its rows, and then for each model what failed.
    """
    number = len(tables) // 2
    facts = collect(*tables[:number])
    return facts, summarise(facts), collect(*tables[number:])


def write_page(facts: pd.DataFrame, summary: pd.DataFrame, settings: ParityParameters) -> str:
    """Return the page as one HTML document."""
    pairs = {model: {name: vars(pair) for name, pair in settings.of_model(model).items()} for model in settings.pairs}
    return render_parity(facts, summary, pairs, share=settings.share)
