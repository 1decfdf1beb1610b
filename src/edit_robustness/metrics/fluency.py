"""Fluency of generated text: repetition and the variety of its words.

Both metrics count words and punctuation marks instead of tokens, so that models can be compared. Texts here end with
their first sentence, while published evaluations generate 100 tokens. Longer texts have more n-grams and so a higher
entropy, so the two must not be compared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import log2

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")
_WEIGHTS = {2: 2 / 3, 3: 4 / 3}
_REPEATED = 2


def words(text: str) -> list[str]:
    """Split a text into words and punctuation marks in lower case; in scripts without spaces a character is a word."""
    return _WORD.findall(text.casefold())


def ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """Count each n-gram of `n` tokens."""
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def entropy(counts: Counter[tuple[str, ...]]) -> float:
    """Compute Shannon's entropy of a frequency distribution, in bits."""
    total = sum(counts.values())
    return sum(-count / total * log2(count / total) for count in counts.values())


def ngram_entropy(text: str) -> float:
    """Compute the generation entropy of a text, in bits: high for varied text, 0 for text that repeats one word.

    It is the mean of the entropies of bigrams and trigrams, weighted by 2/3 and 4/3 as in Meng et al. 2022, "Locating
    and Editing Factual Associations in GPT". The metric is from Zhang et al. 2018, "Generating Informative and Diverse
    Conversational Responses via Adversarial Information Maximization". NaN for fewer than three words.
    """
    tokens = words(text)
    if len(tokens) < max(_WEIGHTS):
        return float("nan")
    return sum(weight * entropy(ngrams(tokens, n)) for n, weight in _WEIGHTS.items()) / len(_WEIGHTS)


def repetition(text: str) -> float:
    """Compute the share of repeated bigrams: 1 - distinct / all; NaN for fewer than two words.

    It is seq-rep-n of Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training", with bigrams because
    the texts are short.
    """
    counts = ngrams(words(text), _REPEATED)
    total = sum(counts.values())
    return 1 - len(counts) / total if total else float("nan")
