"""Editing in Python, without Kedro."""

import re
import subprocess
import sys

import pytest
import torch
import yaml
from fabricated_edits import REPOSITORY

import edit_robustness
from edit_robustness import Fact, ask, load_model, method_for, read_training_facts
from edit_robustness.api import PACKAGED
from edit_robustness.datasets import LanguageModelDataset
from edit_robustness.editing.methods import METHODS

PROMPT = "The capital of {} is"
FRANCE = Fact("france", "France", "capital", PROMPT, "Paris", "Lyon")
SPAIN = Fact("spain", "Spain", "capital", PROMPT, "Madrid", "Seville")
TEXTS = ["The river runs through the old town to the sea, and the boats come in at night."] * 8


@pytest.fixture
def tiny(free_slot):
    return load_model("random:llama", device="cpu")


def snippet(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "method_for" in code]
    return code


def test_the_lines_of_the_documents_edit_the_embedded_model(smollm2, monkeypatch):
    code = snippet("README.md")
    assert snippet("docs/how-to/python.md") == code
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    # the model that the other tests have converted, which is the same
    monkeypatch.setattr("edit_robustness.api.load_model", lambda source: smollm2)
    # a logger of another test in this process may write to the same stream as `print`
    lines: list[str] = []
    exec(compile(code, "README.md", "exec"), {"print": lines.append})
    edited_line, *other_lines = lines
    assert edited_line.startswith("Lyon")
    assert all(line.startswith("Paris") for line in other_lines)


def test_the_package_is_imported_without_torch():
    script = "import sys, edit_robustness; assert edit_robustness.__version__; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edit_robustness.nothing


def test_the_packaged_model_is_that_of_the_catalog():
    catalog = yaml.safe_load((REPOSITORY / "conf/base/catalog_models.yml").read_text(encoding="utf-8"))
    for name, package in PACKAGED.items():
        assert package.items() <= catalog[f"{name}.language_model"].items()


def test_defaults_and_the_models_own_texts_are_used_with_a_warning_each(tiny, caplog):
    before = tiny.fingerprint
    memit = method_for("memit", tiny, v_steps=2)
    defaults_warning, texts_warning = [
        record.message for record in caplog.records if record.name == "edit_robustness.api"
    ]
    assert defaults_warning.startswith(
        "llama: memit uses hyperparameters derived from those of smollm2: layers=[0, 1], "
    )
    assert "v_steps" not in defaults_warning
    assert texts_warning.startswith("llama: no texts are given, so that the model writes those that memit reads")
    assert memit.settings["v_steps"] == 2
    edit = memit.edit(FRANCE, SPAIN)
    assert edit.origin.facts == ("france", "spain")
    with edit.applied(tiny):
        assert isinstance(ask(tiny, FRANCE.statement, max_new_tokens=4), str)
    assert load_model("random:llama", device="cpu").fingerprint == before


def test_settings_and_texts_that_are_given_are_used(tiny, caplog):
    ft = method_for("ft", tiny, layer=1, lr=0.01, steps=2, stop_loss=0.01)
    assert not caplog.records
    assert len(list(ft.edit_each([FRANCE, SPAIN]))) == 2
    rome = method_for("rome", tiny, texts=TEXTS, v_steps=2, mom2_tokens=100)
    assert "no texts" not in caplog.text
    assert torch.isfinite(next(iter(rome.edit(FRANCE).dense().values()))).all()


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("easyedit", "external", "mend", "serac")])
def test_every_method_that_is_not_trained_edits_with_its_defaults(name, tiny):
    quick = {"v_steps": 2, "steps": 2}
    settings = {key: value for key, value in quick.items() if key in METHODS[name].__pydantic_fields__}
    training_facts, relations = read_training_facts([FRANCE])
    assert "France" not in {fact.subject for fact in training_facts}
    ready = method_for(name, tiny, texts=TEXTS, training_facts=training_facts, relations=relations, **settings)
    with ready.edit(FRANCE).applied(tiny):
        ask(tiny, FRANCE.statement, max_new_tokens=2)


def test_what_is_wrong_is_told_with_what_there_is(tiny, tmp_path):
    with pytest.raises(ValueError, match="there is no method `rom`; did you mean `rome`"):
        method_for("rom", tiny)
    with pytest.raises(ValueError, match=r"ft\.layer: there is no layer 20; llama has layers 0 to 3"):
        method_for("ft", tiny, layer=20)
    with pytest.raises(ValueError, match="ike learns from other facts than those that it edits: give `training_facts`"):
        method_for("ike", tiny)
    with pytest.raises(ValueError, match="external has no defaults: give path"):
        method_for("external", tiny)
    with pytest.raises(ValueError, match=r"no model folder smollm3, and no packaged model of that name \(smollm2\)"):
        load_model("smollm3")
    with pytest.raises(ValueError, match="edits one fact per call, and was given 2"):
        method_for("rome", tiny, texts=TEXTS, mom2_tokens=100).edit(FRANCE, SPAIN)


def test_a_model_folder_is_loaded(tiny, tmp_path, free_slot):
    tiny.model.save_pretrained(tmp_path / "mine")
    tiny.tokenizer.save_pretrained(tmp_path / "mine")
    assert load_model(tmp_path / "mine", device="cpu").name == "mine"
    assert LanguageModelDataset.slot.model.name == "mine"
