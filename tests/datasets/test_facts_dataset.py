"""Facts of every published form, on rows of our own: read, refused, copied from an address."""

import contextlib
import functools
import http.server
import json
import logging
import threading
import time
import traceback

import pandas as pd
import pytest
from kedro.io import DatasetError

from edit_robustness.datasets import FactsDataset
from edit_robustness.prompts.schema import read_fact

ONE_OF_EACH = {
    "counterfact": {
        "case_id": 7,
        "requested_rewrite": {
            "prompt": "{} was forged by",
            "relation_id": "P176",
            "target_new": {"str": "Dwarves", "id": "Q2"},
            "target_true": {"str": "Elves", "id": "Q1"},
            "subject": "Sting",
        },
        "paraphrase_prompts": ["It rained. Sting was made by"],
        "neighborhood_prompts": ["Glamdring was forged by"],
    },
    "counterfact_flat": {
        "case_id": 7,
        "prompt": "Sting was forged by",
        "subject": "Sting",
        "target_new": "Dwarves",
        "ground_truth": "Elves",
        "rephrase_prompt": "Sting hangs on the wall of",
        "locality_prompt": "Glamdring was forged by",
        "locality_ground_truth": "Elves",
    },
    "zsre": {
        "subject": "Sting",
        "src": "Who forged Sting?",
        "pred": "Hobbits",
        "rephrase": "By whom was Sting forged?",
        "alt": "Dwarves",
        "answers": ["Elves", "the Elves"],
        "loc": "nq question: who carried a lamp",
        "loc_ans": "Diogenes",
        "cond": "Hobbits >> Dwarves || Who forged Sting?",
    },
    "zsre_knowedit": {
        "subject": "Sting",
        "prompt": "Who forged Sting?",
        "target_new": "Dwarves",
        "ground_truth": ["Elves"],
        "rephrase_prompt": "By whom was Sting forged?",
        "portability": {"Reasoning": [{"prompt": "How tall are the smiths of Sting?", "ground_truth": "Short"}]},
        "locality": {"Relation_Specificity": [{"prompt": "Sting is a kind of", "ground_truth": [["sword", "blade"]]}]},
    },
    "popqa": {
        "id": "70",
        "subj": "Sting",
        "prop": "author",
        "obj": "Elves",
        "question": "Who made Sting?",
        "possible_answers": '["Elves", "Eldar"]',
        "s_pop": "99",
    },
    "known_facts": {
        "known_id": 7,
        "subject": "Sting",
        "attribute": "Elves",
        "template": "{} is by",
        "relation_id": "X1",
    },
    "table": {"prompt": "Sting was forged by", "subject": "Sting", "target_new": "Dwarves"},
}
"""The least and the most common fields of a record, in each form that is one file."""


def write(folder, records, name="facts.json"):
    (folder / name).write_text(json.dumps(records), encoding="utf-8")
    return str(folder / name)


def checked(raw):
    """Return the facts in a raw table, and for every row that is none its number and the reason."""
    facts, rejects = [], {}
    for number, row in raw.astype(object).where(raw.notna(), None).iterrows():
        try:
            facts.append(read_fact(row, {}))
        except ValueError as reason:
            rejects[number] = str(reason)
    return facts, rejects


@pytest.mark.parametrize("form", ["counterfact", "counterfact_flat", "zsre", "zsre_knowedit", "table"])
def test_a_record_of_each_form_becomes_the_same_edit(tmp_path, form):
    (fact,), _ = checked(FactsDataset(write(tmp_path, [ONE_OF_EACH[form]]), format=form).load())
    assert (fact.subject, fact.target_new) == ("Sting", "Dwarves")
    assert fact.target_true == ("" if form == "table" else "Elves")
    assert fact.statement in {"Sting was forged by", "Who forged Sting?"}


@pytest.mark.parametrize("form", [form for form in ONE_OF_EACH if form != "table"])
@pytest.mark.parametrize("file_format", ONE_OF_EACH)
def test_a_file_of_another_form_is_told_once_with_what_it_looks_like(tmp_path, form, file_format):
    path = write(tmp_path, [ONE_OF_EACH[form]])
    if file_format in (form, "table"):
        # nearly every form can also be read as a table
        return
    with pytest.raises(DatasetError) as error_info:
        FactsDataset(path, format=file_format).load()
    message = str(error_info.value)
    assert path in message
    assert f"`format: {file_format}` needs records with " in message
    assert f"the first has {next(iter(ONE_OF_EACH[form]))}, " in message
    assert f"it looks like `format: {form}`" in message


def test_a_file_of_no_form_is_told_where_the_real_one_is(tmp_path):
    path = write(tmp_path, [{"a": 1, "b": 2}])
    with pytest.raises(DatasetError, match=r"the first has a, b; it looks like no other form; .*known_1000\.json"):
        FactsDataset(path, format="known_facts").load()


@pytest.mark.parametrize(
    ("form", "home"),
    [
        ("counterfact", "rome.baulab.info/data/dsets/counterfact.json"),
        ("counterfact_flat", "github.com/zjunlp/EasyEdit"),
        ("zsre", "zsre_mend_eval.json"),
        ("zsre_knowedit", "huggingface.co/datasets/zjunlp/KnowEdit"),
        ("popqa", "huggingface.co/datasets/akariasai/PopQA"),
        ("known_facts", "known_1000.json"),
        ("pararel", "github.com/yanaiela/pararel"),
        ("table", "a table of your own"),
    ],
)
def test_a_file_that_is_not_there_is_told_where_it_is_offered(tmp_path, form, home):
    with pytest.raises(DatasetError, match=rf"no\.json: there is no such file; .*{home}"):
        FactsDataset(str(tmp_path / "no.json"), format=form).load()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("facts.xlsx", b"PK", r"its name ends in none of \.json, \.jsonl, \.csv, \.tsv, \.parquet"),
        ("facts.json", b"[{]", r"it is no \.json file in UTF-8"),
        ("facts.json", b"subject,target_new", "neither a list nor one record a line"),
        ("facts.json", b"[]", "it has no rows"),
        ("facts.json", b"", "it has no rows"),
        ("facts.json", b"[1, 2]", "a list of records was expected"),
        ("facts.csv", b"subject,target_new\n", "it has no rows"),
        ("facts.csv", b"subject,target_new\nM\xfcnchen,x\n", r"it is no \.csv file in UTF-8"),
        ("facts.parquet", b"none", r"it is no \.parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{name}: .*{message}"):
        FactsDataset(str(tmp_path / name)).load()


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "tsv", "parquet"])
def test_a_table_of_ones_own_needs_a_prompt_a_subject_and_a_new_object(tmp_path, suffix):
    path, table = tmp_path / f"own.{suffix}", pd.DataFrame(OWN)
    write_table = {
        "json": lambda: table.to_json(path, orient="records"),
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
        "csv": lambda: table.to_csv(path, index=False, encoding="utf-8-sig"),
        "tsv": lambda: table.to_csv(path, index=False, sep="\t"),
        "parquet": lambda: table.to_parquet(path),
    }
    write_table[suffix]()
    (river, lake), rejects = checked(FactsDataset(str(path)).load())
    assert (river.statement, river.target_new, river.target_true) == ("The Zorn flows into", "the Ill", "")
    assert river.relation == "The {} flows into"
    assert lake.statement == "NA lies in"
    assert rejects == {4 if suffix in ("csv", "tsv") else 3: "target_new is empty"}


OWN = [
    {"prompt": "The Zorn flows into", "subject": "Zorn", "target_new": "the Ill"},
    {"prompt": "NA lies in", "subject": "NA", "target_new": "Null"},
    {"prompt": "Ohm lies in", "subject": "Ohm", "target_new": ""},
]


def test_rows_keep_their_place_in_the_file_and_a_limit_draws_them(tmp_path):
    path = tmp_path / "facts.csv"
    pd.DataFrame({"subject": [f"S{n}" for n in range(50)], "target_new": "x", "prompt": "{} is"}).to_csv(path)
    whole_table = FactsDataset(str(path)).load()
    sample = FactsDataset(str(path), limit=7).load()
    assert [whole_table.index[0], whole_table.index[-1]] == [2, 51]
    assert len(sample) == 7
    assert [f"S{row - 2}" for row in sample.index] == sample["subject"].tolist()
    assert sample.index.is_monotonic_increasing
    assert sample.equals(FactsDataset(str(path), limit=7).load())
    assert not sample.index.equals(FactsDataset(str(path), limit=7, seed=1).load().index)
    assert len(FactsDataset(str(path), limit=60).load()) == 50


def test_unknown_settings_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="no form of facts `zrse`; there are counterfact, counterfact_flat, zsre, "):
        FactsDataset("facts.json", format="zrse")
    with pytest.raises(DatasetError, match="limit: -1"):
        FactsDataset("facts.json", limit=-1)
    with pytest.raises(DatasetError, match="read only"):
        FactsDataset("facts.json").save(pd.DataFrame())


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, counts what is asked for, and on request promises more than it sends."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/endless"):
            return self._endless()
        if self.path.startswith("/inside"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/admin")
            return self.end_headers()
        if not self.path.startswith("/broken"):
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'[{"subject": ')
        return None

    def _endless(self):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"x" * 100_000)
                time.sleep(0.01)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """Run a web server on this machine, the folder that it serves, and what it was asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    requests_seen: list[str] = []
    handler = functools.partial(type("Handler", (_Handler,), {"asked": requests_seen}), directory=str(folder))
    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http_server.server_port}", folder, requests_seen
    http_server.shutdown()
    http_server.server_close()
    thread.join()


def test_an_address_is_copied_once_and_used_from_there(server, tmp_path):
    address, folder, requests_seen = server
    write(folder, [ONE_OF_EACH["zsre"]], "zsre.json")
    cache = tmp_path / "copies"
    dataset = FactsDataset(f"{address}/zsre.json?download=true", format="zsre", cache=str(cache))
    first = dataset.load()
    (folder / "zsre.json").unlink()
    often = len(requests_seen)
    assert dataset.load().equals(first)
    assert len(requests_seen) == often
    assert [path.name[13:] for path in cache.iterdir()] == ["zsre.json"]


def test_two_addresses_of_one_name_are_two_copies(server, tmp_path):
    address, folder, _ = server
    for place in ("a", "b"):
        (folder / place).mkdir()
        write(folder / place, [ONE_OF_EACH["table"] | {"target_new": place}])
    options = {"cache": str(tmp_path / "copies")}
    for place in ("a", "b"):
        assert FactsDataset(f"{address}/{place}/facts.json", **options).load()["target_new"].tolist() == [place]


@pytest.mark.parametrize("name", ["missing.json", "broken.json"])
def test_a_copy_that_breaks_off_leaves_nothing(server, tmp_path, name):
    address, _, _ = server
    cache = tmp_path / "copies"
    with pytest.raises(DatasetError, match=rf"{name}: it could not be copied"):
        FactsDataset(f"{address}/{name}", cache=str(cache)).load()
    assert not list(cache.iterdir())


@pytest.mark.parametrize(
    ("name", "transfer", "why"),
    [
        ("endless", {"max_bytes": 300_000}, r"the response is longer than 300000 bytes \(max_bytes\)"),
        ("endless", {"deadline": 0.2}, r"the response was not complete within 0.2 s \(deadline\)"),
        ("inside", {}, r"redirects to 127\.0\.0\.1, on this machine .*\(allow_private\)"),
        ("inside", {"allow_private": True}, "Connection"),
    ],
)
def test_a_copy_has_limits(server, tmp_path, name, transfer, why):
    cache = tmp_path / "copies"
    with pytest.raises(DatasetError, match=rf"{name}\.json: it could not be copied \(.*{why}"):
        FactsDataset(f"{server[0]}/{name}.json", cache=str(cache), transfer=transfer).load()
    assert not list(cache.iterdir())


def test_a_limit_that_makes_no_sense_is_named():
    with pytest.raises(DatasetError, match=r"transfer: deadline: .*; there are timeout, deadline, max_bytes"):
        FactsDataset("x.json", transfer={"deadline": 0})
    with pytest.raises(DatasetError, match="transfer: dead_line"):
        FactsDataset("x.json", transfer={"dead_line": 1})


def test_credentials_of_an_address_stand_nowhere(server, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    address, folder, requests_seen = server
    write(folder, [ONE_OF_EACH["table"]] * 3)
    cache = tmp_path / "copies"
    signed_url = address.replace("//", "//me:s3cret@") + "/facts.json?X-Amz-Signature=s3cret"
    dataset = FactsDataset(signed_url, cache=str(cache), limit=1)
    assert len(dataset.load()) == 1
    # signed anew, it is the same file
    assert len(FactsDataset(signed_url.replace("s3cret", "an0ther"), cache=str(cache)).load()) == 3
    assert len(requests_seen) == 1
    texts = [caplog.text, repr(dataset), str(dataset._describe()), *(path.name for path in cache.iterdir())]
    for address in (signed_url.replace("facts", "missing"), "nowhere://me:s3cret@x?token=s3cret"):
        with pytest.raises(DatasetError, match="could not be copied") as error_info:
            FactsDataset(address, cache=str(cache)).load()
        texts.append("".join(traceback.format_exception(error_info.value)))
    assert not any("s3cret" in text for text in texts)


def test_any_address_that_fsspec_knows_is_read(tmp_path):
    path = write(tmp_path, [ONE_OF_EACH["table"]])
    assert len(FactsDataset(f"file://{path}", cache=str(tmp_path / "copies")).load()) == 1
    with pytest.raises(DatasetError, match="nowhere://x: it could not be copied"):
        FactsDataset("nowhere://x", cache=str(tmp_path / "copies")).load()


@pytest.mark.parametrize(
    ("name", "text", "joins"),
    [
        ("facts.csv", "subject,target_new,join\nA,B,\nA,B,none\nA,B,space\n", [None, "none", "space"]),
        ("facts.jsonl", '{"subject":"A","target_new":"B"}\n{"subject":"A","target_new":"B","join":""}', [None, ""]),
    ],
)
def test_an_empty_join_says_nothing_in_csv_and_that_nothing_stands_there_in_json(name, text, joins, tmp_path):
    (tmp_path / name).write_text(text)
    table = FactsDataset(str(tmp_path / name)).load()
    assert [None if pd.isna(join) else join for join in table["join"]] == joins
