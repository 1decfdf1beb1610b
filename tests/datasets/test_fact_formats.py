"""Every published form gives the same facts from JSON, JSONL, CSV, TSV and Parquet, and the same rows are refused."""

import json
import random
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedro.io import DatasetError
from one_relation import RELATIONS

from edit_robustness.datasets import FactsDataset
from edit_robustness.pipelines.ingest.nodes import validate_facts
from edit_robustness.tables import facts_from_table


def counterfact(case, subject, true, new, **fields):
    return {
        "case_id": case,
        "requested_rewrite": {
            "prompt": "{} was forged by",
            "relation_id": "P176",
            "target_new": {"str": new, "id": "Q2"},
            "target_true": {"str": true, "id": "Q1"},
            "subject": subject,
        },
        "paraphrase_prompts": [f'It\'s "raining", so it is. {subject} was made by', f"Who made {subject}? It was"],
        "neighborhood_prompts": ["Glamdring was forged by", "Orcrist was forged by"],
    } | fields


RECORDS = {
    "counterfact": [
        counterfact(0, "Sting", "Elves", "Dwarves", _subject_pageviews_2021_10=31.0),
        counterfact(8, "L'épée", "O'Neill", "Ents", _subject_pageviews_2021_10=None),
    ],
    "counterfact_flat": [
        {
            "case_id": case,
            "prompt": f"{subject} was forged by",
            "subject": subject,
            "target_new": "Dwarves",
            "ground_truth": true,
            "rephrase_prompt": "",
            "locality_prompt": asked,
            "locality_ground_truth": "Elves",
        }
        for case, subject, true, asked in [
            (0, "Sting", ["Elves", "Eldar"], "Glamdring was forged by"),
            (1, "Herugrim", ["Men"], "nq question: who carried a lamp"),
        ]
    ],
    "zsre": [
        {
            "subject": subject,
            "src": f"When was {subject} forged?",
            "rephrase": f"In which year was {subject} made?",
            "alt": new,
            "answers": answers,
            "loc": "nq question: who carried a lamp",
            "loc_ans": "Diogenes",
            "portability": hop,
        }
        for subject, new, answers, hop in [
            ("Sting", 1999, ["1403", "the year 1403"], {"New Question": "Which age is that?", "New Answer": "First"}),
            ("Herugrim", 2001, ["2510"], None),
        ]
    ],
    "zsre_knowedit": [
        {
            "subject": "Sting",
            "prompt": "Who forged Sting?",
            "target_new": "Dwarves",
            "ground_truth": ["Elves"],
            "rephrase_prompt": "By whom was Sting forged?",
            "portability": {
                "Reasoning": [{"prompt": "How tall are the smiths of Sting?", "ground_truth": [["Short", "small"]]}],
                "Subject_Aliasing": None,
            },
            "locality": {
                "Relation_Specificity": [{"prompt": "Sting is a kind of", "ground_truth": [["sword"], ["blade"]]}],
                "Forgetfulness": [{"prompt": "Besides Dwarves, Sting was forged by", "ground_truth": [["Elves"]]}],
            },
        },
        {
            "subject": "Herugrim",
            "prompt": "Who forged Herugrim?",
            "target_new": "Ents",
            "ground_truth": ["Men"],
            "rephrase_prompt": None,
            "portability": {
                "Subject_Aliasing": [{"prompt": "Who forged the king's sword?", "ground_truth": [["Ents"]]}]
            },
            "locality": {"Relation_Specificity": []},
        },
    ],
    "popqa": [
        {
            "id": number,
            "subj": subject,
            "prop": "author",
            "obj": obj,
            "question": f"Who made {subject}?",
            "possible_answers": json.dumps([obj, f"the {obj}"]),
            "s_aliases": ["The Blade", "It's"],
            "o_aliases": [f"{obj}s"],
            "s_pop": views,
        }
        for number, subject, obj, views in [(0, "Sting", "Elf", 99), (1, "Herugrim", "Man", None)]
    ],
    "known_facts": [
        {"known_id": n, "subject": subject, "attribute": obj, "template": "{} is by", "relation_id": "X1"}
        for n, (subject, obj) in enumerate([("Sting", "Elves"), ("Herugrim", "Men")])
    ],
    "table": [
        {
            "subject": "Sting",
            "prompt": "Sting was forged in",
            "target_new": 1999,
            "target_true_aliases": ["1403", "MCDIII"],
            "paraphrases": ["Sting | made in", "Sting's year is"],
            "page_views": 12,
            "neighbours": [{"prompt": "Orcrist was forged in", "target": "1402", "aliases": ["MCDII"]}],
            "relation_specificity": [{"prompt": "Sting is a", "target": "sword", "subject": "Sting"}],
            "unrelated": [{"prompt": "The lamp was carried by", "target": "Diogenes"}],
        },
        {
            "subject": "Herugrim",
            "prompt": "Herugrim was forged in",
            "target_new": 2001,
            "target_true_aliases": [],
            "paraphrases": None,
            "page_views": None,
            "neighbours": [{"prompt": "Sting was forged in", "target": "1403"}],
            "relation_specificity": None,
            "unrelated": None,
        },
    ],
}


def write(folder, records, suffix, cell=None):
    """Write records; lists and records in cells of CSV and TSV as `cell` writes them."""
    path = folder / f"facts.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(records), encoding="utf-8")
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    elif suffix == "parquet":
        pd.DataFrame(records).to_parquet(path)
    else:
        table = pd.DataFrame(records, dtype=object)
        if cell:
            table = table.map(lambda value: cell(value) if isinstance(value, list | dict) else value)
        table.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t"}[suffix])
    return path


def ingest(path, form="table"):
    facts, rejects, _ = validate_facts(FactsDataset(str(path), format=form).load(), RELATIONS)
    return facts_from_table(facts), rejects


@pytest.mark.parametrize("form", RECORDS)
def test_each_form_gives_the_same_facts_from_each_kind_of_file(tmp_path, form):
    expectation, rejects = ingest(write(tmp_path, RECORDS[form], "json"), form)
    assert (len(expectation), rejects["row"].tolist()) == (2, [0] if form == "zsre_knowedit" else [])
    # pandas writes lists as Python does; others write JSON
    for suffix, cell in [
        ("jsonl", None),
        ("parquet", None),
        *((s, c) for s in ("csv", "tsv") for c in (str, json.dumps)),
    ]:
        assert ingest(write(tmp_path, RECORDS[form], suffix, cell), form)[0] == expectation, (suffix, cell)


def test_lists_and_numbers_are_read_as_what_they_are(tmp_path):
    (sting, _), _ = ingest(write(tmp_path, RECORDS["table"], "csv", str))
    assert (sting.target_new, sting.target_true_aliases) == ("1999", ("1403", "MCDIII"))
    assert sting.paraphrases == ("Sting | made in", "Sting's year is")
    assert [item.target for item in (*sting.neighbours, *sting.relation_specificity, *sting.unrelated)] == [
        "1402", "sword", "Diogenes",
    ]  # fmt: skip


def test_maps_of_parquet_are_records(tmp_path):
    kind = pa.map_(pa.string(), pa.list_(pa.struct([("prompt", pa.string()), ("ground_truth", pa.list_(pa.string()))])))
    groups = {"Relation_Specificity": [{"prompt": "Sting is a kind of", "ground_truth": ["sword"]}]}
    record = RECORDS["zsre_knowedit"][0] | {"portability": None}
    columns = {name: [value] for name, value in record.items() if name not in ("locality", "portability")}
    path = tmp_path / "facts.parquet"
    pq.write_table(pa.table({**columns, "locality": pa.array([list(groups.items())], kind)}), path)
    (fact,), _ = ingest(path, "zsre_knowedit")
    assert [item.target for item in fact.relation_specificity] == ["sword"]


BAD_CELLS = {
    "list": (["Lyon"], "subject is a list, not text: ['Lyon']"),
    "record": ({"a": "Lyon"}, "subject is a record, not text: {'a': 'Lyon'}"),
    "truth": (True, "subject is true or false, not text: True"),
    "not a number": (float("nan"), "subject is empty"),
    "infinite": (float("inf"), "subject is not a number: inf"),
    "too large": (1e30, "subject is too large a number: 1e+30"),
    "too large a whole number": (10**400, "subject is too large a number"),
    "half a character": ("\ud800x", "subject holds a control character"),
    "invisible": ("\u200b\u200d", r"subject has no visible character: '\u200d'"),
    "only directions": ("\u202e\u2066", r"subject has no visible character: '\u202e\u2066'"),
}


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize(("cell", "reason"), BAD_CELLS.values(), ids=BAD_CELLS)
def test_a_cell_that_is_no_text_costs_its_row(tmp_path, suffix, cell, reason):
    good = RECORDS["table"][1]
    facts, rejects = ingest(write(tmp_path, [good | {"subject": cell}, good], suffix))
    assert [fact.subject for fact in facts] == ["Herugrim"]
    assert rejects["row"].tolist() == [1]
    assert rejects["reason"][0].startswith(reason)
    rejects.to_csv(tmp_path / "rejects.csv")


def test_bytes_and_true_or_false_in_parquet_cost_their_rows(tmp_path):
    table = {"subject": ["Sting", "Rome"], "prompt": "{} is", "target_new": [b"\xff", b"x"]}
    path = tmp_path / "facts.parquet"
    pd.DataFrame(table).to_parquet(path)
    with pytest.raises(ValueError, match=r"all 2 rows .* rejected: target_new is bytes, not text \(2\)"):
        ingest(path)
    # text that is no UTF-8 fails in its row only
    damaged_file = pa.StringArray.from_buffers(
        2, pa.py_buffer(np.array([0, 1, 2], "int32").tobytes()), pa.py_buffer(b"\xffx")
    )
    pq.write_table(pa.table({"subject": ["Sting", "Rome"], "prompt": ["{} is"] * 2, "target_new": damaged_file}), path)
    facts, rejects = ingest(path)
    assert [fact.subject for fact in facts] == ["Rome"]
    assert rejects["reason"][0].startswith("target_new cannot be read: ")


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("page_views", "1e30", "page_views is too large a number: '1e30'"),
        ("page_views", str(2**63), "page_views is too large a number: '9223372036854775808'"),
        ("neighbours", "[" * 100_000 + "]" * 100_000, "neighbours is nested too deep"),
        ("neighbours", "[" * 300_000, "neighbours is too long: 300000 characters"),
        ("target_true_aliases", "['Lyon' 'Lyons']", "target_true_aliases is a printed numpy array without commas"),
        ("target_true_aliases", "['Lyon', Lyons]", "target_true_aliases is not a list or a record in JSON or Python"),
        ("target_true_aliases", "[{'a': 1}]", "target_true_aliases is a record, not text"),
        ("target_true_aliases", "['Lyon', nan]", "target_true_aliases is not a list or a record"),
        ("target_true_aliases", "[" + "9" * 5000 + "]", "target_true_aliases is not a list or a record"),
        ("paraphrases", "[__import__('os').getcwd()]", "paraphrases is not a list or a record"),
    ],
)
def test_one_bad_cell_of_a_csv_file_costs_its_row(tmp_path, column, cell, reason):
    rows = [{"subject": name, "prompt": "{} is", "target_new": "x", column: ""} for name in ("Sting", "Rome", "Oslo")]
    rows[1][column] = cell
    facts, rejects = ingest(write(tmp_path, rows, "csv"))
    assert [fact.subject for fact in facts] == ["Sting", "Oslo"]
    assert rejects["row"].tolist() == [3]
    assert rejects["reason"][0].startswith(reason)
    assert len(rejects["reason"][0]) < 300


def test_views_as_large_as_a_table_holds_are_kept(tmp_path):
    rows = [{"subject": "Sting", "prompt": "{} is", "target_new": "x", "page_views": 2**63 - 1}]
    for suffix in ("json", "csv", "parquet"):
        assert ingest(write(tmp_path, rows, suffix))[0][0].page_views == 2**63 - 1
    with pytest.raises(ValueError, match="page_views is too large"):
        ingest(write(tmp_path, [rows[0] | {"page_views": 2**63}], "json"))


@pytest.mark.parametrize(
    "deep", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "9" * 5000], ids=["[", "{", "9"]
)
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_record_that_no_parser_takes_costs_itself(tmp_path, suffix, deep):
    good = [json.dumps(RECORDS["table"][0]), json.dumps(RECORDS["table"][1])]
    bad = json.dumps({"subject": 'a "], [" b', "prompt": "{} is", "target_new": 0}).replace("0", deep)
    lines = [good[0], bad, good[1]]
    path = tmp_path / f"facts.{suffix}"
    path.write_text(f"[{', '.join(lines)}]" if suffix == "json" else "\n".join(lines), encoding="utf-8")
    facts, rejects = ingest(path)
    assert [fact.subject for fact in facts] == ["Sting", "Herugrim"]
    assert rejects["row"].tolist() == [2]
    assert rejects["reason"][0].startswith("is no record in JSON")


def test_lines_and_entries_that_are_no_records_cost_themselves(tmp_path):
    good = json.dumps(RECORDS["table"][0])
    path = tmp_path / "facts.jsonl"
    path.write_text(f'{good}\n\n5\n{{"subject": "a\n{{"subject": "a", "subject": "b"}}\n', encoding="utf-8")
    facts, rejects = ingest(path)
    assert len(facts) == 1
    assert rejects["row"].tolist() == [3, 4, 5]
    assert [reason.split(":")[0] for reason in rejects["reason"]] == [
        "not a record",
        "is no record in JSON",
        "field twice",
    ]


WRONG = {
    "counterfact": (("requested_rewrite", "x"), "requested_rewrite is not a record: 'x'"),
    "counterfact_flat": (("ground_truth", {"a": 1}), "ground_truth is a record, not text"),
    "zsre": (("answers", [["x", None, True]]), "answers is true or false, not text"),
    "zsre_knowedit": (("subject", ["x"]), "subject is a list, not text"),
    "zsre_knowedit, a group": (
        ("locality", {"neighborhood": [{"prompt": True, "ground_truth": "x"}]}),
        "locality is true or false, not text",
    ),
    "zsre_knowedit, a consequence": (
        ("portability", {"Reasoning": [{"prompt": "x", "ground_truth": {"a": 1}}]}),
        "portability is a record, not text",
    ),
    "popqa": (("prop", ["author"]), "prop is a list, not text"),
    "known_facts": (("attribute", {"a": 1}), "attribute is a record, not text"),
}


@pytest.mark.parametrize("form", WRONG)
def test_one_wrong_type_in_a_published_form_costs_its_row(tmp_path, form):
    (field, value), reason = WRONG[form]
    form = form.split(",")[0]
    first, second = RECORDS[form]
    third = json.loads(re.sub("Elf|Elves", "Orcs", json.dumps(first).replace("Sting", "Orcrist")))
    path = write(tmp_path, [first, second | {field: value}, third | {"id": 2, "case_id": 2, "known_id": 2}], "json")
    facts, rejects = ingest(path, form)
    assert [fact.subject for fact in facts] == ["Sting", "Orcrist"]
    assert rejects[rejects["row"] == 2]["reason"].tolist()[0].startswith(reason)


def test_an_element_of_the_wrong_type_is_named_by_its_path(tmp_path):
    rewrite = RECORDS["counterfact"][0]["requested_rewrite"] | {"target_new": {"str": ["Dwarves"]}}
    records = [RECORDS["counterfact"][1], RECORDS["counterfact"][0] | {"requested_rewrite": rewrite}]
    _, rejects = ingest(write(tmp_path, records, "json"), "counterfact")
    assert rejects["reason"][0].startswith("requested_rewrite.target_new.str is a list, not text")


CSV = "subject,prompt,target_new\nSting,{} is,x\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CSV + "Rome,{} is,y,z\n", r"facts\.csv: line 3 has 4 cells, and the header 3"),
        (CSV + '"Ro\nme",{} is,y\nOslo,{} is\n', r"facts\.csv: line 5 has 2 cells, and the header 3"),
        (CSV + '"Rome,{} is,y\n', r"facts\.csv: line 3: unexpected end of data"),
        (CSV + '"Ro"me,{} is,y\n', r"facts\.csv: line 3: "),
        ("subject,prompt,target_new,Subject \n" + "a,b,c,d\n", r"2 columns are called 'subject'"),
        ("subject,prompt,target_new,prompt\n" + "a,b,c,d\n", r"2 columns are called 'prompt'"),
    ],
)
def test_ragged_rows_and_double_headers_are_errors(tmp_path, content, message):
    (tmp_path / "facts.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        FactsDataset(str(tmp_path / "facts.csv")).load()


def test_double_names_in_parquet_and_json_are_told(tmp_path):
    path = tmp_path / "facts.parquet"
    pq.write_table(pa.table([["a"], ["b"], ["c"], ["d"]], names=["subject", "prompt", "target_new", " Prompt"]), path)
    with pytest.raises(DatasetError, match="2 columns are called 'prompt'"):
        FactsDataset(str(path)).load()
    record = {"subject": "Rome", "Subject": "Oslo", "prompt": "{} is", "target_new": "x"}
    _, rejects = ingest(write(tmp_path, [RECORDS["table"][0], record], "json"))
    assert rejects["reason"][0].startswith("field twice: 2 columns are called 'subject'")


def test_headers_differ_in_capitals_and_spaces_and_lines_are_counted(tmp_path):
    text = '\ufeff Subject ,PROMPT,Target_New,,\n\n"Ro\nme",{} is,y,,\nOslo,{} is,,,\n'
    (tmp_path / "facts.csv").write_text(text, encoding="utf-8")
    (fact,), rejects = ingest(tmp_path / "facts.csv")
    assert (fact.subject, fact.target_new) == ("Ro me", "y")
    assert rejects["row"].tolist() == [5]


def test_a_column_called_as_those_of_readers_is_ignored(tmp_path):
    rows = [{"subject": "Rome", "prompt": "{} is", "target_new": "x", "LEFT OUT": "two", "UNREADABLE": "yes"}]
    for suffix in ("json", "csv", "parquet"):
        facts, rejects = ingest(write(tmp_path, rows, suffix))
        assert (len(facts), len(rejects)) == (1, 0)


def test_stray_zero_width_characters_are_no_part_of_a_name_and_joiners_are(tmp_path):
    rows = [
        {"subject": "\ufeffRome\u200b", "prompt": "{} is", "target_new": "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc"}
    ]
    (fact,), _ = ingest(write(tmp_path, rows, "json"))
    assert (fact.subject, fact.target_new) == ("Rome", rows[0]["target_new"])


def junk(rng, depth=0):
    """A value of any kind that JSON or Parquet may hold."""
    leaves = [
        *("", "Sting", "{}", "[", "[]", "['a'", '{"a": [1]}', "a|b", "\x00", "\ud800", "\u200b", "x" * 600, "1e999"),
        *(None, True, 0, -1, 2**70, 1.5, float("nan"), float("inf"), 10**30),
    ]
    if depth > 2 or rng.random() < 0.6:
        return rng.choice(leaves)
    if rng.random() < 0.5:
        return [junk(rng, depth + 1) for _ in range(rng.randrange(3))]
    keys = ["prompt", "ground_truth", "target", "str", "Reasoning", "New Question", "\ud800"]
    return {rng.choice(keys): junk(rng, depth + 1) for _ in range(rng.randrange(3))}


@pytest.mark.parametrize("form", RECORDS)
def test_junk_in_any_field_is_a_reason_and_no_crash(tmp_path, form):
    rng = random.Random(form)
    good, records = RECORDS[form], []
    for _ in range(300):
        record = dict(rng.choice(good))
        for field in rng.sample(sorted(record), k=rng.randint(1, 2)):
            record[field] = junk(rng)
        records.append(record)
    for suffix, cell in [("json", None), ("csv", str)]:
        clean = json.loads(json.dumps(records).replace("\\ud800", "?")) if suffix == "csv" else records
        facts, rejects = ingest(write(tmp_path, [*good, *clean], suffix, cell), form)
        assert len(facts) + sum(rejects["row"] > 0) == len(good) + len(records)
        rejects.to_csv(tmp_path / "rejects.csv", index=False)
