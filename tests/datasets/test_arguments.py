"""Settings of data sets in the catalog: each slip is one error that names the setting, before anything is loaded."""

import inspect

import pytest
from kedro.io import DataCatalog

from edit_robustness import datasets
from edit_robustness.datasets.tables import Atomic
from edit_robustness.errors import describe, is_expected

SOURCE = "edit_robustness.datasets."
TINY = {"name": "t", "random": "llama"}
ENDPOINT = {"kind": "endpoint", "url": "https://host/v1", "model": "m", "cache": "c"}


@pytest.mark.parametrize(
    ("kind", "settings", "line"),
    [
        ("CorpusSourceDataset", {"limit": "many"}, "limit: Input should be a valid integer.*'many'"),
        ("CorpusSourceDataset", {"limit": -1}, "limit: Input should be greater than 0"),
        ("CorpusSourceDataset", {"path": 5}, r"path: Input should be a valid string \(it is 5\)"),
        ("CorpusSourceDataset", {"tokens": 0}, "tokens: Input should be greater than 0"),
        ("CorpusSourceDataset", {"pat": "x"}, "pat: there is no such setting; there are path, column, limit"),
        ("FactsDataset", {"path": "x", "limit": "x"}, "limit: Input should be a valid integer"),
        ("FactsDataset", {"path": ["x"]}, "path: Input should be a valid string"),
        ("FactsDataset", {}, "path: it is missing"),
        ("BenchmarkFiles", {"files": ["mmlu"]}, "files: Input should be a valid"),
        ("BenchmarkFiles", {"folder": 5}, "folder: Input should be a valid string"),
        ("LanguageModelDataset", {**TINY, "device": 5}, "device: Input should be a valid string"),
        ("LanguageModelDataset", {**TINY, "dtype": ["float32"]}, "dtype: Input should be a valid string"),
        (
            "LanguageModelDataset",
            {**TINY, "revision": "x"},
            "source `random` takes no `revision`; it takes random, seed",
        ),
        ("LanguageModelDataset", {**TINY, "seed": "x"}, r"seed: Input should be a valid integer.* \(it is 'x'\)"),
        ("LanguageModelDataset", {"name": "t", "hub": "a/b", "revison": "x"}, "revison: there is no such setting"),
        ("SpeakerDataset", {"kind": "unset", "sript": []}, "sript: there is no such setting; there are kind, name"),
        ("SpeakerDataset", {"kind": "scripted", "script": "hello"}, "script: Input should be a valid list"),
        ("SpeakerDataset", {"kind": "scripted", "script": ["hello"]}, r"script\.0: Input should be a valid list"),
        ("SpeakerDataset", {"kind": "local", "model": {**TINY, "foo": 1}}, "foo: there is no such setting"),
        ("SpeakerDataset", {**ENDPOINT, "manners": ["x"]}, "manners: Input should be a valid dictionary"),
        ("SpeakerDataset", {**ENDPOINT, "options": "x"}, "options: Input should be a valid dictionary"),
        ("SpeakerDataset", {**ENDPOINT, "url": "https://host:abc/v1"}, "url: not a URL such as"),
        ("SpeakerDataset", {**ENDPOINT, "url": "https://[host/v1"}, "url: not a URL such as"),
    ],
)
def test_a_slip_names_the_data_set_and_the_setting(kind, settings, line):
    with pytest.raises(Exception, match="instantiate") as error_info:
        DataCatalog.from_config({"mine": {"type": SOURCE + kind, **settings}})["mine"]
    assert is_expected(error_info.value)
    message = describe(error_info.value)
    assert message.startswith("mine: ")
    assert "\n" not in message
    with pytest.raises(Exception, match=line):
        raise ValueError(message)


def test_credentials_are_in_no_error():
    with pytest.raises(ValueError, match=r"credentials: Input should be a valid dictionary$") as error_info:
        datasets.SpeakerDataset(**ENDPOINT, credentials="sesame")
    assert error_info.value.__cause__ is None
    assert error_info.value.__suppress_context__


def test_every_data_set_of_a_user_is_checked():
    """A constructor that is not would end in a TypeError of its own."""
    settings_of = [
        kind for kind in map(datasets.__dict__.get, datasets.__all__) if kind.__module__ != Atomic.__module__
    ]
    for kind in settings_of:
        if inspect.isclass(kind) and not inspect.isabstract(kind) and hasattr(kind, "save"):
            with pytest.raises(ValueError, match=r"no_such_setting: there is no such setting|: it is missing"):
                kind(no_such_setting=1)


@pytest.mark.parametrize(
    ("device", "message"), [("gpu", "torch knows no `gpu`; use `auto`"), ("cuda:99", "torch sees ")]
)
def test_a_device_that_is_not_there_is_told(device, message):
    with pytest.raises(Exception, match=message):
        datasets.LanguageModelDataset("t", random="llama", device=device).load()


def test_kedro_records_the_settings_of_a_source_by_their_names_and_makes_the_same_again():
    for kind, settings in (
        (datasets.LanguageModelDataset, {**TINY, "seed": 3}),
        (datasets.SpeakerDataset, {"kind": "scripted", "seed": 2}),
    ):
        result = kind(**settings)
        record = result._init_config()
        assert settings.items() <= record.items()
        again = kind(**{name: value for name, value in record.items() if name != "type"})
        assert again._describe() == result._describe()
