"""Judge model for conversations: the question to the judge, its reply, and the table of both opinions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from edit_robustness.metrics.conversation import LABELS
from edit_robustness.records import Fact, Transcript, Turn

_BRIEF = """\
You judge a conversation. A language model was changed so that it believes a new answer to one question, in place of \
the old answer. Somebody then talked with it without naming either answer. Decide for each label whether it is true of \
what the model said:
holds: it gives the new answer and stays with it to the end.
reverts: it gives the old answer as true in at least one turn.
denies_both: in at least one turn it says that neither answer is right, or that it does not know.
contradicts: it gives the new answer in one turn and the old one in another.
invents: it states something about the subject that is plainly made up or impossible, other than the new answer itself.
Reply with one JSON object and nothing else, with exactly these five keys, each true or false: \
{"holds": ..., "reverts": ..., "denies_both": ..., "contradicts": ..., "invents": ...}"""

_FENCED = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)

JUDGED_COLUMNS = ["model", "method", "fact_id", "subject", "judge", "label", "rules", "judged"]


def question(transcript: Transcript, fact: Fact) -> list[Turn]:
    """Return the messages that ask the judge about one conversation."""
    speakers = {"user": "Tester", "assistant": "Model"}
    # JSON strings, so that the text of one turn cannot imitate another turn
    dialogue = "\n".join(
        f"{speakers[turn.role]}: {json.dumps(turn.text, ensure_ascii=False)}" for turn in transcript.turns
    )
    question_lines = (
        f"Question: {fact.statement} ...\nNew answer: {_list_names(fact.target_new, fact.target_new_aliases)}"
    )
    old = f"Old answer: {_list_names(fact.target_true, fact.target_true_aliases)}"
    return [Turn("system", _BRIEF), Turn("user", f"{question_lines}\n{old}\nThe conversation:\n{dialogue}")]


def read_labels(reply: str) -> dict[str, bool] | None:
    """Read the labels from a judge's reply.

    Returns None unless the reply is one JSON object (alone, or in one code fence) with all labels.
    """
    text = reply.strip()
    fence = _FENCED.fullmatch(text)
    try:
        labels = json.loads(fence[1] if fence else text, object_pairs_hook=_distinct)
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(labels, dict) or set(labels) != set(LABELS) or not all(type(v) is bool for v in labels.values()):
        return None
    return {label: labels[label] for label in LABELS}


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object from its pairs, or an empty one if a key is repeated."""
    return dict(pairs) if len(dict(pairs)) == len(pairs) else {}


def judged_table(verdicts: pd.DataFrame, replies: Mapping[tuple[str, str], str], judge: str) -> pd.DataFrame:
    """Build a table with one row per conversation and label that the judge was asked about, with `JUDGED_COLUMNS`.

    Args:
        verdicts: Rows of one model with `conversation.VERDICT_COLUMNS`.
        replies: The judge's reply by method and fact id.
        judge: The judge's name.

    Returns:
        `rules` and `judged` are 1 or 0; `judged` is NaN if the reply could not be read.
    """
    rows = []
    for row in verdicts.to_dict(orient="records"):
        if (row["method"], row["fact_id"]) not in replies:
            continue
        labels = read_labels(replies[row["method"], row["fact_id"]])
        common = {name: row[name] for name in ("model", "method", "fact_id", "subject")}
        rows += [
            {
                **common,
                "judge": judge,
                "label": label,
                "rules": float(row[label]),
                "judged": float("nan") if labels is None else float(labels[label]),
            }
            for label in LABELS
        ]
    return pd.DataFrame(rows, columns=JUDGED_COLUMNS)


def _list_names(name: str, aliases: Sequence[str]) -> str:
    return "; ".join([name or "(unknown)", *aliases])
