"""Presets: what can be chosen, and what is told to whoever chooses something else."""

import pytest
from fabricated_benchmarks import parameters

PAPER2 = {
    "mmlu": 5,
    "bbh": 3,
    "gsm8k": 8,
    "commonsense_qa": 7,
    "triviaqa": 0,
    "truthfulqa_mc1": 0,
    "truthfulqa_mc2": 0,
    "truthfulqa_gen": 0,
    "toxigen": 0,
}


def test_the_papers_benchmarks_have_the_papers_examples():
    assert {name: settings.shots for name, settings in parameters("paper2").select_benchmarks().items()} == PAPER2


def test_presets_and_single_benchmarks_can_be_put_together():
    selection = parameters(["embedded", "paper2.gsm8k"]).select_benchmarks()
    assert list(selection) == ["knowledge", "arithmetic", "reading", "prose", "gsm8k"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tasks": "papper2"},
            r"abilities\.tasks: unknown preset or benchmark `papper2`; .*embedded \(know.*paper2 \(mm",
        ),
        ({"tasks": "paper2.gsm"}, r"unknown preset or benchmark `paper2\.gsm`"),
        ({"tasks": []}, r"abilities\.tasks is empty; available presets: embedded"),
        ({"documents": -1}, r"documents\n.*greater than or equal to 0"),
        ({"max_new_tokens": 0}, r"max_new_tokens\n.*greater than 0"),
        ({"tasks": 5}, r"tasks"),
        ({"documents": "many"}, r"documents\n.*valid integer"),
        ({"presets": {"own": None}}, r"presets\.own\n.*valid dictionary"),
        (
            {"tasks": "own", "presets": {"own": {"one": {"task": "x", "shots": "x"}}}},
            r"abilities\.presets\.own\.one: shots: .*valid integer",
        ),
        ({"tasks": "own", "presets": {"own": {"one": {"task": "x", "shot": 1}}}}, r"own\.one: no setting `shot`"),
        ({"tasks": "own", "presets": {"own": {"one": {"shots": 1}}}}, r"own\.one: `task` is missing"),
        ({"tasks": "own", "presets": {"own": {"one": {"task": "x", "shots": -1}}}}, r"shots \(-1\)"),
        (
            {"tasks": ["a", "b"], "presets": {"a": {"one": {"task": "x"}}, "b": {"one": {"task": "y"}}}},
            r"one is in several of these presets",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        parameters(**changes)
