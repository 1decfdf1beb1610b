import logging

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from one_relation import RELATIONS

from edit_robustness.pipelines import ingest, sample
from edit_robustness.pipelines.ingest.ambiguity import AMBIGUOUS_COLUMNS
from edit_robustness.pipelines.ingest.nodes import REJECT_COLUMNS, validate_facts
from edit_robustness.pipelines.sample.nodes import SampleParameters
from edit_robustness.prompts.schema import LEFT_OUT, UNREADABLE
from edit_robustness.records import Fact
from edit_robustness.tables import facts_from_table

SHORT = "subject,relation,target_new,target_true"
HEADER = "id,subject,relation,target_true,target_true_aliases,target_new,target_new_aliases,page_views,prompt"


def read(tmp_path, text, encoding="utf-8", **options):
    (tmp_path / "facts.csv").write_text(text, encoding=encoding)
    return pd.read_csv(tmp_path / "facts.csv", dtype=str, keep_default_na=False, encoding="utf-8", **options)


def rows(tmp_path, *lines, header=HEADER):
    return validate_facts(read(tmp_path, "\n".join([header, *lines])), RELATIONS)[:2]


def test_good_rows_become_facts(tmp_path):
    facts, rejects = rows(
        tmp_path,
        "fr,France,P36,Paris,Paname|Ville,Lyon,,1200,",
        ",NA,P36,null,,Lyon,,1,",
        ",القاهرة,P36,القدس,,Lyon,,,في القاهرة يوجد",
        'a b,"Foo, ""Bar""",mine,x,,y,,0,"{}, says"',
    )
    assert rejects.columns.tolist() == REJECT_COLUMNS
    assert [*rejects["reason"]] == ["id is not a file name: 'a b' (letters, digits, '_', '.', '-', at most 120)"]
    assert facts_from_table(facts)[:2] == [
        Fact("fr", "France", "P36", "The capital of {} is", "Paris", "Lyon", ("Paname", "Ville"), (), 1200),
        Fact("P36-na", "NA", "P36", "The capital of {} is", "null", "Lyon"),
    ]
    assert facts["prompt"][2] == "في {} يوجد"


def test_bad_rows_are_named_and_rejected(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        facts, rejects = rows(
            tmp_path,
            "fr,France,P36,Paris,,Lyon,,,",
            "x1,,P36,Paris,,Lyon,,,",
            "x2,Spain,P36,Madrid,,madrid,,,",
            "x3,Italy,P36,Rome,,Bonn,,,Spain is",
            "x4,france,P36,Paris,,Oslo,,,",
            "fr,Chad,P36,Lima,,Oslo,,,",
            "x5,Mali,P99,Lima,,Oslo,,,",
            f"x6,{'y' * 100_000},P36,Lima,,Oslo,,,",
            "x7,Peru\x07,P36,Lima,,Oslo,,-4,",
        )
    assert facts["id"].tolist() == ["fr"]
    table = rejects.set_index("row")
    assert table["id"].tolist() == ["x1", "x2", "x3", "x4", "fr", "x5", "x6", "x7"]
    assert table["reason"][3] == "subject is empty"
    assert table["reason"][4].startswith("new object equals the old")
    assert table["reason"][5].startswith("subject is not in its prompt")
    assert table["reason"][6] == "duplicate: row 2 has the same subject and relation"
    assert table["reason"][7].startswith("id is taken: row 2 has 'fr' too")
    assert table["reason"][8].startswith("unknown relation: 'P99'")
    assert "100000 characters" in table["reason"][9]
    assert len(table["subject"][9]) < 50
    assert table["reason"][10].startswith("subject holds a control character")
    assert table["subject"][10] == r"Peru\x07"
    assert "8 of 9 rows" in caplog.text
    rejects.to_parquet(tmp_path / "rejects.parquet")


def test_a_row_that_is_rejected_takes_no_place(tmp_path):
    facts, _ = rows(tmp_path, "a,France,P36,Paris,,Paris,,,", "a,France,P36,Paris,,Lyon,,,")
    assert facts["target_new"].tolist() == ["Lyon"]


def test_a_missing_column_is_named_with_those_present(tmp_path):
    lacks = (
        r"lacks target_new, prompt or relation; it has subject, target_true, object. It needs subject, target_new, and"
    )
    with pytest.raises(ValueError, match=lacks):
        rows(tmp_path, "a,b,c", header="subject,target_true,object")


def test_only_the_required_columns_are_needed(tmp_path):
    facts, rejects = rows(tmp_path, "France,P36,Paris,Lyon", header="\ufeffsubject, relation,target_true,target_new")
    assert facts["id"].tolist() == ["P36-france"]
    assert len(rejects) == 0


def test_when_nothing_is_left_the_commonest_reasons_are_given(tmp_path):
    with pytest.raises(
        ValueError, match=r"all 3 rows .* rejected: subject is empty \(2\), new object equals the old \(1\)"
    ):
        rows(tmp_path, ",,P36,a,,b,,,", "x,Spain,P36,a,,a,,,", ",,P36,a,,b,,,")
    with pytest.raises(ValueError, match="has no rows"):
        rows(tmp_path)


def test_tables_with_types_of_their_own_are_read():
    raw = pd.DataFrame(
        {
            "subject": ["France", "Spain", None],
            "relation": "P36",
            "target_true": ["Paris", "Madrid", "x"],
            "target_new": ["Lyon", "Oslo", "y"],
            "page_views": [12.0, np.nan, 3.0],
            "prompt": [None, None, "{} is"],
        }
    )
    facts, rejects, _ = validate_facts(raw, RELATIONS)
    assert facts["page_views"].isna().tolist() == [False, True]
    assert facts["page_views"][0] == 12
    assert rejects["reason"].tolist() == ["subject is empty"]


def test_failed_look_ups_are_counted(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        facts, _ = rows(tmp_path, "a,France,P36,Paris,,Lyon,,1,", "b,Spain,P36,Madrid,,Oslo,,0,", "c,Chad,P36,x,,y,,2,")
    assert facts["page_views"].isna().tolist() == [True, True, False]
    assert "taken as unknown: 2 rows" in caplog.text


def test_an_old_object_may_be_left_to_the_model(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        facts, rejects = rows(tmp_path, "France,P36,Lyon,", "Spain,P36,Oslo,Madrid", header=SHORT)
    assert facts["target_true"].tolist() == ["", "Madrid"]
    assert rejects.empty
    assert "1 facts name no old object" in caplog.text
    assert rows(tmp_path, "France is ruled from,France,Lyon", header="prompt,subject,target_new")[0]["relation"][0] == (
        "{} is ruled from"
    )


def test_headers_that_become_the_same_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"several columns called subject \(capitals and outer spaces aside\)"):
        rows(tmp_path, "a,b,c,d", header="subject,Subject ,target_new,prompt")
    facts, _ = rows(tmp_path, "France,P36,Lyon,Paris", header="Subject,RELATION, target_new ,target_true")
    assert facts["id"].tolist() == ["P36-france"]


def test_what_readers_leave_out_is_counted_by_group(caplog):
    raw = pd.DataFrame(
        {
            "subject": ["a", "b", "c", ""],
            "target_new": "x",
            "prompt": "{} is",
            LEFT_OUT: [["locality F"] * 2, ["locality F", "portability R"], [], None],
        }
    )
    with caplog.at_level(logging.WARNING):
        facts, rejects, _ = validate_facts(raw, RELATIONS)
    assert len(facts) == 3
    assert list(zip(rejects["row"], rejects["reason"], strict=True)) == [
        (5, "subject is empty"),
        (0, "left out: 3 prompts of 2 rows: locality F"),
        (0, "left out: 1 prompts of 1 rows: portability R"),
    ]
    assert "3 prompts of 2 rows: locality F; " in caplog.text


def test_what_a_reader_could_not_read_is_a_reason_and_names_nothing(tmp_path):
    raw = pd.DataFrame(
        [
            {"subject": "a", "target_new": "x", "prompt": "{} is"},
            {UNREADABLE: "obj is a list: \ud800"},
            {"subject": ["a"] * 50, "target_new": "x", "prompt": "{} is"},
            {"subject": "b", "target_new": "x", "prompt": "{} is", "id": "東" * 27},
        ],
        dtype=object,
    )
    _, rejects, ambiguous = validate_facts(raw, RELATIONS)
    assert [reason.split(":")[0] for reason in rejects["reason"]] == [
        "obj is a list",
        "subject is a list, not text",
        "id is too long for a file name",
    ]
    assert rejects["subject"].str.len().max() < 50
    rejects.to_csv(tmp_path / "rejects.csv")
    assert ambiguous.empty


def test_rejects_carry_the_rows_of_the_file():
    raw = pd.DataFrame({"subject": ["a", ""], "target_new": "b", "prompt": "{} is"}, index=pd.Index([7, 9], name="row"))
    _, rejects, _ = validate_facts(raw, RELATIONS)
    assert rejects["row"].tolist() == [9]


def test_names_that_mean_several_things_are_listed(tmp_path, caplog):
    table = read(
        tmp_path,
        "\n".join(
            [
                "subject,subject_id,relation,target_true,target_new,prompt",
                "Life,Q1,P57,A,C,{} is by",
                "life ,Q2,P58,B,C,{} is by",
                "Oslo,Q3,P36,X,C,{} is by",
                "Oslo,Q3,P37,Y,C,{} is by",
                "Bonn,,P190,K,C,{} is by",
                "Bonn,,P190,L,C,{} is by",
                "Bonn,,P36,M,C,{} is by",
                "Rome,,P36,R,C,{} is by",
                "Rome,,P36,r,C,{} is by",
                ",,P36,R,C,{} is by",
                ",,P36,S,C,{} is by",
            ]
        ),
    )
    with caplog.at_level(logging.INFO):
        _, rejects, ambiguous = validate_facts(table, RELATIONS)
    assert ambiguous.columns.tolist() == AMBIGUOUS_COLUMNS
    assert list(zip(ambiguous["row"], ambiguous["why"], strict=True)) == [
        (2, "items Q1, Q2"),
        (3, "items Q1, Q2"),
        (6, "2 objects of one relation"),
        (7, "2 objects of one relation"),
    ]
    assert rejects["row"].tolist() == [7, 10, 11, 12]
    assert "2 names of subjects are ambiguous, in 4 rows" in caplog.text


def test_the_pipelines_run(tmp_path):
    raw = read(tmp_path, "\n".join([HEADER, "fr,France,P36,Paris,,Lyon,,12,", "es,Spain,P36,Madrid,,Oslo,,13,"]))
    catalog = DataCatalog(
        {
            "raw_facts": MemoryDataset(raw),
            "raw_training_facts": MemoryDataset(raw[raw["id"] == "es"]),
            "raw_relations": MemoryDataset(RELATIONS),
            "recall": MemoryDataset(pd.DataFrame({"fact_id": ["fr", "es"], "recalled": [True, False]})),
            "params:sample": MemoryDataset(SampleParameters(size=1)),
        }
    )
    outputs = SequentialRunner().run(ingest.create_pipeline() + sample.create_pipeline(), catalog)
    assert len(outputs["sampled_facts"].load()) == 1
    assert len(outputs["rejects"].load()) == 0
    assert outputs["training_facts"].load()["id"].tolist() == ["es"]
