"""Scores of a model on a benchmark: equal to the harness's own, and flagged if they mean nothing."""

import math

import fabricated_benchmarks as made
import lm_eval
import pytest
import torch
from fabricated_benchmarks import parameters
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from edit_robustness.abilities.harness import _HARNESS, _OURS
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.measure import measure
from edit_robustness.abilities.requests import RequestTooLong
from edit_robustness.abilities.tasks import build_benchmarks
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.models.language_model import restore_after
from edit_robustness.models.tiny import tiny_model


@pytest.fixture(scope="module")
def lm():
    model = tiny_model("llama")
    model.model.config.max_position_embeddings = 1 << 14
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    made.gsm8k(folder)
    made.truthfulqa(folder)
    return folder


@pytest.fixture(scope="module")
def embedded_benchmarks(lm):
    return {benchmark.name: benchmark for benchmark in build_benchmarks(lm, parameters(documents=12), LocalFiles())}


@pytest.fixture(scope="module")
def mc1(lm, folder):
    return build_benchmarks(lm, parameters("paper2.truthfulqa_mc1"), LocalFiles(folder))[0]


def harness(lm, folder, task, samples=None):
    """The harness's own result, from its own files to its own figures."""
    model = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=4)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return lm_eval.simple_evaluate(model, tasks=[task], task_manager=manager, samples=samples, bootstrap_iters=0)


def test_multiple_choice_equals_the_harness(lm, embedded_benchmarks):
    benchmark = embedded_benchmarks["arithmetic"]
    numbers = [item.number for item in benchmark.items]
    harness_results = harness(lm, _OURS / "embedded", "arithmetic", {"arithmetic": numbers})
    documents = measure(lm, benchmark)
    reference = {sample["doc_id"]: sample for sample in harness_results["samples"]["arithmetic"]}
    assert set(reference) == set(numbers)
    assert harness_results["n-shot"]["arithmetic"] == benchmark.shots == 4
    assert (
        sum(document.score for document in documents) / len(documents)
        == harness_results["results"]["arithmetic"]["acc,none"]
    )
    for document in documents:
        logprobs = [float(response[0][0]) for response in reference[document.number]["resps"]]
        assert document.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert document.metrics == {"acc": reference[document.number]["acc"]}


def test_generation_equals_the_harness_under_both_filters(lm, folder):
    files = {split: str(folder / f"gsm8k/{split}.jsonl") for split in ("train", "test")}
    local = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
    generation_settings = {
        "until": ["Question:", "</s>", "<|im_end|>"],
        "do_sample": False,
        "temperature": 0.0,
        "max_gen_toks": 9,
    }
    task = {"task": "gsm8k", "num_fewshot": 8, "fewshot_config": {"sampler": "first_n"},
            "generation_kwargs": generation_settings, **local}  # fmt: skip
    harness_results = harness(lm, _HARNESS / "gsm8k", {"group": "local", "task": [task]})
    benchmark = build_benchmarks(lm, parameters("paper2.gsm8k", max_new_tokens=9), LocalFiles(folder))[0]
    documents = measure(lm, benchmark)
    reference = {(sample["doc_id"], sample["filter"]): sample for sample in harness_results["samples"]["gsm8k"]}
    assert {(document.number, document.filter) for document in documents} == set(reference)
    for document in documents:
        sample_record = reference[document.number, document.filter]
        assert benchmark.items[document.number].instances[0].args[0] == sample_record["arguments"][0][0]
        assert document.text == sample_record["resps"][0][0]
        assert document.score == sample_record["exact_match"]
    assert all(
        document.capped and document.tokens == 9 and document.logprobs == () and document.gold == -1
        for document in documents
    )


def test_perplexity_is_by_token_beside_the_harness_by_word(lm, embedded_benchmarks):
    text = embedded_benchmarks["prose"].items[0].instances[0].args[0]
    document = measure(lm, embedded_benchmarks["prose"])[0]
    assert document.score == pytest.approx(math.exp(-document.logprobs[0] / len(lm.tokenizer.encode(text))))
    assert document.metrics["word_perplexity"] == pytest.approx(
        math.exp(-document.logprobs[0] / len(text.split())), rel=1e-6
    )
    assert document.tokens == len(lm.tokenizer.encode(text))


def test_a_model_of_nan_succeeds_nowhere(lm, mc1, embedded_benchmarks):
    weight = lm.model.model.layers[1].mlp.down_proj.weight
    with restore_after([weight.detach()]):
        weight.detach().fill_(math.nan)
        documents_by_name = {
            name: measure(lm, benchmark) for name, benchmark in {**embedded_benchmarks, "mc1": mc1}.items()
        }
    for documents in documents_by_name.values():
        assert [document.score for document in documents] == [0.0] * len(documents)
        assert {document.flags for document in documents} == {("not_finite",)}
    # what would have been counted without the guard
    assert any(document.metrics["acc"] == 1.0 for document in documents_by_name["mc1"])


def test_ties_are_no_success(lm, mc1):
    head = lm.model.get_output_embeddings().weight
    with restore_after([head.detach()]):
        head.detach().zero_()
        documents = measure(lm, mc1)
    # options of as many tokens are equally probable
    assert {document.flags for document in documents if document.flags} <= {("tied",)}
    lengths = [[len(instance.args[1]) for instance in item.instances] for item in mc1.items]
    tie_flags = [sum(length == min(row) for length in row) > 1 for row in lengths]
    assert [bool(document.flags) for document in documents] == tie_flags
    assert all(document.score == 0.0 for document in documents if document.flags)


def test_every_checkpoint_is_asked_the_same(lm, mc1):
    weight = lm.model.model.layers[1].mlp.down_proj.weight
    before = measure(lm, mc1)
    with restore_after([weight.detach()]):
        weight.detach().mul_(3)
        edited_documents = measure(lm, mc1)
    again = measure(lm, mc1)
    assert [document.prompt_hash for document in before] == [document.prompt_hash for document in edited_documents]
    assert [document.logprobs for document in before] != [document.logprobs for document in edited_documents]
    assert before == again
    assert len({(document.task, document.filter, document.doc_hash) for document in before}) == len(before)


def test_words_before_a_request_stand_before_its_examples(lm, embedded_benchmarks):
    benchmark = embedded_benchmarks["arithmetic"]
    after = measure(lm, benchmark, PromptPrefix("New facts: owls swim.\n\n"))
    assert [document.prompt_hash for document in after] == [document.prompt_hash for document in measure(lm, benchmark)]
    context, option = benchmark.work.instances[0].args
    ids = lm.tokenizer("New facts: owls swim.\n\n" + context + option, return_tensors="pt")["input_ids"]
    n_scored = len(lm.tokenizer(option)["input_ids"])
    with torch.no_grad():
        logprobs = lm.model(ids).logits[0].float().log_softmax(-1)
    logprob = sum(logprobs[-1 - n_scored + k, ids[0, len(ids[0]) - n_scored + k]].item() for k in range(n_scored))
    assert after[0].logprobs[0] == pytest.approx(logprob, abs=1e-4)


def test_the_question_of_a_request_has_none_of_its_examples(lm, embedded_benchmarks):
    arithmetic, prose = embedded_benchmarks["arithmetic"], embedded_benchmarks["prose"]
    assert arithmetic.shots
    for item in arithmetic.items:
        assert item.questions == (f"{item.doc['problem']} =",) * len(item.instances)
        assert item.instances[0].args[0].endswith(item.questions[0])
    assert [item.questions for item in prose.items] == [(item.doc["text"],) for item in prose.items]
    assert arithmetic.work.questions == tuple(question for item in arithmetic.items for question in item.questions)


def test_words_that_leave_no_room_are_an_error(lm, embedded_benchmarks):
    with pytest.raises(RequestTooLong):
        measure(lm, embedded_benchmarks["arithmetic"], PromptPrefix("x" * (1 << 14)))
