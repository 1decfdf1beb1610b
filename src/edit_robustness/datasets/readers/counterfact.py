"""CounterFact (Meng et al. 2022), as published and in the flat form of EasyEdit."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edit_robustness.datasets.readers.records import Options, Record, Row, completion, read_each, text, texts
from edit_robustness.datasets.readers.zsre import question

logger = logging.getLogger(__name__)

_VIEWS = ("subject_pageviews_2021_10", "_subject_pageviews_2021_10")
"""Columns that copies of the data set add; neither publisher has page views."""

_OF_ZSRE = "nq question"
"""How a `locality_prompt` begins where zsRE is in this form."""


def read_counterfact(records: Sequence[Record], options: Options) -> list[Row]:
    """Read the published records.

    `attribute_prompts` are not used: they ask about other subjects of which the new object is true. Nor are
    `generation_prompts`.
    """
    return read_each(records, _row)


def _row(record: Record) -> Row:
    true, case = text(record, "requested_rewrite", "target_true", "str"), text(record, "case_id")
    return {
        "id": f"counterfact-{case}" if case else "",
        "subject": text(record, "requested_rewrite", "subject"),
        "relation": text(record, "requested_rewrite", "relation_id"),
        "prompt": text(record, "requested_rewrite", "prompt"),
        "target_true": true,
        "target_new": text(record, "requested_rewrite", "target_new", "str"),
        "target_true_id": text(record, "requested_rewrite", "target_true", "id"),
        "target_new_id": text(record, "requested_rewrite", "target_new", "id"),
        "page_views": _views(record),
        "paraphrases": texts(record, "paraphrase_prompts"),
        "neighbours": [
            neighbour
            for prompt in texts(record, "neighborhood_prompts")
            for neighbour in completion((prompt,), (true,) if true else ())
        ],
    }


def read_counterfact_flat(records: Sequence[Record], options: Options) -> list[Row]:
    """Read EasyEdit's flat records: no relation, one `locality_prompt`, mostly no paraphrase in `rephrase_prompt`.

    The `locality_prompt` is about a neighbour, as in CounterFact, also if the neighbour's name holds the subject's
    (Chile and the Socialist Republic of Chile). Only a question of Natural Questions, as zsRE has in this form, is
    unrelated.
    """
    if not options.rephrase_is_paraphrase:
        logger.warning(
            "rephrase_prompt of %d records is left out: most are prompts to write on about the subject, and no "
            "paraphrases; take them all the same with `rephrase_is_paraphrase: true`",
            sum(bool(record.get("rephrase_prompt")) for record in records),
        )
    return read_each(records, lambda record: _flat_row(record, options))


def _flat_row(record: Record, options: Options) -> Row:
    subject, true, case = text(record, "subject"), texts(record, "ground_truth"), text(record, "case_id")
    prompt = text(record, "locality_prompt")
    elsewhere = prompt.startswith(_OF_ZSRE)
    answer = texts(record, "locality_ground_truth") or (() if elsewhere else true)
    locality = completion(question(prompt) if elsewhere else (prompt,) if prompt else (), answer)
    return {
        "id": f"counterfact-{case}" if case else "",
        "subject": subject,
        "prompt": text(record, "prompt_template") or text(record, "prompt"),
        "target_true": true[0] if true else "",
        "target_true_aliases": true[1:],
        "target_new": text(record, "target_new"),
        "page_views": _views(record),
        "paraphrases": texts(record, "rephrase_prompt") if options.rephrase_is_paraphrase else (),
        "unrelated" if elsewhere else "neighbours": locality,
    }


def _views(record: Record) -> object:
    return next((record[name] for name in _VIEWS if name in record), None)
