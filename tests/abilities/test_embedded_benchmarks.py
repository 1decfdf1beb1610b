"""Our own items: made by the committed script, and fair to whoever knows nothing."""

import json
from collections import Counter
from pathlib import Path

import fabricated_benchmarks as successful_items
import pytest

import edit_robustness.abilities.embedded as embedded
from edit_robustness.abilities.embedded.make_items import MADE, OPTIONS, render
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.measure import measure
from edit_robustness.abilities.tasks import build_benchmarks
from edit_robustness.models.language_model import restore_after

FOLDER = Path(embedded.__file__).parent


def items(name):
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", MADE)
def test_the_script_writes_what_is_committed(name):
    assert (FOLDER / name).read_text(encoding="utf-8") == render(name)


@pytest.mark.parametrize("name", MADE)
def test_four_different_options_one_of_them_right(name):
    for item in items(name):
        assert len(set(item["options"])) == OPTIONS
        assert 0 <= item["gold"] < OPTIONS


@pytest.mark.parametrize("name", ["knowledge.jsonl", "reading.jsonl"])
def test_every_option_is_right_once_and_wrong_three_times_in_its_kind(name):
    option_counts = Counter((item["kind"], option) for item in items(name) for option in item["options"])
    right = Counter((item["kind"], item["options"][item["gold"]]) for item in items(name))
    assert set(option_counts.values()) == {OPTIONS}
    assert set(right.values()) == {1}


def test_sums_are_right_and_the_answer_is_each_of_four_numbers_in_turn():
    ranks = Counter()
    for item in items("arithmetic.jsonl"):
        first, sign, second = item["problem"].split()
        value = int(first) + int(second) if sign == "+" else int(first) - int(second)
        numbers = sorted(map(int, item["options"]))
        assert item["options"][item["gold"]] == str(value)
        assert numbers == list(range(numbers[0], numbers[0] + OPTIONS))
        assert "1" not in (first, second)
        ranks[numbers.index(value)] += 1
    assert set(ranks.values()) == {12}


def test_half_of_what_is_asked_about_a_passage_stands_first():
    places = Counter()
    for item in items("reading.jsonl"):
        first, second = item["passage"].split(". ")
        words = item["options"][item["gold"]].split()[-1]
        assert (words in first) != (words in second)
        places[words in first] += 1
    assert places == {True: 24, False: 24}


def test_prose_is_long_enough():
    texts = [item["text"] for item in items("prose.jsonl")]
    assert len(texts) == len(set(texts)) == 20
    assert 1_400 < sum(len(text.split()) for text in texts) < 1_700


@pytest.mark.slow
def test_the_default_model_is_above_chance_and_a_broken_one_is_not(smollm2):
    benchmarks = build_benchmarks(smollm2, successful_items.parameters(documents=0), LocalFiles())

    def scores():
        return {
            benchmark.name: [document.score for document in measure(smollm2, benchmark)] for benchmark in benchmarks
        }

    mean_scores = {name: sum(values) / len(values) for name, values in scores().items()}
    block = [parameter.detach() for parameter in smollm2.model.model.layers[12].parameters()]
    with restore_after(block):
        for parameter in block:
            parameter.mul_(30)
        nan_scores = {name: sum(values) / len(values) for name, values in scores().items()}
    # 70, 48 and 48 items: one-sided 99.9% bounds around a chance of .25 are .41, .45 and .45
    assert mean_scores["knowledge"] > 0.7
    assert mean_scores["arithmetic"] > 0.5
    assert mean_scores["reading"] > 0.5
    assert mean_scores["prose"] < 100
    assert max(nan_scores[name] for name in ("knowledge", "arithmetic", "reading")) < 0.45
    assert nan_scores["prose"] > 1e4
