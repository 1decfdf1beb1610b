"""What a model does with a benchmark: equal to the harness's own result, and guarded where that means nothing."""

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
from edit_robustness.models.language_model import restored
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
def embedded(lm):
    return {one.name: one for one in build_benchmarks(lm, parameters(documents=12), LocalFiles())}


@pytest.fixture(scope="module")
def mc1(lm, folder):
    return build_benchmarks(lm, parameters("paper2.truthfulqa_mc1"), LocalFiles(folder))[0]


def harness(lm, folder, task, samples=None):
    """The harness's own result, from its own files to its own figures."""
    model = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=4)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return lm_eval.simple_evaluate(model, tasks=[task], task_manager=manager, samples=samples, bootstrap_iters=0)


def test_multiple_choice_equals_the_harness(lm, embedded):
    benchmark = embedded["arithmetic"]
    numbers = [item.number for item in benchmark.items]
    theirs = harness(lm, _OURS / "embedded", "arithmetic", {"arithmetic": numbers})
    ours = measure(lm, benchmark)
    expected = {each["doc_id"]: each for each in theirs["samples"]["arithmetic"]}
    assert set(expected) == set(numbers)
    assert theirs["n-shot"]["arithmetic"] == benchmark.shots == 4
    assert sum(one.score for one in ours) / len(ours) == theirs["results"]["arithmetic"]["acc,none"]
    for one in ours:
        found = [float(response[0][0]) for response in expected[one.number]["resps"]]
        assert one.logprobs == pytest.approx(found, abs=1e-4)
        assert one.metrics == {"acc": expected[one.number]["acc"]}


def test_generation_equals_the_harness_under_both_filters(lm, folder):
    files = {split: str(folder / f"gsm8k/{split}.jsonl") for split in ("train", "test")}
    local = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
    limited = {"until": ["Question:", "</s>", "<|im_end|>"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 9}
    task = {"task": "gsm8k", "num_fewshot": 8, "fewshot_config": {"sampler": "first_n"},
            "generation_kwargs": limited, **local}  # fmt: skip
    theirs = harness(lm, _HARNESS / "gsm8k", {"group": "local", "task": [task]})
    benchmark = build_benchmarks(lm, parameters("paper2.gsm8k", max_new_tokens=9), LocalFiles(folder))[0]
    ours = measure(lm, benchmark)
    expected = {(each["doc_id"], each["filter"]): each for each in theirs["samples"]["gsm8k"]}
    assert {(one.number, one.filter) for one in ours} == set(expected)
    for one in ours:
        asked = expected[one.number, one.filter]
        assert benchmark.items[one.number].instances[0].args[0] == asked["arguments"][0][0]
        assert one.text == asked["resps"][0][0]
        assert one.score == asked["exact_match"]
    assert all(one.capped and one.tokens == 9 and one.logprobs == () and one.gold == -1 for one in ours)


def test_perplexity_is_by_token_beside_the_harness_by_word(lm, embedded):
    text = embedded["prose"].items[0].instances[0].args[0]
    one = measure(lm, embedded["prose"])[0]
    assert one.score == pytest.approx(math.exp(-one.logprobs[0] / len(lm.tokenizer.encode(text))))
    assert one.metrics["word_perplexity"] == pytest.approx(math.exp(-one.logprobs[0] / len(text.split())), rel=1e-6)
    assert one.tokens == len(lm.tokenizer.encode(text))


def test_a_model_of_nan_succeeds_nowhere(lm, mc1, embedded):
    weight = lm.model.model.layers[1].mlp.down_proj.weight
    with restored([weight.detach()]):
        weight.detach().fill_(math.nan)
        found = {name: measure(lm, benchmark) for name, benchmark in {**embedded, "mc1": mc1}.items()}
    for documents in found.values():
        assert [one.score for one in documents] == [0.0] * len(documents)
        assert {one.flags for one in documents} == {("not_finite",)}
    # what would have been counted without the guard
    assert any(one.metrics["acc"] == 1.0 for one in found["mc1"])


def test_ties_are_no_success(lm, mc1):
    head = lm.model.get_output_embeddings().weight
    with restored([head.detach()]):
        head.detach().zero_()
        documents = measure(lm, mc1)
    # options of as many tokens are equally probable
    assert {one.flags for one in documents if one.flags} <= {("tied",)}
    lengths = [[len(instance.args[1]) for instance in item.instances] for item in mc1.items]
    tied = [sum(length == min(row) for length in row) > 1 for row in lengths]
    assert [bool(one.flags) for one in documents] == tied
    assert all(one.score == 0.0 for one in documents if one.flags)


def test_every_checkpoint_is_asked_the_same(lm, mc1):
    weight = lm.model.model.layers[1].mlp.down_proj.weight
    before = measure(lm, mc1)
    with restored([weight.detach()]):
        weight.detach().mul_(3)
        edited = measure(lm, mc1)
    again = measure(lm, mc1)
    assert [one.prompt_hash for one in before] == [one.prompt_hash for one in edited]
    assert [one.logprobs for one in before] != [one.logprobs for one in edited]
    assert before == again
    assert len({(one.task, one.filter, one.doc_hash) for one in before}) == len(before)


def test_words_before_a_request_stand_before_its_examples(lm, embedded):
    one = embedded["arithmetic"]
    after = measure(lm, one, prefix="New facts: owls swim.\n\n")
    assert [each.prompt_hash for each in after] == [each.prompt_hash for each in measure(lm, one)]
    context, option = one.work.instances[0].args
    ids = lm.tokenizer("New facts: owls swim.\n\n" + context + option, return_tensors="pt")["input_ids"]
    scored = len(lm.tokenizer(option)["input_ids"])
    with torch.no_grad():
        logprobs = lm.model(ids).logits[0].float().log_softmax(-1)
    expected = sum(logprobs[-1 - scored + k, ids[0, len(ids[0]) - scored + k]].item() for k in range(scored))
    assert after[0].logprobs[0] == pytest.approx(expected, abs=1e-4)


def test_words_that_leave_no_room_are_an_error(lm, embedded):
    with pytest.raises(RequestTooLong):
        measure(lm, embedded["arithmetic"], prefix="x" * (1 << 14))
