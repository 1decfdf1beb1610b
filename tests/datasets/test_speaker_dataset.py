import re
from pathlib import Path

import pytest
import yaml
from kedro.io import DataCatalog, DatasetError

from edit_robustness.context import speakers_models
from edit_robustness.datasets import LanguageModelDataset, SpeakerDataset
from edit_robustness.datasets.speakers import _Beside
from edit_robustness.records import Turn
from edit_robustness.speakers.endpoint import EndpointSpeaker
from edit_robustness.speakers.local import LocalSpeaker
from edit_robustness.speakers.scripted import ScriptedSpeaker
from edit_robustness.speakers.unset import SpeakerNotConfigured, UnsetSpeaker

TINY = {"name": "tiny", "random": "llama", "device": "cpu"}
OTHER = {"name": "other", "random": "gpt2", "device": "cpu"}
KEY = "sk-nobody-may-see-this"


@pytest.fixture
def loaded_names(free_slot, monkeypatch):
    """Record the models that are loaded in a test, in order."""
    names = []
    original = LanguageModelDataset._from_source

    def counted(dataset):
        names.append(dataset._name)
        return original(dataset)

    monkeypatch.setattr(LanguageModelDataset, "_from_source", counted)
    yield names
    _Beside.slot.model = _Beside.slot.key = None


def test_a_script(tmp_path):
    speaker = SpeakerDataset("scripted", script=[["Why, {subject}?"]], seed=3, name="asker").load()
    assert isinstance(speaker, ScriptedSpeaker)
    assert speaker.name == "asker"
    assert speaker.replies([[Turn("system", "Subject: Bo"), Turn("user", "Go")]]) == ["Why, Bo?"]


def test_a_place_that_is_not_filled():
    speaker = SpeakerDataset("unset", name="writer").load()
    assert isinstance(speaker, UnsetSpeaker)
    with pytest.raises(SpeakerNotConfigured, match="`writer` is not configured"):
        speaker.replies([])


def test_a_model_that_is_in_memory_is_shared(loaded_names):
    model_dataset = LanguageModelDataset(**TINY)
    lm = model_dataset.load()
    tester = SpeakerDataset("local", model=TINY, max_new_tokens=3)
    speaker = tester.load()
    assert isinstance(speaker, LocalSpeaker)
    assert speaker._lm is lm
    assert loaded_names == ["tiny"]
    tester._release()
    assert model_dataset.load() is lm
    assert loaded_names == ["tiny"]


def test_another_model_stands_beside_the_edited_one_and_is_freed(loaded_names):
    model_dataset = LanguageModelDataset(**TINY)
    lm = model_dataset.load()
    tester, judge = SpeakerDataset("local", model=OTHER), SpeakerDataset("local", model=OTHER, temperature=0.5)
    assert tester.load()._lm is judge.load()._lm
    assert model_dataset.load() is lm
    assert loaded_names == ["tiny", "other"]
    tester._release()
    assert _Beside.slot.model is None
    assert model_dataset.load() is lm


def test_an_endpoint_and_its_secret(tmp_path):
    dataset = SpeakerDataset(
        "endpoint", url="https://wise.example/v1", model="wise-1", cache=str(tmp_path), credentials={"key": KEY}
    )
    assert isinstance(dataset.load(), EndpointSpeaker)
    assert KEY not in repr(dataset) + str(dataset) + dataset.load().fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "oracle"}, "no speaker `oracle`; there are unset, scripted, local, endpoint"),
        ({"kind": "scripted", "temperature": 1.0}, "`scripted` takes no `temperature`; it takes name, script, seed"),
        ({"kind": "local"}, "`local` needs `model:`"),
        ({"kind": "local", "model": "tiny"}, "`tiny` is known by name inside a project's catalog only"),
        ({"kind": "local", "model": TINY, "temperature": -1.0}, "temperature"),
        ({"kind": "endpoint", "model": "m", "cache": "c"}, "`endpoint` needs `url:`"),
        ({"kind": "endpoint", "model": "m", "url": "https://a", "cache": "c", "credentials": {"k": KEY}}, "`key: ...`"),
        ({"kind": "endpoint", "model": "m", "url": "a", "cache": "c"}, "not a URL"),
        ({"kind": "endpoint", "model": "m", "url": "https://a", "cache": "c", "manners": {"attempts": 0}}, "attempts"),
    ],
)
def test_slips_in_settings_are_found_at_once(settings, message):
    with pytest.raises((ValueError, DatasetError), match=message) as error_info:
        SpeakerDataset(**settings)
    assert KEY not in str(error_info.value)


def test_the_examples_of_the_document_can_be_made():
    text = (Path(__file__).parents[2] / "docs/how-to/conversation.md").read_text(encoding="utf-8")
    entries = {
        k: v for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) for k, v in yaml.safe_load(block).items()
    }
    secret = entries.pop("judge_key")
    entries["judge"]["credentials"] = secret
    entries["smollm2.language_model"] = TINY
    result = speakers_models(entries)
    assert sorted(result) == ["judge", "smollm2.language_model", "tester"]
    for name in ("judge", "tester"):
        SpeakerDataset(**{k: v for k, v in result[name].items() if k != "type"})


def test_nothing_is_written():
    with pytest.raises(DatasetError, match="read only"):
        SpeakerDataset("unset").save("x")


def test_a_catalog_names_a_model(loaded_names):
    entry = {"type": "edit_robustness.datasets.LanguageModelDataset", "metadata": {"kedro-viz": {}}, **TINY}
    catalog = {
        "tiny.language_model": entry,
        "tester": {"type": "edit_robustness.datasets.SpeakerDataset", "kind": "local", "model": "tiny"},
        "judge": {"type": "edit_robustness.datasets.SpeakerDataset", "kind": "endpoint", "model": "tiny"},
    }
    catalog_entries = speakers_models(catalog)
    assert catalog_entries["tester"]["model"] == TINY
    assert catalog_entries["judge"] == catalog["judge"]
    result = DataCatalog.from_config({name: catalog_entries[name] for name in ("tiny.language_model", "tester")})
    assert result.load("tester")._lm.fingerprint == result.load("tiny.language_model").fingerprint
    with pytest.raises(
        ValueError, match="speaker `tester` uses model `tony`, which is not in the catalog; available models: tiny"
    ):
        speakers_models({**catalog, "tester": {**catalog["tester"], "model": "tony"}})
