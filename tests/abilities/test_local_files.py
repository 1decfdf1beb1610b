"""Benchmarks from files, in every form that a publisher offers."""

import fabricated_benchmarks as made
import pandas as pd
import pytest

from edit_robustness.abilities.local_files import SOURCES, BenchmarkFilesMissing, LocalFiles

SUBSETS = {"cais/mmlu": "anatomy", "SaylorTwift/bbh": "snarks", "allenai/ai2_arc": "ARC-Easy"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    made.mmlu(folder)
    made.gsm8k(folder)
    made.truthfulqa(folder)
    made.others(folder)
    return LocalFiles(folder)


@pytest.mark.parametrize("dataset", SOURCES)
def test_every_form_is_read(files, dataset):
    subsets = ["multiple_choice", "generation"] if dataset == "truthfulqa/truthful_qa" else [SUBSETS.get(dataset)]
    for subset in subsets:
        splits = files.splits(dataset, subset)
        assert splits
        assert all(splits.values())


def test_what_the_harness_reads_stands_in_its_fields(files):
    def first(dataset, split, subset=None):
        return files.splits(dataset, subset)[split][0]

    question = {"question": "anatomy 0?", "subject": "anatomy", "choices": ["red", "green, or so", "blue", "none"]}
    assert first("cais/mmlu", "test", "anatomy") == {**question, "answer": 0}
    assert first("SaylorTwift/bbh", "test", "snarks")["target"] == "(B)"
    assert first("tau/commonsense_qa", "validation")["choices"]["text"] == ["a", "b", "c", "d", "e"]
    assert first("mandarjoshi/trivia_qa", "validation")["answer"]["aliases"] == ["Ada Example", "A. Example"]
    assert first("skg/toxigen-data", "test")["text"] == "they are fine, café"
    assert first("baber/piqa", "validation")["label"] == 0
    assert first("Rowan/hellaswag", "validation")["label"] == "0"
    targets = first("truthfulqa/truthful_qa", "validation", "multiple_choice")["mc2_targets"]
    assert targets["labels"] == [1, 1, 0, 0]
    targets = first("truthfulqa/truthful_qa", "validation", "generation")
    assert targets["correct_answers"] == ["No", "They are not alive"]
    pages = files.splits("EleutherAI/wikitext_document_level", None)["test"]
    assert [page["page"].split("\n")[0] for page in pages] == [" = Geese = ", " = Owls = "]


def test_a_header_and_numbers_for_letters_are_the_same(tmp_path, files):
    made.mmlu(tmp_path, header=True)
    assert LocalFiles(tmp_path).splits("cais/mmlu", "anatomy") == files.splits("cais/mmlu", "anatomy")


def test_questions_that_were_cells_lose_their_quotes(tmp_path):
    made.lines(
        tmp_path / "triviaqa/test.jsonl",
        [
            {"question": '"Who said ""no""?"', "golden_answers": ["Ada"]},
            {"question": '"No" was said by whom?', "golden_answers": ["Ada"]},
        ],
    )
    documents = LocalFiles(tmp_path).splits("mandarjoshi/trivia_qa", "x")["validation"]
    assert [row["question"] for row in documents] == ['Who said "no"?', '"No" was said by whom?']


def test_the_harness_own_form_is_read_too(tmp_path):
    folder = tmp_path / "winogrande" / "xl"
    folder.mkdir(parents=True)
    pd.DataFrame({"sentence": ["It is _."], "answer": ["1"]}).to_parquet(folder / "validation-00000.parquet")
    splits = LocalFiles(tmp_path).splits("allenai/winogrande", "xl")
    assert splits == {"validation": [{"sentence": "It is _.", "answer": "1"}]}


def test_one_benchmark_can_be_elsewhere(tmp_path):
    made.gsm8k(tmp_path / "mine")
    files = LocalFiles(files={"gsm8k": tmp_path / "mine/gsm8k"})
    assert len(files.splits("openai/gsm8k", "main")["test"]) == 6
    assert files.splits("cais/mmlu", "anatomy") is None


@pytest.mark.parametrize(
    ("dataset", "subset", "message"),
    [
        (
            "openai/gsm8k",
            "main",
            r"gsm8k: .*train\.jsonl is missing.*openai/grade-school-math.*files: {gsm8k",
        ),
        ("cais/mmlu", "anatomy", r"mmlu: .*anatomy_dev\.csv is missing.*github\.com/hendrycks/test"),
        ("allenai/winogrande", "xl", r"winogrande: .*huggingface\.co/datasets/allenai/winogrande"),
    ],
)
def test_missing_files_are_named_with_their_publisher(tmp_path, dataset, subset, message):
    with pytest.raises(BenchmarkFilesMissing, match=message):
        LocalFiles(tmp_path).splits(dataset, subset)


def test_a_file_of_another_form_is_refused(tmp_path):
    made.lines(tmp_path / "commonsense_qa/train_rand_split.jsonl", [{"question": "flat"}])
    with pytest.raises(BenchmarkFilesMissing, match=r"commonsense_qa: .* has an unexpected format \(TypeError"):
        LocalFiles(tmp_path).splits("tau/commonsense_qa", None)


@pytest.mark.skipif(not made.REAL.is_dir(), reason="the real files are not here")
@pytest.mark.parametrize(
    ("dataset", "subset", "split", "number"),
    [
        ("cais/mmlu", "anatomy", "test", 135),
        ("SaylorTwift/bbh", "snarks", "test", 178),
        ("openai/gsm8k", "main", "test", 1319),
        ("tau/commonsense_qa", None, "validation", 1221),
        ("mandarjoshi/trivia_qa", "rc.nocontext", "validation", 1000),
        ("truthfulqa/truthful_qa", "multiple_choice", "validation", 817),
        ("truthfulqa/truthful_qa", "generation", "validation", 817),
        ("skg/toxigen-data", "annotated", "test", 8960),
    ],
)
def test_the_real_files(dataset, subset, split, number):
    assert len(LocalFiles(made.REAL).splits(dataset, subset)[split]) == number


@pytest.mark.parametrize(
    ("dataset", "files", "message"),
    [
        # the publisher's files are missing, and what lies there in the harness's form cannot be read
        ("openai/gsm8k", {"gsm8k/test.jsonl": "{}\n{no"}, r"benchmark gsm8k: .* \(ValueError: test.jsonl: line 2: "),
        ("openai/gsm8k", {"gsm8k/train.jsonl": "{}", "gsm8k/test.jsonl": "{}\n[1]"}, "test.jsonl: record 2 is a list"),
        ("x/own", {"own/test.jsonl": "{no"}, "benchmark own: .*test.jsonl: line 1: "),
        ("x/own", {"own/test.parquet": "no"}, "benchmark own: .*test.parquet: "),
        ("truthfulqa/truthful_qa", {"truthfulqa/mc_task.json": '{"a": 1}'}, "mc_task.json: expected a list of records"),
        (
            "skg/toxigen-data",
            {"toxigen/annotated_test.csv": "text,target_group,toxicity_ai,toxicity_human\nb'x',a"},
            "benchmark toxigen: .* has an unexpected format",
        ),
    ],
)
def test_files_of_another_form_are_named_with_the_line(dataset, files, message, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(BenchmarkFilesMissing, match=message):
        LocalFiles(tmp_path).splits(dataset, "multiple_choice" if "truthful" in dataset else None)
