"""The command of a run: as typed, without credentials, and as it can be typed again."""

import shlex

import click
import pytest
from kedro.framework.cli.utils import _split_params

from edit_robustness.runs.commands import (
    command_again,
    flatten,
    hidden_parameters,
    options_of,
    shown_argument,
    typed_command,
)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["/env/bin/kedro", "run", "--env=test"], "kedro run --env=test"),
        (["python -m kedro", "run"], "kedro run"),
        (["/env/bin/kedro", "run", "--params=facts_path=my facts.csv"], "kedro run '--params=facts_path=my facts.csv'"),
        (
            ["/env/bin/kedro", "run", "--params", "x_note=it's; rm $HOME"],
            """kedro run --params 'x_note=it'"'"'s; rm $HOME'""",
        ),
        (["/env/bin/kedro", "ipython"], None),
        (["/env/bin/pytest", "run"], None),
        ([""], None),
        ([], None),
    ],
)
def test_a_command_is_recorded_as_typed_and_quoted(words, command):
    assert typed_command(words) == command
    if command:
        assert shlex.split(command)[1:] == words[1:]


@pytest.mark.parametrize(
    "argument",
    [
        "--params=judge.api_key=sk-1234567,sample.size=5",
        "--params=sample.size=5,x_token=sk-1234567",
        "x_api_key=sk-1234567",
        "--params=x_key = 'sk-1234567, and more',sample.size=5",
        "--params=x={key: sk-1234567}",
        "--params=credentials.mine.value=sk-1234567",
        "--token=sk-1234567",
        "--params=facts_path=https://me:sk-1234567@host/facts.csv",
        "--params=facts_path=https://host/facts.csv?X-Amz-Signature=sk-1234567&x=1",
    ],
)
def test_no_credential_is_in_a_command(argument):
    text = shown_argument(argument)
    assert "1234567" not in text
    assert "***" in text
    assert ("sample.size=5" in text) == ("sample.size=5" in argument)


def test_other_settings_stay_as_they_are():
    for argument in ("--params=decoding.max_new_tokens=8,sample.seed=3", "--env=test", "--tags=rome,ft", "a: b"):
        assert shown_argument(argument) == argument


def test_parameters_with_secret_names_are_hidden():
    settings = {
        "judge": {"api_key": "sk", "pin": 1234},
        "credentials": {"mine": {"value": "sk"}},
        "web": {"offline": True},
    }
    assert hidden_parameters(settings) == {
        "judge": {"api_key": "***", "pin": "***"},
        "credentials": {"mine": {"value": "***"}},
        "web": {"offline": True},
    }
    assert hidden_parameters({"url": "https://a:b@host"}) == {"url": "https://***@host"}


PARAMETERS = {
    "sample": {"size": 5, "seed": 0},
    "analyze": {"confidence": 0.9},
    "grid": {"tiny": {"rome": False}},
    "facts_path": 'my facts/it\'s "new"; $(x).csv',
    "x_text": "007",
    "x_truth": "true",
    "x_none": None,
    "x_empty": "",
    "x_colon": "a: b",
}


def test_the_command_gives_the_same_parameters_again():
    options = options_of({"from_nodes": ["tiny.rome.edit", "tiny.score"], "tags": [], "namespaces": None})
    command = command_again(["edit_eval"], "test", options, PARAMETERS)
    words = shlex.split(command)
    assert words[:4] == ["kedro", "run", "--env=test", "--pipeline=edit_eval"]
    assert words[4] == "--from-nodes=tiny.rome.edit,tiny.score"
    context = click.Context(click.Command("run"))
    option = click.Option(["--params"])
    assert _split_params(context, option, words[5].removeprefix("--params=")) == PARAMETERS


def test_a_list_is_written_with_spaces():
    assert command_again([], None, {}, {"probes": {"kinds": ["statement", "cloze"]}}) == (
        "kedro run '--params=probes.kinds=statement cloze'"
    )
    assert command_again(["a", "b"], None, {}, {}) == "kedro run --pipelines=a,b"
    assert dict(flatten({"a": {"b": {"c": 1}}, "d": {}})) == {"a.b.c": 1, "d": {}}
