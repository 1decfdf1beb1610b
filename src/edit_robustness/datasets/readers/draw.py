"""New objects for data sets that have none: another object of the same relation, drawn with a seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from edit_robustness.datasets.readers.records import Row
from edit_robustness.prompts.names import plain
from edit_robustness.prompts.schema import UNREADABLE
from edit_robustness.text.matching import letters

_TRIES = 20


@dataclass(frozen=True, order=True)
class _Object:
    name: str
    aliases: tuple[str, ...] = ()
    item: str = ""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(map(letters, (self.name, *self.aliases)))


def draw_new_objects(rows: Sequence[Row], object_aliases: Sequence[Sequence[str]], *, seed: int) -> list[Row]:
    """Give every row a new object, its aliases and its item.

    Every object of the relation that is no answer of that subject is as likely as the next. What is drawn follows from
    the seed, the relation, the subject and the relation's objects, not from the order of the rows. Where no object is
    left, `target_new` stays empty, and the row is rejected for it.

    Args:
        rows: With subject, relation, target_true and all names of right answers in target_true_aliases; those that
            hold nothing but a reason why they cannot be read stay as they are.
        object_aliases: For each row the other names of the one object in target_true.
        seed: Of the draw.
    """
    readable = [pair for pair in zip(rows, object_aliases, strict=True) if UNREADABLE not in pair[0]]
    pools, answers = _objects(readable), _answers(row for row, _ in readable)
    complete_rows = []
    for row in rows:
        if UNREADABLE in row:
            complete_rows.append(row)
            continue
        right = answers[_question(row)] | {letters(row["subject"])}
        rng = Random(f"{seed}/{row['relation']}/{plain(row['subject'])}/{plain(row['target_true'])}")
        new = _draw(pools[row["relation"]], right, rng)
        complete_rows.append(
            row | {"target_new": new.name, "target_new_aliases": new.aliases, "target_new_id": new.item}
        )
    return complete_rows


def _draw(pool: Sequence[_Object], right: frozenset[str] | set[str], rng: Random) -> _Object:
    for _ in range(_TRIES if pool else 0):
        # nearly always the first will do, and the whole pool need not be looked through for each row
        if right.isdisjoint((new := rng.choice(pool)).names):
            return new
    candidates = [new for new in pool if right.isdisjoint(new.names)]
    return rng.choice(candidates) if candidates else _Object("")


def _objects(rows: Sequence[tuple[Row, Sequence[str]]]) -> dict[str, list[_Object]]:
    """Return for each relation its objects, each once, in an order that does not follow the rows'."""
    by_relation: dict[str, dict[str, _Object]] = defaultdict(dict)
    for row, aliases in rows:
        if key := plain(row["target_true"]):
            object_ = _Object(row["target_true"], tuple(aliases), row.get("target_true_id", ""))
            # of one name several rows may speak, some without aliases: take what says most, however rows are ordered
            fullest = by_relation[row["relation"]].get(key, object_)
            best = max(fullest, object_, key=lambda candidate: (len(candidate.aliases), candidate))
            by_relation[row["relation"]][key] = best
    return defaultdict(list, {relation: sorted(objects.values()) for relation, objects in by_relation.items()})


def _answers(rows: Iterable[Row]) -> dict[tuple[str, str], set[str]]:
    """Return all right answers to what is asked of a subject, over all rows that ask it."""
    answers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        answers[_question(row)].update(map(letters, (row["target_true"], *row.get("target_true_aliases", ()))))
    return answers


def _question(row: Row) -> tuple[str, str]:
    return row["relation"], plain(row["subject"])
