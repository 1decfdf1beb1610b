"""Figures of "Should We Really Edit Language Models?" (arXiv 2410.18785, NeurIPS 2024), for comparison.

The paper edits facts of CounterFact one after another in the same model, in one order, and gives no intervals.
Abilities are from its tables of base models (Figure 2 draws Llama2-7B's), of instruction-tuned models (Figure 3), of
GPT2-XL and of Pythia (Figure 4). Safety is from its table of TruthfulQA (one right answer) and ToxiGen (Figure 6). The
figures are in ``papers/paper2.csv``; long curves are thinned. Models, facts, documents and wordings differ from this
run, so only the shapes of curves can be compared. Problems of the figures themselves are in `FINDINGS`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from edit_robustness.labels import METHODS, label_of
from edit_robustness.records import UNEDITED
from edit_robustness.report.papers import read_figures

NAMES: Mapping[str, str] = {
    "llama2_7b": "Llama2-7B",
    "llama2_7b_chat": "Llama2-7B-chat",
    "mistral_7b": "Mistral-7B",
    "mistral_7b_instruct": "Mistral-7B-Instruct",
    "gpt2_xl": "GPT2-XL",
    **{f"pythia_{size}": f"Pythia-{size.replace('_', '.').upper()}" for size in ("160m", "410m", "1b", "2_8b", "12b")},
    "pythia_6_9b": "Pythia-6.9B",
}
"""Models of the paper, by their names in our catalog."""

PAIRS = ("llama2_7b", "llama2_7b_chat", "mistral_7b", "mistral_7b_instruct")
BILLIONS: Mapping[str, float] = {
    "pythia_160m": 0.16, "pythia_410m": 0.41, "pythia_1b": 1.0, "pythia_2_8b": 2.8, "pythia_6_9b": 6.9,
    "pythia_12b": 12.0,
}  # fmt: skip
ANY = "llama2_7b_chat"
"""Reference model, drawn for models that the paper has no figures of."""

BENCHMARKS = ("mmlu", "gsm8k", "bbh", "commonsense_qa")
SAFETY = ("truthfulqa_mc1", "toxigen")

FINDINGS: Mapping[str, tuple[str, str, str]] = {
    "4.1": (
        "Are general abilities retained after a few edits?",
        "A few edits leave general abilities nearly unchanged. After several dozen edits most methods damage them, and "
        "methods differ: on Llama2-7B, ROME leaves no ability after 100 edits and KN none after 10, while PMET and "
        "MEND are stable.",
        "One order of edits and no intervals. MEND was applied to the unedited weights for every edit, so its stable "
        "curve measures one edit.",
    ),
    "4.2": (
        "Are instruction-tuned models more robust than base models?",
        "Instruction-tuned models lose less.",
        "The rows of ROME and PMET on Llama2-7B-chat equal those of the base model to within 0.004, including GSM8K, "
        "on which the unedited models differ by 0.06. They cannot be distinguished from a measurement of the base "
        "model. For PMET on Mistral-7B-Instruct the columns of BBH and CommonsenseQA seem to be swapped. Its curve is "
        "left out here.",
    ),
    "4.3": (
        "Are larger models more robust than smaller ones?",
        "Larger models are more robust: after 10 edits ROME leaves no ability of Pythia-160M, and some of Pythia-1B "
        "and 2.8B.",
        "MMLU and CommonsenseQA of all Pythia models are at chance before any edit. MEMIT's rows of Pythia-2.8B and "
        "6.9B are identical. Under ROME the 6.9B and 12B models lose more than those of 1B and 2.8B.",
    ),
    "4.4": (
        "Are some kinds of ability damaged more than others?",
        "All kinds are damaged equally: knowledge, reasoning, arithmetic, common sense and reading decrease together.",
        "Some of the scores are at chance throughout, and no interval is given.",
    ),
    "4.5": (
        "Is safety damaged?",
        "Safety decreases, also in aligned models.",
        "The ToxiGen scores .4333 and .5667 occur repeatedly and sum to 1: they are the scores of the two constant "
        "answers. A model that always gives the same answer can improve on ToxiGen, so compare balanced accuracy and "
        "the constant answer.",
    ),
}
"""The question, the result and caveats, by the paper's section."""


def figures() -> pd.DataFrame:
    """Return all figures: model (name in our catalog), name, method, edits, benchmark, value (a share)."""
    table = read_figures("paper2.csv").astype({"edits": int, "value": float})
    table.insert(1, "name", table["model"].map(NAMES))
    return table


def curves(models: tuple[str, ...], benchmarks: tuple[str, ...]) -> pd.DataFrame:
    """Return the curves of these models; each method's curve begins at the unedited model."""
    table = figures()
    rows = table[table["model"].isin(models) & table["benchmark"].isin(benchmarks)]
    edit_rows = rows[rows["method"] != UNEDITED]
    before = rows[rows["method"] == UNEDITED].drop(columns="method")
    starts = edit_rows[["model", "method", "benchmark"]].drop_duplicates().merge(before, on=["model", "benchmark"])
    all_curves = pd.concat([starts, edit_rows], ignore_index=True)
    order = {model: place for place, model in enumerate(models)}
    return all_curves.sort_values(["model"], key=lambda column: column.map(order), kind="stable", ignore_index=True)


def beside(run_models: list[str]) -> pd.DataFrame:
    """Return the curves to draw in the panels of this run.

    They are the curves of models that were run, and those of `ANY` (model ``""``) for the other panels.

    Returns:
        model, benchmark, method, edits, value, label.
    """
    run_curves = curves(tuple(model for model in NAMES if model in run_models), (*BENCHMARKS, *SAFETY))
    table = pd.concat([run_curves, curves((ANY,), (*BENCHMARKS, *SAFETY)).assign(model="")], ignore_index=True)
    return table.assign(label=table["method"].map(lambda method: label_of(method, METHODS)) + ", " + table["name"])


def scale() -> pd.DataFrame:
    """Return the curves of Figure 4: model, billions, method, edits, value.

    The value is the mean over the four benchmarks, relative to the unedited model. Chance is not subtracted, because
    the paper does not report it, and most of what is left is chance.
    """
    table = figures()
    pythia = table[table["model"].isin(set(BILLIONS))]
    means = pythia.groupby(["model", "method", "edits"], sort=False)["value"].mean().reset_index()
    before = means[means["method"] == UNEDITED].set_index("model")["value"]
    edit_means = means[(means["method"] != UNEDITED) & means["edits"].isin([10, 100])]
    return edit_means.assign(
        billions=edit_means["model"].map(BILLIONS),
        value=edit_means["value"] / edit_means["model"].map(before),
        model=edit_means["model"].map(NAMES),
    )
