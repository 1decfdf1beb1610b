"""Labels of methods, kinds of prompt and metrics in figures and reports, and their order.

Tables keep the short names. Labels of methods, kinds and metrics are defined where these are declared. A name without a
label is shown as it is, after the known ones, so a plug-in's method or metric needs no change here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edit_robustness.editing.registry import ENTRIES
from edit_robustness.metrics import measures
from edit_robustness.prompts import kinds

METHODS: Mapping[str, str] = {name: entry.label for name, entry in ENTRIES.items()}

NON_EDITS = tuple(name for name, entry in ENTRIES.items() if not entry.is_edit)
"""Rows beside the editing methods: the unedited model and the in-context baseline. Rankings leave them out."""

BASELINE = "context"
"""The method that edits no weights and that an edit must beat."""

KINDS: Mapping[str, str] = {name: kind.label for name, kind in kinds.KINDS.items()}

METRICS: Mapping[str, str] = {metric.name: metric.label for metric in measures.METRICS}

PROTOCOLS: Mapping[str, str] = {
    "free": "Free generation",
    "teacher_forced": "Teacher forcing",
    "judge": "Judge",
    "next_token": "Next token",
}

FAMILIES: Mapping[str, str] = {
    "edit": "Efficacy and generalization",
    "portability": "Portability",
    "specificity": "Specificity",
}

DATASETS: Mapping[str, str] = {
    "counterfact": "CounterFact",
    "counterfact_flat": "CounterFact, flat",
    "zsre": "zsRE",
    "zsre_knowedit": "KnowEdit",
    "popqa": "PopQA",
    "known_facts": "Known facts",
    "pararel": "ParaRel",
    "table": "Table",
}
"""Names of data sets, by the names of their formats, which their entries in the catalog usually have."""

VERDICTS: Mapping[str, str] = {
    "holds": "Holds",
    "reverts": "Reverts",
    "denies_both": "Denies both",
    "contradicts": "Contradicts itself",
    "invents": "Invents",
}

OUTCOMES: Mapping[str, str] = {
    "recalled": "Recalled, free generation",
    "recalled_teacher_forced": "Recalled, teacher forcing",
    "log_probability_true": "Log-probability of the old object",
    "log_probability_new": "Log-probability of the new object",
    "preference_true": "Preference for the old object",
    "success": "Success (new object)",
    "efficacy": "Efficacy (new object)",
    "generalization": "Generalization",
    "robustness": "Generalization of edits with efficacy",
    "reversion": "Reversion (old object)",
    "neighbourhood": "Neighbourhood unchanged",
    "relation_specificity": "Other relations unchanged",
    "unrelated": "Unrelated answers unchanged",
    "edit_before_neighbour": "Neighbourhood unchanged after the new fact in the prompt",
    "specificity": "Specificity",
    "portability": "Portability",
    "edits_survived": "Later edits survived",
}

LOWER_IS_BETTER = frozenset({"reversion"})
"""Outcomes of which less is better."""

TERMS: Mapping[str, str] = {
    "intercept": "Intercept (odds of an average fact)",
    "log_views": "Page views of the subject, × 10",
    "recalled": "Old object recalled before the edit",
    "log_perplexity_true": "Perplexity of the old object, × 10",
    "log_perplexity_new": "Perplexity of the new object, × 10",
}

PREDICTORS: Mapping[str, str] = {
    "constant": "Constant (the mean)",
    "method_kind": "Method and kind of prompt",
    "perplexity": "Perplexity of the new object alone",
    "method_kind_perplexity": "Method, kind of prompt and perplexity of the new object",
    "full": "Method, kind of prompt and all features of the fact",
    "boosting": "The same, by gradient boosting",
}

PREDICTION_METRICS: Mapping[str, str] = {
    "auc": "AUC",
    "auc_within": "AUC within method and kind",
    "brier": "Brier score",
    "brier_skill": "Brier skill",
    "calibration_slope": "Calibration slope",
}
"""Metrics of a predictor that the report shows; the table has more."""

EDIT, LEAVE_ALONE, NOT_MEASURED = "edit", "leave alone", "not measured"
"""Advice on a fact that is not edited yet."""

BENCHMARKS: Mapping[str, str] = {
    "mmlu": "MMLU",
    "mmlu_cloze": "MMLU, cloze",
    "mmlu_continuation": "MMLU, cloze",
    "bbh": "BBH",
    "gsm8k": "GSM8K",
    "commonsense_qa": "CommonsenseQA",
    "triviaqa": "TriviaQA",
    "truthfulqa_mc1": "TruthfulQA MC1",
    "truthfulqa_mc2": "TruthfulQA MC2",
    "truthfulqa_gen": "TruthfulQA, generation",
    "toxigen": "ToxiGen",
    "piqa": "PIQA",
    "arc_easy": "ARC, easy",
    "hellaswag": "HellaSwag",
    "lambada": "LAMBADA",
}

ABILITIES: Mapping[str, str] = {
    "all": "All general abilities",
    "knowledge": "Knowledge",
    "reasoning": "Reasoning",
    "commonsense": "Common sense",
    "arithmetic": "Arithmetic",
    "reading": "Reading",
    "language": "Language",
    "safety": "Safety",
}

ESTIMATORS: Mapping[str, str] = {
    "gee": "GEE",
    "glm_cluster": "cluster-robust GLM",
    "ordinal": "ordinal logit",
    "conditional_logit": "conditional logit",
}

REGRESSIONS: Mapping[str, str] = {
    "prompts": "How do kinds of prompt and methods differ?",
    "popularity": "Are popular facts edited with more success, among facts of one relation?",
    "knowledge": "Does that remain among facts that the model knows equally well?",
    "reversion": "For which facts does the old object come back?",
    "answer": "Which facts get the new object rather than neither or the old one?",
    "specificity": "When do answers about other facts stay unchanged?",
    "within_fact": "How do kinds and methods differ between prompts of one fact?",
}
"""Question that each regression of the default configuration answers."""


def label_of(name: str, names: Mapping[str, str]) -> str:
    """Return the label of a name; an unknown name gets spaces for underscores."""
    return names.get(name, str(name).replace("_", " "))


def split_outcome(name: str) -> tuple[str, str]:
    """Return an outcome's group and kind of prompt; ``specificity:neighbourhood`` has both, others have no kind."""
    group, _, kind = name.partition(":")
    return group, kind


def outcome_label(name: str) -> str:
    """Return the label of an outcome."""
    group, kind = split_outcome(name)
    label = label_of(group, OUTCOMES)
    return f"{label}: {label_of(kind, KINDS).lower()}" if kind else label


def outcome_order(names: Iterable[str]) -> list[str]:
    """Return the distinct outcomes in the order of `OUTCOMES`; those of kinds of prompt follow their group."""
    places = {group: place for place, group in enumerate(OUTCOMES)}
    return sorted(set(names), key=lambda name: (places.get(split_outcome(name)[0], len(places)), name))


def in_order(values: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """Return the distinct values: known names in the order of `names`, then the others sorted."""
    present = set(values)
    return [name for name in names if name in present] + sorted(present - set(names))


def term_label(term: str) -> str:
    """Return the label of a regression term.

    Levels are written ``method=rome``, interactions ``log_views:method=rome``, and effects within a level
    ``log_views|method=rome``. Terms with functions stay as they are.
    """
    if "(" in term:
        return term
    term, _, within = term.partition("|")
    label = " × ".join(_part_label(part) for part in term.split(":"))
    return f"{label} ({_part_label(within)})" if within else label


def _part_label(part: str) -> str:
    factor, _, level = part.partition("=")
    if not level:
        return label_of(part, TERMS)
    names = {"method": METHODS, "kind": KINDS}.get(factor, {})
    return f"{factor.capitalize()}: {label_of(level, names)}"
