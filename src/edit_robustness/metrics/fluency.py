"""How a generated text reads: whether it goes round in circles, and how varied its words are.

Both look at words and punctuation marks and not at a model's tokens, so that models can be compared. The texts here
end with their first sentence, where published evaluations let a model write on for 100 tokens: longer texts have more
n-grams and so a higher entropy, and figures of the two kinds cannot be compared.
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
    """Words and punctuation marks in small letters; scripts that write no spaces count a character as a word."""
    return _WORD.findall(text.casefold())


def ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of `n` tokens occurs."""
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def entropy(counts: Counter[tuple[str, ...]]) -> float:
    """Shannon's entropy of a frequency distribution, in bits."""
    total = sum(counts.values())
    return sum(-count / total * log2(count / total) for count in counts.values())


def ngram_entropy(text: str) -> float:
    """The generation entropy of a text, in bits: high where it is varied, 0 where it says one thing over and over.

    The mean of the entropies of bigrams and trigrams with the weights 2/3 and 4/3, after Zhang et al. 2018,
    "Generating Informative and Diverse Conversational Responses via Adversarial Information Maximization", as Meng et
    al. 2022, "Locating and Editing Factual Associations in GPT", weigh them. NaN for fewer than three words.
    """
    tokens = words(text)
    if len(tokens) < max(_WEIGHTS):
        return float("nan")
    return sum(weight * entropy(ngrams(tokens, n)) for n, weight in _WEIGHTS.items()) / len(_WEIGHTS)


def repetition(text: str) -> float:
    """The share of bigrams that were there before: 1 - distinct / all; NaN for fewer than two words.

    After seq-rep-n of Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training", with bigrams because
    the texts are short.
    """
    counts = ngrams(words(text), _REPEATED)
    total = sum(counts.values())
    return 1 - len(counts) / total if total else float("nan")
