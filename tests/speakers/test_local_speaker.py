import pytest
import torch
from fabricated_edits import bits, same_bits
from pydantic import ValidationError

from edit_robustness.models.decode import Generation
from edit_robustness.models.tiny import tiny_model
from edit_robustness.models.tokens import prompt_ids, render_conversation
from edit_robustness.records import Turn
from edit_robustness.speakers import local
from edit_robustness.speakers.local import LocalSpeaker, LocalSpeakerSettings, conversation_ids, make_sampler, speak

TALKS = [
    [Turn("system", "Be brief."), Turn("user", "Where is Borduria ruled from?")],
    [Turn("user", "Who wrote it?"), Turn("assistant", "An owl."), Turn("user", "Really? I had expected another.")],
    [Turn("user", "Yes?")],
]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3_text"])
@torch.no_grad()
def test_greedy_turns_are_those_of_generate(lab, architecture):
    lm = lab.model(architecture)
    replies = LocalSpeaker(lm, LocalSpeakerSettings(max_new_tokens=7, batch_rows=2)).replies(TALKS)
    for talk, text in zip(TALKS, replies, strict=True):
        ids = torch.tensor([prompt_ids(lm, render_conversation(lm, talk))])
        reference = lm.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=7,
            pad_token_id=lm.pad_id,
        )
        assert text == lm.tokenizer.decode(reference[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_sampling_is_seeded_and_knows_nothing_of_the_batch(lab):
    lm = lab.model("llama")
    weights, state = bits(lm), torch.random.get_rng_state()
    warm = LocalSpeaker(lm, LocalSpeakerSettings(max_new_tokens=8, temperature=1.5, seed=1))
    together = warm.replies(TALKS)
    assert together == [warm.replies([talk])[0] for talk in TALKS]
    assert together != LocalSpeaker(lm, LocalSpeakerSettings(max_new_tokens=8, temperature=1.5, seed=2)).replies(TALKS)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same_bits(bits(lm), weights)


def test_tokens_are_drawn_from_the_tempered_distribution():
    logits, temperature, n = torch.tensor([[1.0, 0.0, -1.0, 2.0]]), 0.7, 4000
    choose = make_sampler(temperature, list(range(n)))
    counts = torch.bincount(choose(logits.expand(n, -1), range(n)), minlength=4)
    counts_expected = (logits[0] / temperature).softmax(-1) * n
    # 16.3: the .001 quantile of chi squared with 3 degrees of freedom
    assert float(((counts - counts_expected) ** 2 / counts_expected).sum()) < 16.3


def test_rows_that_remain_keep_their_own_draws():
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    full_draw, part = make_sampler(1.0, [7, 8, 9]), make_sampler(1.0, [7, 8, 9])
    assert torch.equal(full_draw(logits, [0, 1, 2])[[0, 2]], part(logits[[0, 2]], [0, 2]))


def test_all_that_changes_replies_is_in_the_fingerprint(lab):
    lm = lab.model("llama")
    fingerprints = [LocalSpeaker(lm, LocalSpeakerSettings(**how)).fingerprint for how in (
        {}, {"max_new_tokens": 5}, {"temperature": 0.5}, {"temperature": 0.5, "seed": 1}
    )]  # fmt: skip
    fingerprints.append(LocalSpeaker(lab.model("gpt2")).fingerprint)
    assert len(set(fingerprints)) == 5
    assert LocalSpeaker(lm, LocalSpeakerSettings(seed=4, batch_rows=2)).fingerprint == fingerprints[0]


def test_a_template_without_system_turns_gets_its_text_before_the_first_users():
    lm = tiny_model("llama")
    turns = [Turn("system", "Be brief."), Turn("user", "Yes?")]
    lm.tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "[{{ message['role'] }}] {{ message['content'] }} {% endfor %}"
    )
    assert lm.tokenizer.decode(conversation_ids(lm, turns)).strip() == "[user] Be brief.\n\nYes?"


def test_a_model_without_a_template_stops_before_the_others_turn(monkeypatch):
    lm = tiny_model("llama")
    lm.tokenizer.chat_template = None
    greedy_options = {}

    def fake(lm, start, *, end_rule, may_end, **options):
        greedy_options.update(end_rule=end_rule, may_end=may_end)
        return [Generation([1], " From Szohod.\n\nUser: And then?\nAssistant: No.", True)]

    monkeypatch.setattr(local, "greedy", fake)
    (reply,) = speak(lm, [[1, 2]], limit=3)
    assert reply.text == "From Szohod."
    assert greedy_options["may_end"].all()
    assert greedy_options["end_rule"]("Yes.\nUser:")
    assert not greedy_options["end_rule"]("One User: yes")


def test_what_does_not_fit_is_refused_with_the_way_out(lab):
    lm = lab.model("llama")
    with pytest.raises(
        ValueError, match=r"tiny-llama: a turn of \d+ tokens and 2040 new tokens .*reduce max_new_tokens"
    ):
        LocalSpeaker(lm, LocalSpeakerSettings(max_new_tokens=2040)).replies(TALKS)
    for how in ({"temperature": -1}, {"max_new_tokens": 0}, {"batch_rows": 0}, {"tempo": 1}):
        with pytest.raises(ValidationError):
            LocalSpeakerSettings(**how)


def test_the_oldest_exchanges_are_forgotten_where_there_is_no_room(lab):
    system, last = Turn("system", "Be brief."), Turn("user", "And now?")
    old = [Turn("user", "word " * 900), Turn("assistant", "word " * 900)]
    recent = [Turn("user", "So?"), Turn("assistant", "No.")]
    speaker = LocalSpeaker(lab.model("llama"), LocalSpeakerSettings(max_new_tokens=5))
    short = speaker.replies([[system, *recent, last]])
    assert speaker.replies([[system, *old, *recent, last]]) == short
    assert short != speaker.replies([[system, last]])


def test_no_conversation_no_reply(lab):
    assert LocalSpeaker(lab.model("llama")).replies([]) == []
