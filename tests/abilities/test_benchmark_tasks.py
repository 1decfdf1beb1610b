"""Benchmarks are the harness's own, but for what we say differs."""

import shutil

import fabricated_benchmarks as made
import pytest
import yaml
from fabricated_benchmarks import parameters

from edit_robustness.abilities.harness import _HARNESS
from edit_robustness.abilities.local_files import BenchmarkFilesMissing, LocalFiles
from edit_robustness.abilities.measure import benchmark_facts
from edit_robustness.abilities.tasks import build_benchmarks, draw_documents
from edit_robustness.models.tiny import tiny_model


@pytest.fixture(scope="module")
def lm():
    model = tiny_model("llama")
    # a tokenizer of bytes makes long prompts
    model.model.config.max_position_embeddings = 1 << 17
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    made.mmlu(folder, ("anatomy", "virology"))
    made.gsm8k(folder)
    made.truthfulqa(folder)
    return LocalFiles(folder)


def get_benchmarks(lm, files, tasks, **changes):
    return build_benchmarks(lm, parameters(tasks, **changes), files)[0]


def test_documents_are_drawn_in_equal_shares():
    sizes = {"a": 10, "b": 100, "c": 3}
    drawn_numbers = draw_documents(sizes, 13, 0)
    assert {name: len(numbers) for name, numbers in drawn_numbers.items()} == {"a": 5, "b": 5, "c": 3}
    assert all(numbers == sorted(set(numbers)) for numbers in drawn_numbers.values())
    assert all(set(numbers) <= set(range(sizes[name])) for name, numbers in drawn_numbers.items())


def test_a_larger_draw_holds_the_smaller_one_and_another_seed_draws_others():
    sizes = {"a": 50, "b": 60}
    small, large, other_draw = draw_documents(sizes, 10, 0), draw_documents(sizes, 30, 0), draw_documents(sizes, 10, 1)
    assert all(set(small[name]) <= set(large[name]) for name in sizes)
    assert small != other_draw
    assert draw_documents(sizes, 0, 0) == {"a": list(range(50)), "b": list(range(60))}
    assert sum(map(len, draw_documents({f"t{k}": 5 for k in range(57)}, 50, 0).values())) == 50


def test_a_group_is_asked_across_its_tasks(lm, tmp_path):
    made.mmlu(tmp_path, ("anatomy", "virology"))
    group = {"group": "two", "task": ["mmlu_anatomy", {"task": "mmlu_virology", "description": "On small things.\n\n"}]}
    (tmp_path / "yaml").mkdir()
    for name in ("_default_template_yaml", "mmlu_anatomy.yaml", "mmlu_virology.yaml"):
        shutil.copy(_HARNESS / "mmlu/default" / name, tmp_path / "yaml")
    (tmp_path / "yaml" / "two.yaml").write_text(yaml.safe_dump(group))
    presets = {"own": {"two": {"task": "two", "folder": str(tmp_path / "yaml"), "shots": 5}}}
    benchmark = get_benchmarks(lm, LocalFiles(tmp_path), "own", presets=presets, documents=3)
    assert sorted({item.task for item in benchmark.items}) == ["mmlu_anatomy", "mmlu_virology"]
    assert len(benchmark.items) == 3
    assert benchmark.note == "across 2 tasks"
    context, option = benchmark.work.instances[-1].args
    assert (context.count("Answer:"), option) == (6, " D")
    virology = next(item for item in benchmark.items if item.task == "mmlu_virology")
    assert virology.instances[0].args[0].startswith("On small things.\n\nvirology 0?")


def test_examples_are_the_first_of_the_training_split_for_all(lm, files):
    benchmark = get_benchmarks(lm, files, "paper2.gsm8k")
    contexts = [instance.args[0] for instance in benchmark.work.instances]
    before = {context.rpartition("Question:")[0] for context in contexts}
    assert len(before) == 1
    assert [f"has {a} pens" in before.copy().pop() for a in range(1, 9)] == [True] * 8
    assert all(context.count("Question:") == 9 for context in contexts)


def test_generations_are_limited_and_the_limit_is_kept(lm, files):
    limits = {get_benchmarks(lm, files, "paper2.gsm8k", max_new_tokens=limit).max_new_tokens for limit in (5, 100_000)}
    assert limits == {5, 256}


def test_options_of_truthfulqa_are_shuffled_and_the_right_one_is_still_known(lm, files):
    benchmark = get_benchmarks(lm, files, "paper2.truthfulqa_mc1")
    golds = [item.gold for item in benchmark.items]
    assert len(set(golds)) > 1
    assert [item.instances[item.gold].args[1] for item in benchmark.items] == [" No."] * 8
    again = get_benchmarks(lm, files, "paper2.truthfulqa_mc1", documents=3)
    assert {item.doc_hash for item in again.items} <= {item.doc_hash for item in benchmark.items}
    assert benchmark.chance == pytest.approx(1 / 3)
    assert benchmark.constant_answer == max(golds.count(k) for k in range(3)) / 8


def test_baselines_of_other_kinds(lm, files):
    mc2, gsm8k = (get_benchmarks(lm, files, f"paper2.{name}") for name in ("truthfulqa_mc2", "gsm8k"))
    assert mc2.chance == pytest.approx(1 / 2)
    assert {item.gold for item in mc2.items} == {-1}
    assert (gsm8k.chance, gsm8k.constant_answer) == (0.0, pytest.approx(1 / 6))


def test_the_constant_answer_of_truthfulqa_is_always_right(lm, files):
    assert get_benchmarks(lm, files, "paper2.truthfulqa_gen").constant_answer == 1.0


def test_a_fingerprint_knows_whatever_changes_an_answer(lm, files):
    def named(**changes):
        return get_benchmarks(lm, files, "paper2.gsm8k", **changes).fingerprint

    assert named() == named()
    metric = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    overrides = {"fewshot_config": {"sampler": "first_n"}, "metric_list": [metric]}
    strict = {"task": "gsm8k", "folder": "gsm8k", "shots": 8, "overrides": overrides}
    other_fingerprint = get_benchmarks(lm, files, "own", presets={"own": {"gsm8k": strict}}).fingerprint
    assert len({named(), named(documents=3), named(max_new_tokens=7), other_fingerprint}) == 4


def test_facts_stand_in_a_table(lm, files):
    benchmarks = build_benchmarks(lm, parameters(["embedded", "paper2.gsm8k"], documents=4), files)
    table = benchmark_facts(benchmarks).set_index(["benchmark", "filter"])
    assert table.loc[("gsm8k", "flexible-extract"), ["shots", "n_documents", "max_new_tokens"]].tolist() == [8, 4, 256]
    assert table.loc[("knowledge", "none"), "chance"] == 0.25
    assert table.loc[("prose", "none"), ["chance", "constant_answer"]].isna().all()
    assert table["metric"].tolist() == ["acc", "acc", "acc", "perplexity", "exact_match", "exact_match"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "knowlege", "folder": "embedded"}, r"one: the harness has no task `knowlege` .* knowledge"),
        ({"task": "x", "folder": "no/such"}, r"folder: no/such does not exist"),
        ({"task": "knowledge", "folder": "embedded", "metric": "f1"}, r"no metric `f1`; it has acc"),
        ({"task": "arithmetic", "folder": "embedded", "shots": 9}, r"has only 4 examples, but shots is 9"),
    ],
)
def test_what_is_not_there_is_named(lm, settings, message):
    with pytest.raises(ValueError, match=message):
        get_benchmarks(lm, LocalFiles(), "own", presets={"own": {"one": settings}})


def test_without_files_and_network_the_way_out_is_told(lm, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(BenchmarkFilesMissing, match=r"gsm8k: .*openai/gsm8k could not be fetched .*benchmarks_path"):
        get_benchmarks(lm, LocalFiles(), "paper2.gsm8k")


@pytest.mark.skipif(not made.REAL.is_dir(), reason="the real files are not here")
def test_the_papers_benchmarks_are_built_from_the_real_files(lm):
    tasks = [f"paper2.{name}" for name in parameters("paper2").select_benchmarks() if name != "truthfulqa_gen"]
    benchmarks = {
        benchmark.name: benchmark
        for benchmark in build_benchmarks(lm, parameters(tasks, documents=1), LocalFiles(made.REAL))
    }
    assert {name: len(benchmark.items) for name, benchmark in benchmarks.items()} == dict.fromkeys(benchmarks, 1)
    before = {"mmlu": "\nAnswer:", "bbh": "\nA: Let's think", "gsm8k": "\nAnswer:", "commonsense_qa": "\nAnswer:"}
    counts = {name: benchmarks[name].work.instances[0].args[0].count(word) for name, word in before.items()}
    assert counts == {"mmlu": 6, "bbh": 4, "gsm8k": 9, "commonsense_qa": 8}


OWN = {
    "task": "mine",
    "dataset_path": "a/own",
    "test_split": "train",
    "output_type": "loglikelihood",
    "doc_to_text": "{{q}}",
    "doc_to_target": "{{a}}",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"doc_to_target": "{{z}}"}, "UndefinedError: 'z' is undefined"),
        ({"doc_to_target": "{{a"}, "TemplateSyntaxError"),
        ({"output_type": "likely"}, "invalid output_type 'likely'"),
        ({"foo": 1}, "unexpected keyword argument 'foo'"),
        ({"test_split": "exam"}, "KeyError: 'exam'"),
        ({"dataset_path": None}, "AttributeError"),
    ],
)
def test_a_task_of_a_user_that_cannot_be_asked_is_named_with_its_folder(lm, changes, message, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.jsonl").write_text('{"q": "a", "a": "b"}\n')
    (tmp_path / "task.yaml").write_text(yaml.safe_dump({**OWN, **changes}))
    presets = {"own": {"one": {"task": "mine", "folder": str(tmp_path)}}}
    with pytest.raises(
        ValueError, match=rf"abilities.presets: one: the task `mine` of {tmp_path}.*{message}.*check its"
    ):
        get_benchmarks(lm, LocalFiles(tmp_path), "own", presets=presets)


@pytest.mark.parametrize(("text", "message"), [("task: mine\n  x: [", "cannot be read"), ("- a", "is not a mapping")])
def test_a_file_of_tasks_that_is_no_yaml_is_told(lm, text, message, tmp_path):
    (tmp_path / "task.yaml").write_text(text)
    presets = {"own": {"one": {"task": "mine", "folder": str(tmp_path)}}}
    with pytest.raises(
        ValueError, match=rf"no task `mine` in {tmp_path}; there are none; {tmp_path}/task.yaml {message}"
    ):
        get_benchmarks(lm, LocalFiles(), "own", presets=presets)
