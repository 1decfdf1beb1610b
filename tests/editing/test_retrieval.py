"""Retrieval by words against a naive transcription of its definition, and what it takes as a word."""

import re
import time
import unicodedata
from random import Random

import pytest

from edit_robustness.editing.retrieval import Index, split_words

SYLLABLES = ("ka", "lo", "mi", "ra", "tu", "ven", "dor", "sil", "of", "the")


def naive_words(text):
    """Words of a text in a script with spaces."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return set(re.split(r"\W+", plain.casefold())) - {""}


def naive_search(keys, statements, prompt, threshold, limit):
    """For each fact the best share of a key's words that are in the prompt; ordered by statements, then by keys."""
    words, rows = naive_words(prompt), []
    for number, (texts, statement) in enumerate(zip(keys, statements, strict=True)):
        shares = []
        for text in [text for text in texts if naive_words(text)] or [statement]:
            key = naive_words(text)
            shares.append(sum(word in words for word in key) / len(key))
        statement_words = naive_words(statement)
        agreement = sum(word in words for word in statement_words) / len(statement_words)
        if max(shares) >= threshold:
            rows.append((-agreement, -max(shares), -number))
    return [(-number, -closeness, -agreement) for agreement, closeness, number in sorted(rows)[:limit]]


def name(random, longest=4):
    return " ".join("".join(random.choices(SYLLABLES, k=2)).title() for _ in range(random.randint(1, longest)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("threshold", "limit"), [(0.3, 100), (0.5, 4), (0.8, 2), (1.0, 3)])
def test_a_search_is_the_naive_one(seed, threshold, limit):
    random = Random(seed)
    keys = [tuple(name(random) for _ in range(random.randint(1, 3))) for _ in range(150)]
    statements = [f"The {random.choice(('capital', 'king', 'river'))} of {names[0]} is" for names in keys]
    index, n_results = Index(keys, statements), 0
    for _ in range(60):
        texts = [random.choice(random.choice(keys)), "capital of", name(random), "Île the"]
        prompt = ", ".join(random.sample(texts, random.randint(1, 4)))
        results = index.search(prompt, threshold=threshold, limit=limit)
        reference = naive_search(keys, statements, prompt, threshold, limit)
        assert [(fact.number, fact.closeness, fact.agreement) for fact in results] == reference
        n_results += len(results)
    assert n_results > 50


def test_a_score_does_not_depend_on_the_other_facts_nor_on_the_rest_of_a_long_prompt():
    keys, statements = [("Upper Borduria",)], ["The seat of Upper Borduria is"]
    (alone,) = Index(keys, statements).search("Who rules Borduria?", threshold=0.5, limit=1)
    others = [(f"Place {number}",) for number in range(5000)]
    many = Index([*others, *keys], [*(f"The seat of {names[0]} is" for names in others), *statements])
    prompt = "It rained on the harbour. " * 50 + "Who rules Borduria?"
    (among_many,) = many.search(prompt, threshold=0.5, limit=1)
    assert (alone.closeness, among_many.number, among_many.closeness) == (0.5, 5000, 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("France's KING, of Île-de-Nœud", {"france", "s", "king", "of", "ile", "de", "nœud"}),
        ("ｆｕｌｌ width ﬁne", {"full", "width", "fine"}),
        ("東京はTokyo 2020", {"東", "京", "は", "t", "o", "k", "y"} | {"2020"}),
        ("서울은 크다", {"서", "울", "은", "크", "다"}),
        ("!!! ...", set()),
        ("", set()),
    ],
)
def test_words_of_a_text(text, words):
    assert split_words(text) == words


def test_a_name_without_a_word_is_found_by_its_statement():
    index = Index([("!!!",), ("", "Ada")], ["The band !!! plays", "Ada plays"])
    assert [
        fact.number for fact in index.search("Which music does the band play, if it plays?", threshold=1, limit=2)
    ] == [0]
    assert [fact.number for fact in index.search("Does Ada sing?", threshold=1, limit=2)] == [1]


def test_nothing_is_found_in_an_empty_memory_nor_for_an_empty_prompt():
    assert Index([], []).search("Who rules Borduria?", threshold=0.1, limit=1) == []
    assert Index([("Borduria",)], ["Borduria is"]).search("", threshold=0.1, limit=1) == []


def test_a_prompt_takes_a_few_milliseconds_at_most_in_a_memory_of_ten_thousand_facts():
    random = Random(0)
    keys = [(name(random, 5),) for _ in range(10_000)]
    statements = [f"The capital of {names[0]} is" for names in keys]
    index = Index(keys, statements)
    prompts = [f"Where do those who govern {names[0]} meet? They meet in" for names in keys[:200]]
    start = time.process_time()
    assert all(index.search(prompt, threshold=0.8, limit=3) for prompt in prompts)
    # measured: a fifth of a millisecond; the bound leaves room for a busy machine
    assert (time.process_time() - start) / len(prompts) < 5e-3
