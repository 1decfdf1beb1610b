"""Slips in the facts or in the settings are told, by name, before any model is loaded."""

import pandas as pd
import pytest
from kedro.io import DatasetError

COLUMNS = ["id", "subject", "relation", "target_true", "target_new", "prompt"]
GOOD = [
    ["good-1", "Lima", "mine", "Peru", "Chad", "The country of {} is"],
    ["good-2", "القاهرة", "mine", "مصر", "اليونان", "تقع {} في"],
]
BAD = {
    "subject is empty": ["b1", "", "mine", "Peru", "Chad", "The country of {} is"],
    "subject is not in its prompt": ["b2", "Oslo", "mine", "Norway", "Chad", "The country of Rome is"],
    "new object equals the old": ["b3", "Oslo", "mine", "Norway", "norway", "The country of {} is"],
    "duplicate": ["b4", "Lima", "mine", "Peru", "Mali", "The country of {} is"],
    "subject is too long": ["b5", "x" * 100_000, "mine", "Norway", "Chad", "The country of {} is"],
    "prompt is too long": ["b6", "Rome", "mine", "Italy", "Chad", "{} " + "x" * 100_000],
    "unknown relation": ["b7", "לונדון", "P0", "אנגליה", "Chad", ""],
}


def write_facts(project, rows, columns=COLUMNS):
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(project.folder / "data" / "01_raw" / "facts.csv", index=False)


def test_bad_rows_are_rejected_before_a_model_is_loaded(project, no_model):
    write_facts(project, [*GOOD, *BAD.values()])
    with pytest.raises(Exception, match="tiny was loaded"):
        project.run()
    rejects = pd.read_csv(project.data / "03_primary" / "rejects.csv")
    assert len(rejects) == len(BAD)
    for reason, (text, row) in zip(rejects["reason"], BAD.items(), strict=True):
        assert reason.startswith(text), row
        assert len(reason) < 300
    facts = pd.read_parquet(project.data / "03_primary" / "facts.parquet")
    assert facts["subject"].tolist() == ["Lima", "القاهرة"]


def test_right_to_left_facts_are_edited_asked_and_shown(project):
    same_relation = [[f"g{n}", f"Town {n}", "mine", "Peru", "Chad", "The country of {} is"] for n in range(4)]
    write_facts(project, [*GOOD, *same_relation, BAD["unknown relation"]])
    methods = {"none": True, "rome": True, "ft": False, "ike": False, "context": True}
    project.run(parameters={"grid": {"tiny": methods}, "sample": {"size": 0}})
    answers = project.table("answers")
    statement = answers[(answers["fact_id"] == "good-2") & (answers["kind"] == "statement")]
    assert set(statement["prompt"]) == {"تقع القاهرة في"}
    assert set(statement["method"]) == {"none", "rome", "context"}
    assert "לונדון" in (project.latest / "report.html").read_text()


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            [row[:4] + row[5:] for row in GOOD],
            [c for c in COLUMNS if c != "target_new"],
            "`format: table` needs records with subject, target_new, and the first has id, ",
        ),
        (list(BAD.values())[:2], COLUMNS, "all 2 rows of the table of facts were rejected"),
        ([], COLUMNS, r"facts\.csv: it has no rows"),
    ],
)
def test_a_table_that_cannot_be_used(project, no_model, rows, columns, message):
    write_facts(project, rows, columns)
    with pytest.raises((ValueError, DatasetError), match=message):
        project.run()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"grid": {"tinny": {"none": True}}}, "no model `tinny` in the catalog; did you mean `tiny`"),
        ({"facts_pth": "x.csv"}, "unknown parameter `facts_pth`; did you mean `facts_path`"),
        ({"methods": {"rome": {"tiny": {"v_lr": -1}}}}, r"methods\.rome\.tiny\.v_lr: .* greater than 0; it is -1"),
        ({"methods": {"rome": {"tiny": {"layer": 99}}}}, r"methods\.rome\.tiny\.layer: there is no layer 99; tiny has"),
        ({"wordings": {"by": "writer"}}, "wordings.by: writer, but nobody writes: give the catalog's entry `writer`"),
        ({"wordings": {"by": "table"}}, r"wordings.by: table, but there is no file data/01_raw/frozen_wordings\.csv"),
        ({"facts": "zsree"}, "facts: no data set `zsree` in the catalog; did you mean `zsre`"),
        ({"facts": "tiny.language_model"}, "facts: `tiny.language_model` is a .*, which holds no table of facts; "),
    ],
)
def test_a_wrong_parameter_is_told_before_any_pipeline_is_made(project, parameters, message):
    with pytest.raises(ValueError, match=message):
        project.context(**parameters)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "catalog_x.yml",
            "raw_facts: data/my.csv",
            "catalog: `raw_facts` must be a block .* `type`.*'data/my.csv'",
        ),
        ("catalog_x.yml", "judge: {kind: local}", "catalog: `judge` must be a block of settings with a `type`"),
        ("globals.yml", "dta: data/test", "globals.yml: no setting `dta`; did you mean `data`"),
        ("globals.yml", "data:", "globals.yml: data must be the path of a folder; it is null"),
        ("globals.yml", "data: 3", "globals.yml: data must be the path of a folder; it is 3"),
    ],
)
def test_a_wrong_entry_is_told_before_any_pipeline_is_made(project, file, text, message):
    (project.folder / "conf" / "test" / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        project.context()


def test_a_table_of_wordings_is_found_from_any_folder(project, monkeypatch):
    (project.folder / "data" / "01_raw" / "frozen_wordings.csv").touch()
    monkeypatch.chdir(project.folder / "data")
    project.context(wordings={"by": "table"})


@pytest.mark.parametrize("name", ["raw_facts", "raw_training_facts", "raw_relations"])
def test_a_misspelt_data_set_lists_those_that_exist(project, no_model, name):
    catalog = project.folder / "conf" / "base" / "catalog.yml"
    catalog.write_text(catalog.read_text().replace(f"{name}:", f"{name[:-1]}:"))
    with pytest.raises(ValueError, match=f"no data set `{name}`.*there are .*{name[:-1]}.*tiny.language_model"):
        project.run()


def test_a_file_that_is_not_there_is_named(project, no_model):
    (project.folder / "data" / "01_raw" / "facts.csv").unlink()
    with pytest.raises(Exception, match=r"data/01_raw/facts\.csv"):
        project.run()
