"""Small made-up benchmarks, each in the form in which its publisher offers the real one."""

import csv
import json
from functools import cache
from pathlib import Path

import yaml

from edit_robustness.abilities.settings import AbilityParameters

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "benchmarks"


@cache
def _read_presets():
    return yaml.safe_load((ROOT / "conf/base/parameters_abilities.yml").read_text())["abilities"]


def parameters(tasks="embedded", **changes):
    """The committed parameters, with some of them changed."""
    return AbilityParameters(**{**_read_presets(), "tasks": tasks, **changes})


def lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def rows(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(records)


def gsm8k(folder):
    def problem(a):
        return {"question": f"Ada has {a} pens and buys {a} more. How many are there?",
                "answer": f"{a} + {a} = {2 * a}\n#### {2 * a}"}  # fmt: skip

    lines(folder / "gsm8k/train.jsonl", map(problem, range(1, 9)))
    lines(folder / "gsm8k/test.jsonl", map(problem, range(10, 16)))


def truthfulqa(folder):
    questions = [
        {
            "question": f"Is stone number {n} alive?",
            "mc1_targets": {"No.": 1, f"Yes, {n} times.": 0, "On Mondays.": 0},
            "mc2_targets": {"No.": 1, "It is not.": 1, f"Yes, {n} times.": 0, "On Mondays.": 0},
        }
        for n in range(8)
    ]
    (folder / "truthfulqa").mkdir(parents=True, exist_ok=True)
    (folder / "truthfulqa/mc_task.json").write_text(json.dumps(questions))
    head = ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"]
    cells = ["Made up", "Stones", "Are stones alive?", "No", "No; They are not alive;", "Yes; On Mondays", "nowhere"]
    rows(folder / "truthfulqa/TruthfulQA.csv", [head, cells])


def mmlu(folder, subjects=("anatomy",), header=False):
    for subject in subjects:
        for split, number in (("dev", 5), ("test", 4)):
            questions = [
                [f"{subject} {n}?", "red", "green, or so", "blue", "none", "ABCD"[n % 4]] for n in range(number)
            ]
            if header:
                questions = [["question", *(f"choice{k}" for k in range(4)), "answer"]] + [
                    [*row[:-1], str("ABCD".index(row[-1]))] for row in questions
                ]
            rows(folder / f"mmlu/{split}/{subject}_{split}.csv", questions)


def others(folder):
    """One document and its kind of each of the rest."""
    (folder / "bbh").mkdir(parents=True)
    examples = {"canary": "none", "examples": [{"input": "Pick.\n(A) x\n(B) y", "target": "(B)"}]}
    (folder / "bbh/snarks.json").write_text(json.dumps(examples))
    choices = [{"label": label, "text": text} for label, text in zip("ABCDE", ("a", "b", "c", "d", "e"), strict=True)]
    question = {"question_concept": "x", "stem": "What is the second letter?", "choices": choices}
    for split in ("train", "dev"):
        lines(
            folder / f"commonsense_qa/{split}_rand_split.jsonl", [{"id": split, "answerKey": "B", "question": question}]
        )
    answer = {"Value": "Ada Example", "Aliases": ["Ada Example", "A. Example"]}
    (folder / "triviaqa").mkdir()
    (folder / "triviaqa/verified-web-dev.json").write_text(
        json.dumps({"Data": [{"Question": "Who is an example?", "QuestionId": "q1", "Answer": answer}]})
    )
    head = ["text", "target_group", "toxicity_ai", "toxicity_human"]
    rows(folder / "toxigen/annotated_test.csv", [head, [str("they are fine, caf\u00e9".encode()), "all", "1", "1.0"]])
    lines(folder / "piqa/dev.jsonl", [{"goal": "To sleep,", "sol1": "lie down", "sol2": "stand up"}])
    (folder / "piqa/dev-labels.lst").write_text("0\n")
    question_fields = {
        "stem": "What is wet?",
        "choices": [{"text": "water", "label": "A"}, {"text": "sand", "label": "B"}],
    }
    lines(folder / "arc/ARC-Easy-Test.jsonl", [{"id": "m1", "question": question_fields, "answerKey": "A"}])
    sentence = {"ind": 1, "activity_label": "Cooking", "ctx_a": "A man cooks.", "ctx_b": "he", "ctx": "A man cooks. He"}
    lines(
        folder / "hellaswag/hellaswag_val.jsonl", [{**sentence, "endings": ["eats.", "flies.", "x.", "y."], "label": 0}]
    )
    lines(folder / "lambada/lambada_test.jsonl", [{"text": "She called her dog and then fed the dog"}])
    (folder / "wikitext").mkdir()
    (folder / "wikitext/wiki.test.raw").write_text(
        " \n = Geese = \n Geese fly .\n = = Food = = \n They eat grass .\n = Owls = \n Owls sleep .\n"
    )
