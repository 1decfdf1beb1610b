"""CounterFact (Meng et al. 2022), as published and in the flat form of EasyEdit."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edit_robustness.datasets.readers.records import Options, Record, Row, at, completion, names

logger = logging.getLogger(__name__)

_VIEWS = ("subject_pageviews_2021_10", "_subject_pageviews_2021_10")
"""Columns that copies of the data set add; neither publisher has page views."""


def read_counterfact(records: Sequence[Record], options: Options) -> list[Row]:
    """The published records. `attribute_prompts` and `generation_prompts` are not used."""
    return [_row(record) for record in records]


def _row(record: Record) -> Row:
    rewrite = at(record, "requested_rewrite")
    true = at(rewrite, "target_true", "str")
    return {
        "id": f"counterfact-{at(record, 'case_id')}",
        "subject": at(rewrite, "subject"),
        "relation": at(rewrite, "relation_id"),
        "prompt": at(rewrite, "prompt"),
        "target_true": true,
        "target_new": at(rewrite, "target_new", "str"),
        "target_true_id": at(rewrite, "target_true", "id"),
        "target_new_id": at(rewrite, "target_new", "id"),
        "page_views": _views(record),
        "paraphrases": names(at(record, "paraphrase_prompts")),
        "neighbours": [one for prompt in names(at(record, "neighborhood_prompts")) for one in completion(prompt, true)],
    }


def read_counterfact_flat(records: Sequence[Record], options: Options) -> list[Row]:
    """EasyEdit's flat records: no relation, one neighbour, and a `rephrase_prompt` that is mostly no paraphrase."""
    if not options.rephrase_is_paraphrase:
        logger.warning(
            "rephrase_prompt of %d records is left out: most are prompts to write on about the subject, and no "
            "paraphrases; take them all the same with `rephrase_is_paraphrase: true`",
            sum(bool(at(record, "rephrase_prompt")) for record in records),
        )
    return [_flat_row(record, options) for record in records]


def _flat_row(record: Record, options: Options) -> Row:
    true = names(at(record, "ground_truth"))
    neighbour_object = at(record, "locality_ground_truth") or true
    return {
        "id": f"counterfact-{at(record, 'case_id')}" if "case_id" in record else "",
        "subject": at(record, "subject"),
        "prompt": at(record, "prompt_template") or at(record, "prompt"),
        "target_true": true[0] if true else "",
        "target_true_aliases": true[1:],
        "target_new": at(record, "target_new"),
        "page_views": _views(record),
        "paraphrases": names(at(record, "rephrase_prompt")) if options.rephrase_is_paraphrase else (),
        "neighbours": completion(at(record, "locality_prompt"), neighbour_object),
    }


def _views(record: Record) -> object:
    return next((record[name] for name in _VIEWS if name in record), None)
