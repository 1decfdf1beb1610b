"""Groups of prompts beside an edit (KnowEdit, EasyEdit): what each group tests, in any of the shapes they come in.

A `locality` or `portability` is ``{group: [{prompt, ground_truth}, ...]}`` as KnowEdit publishes it,
``{group: {prompt: [...], ground_truth: [...]}}`` as EasyEdit takes it, or a list of ``{prompt, answer}`` without
groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edit_robustness.datasets.readers.records import completion, names
from edit_robustness.prompts.cells import is_missing, parse_nested
from edit_robustness.prompts.names import first_named, plain
from edit_robustness.records import SLOT

_PROMPTS = ("prompt", "prompts", "question", "New Question")
_ANSWERS = ("ground_truth", "answer", "answers", "target", "targets", "New Answer")

_KINDS = {
    **dict.fromkeys(("neighborhood", "neighbourhood", "neighbors", "neighbours"), "neighbours"),
    "relation_specificity": "relation_specificity",
    "unrelated": "unrelated",
    # other objects of the edited relation and subject, in a question that names the new object
    "forgetfulness": "",
    # a neighbour behind the edited statement, which the project makes of every neighbour itself
    "distracting": "",
}
"""The field of a fact for each group of `locality`; empty for groups of no kind of specificity."""

Item = tuple[tuple[str, ...], tuple[str, ...]]
"""The wordings of one prompt, of which the first is asked, and the names of its answer."""


def specificity(groups: Any, subject: str, template: str) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Sort the prompts of a `locality` by what they test.

    A group that is not known is sorted prompt by prompt: with the subject in it, of another relation; in the words of
    the edited prompt, of a neighbour; and else unrelated.

    Args:
        groups: In one of the shapes of the module.
        subject: Of the edit.
        template: The edited prompt with ``{}`` in the subject's place.

    Returns:
        The prompts by the field of a fact; and for each prompt that is left out the name of its group.
    """
    fields: dict[str, list[dict[str, Any]]] = {"neighbours": [], "relation_specificity": [], "unrelated": []}
    left_out = []
    for group, (prompts, answers) in _items(groups):
        kind = _KINDS.get(plain(group).replace(" ", "_").replace("-", "_"))
        prompt_record = completion(prompts, answers, subject)
        if kind == "" or not prompt_record:
            left_out.append(_name_group("locality", group, "" if prompt_record else "without a prompt or an answer"))
            continue
        fields[kind or _kind_of(prompts[0], subject, template)] += prompt_record
    return fields, left_out


def consequences(groups: Any, subject: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the prompts of a `portability`, and for each prompt that is left out the name of its group."""
    records, left_out = [], []
    for group, (prompts, answers) in _items(groups):
        if prompt_record := completion(prompts, answers, subject):
            records += prompt_record
        else:
            left_out.append(_name_group("portability", group, "without a prompt or an answer"))
    return records, left_out


def _names_subject(prompt: str, subject: str) -> bool:
    """Return whether a prompt names the subject, as whole words."""
    return bool(subject) and first_named(prompt, (subject,)) is not None


def _kind_of(prompt: str, subject: str, template: str) -> str:
    if _names_subject(prompt, subject):
        return "relation_specificity"
    before, slot, after = (plain(part) for part in template.partition(SLOT))
    same_words = slot and prompt and plain(prompt).startswith(before) and plain(prompt).endswith(after)
    return "neighbours" if same_words and (before or after) else "unrelated"


def _name_group(field: str, group: str, why: str) -> str:
    return " ".join(part for part in (field, group, why) if part)


def _items(groups: Any) -> Iterator[tuple[str, Item]]:
    """Yield each prompt with its group's name, empty for none."""
    groups = parse_nested(groups)
    if isinstance(groups, Mapping) and not any(key in groups for key in _PROMPTS):
        for group, items in groups.items():
            yield from ((str(group), item) for item in _yield_prompts(items))
    else:
        yield from (("", item) for item in _yield_prompts(groups))


def _yield_prompts(items: Any) -> Iterator[Item]:
    """Yield the prompts of one group; what is no record counts as a prompt without an answer."""
    items = parse_nested(items)
    for item in items if isinstance(items, list | tuple) else [items]:
        item = parse_nested(item)
        if isinstance(item, Mapping):
            yield from _pairs(parse_nested(_first(item, _PROMPTS)), parse_nested(_first(item, _ANSWERS)))
        elif not is_missing(item) and item != "":
            yield (), ()


def _pairs(prompts: Any, answers: Any) -> Iterator[Item]:
    """Yield one prompt with its answers; or prompts in a list, each with the answer at its place."""
    if not isinstance(prompts, list | tuple) or len(prompts) == 1:
        yield names(prompts), names(answers)
        return
    has_answers = isinstance(answers, list | tuple) and len(answers) == len(prompts)
    for prompt, answer in zip(prompts, answers if has_answers else [()] * len(prompts), strict=True):
        yield names(prompt), names(answer)


def _first(item: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)
