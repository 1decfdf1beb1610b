"""The names of a fact's subject and objects, together with the functions that find them in texts (`text.matching`)."""

from __future__ import annotations

from edit_robustness.records import Fact, Probe
from edit_robustness.text.matching import first_named, names_any, plain, shared_name

__all__ = [
    "answer_names",
    "first_named",
    "names_any",
    "new_names",
    "plain",
    "shared_name",
    "subject_names",
    "true_names",
]


def true_names(fact: Fact) -> tuple[str, ...]:
    """Return all names of the old object; none if it is not known."""
    return _not_blank(fact.target_true, *fact.target_true_aliases)


def new_names(fact: Fact) -> tuple[str, ...]:
    """Return all names of the new object."""
    return _not_blank(fact.target_new, *fact.target_new_aliases)


def subject_names(fact: Fact) -> tuple[str, ...]:
    """Return all names of the subject."""
    return _not_blank(fact.subject, *fact.subject_aliases)


def answer_names(probe: Probe) -> tuple[str, ...]:
    """Return the names that a probe's answer may contain: all names of both objects, and the subject."""
    new, true = (probe.target_new, *probe.target_new_aliases), (probe.target_true, *probe.target_true_aliases)
    return _not_blank(*new, *true, probe.subject)


def _not_blank(*names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name.strip())
