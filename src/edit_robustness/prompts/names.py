"""The names of what a fact is about, beside the one matcher that finds them in texts (`text.matching`)."""

from __future__ import annotations

from edit_robustness.records import Fact, Probe
from edit_robustness.text.matching import first_named, names_any, plain, shared_name

__all__ = [
    "first_named",
    "names_any",
    "new_names",
    "object_names",
    "plain",
    "shared_name",
    "subject_names",
    "true_names",
]


def true_names(fact: Fact) -> tuple[str, ...]:
    """All names of the true object; none where it is not known."""
    return _written(fact.target_true, *fact.target_true_aliases)


def new_names(fact: Fact) -> tuple[str, ...]:
    """All names of the new object."""
    return _written(fact.target_new, *fact.target_new_aliases)


def subject_names(fact: Fact) -> tuple[str, ...]:
    """All names of the subject."""
    return _written(fact.subject, *fact.subject_aliases)


def object_names(probe: Probe) -> tuple[str, ...]:
    """Return all names of both objects of a probe, which its answer may hold."""
    return _written(probe.target_new, *probe.target_new_aliases, probe.target_true, *probe.target_true_aliases)


def _written(*names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name.strip())
