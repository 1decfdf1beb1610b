"""A field of a record stands in one place, its dataclass: files and tables follow from its annotations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass

import pandas as pd
import pytest

from edit_robustness.datasets.codecs import JsonCodec
from edit_robustness.json_form import JsonForm
from edit_robustness.records import Answer, Completion, Fact, Probe, Turn
from edit_robustness.storage import CorruptFile
from edit_robustness.tables import ANSWERS, RecordTable


@dataclass(frozen=True)
class Part:
    label: str
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Toy:
    label: str
    inner: Part
    number: int
    share: float
    sure: bool
    maybe_text: str | None = None
    maybe_number: int | None = None
    maybe_share: float | None = None
    maybe_sure: bool | None = None
    names: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    parts: tuple[Part, ...] = ()
    best: Part | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


TOYS = [
    Toy("a", Part("b", (1.5, -math.inf)), 2**53 + 1, -math.inf, True),
    Toy(
        *('"é"\u2028\n', Part("", ()), -1, 0.1 + 0.2, False, "x", 2**53 + 1, 1e-300, False, ("a", 'b "c"')),
        *((Turn("user", "hi"),), (Part("p", (0.5,)),), Part("q"), {"acc": 1.0}),
    ),
]
TABLE = RecordTable(Toy, "toys", column_names={"label": "part"})


def through_parquet(table, folder):
    table.to_parquet(folder / "t.parquet")
    return pd.read_parquet(folder / "t.parquet")


def with_new_fields(kind):
    """Return a record with a field of each sort that today's does not have."""
    return make_dataclass(
        f"New{kind.__name__}",
        [
            ("added", int | None, field(default=None, kw_only=True)),
            ("added_parts", tuple[Completion, ...], field(default=(), kw_only=True)),
        ],
        bases=(kind,),
        frozen=True,
    )


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Fact, ("id", "s", "P1", "{} is", "a", "b")),
        (Answer, (Probe(*"ifkesqnt"), "text", True, 1, -1.0, -2.0, 1, 1, True, False)),
    ],
    ids=["Fact", "Answer"],
)
def test_a_new_field_goes_through_files_and_tables_by_its_annotation_alone(kind, values, tmp_path):
    new = with_new_fields(kind)
    records = [new(*values), new(*values, added=3, added_parts=(Completion("p", "t", ("u",)),))]
    table = RecordTable(new, "records", column_names={"id": "probe_id", "text": "prompt"} if kind is Answer else None)
    assert {"added": "Int64", "added_parts": "str"}.items() <= table.columns.items()
    assert table.records(through_parquet(table.table(records), tmp_path)) == records
    codec = JsonCodec(list[new])
    codec.write(tmp_path / "a.jsonl", records, {})
    assert codec.read(tmp_path / "a.jsonl") == records


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_sort_of_field_survives_a_table_and_a_file(number, tmp_path):
    toys = TOYS[:number]
    assert TABLE.records(through_parquet(TABLE.table(toys), tmp_path)) == toys
    assert JsonForm(list[Toy]).value(JsonForm(list[Toy]).text(toys)) == toys


def test_columns_follow_from_annotations():
    assert TABLE.columns == {
        **{"label": "str", "part": "str", "weights": "str", "number": "int64", "share": "float64", "sure": "bool"},
        **{"maybe_text": "str", "maybe_number": "Int64", "maybe_share": "float64", "maybe_sure": "boolean"},
        **dict.fromkeys(["names", "turns", "parts", "best", "figures"], "str"),
    }
    assert TABLE.json_columns == ["weights", "names", "turns", "parts", "best", "figures"]
    assert TABLE.table(TOYS)["weights"].tolist() == ["[1.5, -Infinity]", "[]"]


def test_two_fields_of_one_column_are_refused():
    with pytest.raises(ValueError, match="Toy: two fields have the column label; rename one"):
        RecordTable(Toy, "toys")


def test_a_cell_that_is_no_value_of_its_field_names_the_column():
    table = TABLE.table(TOYS).assign(parts='[{"label": 3}]')
    with pytest.raises(ValueError, match=r"the table of toys: column parts: 0\.label: Input should be a valid string$"):
        TABLE.records(table)


def test_a_value_of_another_type_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="Expected `str`"):
        JsonCodec(list[Part]).write(tmp_path / "a.jsonl", [Part(3)], {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_record_is_named_in_one_line(tmp_path):
    JsonCodec(list[Part]).write(tmp_path / "a.jsonl", [Part("x")], {})
    with pytest.raises(CorruptFile, match=r"a\.jsonl holds another kind of item \(0\.role: .*; 0\.text: .*\)$"):
        JsonCodec(list[Turn]).read(tmp_path / "a.jsonl")


def test_files_that_python_wrote_are_read():
    """Earlier releases wrote items by `json.dumps`, with spaces and fields in another order."""
    text = '[{"label": "a", "weights": [1.5, -Infinity, NaN]}, {"weights": [], "label": "\u2028"}]'
    parts = JsonForm(list[Part]).value(text)
    assert [part.label for part in parts] == ["a", "\u2028"]
    assert parts[0].weights[:2] == (1.5, -math.inf)
    assert math.isnan(parts[0].weights[2])


def test_what_a_model_thought_stands_behind_what_it_said_in_a_table():
    columns = list(ANSWERS.columns)
    assert columns[columns.index("text") + 1] == "thinking"
