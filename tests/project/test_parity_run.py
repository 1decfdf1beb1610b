"""`kedro run --pipeline=parity`: both codes on the same facts, from their edits to a page."""

import sys

import pandas as pd
import pytest
from fake_easyedit import Fork, settings_of

from edit_robustness.editing.easyedit import process

PIPELINE = {"pipeline_names": ["parity"]}


@pytest.fixture
def clone(project, monkeypatch):
    """A folder in the shape of a clone of EasyEdit, where the test environment names it."""
    monkeypatch.setattr(process, "Popen", Fork)
    project.data.mkdir(parents=True, exist_ok=True)
    for method in ("MEMIT", "GRACE"):
        settings_of(project.data, method, layers=[2])
    return project.data / "clone"


def run(project, **settings):
    project.run(**PIPELINE, parameters={"parity": {"python": sys.executable, **settings}})


def test_both_codes_edit_the_same_facts_and_are_compared(project, clone):
    run(project)
    facts, summary = project.table("parity_facts"), project.table("parity_summary")
    assert len(facts) == 4
    assert set(facts["method"]) == {"memit", "grace"}
    assert (facts["failure_ours"] == "").all()
    assert (facts["failure_easyedit"] == "").all(), facts["failure_easyedit"].tolist()
    assert facts["cosine"].abs().max() < 0.9, "the pretended clone makes other edits"
    assert (facts["cpu_seconds_easyedit"] > 0).all()
    assert summary["n_compared"].tolist() == [2, 2]
    assert summary[["efficacy_ours", "efficacy_easyedit"]].notna().all(axis=None)
    assert not len(project.table("parity_failed_items"))
    page = (project.latest / "parity.html").read_text(encoding="utf-8")
    assert "Do both codes make the same edits?" in page
    assert pd.read_csv(project.latest / "parity_summary.csv").shape[0] == 2

    edits = project.data / "07_model_output/tiny.parity/edits"
    times = {path: path.stat().st_mtime_ns for path in edits.glob("*.safetensors")}
    assert len(times) == 9
    victim = next(path for path in times if "grace.easyedit" in path.name)
    victim.unlink()
    run(project)
    again = {path: path.stat().st_mtime_ns for path in edits.glob("*.safetensors")}
    assert [path for path in times if again[path] != times[path]] == [victim]


def test_a_method_that_fails_is_told_on_the_page_and_costs_its_own_edits(project, clone):
    hparams = settings_of(project.data, "Dead")["hparams"]
    with pytest.raises(Exception, match="2 items failed"):
        run(project, pairs={"tiny": {"ft": {"method": "Dead", "hparams": hparams}, "memit": None, "grace": None}})
    assert "the last thing that it says" in project.table("parity_facts")["failure_easyedit"][0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clone": ""}, r"parity\.clone: it is not set: give the folder of your clone of EasyEdit and the Python"),
        ({"clone": "nowhere"}, r"parity\.clone: nowhere is not a clone of EasyEdit \(there is no such folder\)"),
        ({"python": "no-python"}, r"parity\.python: no-python cannot be run"),
        (
            {"pairs": {"tiny": {"memit": {"method": "MEMIT", "hparams": "none.yaml"}}}},
            r"parity\.pairs\.tiny\.memit\.hparams: there is no file none\.yaml",
        ),
        (
            {"pairs": {"tiny": {"memit": {"method": "WISE", "hparams": "none.yaml"}}}},
            r"parity\.pairs\.tiny\.memit\.method: EasyEdit's WISE cannot be used here: it wraps the model",
        ),
        (
            {"pairs": {"tiny": {"memit": {"method": "MEMIT", "hparams": "none.yaml", "settings": {"layer": 3}}}}},
            r"parity\.pairs\.tiny\.memit\.settings\.layer: Unexpected keyword argument",
        ),
        (
            {"pairs": {"tiny": {"mend": {"method": "MEND", "hparams": "none.yaml"}}}},
            r"parity\.pairs\.tiny\.mend: `mend` cannot be compared here: it learns from facts",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_before_the_model_is_asked_anything(project, clone, settings, message):
    with pytest.raises(Exception, match=message):
        run(project, **settings)
    assert not (project.data / "04_feature").exists()


def test_a_pair_without_such_a_method_is_told(project):
    with pytest.raises(Exception, match=r"parity\.pairs\.tiny: no method `rom`; did you mean `rome`"):
        run(project, pairs={"tiny": {"rom": {"method": "ROME", "hparams": "none.yaml"}}})
