"""Each reader on records of our own, field by field and defect by defect, and on the real rows where they are."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml

from edit_robustness.datasets import FactsDataset
from edit_robustness.datasets.readers.counterfact import read_counterfact, read_counterfact_flat
from edit_robustness.datasets.readers.draw import draw_new_objects
from edit_robustness.datasets.readers.lama import read_known_facts
from edit_robustness.datasets.readers.popqa import PROPERTIES, read_popqa
from edit_robustness.datasets.readers.records import Options, names
from edit_robustness.datasets.readers.zsre import read_knowedit, read_zsre
from edit_robustness.pipelines.ingest.nodes import validate_facts
from edit_robustness.prompts.names import plain
from edit_robustness.prompts.schema import COLUMNS, LEFT_OUT, UNREADABLE, make_id, read_fact
from edit_robustness.records import Completion, Fact
from edit_robustness.tables import facts_from_table

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data"
RELATIONS = yaml.safe_load((ROOT / "data" / "01_raw" / "relations.yml").read_text(encoding="utf-8"))


def fact(reader, record, **options):
    (row,) = reader([record], Options(**options))
    assert set(row) <= {*COLUMNS, LEFT_OUT, UNREADABLE}
    return read_fact(row, {})


COUNTERFACT = {
    "case_id": 3,
    "pararel_idx": 1,
    "requested_rewrite": {
        "prompt": "{} lies in",
        "relation_id": "P30",
        "target_new": {"str": "Atlantis", "id": "Q30"},
        "target_true": {"str": "Narnia", "id": "Q31"},
        "subject": "Cair Paravel",
    },
    "paraphrase_prompts": ["Bread was cheap. Cair Paravel can be found in", "On the map, Cair Paravel is in"],
    "neighborhood_prompts": ["Archenland lies in", "Telmar lies in"],
    "attribute_prompts": ["Poseidonis lies in"],
    "generation_prompts": ["Around Cair Paravel grows"],
}


def test_counterfact():
    assert fact(read_counterfact, COUNTERFACT | {"_subject_pageviews_2021_10": 12}) == Fact(
        id="counterfact-3",
        subject="Cair Paravel",
        relation="P30",
        prompt="{} lies in",
        target_true="Narnia",
        target_new="Atlantis",
        page_views=12,
        target_true_id="Q31",
        target_new_id="Q30",
        paraphrases=tuple(COUNTERFACT["paraphrase_prompts"]),
        neighbours=(Completion("Archenland lies in", "Narnia"), Completion("Telmar lies in", "Narnia")),
    )
    assert fact(read_counterfact, COUNTERFACT).page_views is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, "subject is empty"),
        ({"prompt": "{} lies in", "subject": "x", "relation_id": "P1", "target_new": None}, "target_new is empty"),
        (COUNTERFACT["requested_rewrite"] | {"target_new": {"str": "Narnia"}}, "new object equals the old"),
        (COUNTERFACT["requested_rewrite"] | {"target_new": {"str": "x", "id": "30"}}, "target_new_id is not a Wiki"),
    ],
)
def test_a_defect_of_a_record_is_a_reason_and_no_crash(change, reason):
    with pytest.raises(ValueError, match=reason):
        fact(read_counterfact, COUNTERFACT | {"requested_rewrite": change})


FLAT = {
    "case_id": 3,
    "prompt": "Cair Paravel lies in",
    "subject": "Cair Paravel",
    "target_new": "Atlantis",
    "ground_truth": "Narnia",
    "rephrase_prompt": "Around Cair Paravel grows",
    "locality_prompt": "Telmar lies in",
    "locality_ground_truth": "Narnia",
    "subject_pageviews_2021_10": 1,
    "llama2_7b_chat_ppl_true": 1.5,
}


def test_the_flat_counterfact(caplog):
    reader = fact(read_counterfact_flat, FLAT)
    assert reader == Fact(
        id="counterfact-3",
        subject="Cair Paravel",
        relation="{} lies in",
        prompt="{} lies in",
        target_true="Narnia",
        target_new="Atlantis",
        neighbours=(Completion("Telmar lies in", "Narnia"),),
    )
    assert "rephrase_prompt of 1 records is left out" in caplog.text
    caplog.clear()
    with_it = fact(read_counterfact_flat, FLAT, rephrase_is_paraphrase=True)
    assert with_it.paraphrases == ("Around Cair Paravel grows",)
    assert not caplog.records


def test_the_flat_counterfact_without_what_copies_add():
    bare = {name: FLAT[name] for name in ("prompt", "subject", "target_new", "ground_truth")}
    reader = fact(read_counterfact_flat, bare)
    assert (reader.neighbours, reader.page_views) == ((), None)
    names = fact(
        read_counterfact_flat, FLAT | {"ground_truth": ["Narnia", "the Wardrobe"], "locality_ground_truth": ""}
    )
    assert names.target_true_aliases == ("the Wardrobe",)
    assert names.neighbours == (Completion("Telmar lies in", "Narnia", ("the Wardrobe",)),)


ZSRE = {
    "subject": "Cair Paravel",
    "src": "Where does Cair Paravel lie?",
    "pred": "Calormen",
    "rephrase": "Cair Paravel lies where?",
    "alt": "Atlantis",
    "answers": ["Narnia", "narnia", "the Wardrobe"],
    "loc": "nq question: who painted the lamp post",
    "loc_ans": "Mr Tumnus",
}


def test_zsre():
    assert fact(read_zsre, ZSRE) == Fact(
        id=make_id("Where does {} lie?", "Cair Paravel"),
        subject="Cair Paravel",
        relation="Where does {} lie?",
        prompt="Where does {} lie?",
        target_true="Narnia",
        target_new="Atlantis",
        target_true_aliases=("the Wardrobe",),
        paraphrases=("Cair Paravel lies where?",),
        unrelated=(Completion("who painted the lamp post?", "Mr Tumnus"),),
    )
    assert fact(read_zsre, ZSRE | {"loc": "who sang?"}).unrelated[0].prompt == "who sang?"
    assert fact(read_zsre, ZSRE | {"loc": "nq question: "}).unrelated == ()
    assert fact(read_zsre, ZSRE | {"loc_ans": None}).unrelated == ()


def test_zsre_with_a_question_that_follows():
    hop = {"Recalled Relation": "(x)", "New Question": "Who rules where Cair Paravel lies?", "New Answer": "Poseidon"}
    reader = fact(read_zsre, ZSRE | {"portability": hop})
    assert reader.consequences == (Completion(hop["New Question"], "Poseidon", (), "Cair Paravel"),)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"alt": ""}, "target_new is empty"),
        ({"alt": "the wardrobe"}, "new object equals the old"),
        ({"src": "Where does it lie?"}, "subject is not in its prompt"),
        ({"subject": "e"}, "subject is in its prompt more than once"),
    ],
)
def test_defects_of_zsre(change, reason):
    with pytest.raises(ValueError, match=reason):
        fact(read_zsre, ZSRE | change)


KNOWEDIT = {
    "subject": "Cair Paravel",
    "prompt": "The location of Cair Paravel is",
    "target_new": "Atlantis",
    "ground_truth": ["Narnia"],
    "rephrase_prompt": "Cair Paravel lies in",
    "portability": {
        "Reasoning": [{"prompt": "The ruler of the location of Cair Paravel is", "ground_truth": "Poseidon"}],
        "Logical_Generalization": [{"prompt": "Is it dry there?", "ground_truth": [["no"], ["not at all", "No"]]}],
        "Subject_Aliasing": [],
    },
    "locality": {
        "Relation_Specificity": [
            {"prompt": "Cair Paravel is a kind of", "ground_truth": [["castle", "palace"]]},
            {"prompt": "Cair Paravel has the colour", "ground_truth": []},
        ],
        "Forgetfulness": None,
    },
}


def test_knowedit():
    assert fact(read_knowedit, KNOWEDIT) == Fact(
        id=make_id("The location of {} is", "Cair Paravel"),
        subject="Cair Paravel",
        relation="The location of {} is",
        prompt="The location of {} is",
        target_true="Narnia",
        target_new="Atlantis",
        paraphrases=("Cair Paravel lies in",),
        relation_specificity=(Completion("Cair Paravel is a kind of", "castle", ("palace",), "Cair Paravel"),),
        consequences=(
            Completion("The ruler of the location of Cair Paravel is", "Poseidon", (), "Cair Paravel"),
            Completion("Is it dry there?", "no", ("not at all",)),
        ),
    )


def knowedit(**change):
    (row,) = read_knowedit([KNOWEDIT | change], Options())
    return read_fact(row, {}), Counter(row[LEFT_OUT])


BESIDE = {
    "neighborhood": ("Telmar lies in", "Telmar", "neighbours"),
    "Relation_Specificity": ("Cair Paravel is a kind of", "castle", "relation_specificity"),
    "unrelated": ("Tea comes from", "China", "unrelated"),
}


@pytest.mark.parametrize("answer", ["ground_truth", "answer", "target"])
@pytest.mark.parametrize("shape", ["columns", "one", "items"])
def test_groups_of_knowedit_in_any_shape_are_read_by_what_they_test(answer, shape):
    def group(prompt, target):
        if shape == "columns":
            return {"prompt": [prompt, f"And {prompt}"], answer: [target, [[target, "It"]]]}
        if shape == "one":
            return {"prompt": prompt, answer: [target, "It"]}
        return [{"prompt": prompt, answer: target}, {"prompt": [f"And {prompt}"], answer: [[target], ["It"]]}]

    groups = {name: group(prompt, target) for name, (prompt, target, _) in BESIDE.items()}
    reader, left_out = knowedit(locality=groups, portability={"Logical_Generalization": groups["unrelated"]})
    for prompt, target, field in BESIDE.values():
        first, *second = getattr(reader, field)
        assert (first.prompt, first.target) == (prompt, target)
        if shape != "one":
            assert [(item.prompt, item.target, item.aliases) for item in second] == [(f"And {prompt}", target, ("It",))]
    assert len(reader.consequences) == (1 if shape == "one" else 2)
    assert not left_out


def test_prompts_without_a_group_are_sorted_by_their_words():
    items = [
        {"prompt": "The location of Telmar is", "answer": "Telmar"},
        {"prompt": "The age of cair paravel is", "answer": "old"},
        {"prompt": "Tea comes from", "answer": "China"},
    ]
    for locality in (items, {"Other": items}, {"prompt": [i["prompt"] for i in items], "answer": ["a", "b", "c"]}):
        reader, _ = knowedit(locality=locality)
        assert [len(prompts) for prompts in (reader.neighbours, reader.relation_specificity, reader.unrelated)] == [
            1,
            1,
            1,
        ]
        assert reader.neighbours[0].prompt == "The location of Telmar is"
        assert reader.unrelated[0].prompt == "Tea comes from"


def test_a_prompt_is_about_the_subject_only_if_it_names_it_as_whole_words():
    locality = {"neighborhood": [{"prompt": "The location of Cair Paravelia is", "ground_truth": "Telmar"}]}
    assert knowedit(locality=locality)[0].neighbours[0].subject == ""


def test_groups_that_no_kind_of_specificity_fits_are_counted():
    requests_seen = {"prompt": "Besides Atlantis, Cair Paravel lies in", "ground_truth": "Narnia"}
    locality = {
        "Forgetfulness": [requests_seen, requests_seen],
        "distracting": {"prompt": ["a", "b"], "ground_truth": ["c", "d"]},
        "neighborhood": {"prompt": ["a", "b"], "ground_truth": ["c"]},
        "Relation_Specificity": [requests_seen, {"prompt": "x"}, "y"],
    }
    reader, left_out = knowedit(locality=locality, portability=[{"question": "Who?", "answer": None}])
    assert len(reader.relation_specificity) == 1
    assert not reader.neighbours
    assert left_out == {
        "locality Forgetfulness": 2,
        "locality distracting": 2,
        "locality neighborhood without a prompt or an answer": 2,
        "locality Relation_Specificity without a prompt or an answer": 2,
        "portability without a prompt or an answer": 1,
    }


def test_the_old_object_has_several_names_in_copies_of_knowedit():
    for field in ("ground_truth", "answers", "target_old", "target_true"):
        reader, _ = knowedit(**{"ground_truth": None, field: ["Narnia", "the Wardrobe"]})
        assert (reader.target_true, reader.target_true_aliases) == ("Narnia", ("the Wardrobe",))


def test_the_locality_prompt_of_flat_records_is_a_neighbour_or_a_question_of_another_data_set():
    longer = fact(read_counterfact_flat, FLAT | {"locality_prompt": "Old Cair Paravel lies in"})
    assert [item.prompt for item in longer.neighbours] == ["Old Cair Paravel lies in"]
    second = fact(read_counterfact_flat, FLAT | {"locality_prompt": "nq question: who carried a lamp"})
    assert (second.neighbours, second.unrelated) == ((), (Completion("who carried a lamp?", "Narnia"),))
    without = FLAT | {"locality_prompt": "nq question: who carried a lamp", "locality_ground_truth": None}
    assert fact(read_counterfact_flat, without).unrelated == ()


def test_knowedit_without_an_old_object_and_under_older_names():
    recent = {name: value for name, value in KNOWEDIT.items() if name != "ground_truth"}
    assert fact(read_knowedit, recent).target_true == ""
    older = {"subject": "Cair Paravel", "src": "Cair Paravel lies in", "alt": "Atlantis", "locality": {}}
    assert fact(read_knowedit, older | {"answers": ["Narnia"], "rephrase": "y"}).paraphrases == ("y",)
    assert fact(read_knowedit, {**older, "alt": None, "target": "Telmar"}).target_new == "Telmar"


def popqa(subject, obj, prop="author", **fields):
    return {
        "id": f"{subject}-{obj}",
        "subj": subject,
        "prop": prop,
        "obj": obj,
        "question": f"Who made {subject}?",
        "possible_answers": json.dumps([obj]),
        "s_pop": "31",
    } | fields


def test_popqa():
    first = popqa(
        "Mappa",
        "Ptolemy",
        s_aliases='["The Map"]',
        o_aliases='["Claudius"]',
        s_uri="http://www.wikidata.org/entity/Q5",
        o_uri="http://www.wikidata.org/entity/Q6",
        possible_answers='["Ptolemy", "Claudius", "Marinus"]',
    )
    second = popqa("Globus", "Behaim", o_aliases='["Martin"]', o_uri="http://www.wikidata.org/entity/Q7")
    facts = [read_fact(row, {}) for row in read_popqa([first, second], Options())]
    assert facts[0] == Fact(
        id="popqa-Mappa-Ptolemy",
        subject="Mappa",
        relation="P50",
        prompt="Who made {}?",
        target_true="Ptolemy",
        target_new="Behaim",
        target_true_aliases=("Claudius", "Marinus"),
        target_new_aliases=("Martin",),
        page_views=31,
        subject_aliases=("The Map",),
        subject_id="Q5",
        target_true_id="Q6",
        target_new_id="Q7",
    )
    # what Mappa may be answered with besides Ptolemy is no name of Ptolemy's
    assert (facts[1].target_new, facts[1].target_new_aliases) == ("Ptolemy", ("Claudius",))


def test_the_copy_of_popqa_without_ids_and_aliases():
    copy = {name: value for name, value in popqa("A", "x").items() if name != "id"} | {"popqa_id": "9", "s_uri": ""}
    rows = read_popqa([copy, popqa("B", "y")], Options())
    assert read_fact(rows[0], {}).id == "popqa-9"
    assert read_fact(rows[0], {}).subject_id == ""


def test_defects_of_popqa():
    rows = read_popqa(
        [popqa("", "x"), popqa("B", "y"), popqa("C", "z", prop="mood"), popqa("D", "", possible_answers="[oops")],
        Options(),
    )
    with pytest.raises(ValueError, match=r"^subject is empty"):
        read_fact(rows[0], {})
    with pytest.raises(ValueError, match=r"^target_new is empty"):
        # the only object of its relation
        read_fact(rows[2], {})
    assert rows[2]["relation"] == "mood"
    assert rows[3]["target_true_aliases"] == ("[oops",)


def test_known_facts_are_asked_by_their_template():
    records = [
        {
            "known_id": place,
            "subject": subject,
            "attribute": attribute,
            "template": "{} is near",
            "prompt": f"{subject} is near the old town of",
            "prediction": " something",
            "relation_id": "P99",
        }
        for place, (subject, attribute) in enumerate([("Bree", "Staddle"), ("Hobbiton", "Bywater")])
    ]
    rows = read_known_facts(records, Options())
    assert read_fact(rows[0], {}) == Fact("known-0", "Bree", "P99", "{} is near", "Staddle", "Bywater")
    assert rows[1]["target_new"] == "Staddle"


@pytest.mark.parametrize(
    ("triples", "patterns"), [("triples", "patterns"), ("trex_lms_vocab", "pattern_data/graphs_json")]
)
def test_pararel(tmp_path, triples, patterns):
    for folder in (triples, patterns):
        (tmp_path / folder).mkdir(parents=True)
    lines = {
        f"{triples}/P99": [
            {"sub_label": "Bree", "obj_label": "Staddle"},
            {"sub_label": "Buckland", "obj_label": "Moria"},
        ],
        f"{patterns}/P99": [
            {"pattern": "[Y] lies beside [X] ."},
            {"pattern": "[X] lies beside [Y] ."},
            {"pattern": "Beside [X] you find [Y]."},
            {"pattern": "[X], beside [X], is [Y]"},
        ],
        f"{triples}/P98": [{"sub_label": "Bree", "obj_label": "Men"}],
    }
    for name, records in lines.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    raw = FactsDataset(str(tmp_path), format="pararel").load()
    bree = read_fact(raw[raw["relation"] == "P99"].iloc[0].to_dict(), {})
    assert bree == Fact(
        "P99-bree", "Bree", "P99", "{} lies beside", "Staddle", "Moria", paraphrases=("Beside Bree you find",)
    )
    without = raw[raw["relation"] == "P98"].iloc[0]
    assert (without["prompt"], without["target_new"]) == ("", "")


def test_a_folder_without_triples(tmp_path):
    with pytest.raises(Exception, match=r"triples/<relation>\.jsonl or trex_lms_vocab/<relation>\.jsonl was expected"):
        FactsDataset(str(tmp_path), format="pararel").load()
    (tmp_path / "triples").mkdir()
    (tmp_path / "triples" / "P1.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(Exception, match=r"P1\.jsonl: it is no \.jsonl file"):
        FactsDataset(str(tmp_path), format="pararel").load()


def triple(subject, true, *aliases, relation="P1"):
    return {"relation": relation, "subject": subject, "target_true": true, "target_true_aliases": aliases}


def drawn(rows, seed=0, aliases=None):
    return {
        (row["subject"], row["target_true"]): row["target_new"]
        for row in draw_new_objects(rows, aliases or [()] * len(rows), seed=seed)
    }


def test_a_new_object_is_of_the_relation_and_no_answer_of_the_subject():
    rows = [triple(f"s{n}", f"o{n % 10}", *([f"o{(n + 1) % 10}"] if n % 2 else [])) for n in range(200)]
    rows += [triple("s0", "o5"), triple("S0", "o6"), triple("other", "elsewhere", relation="P2"), triple("o3", "o4")]
    for (subject, true), new in drawn(rows).items():
        if subject == "other":
            assert new == ""
            continue
        right = {o for row in rows if plain(row["subject"]) == plain(subject) for o in names([*row.values()][2:])}
        assert new in {f"o{n}" for n in range(10)} - right - {true, subject}


def test_every_other_object_is_drawn_about_as_often():
    rows = [triple(f"s{n}", f"o{n % 5}") for n in range(2000)]
    counts = Counter(new for (_, true), new in drawn(rows).items() if true == "o0")
    assert set(counts) == {"o1", "o2", "o3", "o4"}
    # 400 draws among four: mean 100, standard deviation 8.7
    assert all(abs(count - 100) < 45 for count in counts.values())


def test_a_draw_follows_from_the_seed_and_not_from_the_order():
    rows = [triple(f"s{n}", f"o{n % 7}") for n in range(60)]
    assert drawn(rows) == drawn(rows[::-1])
    assert drawn(rows) != drawn(rows, seed=1)


def test_an_object_known_by_another_name_is_not_new():
    rows = [triple("s", "Holland", "the Netherlands"), triple("t", "Dutchland"), triple("u", "Spain")]
    aliases = [(), ("The Netherlands",), ()]
    assert {drawn(rows, seed, aliases)[("s", "Holland")] for seed in range(20)} == {"Spain"}


def test_an_object_that_only_punctuation_tells_apart_is_not_new():
    rows = [triple("s", "U.S."), triple("t", "US"), triple("u", "Spain")]
    assert {drawn(rows, seed)[("s", "U.S.")] for seed in range(20)} == {"Spain"}


def test_of_two_rows_about_an_object_the_one_that_says_most_counts():
    rows = [triple("s", "x"), triple("t", "y"), triple("u", "y")]
    for order in ([(), (), ("why",)], [(), ("why",), ()]):
        result = draw_new_objects(rows, order, seed=0)
        assert result[0]["target_new_aliases"] == ("why",)


def test_the_relations_of_popqa_are_wikidata_properties():
    assert len(set(PROPERTIES.values())) == len(PROPERTIES) == 16


REAL_ROWS = {
    "counterfact": ("counterfact/full_records_500.json", 500, {"duplicate": 1}),
    "counterfact_flat": ("counterfact/flat_edit_10000.jsonl", 10_000, {"duplicate": 83}),
    "zsre": ("zsre/zsre_mend_train_1000.json", 1000, {"new object equals the old": 23, "target_new is empty": 2}),
    "popqa": ("popqa/popqa_with_popularity_1578.csv", 1578, {"duplicate": 16}),
    "known_facts": ("known_1000/known_1000.json", 1209, {"target_new is empty": 1}),
}


@pytest.fixture(scope="module")
def real():
    """Return the real rows of a form, read once: raw table, facts, reasons of rejects, ambiguous subjects."""
    outcome = {}

    def read(form, path=None):
        path = path or REAL / REAL_ROWS[form][0]
        if not path.exists():
            pytest.skip("needs the real rows")
        if form not in outcome:
            raw = FactsDataset(str(path), format=form).load()
            facts, rejects, ambiguous = validate_facts(raw, RELATIONS)
            reasons = Counter(reason.split(":")[0] for reason in rejects["reason"])
            outcome[form] = raw, facts_from_table(facts), reasons, ambiguous
        return outcome[form]

    return read


@pytest.mark.parametrize("form", REAL_ROWS)
def test_real_rows(real, form):
    raw, facts, rejects, _ = real(form)
    _, number, reasons = REAL_ROWS[form]
    assert (len(raw), rejects) == (number, reasons)
    assert len(facts) == number - sum(reasons.values())
    assert all(fact.target_true and fact.target_new and fact.prompt.count("{}") == 1 for fact in facts)


def test_real_counterfact_brings_its_paraphrases_and_neighbours(real):
    _, facts, _, ambiguous = real("counterfact")
    assert Counter(len(fact.paraphrases) for fact in facts) == {2: 499}
    assert sum(len(fact.neighbours) for fact in facts) == 4987
    assert sum(fact.page_views is not None for fact in facts) == 487
    assert all(fact.target_true_id and fact.target_new_id for fact in facts)
    # a twin city is not the only one
    assert ambiguous["subject"].tolist() == ["Istanbul", "Istanbul"]


def test_real_flat_counterfact_has_no_page_views_of_one(real):
    _, facts, _, _ = real("counterfact_flat")
    assert sum(fact.page_views is not None for fact in facts) == 9793
    assert not any(fact.paraphrases for fact in facts)
    assert all(len(fact.neighbours) == 1 for fact in facts)


def test_real_zsre_brings_unrelated_questions(real):
    _, facts, _, _ = real("zsre")
    assert sum(len(fact.unrelated) for fact in facts) == 975
    assert not any(fact.neighbours or fact.relation_specificity for fact in facts)


def test_real_popqa_brings_its_other_names(real, tmp_path):
    _, facts, _, _ = real("popqa")
    path = tmp_path / "popqa.parquet"
    names_of = ("possible_answers", "s_aliases", "o_aliases")
    table = pd.read_csv(REAL / REAL_ROWS["popqa"][0], dtype=str, keep_default_na=False)
    for column in set(names_of) & set(table.columns):
        table[column] = table[column].map(lambda cell: json.loads(cell) if cell else [])
    table.to_parquet(path)
    again, _, _ = validate_facts(FactsDataset(str(path), format="popqa").load(), RELATIONS)
    assert facts_from_table(again) == facts


def test_real_popqa_names_that_mean_several_things(real):
    _, facts, _, ambiguous = real("popqa")
    assert {fact.relation for fact in facts} == set(PROPERTIES.values())
    assert len(set(ambiguous["subject"])) == 13
    assert "About Face" in set(ambiguous["subject"])


def test_real_pararel(real, tmp_path):
    for kind in ("triples", "patterns"):
        (tmp_path / kind).mkdir()
        for relation in ("P36", "P190"):
            if (file := REAL / "pararel" / kind / f"{relation}.jsonl").exists():
                shutil.copy(file, tmp_path / kind)
    if not any((tmp_path / "triples").iterdir()):
        pytest.skip("needs the real rows")
    raw, facts, rejects, _ = real("pararel", tmp_path)
    # a city has one capital to govern it, and any number of twins
    assert (len(raw), rejects) == (471 + 671, {"duplicate": 8 + 424})
    assert {fact.relation: len(fact.paraphrases) for fact in facts} == {"P36": 7, "P190": 0}
