"""Retrieval of facts by words: which facts of a memory a prompt is about, and in which order.

The closeness of a fact to a prompt is the share of the words of its key (a name of its subject, say) that the prompt
contains. It is between 0 and 1 and follows from this fact and this prompt alone. So a threshold means the same in a
memory of one fact and in one of ten thousand, and for a short prompt and a long one. Neither holds for BM25, whose
scores depend on the other facts of the memory, nor for the cosine of TF-IDF vectors, which falls with the length of the
prompt. Words have equal weights, because rare ones would have to be learned from other facts, and did not separate
prompts better (docs/explanation/quality.md).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edit_robustness.text.scripts import bounds_no_words

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Scored:
    """A fact that was found for a prompt.

    Attributes:
        number: Its number in the memory, counted from 0.
        closeness: The largest share of the words of one of its keys that the prompt contains.
        agreement: The share of the words of its statement that the prompt contains.
    """

    number: int
    closeness: float
    agreement: float


class Index:
    """The words of a memory's facts, for many searches.

    Args:
        keys: For each fact the texts that prompts are compared with, at least one. Texts without a word are left out,
            and a fact that has no other is found by its statement.
        statements: For each fact its statement.
    """

    def __init__(self, keys: Sequence[Sequence[str]], statements: Sequence[str]):
        self._statements = [split_words(statement) for statement in statements]
        fact_keys = [
            [words for text in texts if (words := split_words(text))] or [statement]
            for texts, statement in zip(keys, self._statements, strict=True)
        ]
        # one row per key; the keys of a fact stand together and begin at `_starts`
        self._starts = np.cumsum([0, *map(len, fact_keys)])[:-1]
        rows = [words for texts in fact_keys for words in texts]
        self._sizes = np.array([max(1, len(words)) for words in rows], dtype=np.int64)
        places: dict[str, list[int]] = {}
        for row, words in enumerate(rows):
            for word in words:
                places.setdefault(word, []).append(row)
        self._rows = {word: np.array(numbers, dtype=np.int64) for word, numbers in places.items()}

    def search(self, prompt: str, *, threshold: float, limit: int) -> list[Scored]:
        """Return the facts that a prompt is about, the best first.

        Facts are ordered by the share of their statement's words that the prompt contains, then by closeness. Of two
        that are equal in both, the later one comes first.

        Args:
            prompt: The prompt.
            threshold: Smallest closeness, above 0.
            limit: Maximum number of facts.
        """
        words = split_words(prompt)
        closeness = self._compute_closeness(words)
        candidates = [
            Scored(number, float(closeness[number]), _share(self._statements[number], words))
            for number in np.flatnonzero(closeness >= threshold).tolist()
        ]
        candidates.sort(key=lambda fact: (fact.agreement, fact.closeness, fact.number), reverse=True)
        return candidates[:limit]

    def _compute_closeness(self, words: frozenset[str]) -> NDArray[np.float64]:
        """Return the closeness of each fact to a prompt with these words, (facts,)."""
        hits = [self._rows[word] for word in words if word in self._rows]
        if not hits:
            return np.zeros(len(self._starts))
        counts = np.bincount(np.concatenate(hits), minlength=len(self._sizes))
        return np.maximum.reduceat(counts / self._sizes, self._starts)


def split_words(text: str) -> frozenset[str]:
    """Return the distinct words of a text, without capitals, accents and compatibility forms.

    In scripts that write no spaces, and in Korean, which attaches particles to names, each character is a word.
    """
    letters = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words: set[str] = set()
    for word in _WORD.findall(unicodedata.normalize("NFC", bare).casefold()):
        if word.isascii() or not any(map(bounds_no_words, word)):
            words.add(word)
        else:
            words.update(word)
    return frozenset(words)


def _share(words: frozenset[str], prompt_words: frozenset[str]) -> float:
    return len(words & prompt_words) / max(1, len(words))
