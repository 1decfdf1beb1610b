"""Generate the items of knowledge, arithmetic and reading: `python -m edit_robustness.abilities.embedded.make_items`.

Every option is right equally often. A model that always prefers one of them (a frequent word, a small number, the last
mentioned word) therefore scores at chance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

Item = dict[str, Any]

OPTIONS = 4

KNOWLEDGE = {
    "opposites": {
        "The opposite of hot is": "cold",
        "The opposite of big is": "small",
        "The opposite of up is": "down",
        "The opposite of fast is": "slow",
        "The opposite of happy is": "sad",
        "The opposite of rich is": "poor",
        "The opposite of old is": "young",
        "The opposite of wet is": "dry",
        "The opposite of full is": "empty",
        "The opposite of early is": "late",
    },
    "kinds": {
        "A rose is a kind of": "flower",
        "An oak is a kind of": "tree",
        "A salmon is a kind of": "fish",
        "An eagle is a kind of": "bird",
        "An ant is a kind of": "insect",
        "A hammer is a kind of": "tool",
        "A violin is a kind of": "instrument",
        "A cabbage is a kind of": "vegetable",
        "A banana is a kind of": "fruit",
        "Copper is a kind of": "metal",
    },
    "uses": {
        "A knife is used to": "cut",
        "A pen is used to": "write",
        "A broom is used to": "sweep",
        "A shovel is used to": "dig",
        "An oven is used to": "bake",
        "A needle and thread are used to": "sew",
        "A ladder is used to": "climb",
        "A towel is used to": "dry",
        "A telescope is used to": "look",
        "A lock is used to": "close",
    },
    "young": {
        "A young dog is called a": "puppy",
        "A young cat is called a": "kitten",
        "A young cow is called a": "calf",
        "A young horse is called a": "foal",
        "A young sheep is called a": "lamb",
        "A young hen is called a": "chick",
        "A young bear is called a": "cub",
        "A young frog is called a": "tadpole",
        "A young duck is called a": "duckling",
        "A young deer is called a": "fawn",
    },
    "calendar": {
        "The day after Monday is": "Tuesday",
        "The day after Wednesday is": "Thursday",
        "The day after Friday is": "Saturday",
        "The day before Monday is": "Sunday",
        "The month after March is": "April",
        "The month after June is": "July",
        "The month after September is": "October",
        "The month before January is": "December",
        "The season after winter is": "spring",
        "The season before autumn is": "summer",
    },
    "colors": {
        "The color of snow is": "white",
        "The color of grass is": "green",
        "The color of a lemon is": "yellow",
        "The color of coal is": "black",
        "The color of blood is": "red",
        "The color of a clear sky is": "blue",
        "The color of a carrot is": "orange",
        "The color of chocolate is": "brown",
        "The color of an eggplant is": "purple",
        "The color of a flamingo is": "pink",
    },
    "places": {
        "You can borrow books at the": "library",
        "Doctors and nurses work at the": "hospital",
        "Planes take off from the": "airport",
        "Fresh bread is sold at the": "bakery",
        "Children are taught at the": "school",
        "People wait for their train at the": "station",
        "Savings are kept at the": "bank",
        "Actors stand on the stage of the": "theater",
        "Ships are unloaded at the": "harbor",
        "Cows are milked on the": "farm",
    },
}
"""Classes of statements that one word completes. Within a class, no word is right for another statement."""

POOLS = {
    "name": ["Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Julia", "Lucas", "Maria", "Oscar"],
    "thing": [
        "candle",
        "carpet",
        "clock",
        "guitar",
        "hat",
        "kettle",
        "lamp",
        "mirror",
        "necklace",
        "pillow",
        "puzzle",
        "violin",
    ],
    "place": [
        "bakery",
        "beach",
        "castle",
        "factory",
        "farm",
        "hospital",
        "hotel",
        "library",
        "market",
        "museum",
        "station",
        "theater",
    ],
    "month": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
}
"""Words for the slots of passages."""

SCENES = (
    ("In {month}, {name} went to the {place} and bought a {thing}.", "buy", "bought"),
    ("{name} waited at the {place} on a rainy day in {month} and lost a {thing}.", "lose", "lost"),
    ("{name} was at the {place} one morning in {month} and found a {thing}.", "find", "found"),
)
"""Sentence templates, with the infinitive and the past tense of their verb."""


def knowledge(random: Random) -> Iterator[Item]:
    """Yield statements to complete; each word of a class is the right option once and a wrong option three times."""
    for name, statements in KNOWLEDGE.items():
        words = random.sample(list(statements.values()), len(statements))
        for statement, answer in statements.items():
            yield _item(random, _after(words, words.index(answer)), statement=statement, kind=name)


def arithmetic(random: Random) -> Iterator[Item]:
    """Yield sums and differences of one-digit numbers; the options are four consecutive numbers, each right in turn."""
    sums = [(f"{a} + {b}", a + b) for a in range(2, 10) for b in range(2, 10)]
    differences = [(f"{a} - {b}", a - b) for a in range(6, 10) for b in range(2, 10) if a - b >= OPTIONS - 1]
    for kind, problems, number in (("addition", sums, 36), ("subtraction", differences, 12)):
        for turn, (problem, answer) in enumerate(random.sample(problems, min(number, len(problems)))):
            numbers = range(answer - turn % OPTIONS, answer - turn % OPTIONS + OPTIONS)
            options = [str(answer), *(str(number) for number in numbers if number != answer)]
            yield _item(random, options, problem=problem, kind=kind)


def reading(random: Random) -> Iterator[Item]:
    """Yield two similar sentences with a question about the person, the thing, the place or the month in one of them.

    The options are the word of the sentence, the corresponding word of the other sentence, and two words of neither.
    """
    questions = {
        "name": ("Who {done} the {thing}?", "{name}"),
        "thing": ("What did {name} {do}?", "a {thing}"),
        "place": ("Where did {name} {do} the {thing}?", "at the {place}"),
        "month": ("When did {name} {do} the {thing}?", "in {month}"),
    }
    for kind, (question, answer) in questions.items():
        order = random.sample(POOLS[kind], len(POOLS[kind]))
        for turn in range(len(order)):
            scene, verb, past_verb = SCENES[turn % len(SCENES)]
            words = _after(order, turn)
            scene_words, other_words = (
                {**pair, kind: word} for pair, word in zip(_scene_words(random), words, strict=False)
            )
            sentences = [scene.format(**scene_words), scene.format(**other_words)]
            yield _item(
                random,
                [answer.format(**{kind: word}) for word in words],
                passage=" ".join(sentences if turn % 2 else sentences[::-1]),
                question=question.format(**scene_words, do=verb, done=past_verb),
                kind=kind,
            )


def _scene_words(random: Random) -> Iterator[dict[str, str]]:
    """Yield the words of two sentences without common words."""
    word_pairs = {name: random.sample(words, 2) for name, words in POOLS.items()}
    yield from ({name: words[index] for name, words in word_pairs.items()} for index in range(2))


def _after(words: Sequence[str], at: int) -> list[str]:
    """Return the right word and the three words after it, so that all words are options equally often."""
    return [words[(at + step) % len(words)] for step in range(OPTIONS)]


def _item(random: Random, choices: list[str], **fields: str) -> Item:
    """Return an item with shuffled options; the first of `choices` is the right one."""
    shuffled_options = random.sample(choices, len(choices))
    return {**fields, "options": shuffled_options, "gold": shuffled_options.index(choices[0])}


MADE = {"knowledge.jsonl": knowledge, "arithmetic.jsonl": arithmetic, "reading.jsonl": reading}
"""The generators by file; prose.jsonl was written by hand."""


def render(file: str) -> str:
    """Return the content of a file of items."""
    return "".join(json.dumps(item) + "\n" for item in MADE[file](Random(file)))


if __name__ == "__main__":
    for made in MADE:
        (Path(__file__).parent / made).write_text(render(made), encoding="utf-8")
