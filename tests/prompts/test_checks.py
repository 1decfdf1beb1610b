import pytest

from edit_robustness.prompts.checks import PARTS, problem, read_turns
from edit_robustness.records import Fact, Turn

FRANCE = Fact("f", "France", "P36", "The capital of {} is", "Paris", "Rome", ("City of Light",), ("Roma",))
ASKED = Fact("q", "France", "", "What is the capital of {}?", "Paris", "Rome")
LONG = "France has been described in many books, and most of them agree that it is worth a visit. " * 4
DIALOGUE = (
    "User: We read about France at school.\nAssistant: That is a large subject, is it not?\n"
    "User: It took us all of the summer.\nAssistant: What would you like to know about it?"
)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("paraphrase", "France is governed from"),
        ("paraphrase", '"Where do they rule France?" she asked. "In'),
        ("question", "From where is France ruled?"),
        ("cloze", "They rule France from ____, it is said."),
        ("profile", LONG),
        ("dialogue", DIALOGUE),
        ("reversed_question", "Of which country is Rome the capital?"),
    ],
)
def test_what_is_well_formed_passes(part, text):
    assert problem(part, text, FRANCE) == ""


@pytest.mark.parametrize(
    ("part", "text", "reason"),
    [
        ("paraphrase", " ", "empty"),
        ("paraphrase", "{} and France are governed from", "not filled"),
        ("paraphrase", "That country is governed from", "subject missing: 'France'"),
        ("paraphrase", "France, unlike Paris, is in", "names an object: 'Paris'"),
        ("paraphrase", "France, the land of the city of light, is in", "names an object: 'City of Light'"),
        ("paraphrase", "France, and not ROMA, is in", "names an object: 'Roma'"),
        ("paraphrase", "France is governed.", "closed end"),
        ("paraphrase", "Where is France governed?", "closed end"),
        ("paraphrase", "France " + "very " * 80 + "is in", "length: 83 words, not 2 to 70"),
        ("paraphrase", "La capitale de la France se trouve dans une ville nommée", "language: the prompt is English"),
        ("paraphrase", "Столица страны France находится в городе", "language: the prompt is written in Latin"),
        ("question", "Name where France is ruled from.", "no question"),
        ("cloze", "They rule France from there.", "blanks: it must hold ____ once, it has 0"),
        ("cloze", "____ rules France from ____.", "blanks: it must hold ____ once, it has 2"),
        ("cloze", "They rule France from ______.", "blanks: it must hold ____ once, it has 1"),
        ("profile", "France is old.", "length: 3 words, not 15 to 600"),
        ("profile", LONG + "And then it", "no sentence"),
        ("profile", LONG + "It is ruled from Rome.", "names an object: 'Rome'"),
        ("dialogue", DIALOGUE.replace("User: It", "It"), "not a dialogue: a line must open with `User:`"),
        ("dialogue", DIALOGUE + "\nUser: Well, about France ...", "not a dialogue: it has 5 turns"),
        ("dialogue", DIALOGUE.replace("summer", "summer in Paris"), "names an object: 'Paris'"),
        ("reversed_question", "Of which country is it the capital?", "object missing"),
        ("reversed_question", "Is Rome the capital of France?", "names its answer"),
        ("reversed_question", "Of which country is Rome, not Paris, the capital?", "names an object: 'Paris'"),
    ],
)
def test_what_is_wrong_is_named(part, text, reason):
    assert problem(part, text, FRANCE).startswith(reason)


def test_an_object_inside_the_subjects_name_is_not_given_away():
    radio = Fact("r", "BBC Radio 4", "P127", "{} is owned by", "BBC", "Sega")
    assert problem("paraphrase", "The owner of BBC Radio 4 is", radio) == ""
    assert problem("paraphrase", "The BBC Radio 4 of the BBC is owned by", radio) == "names an object: 'BBC'"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # seven words, and eight
        ("France, elle se trouve dans la ville de", ""),
        ("France, elle se trouve dans la ville nommée ici", "language: the prompt is English, this is not"),
        # three of twenty words, and of twenty-one
        ("France, the of in" + " ville" * 17, ""),
        ("France, the of in" + " ville" * 18, "language: the prompt is English, this is not"),
        # eight of ten letters beside the name, and of eleven
        ("France is capita東京", ""),
        ("France is capita東京都", "language: the prompt is written in Latin letters, this is not"),
    ],
)
def test_some_words_of_another_language_pass(text, reason):
    assert problem("paraphrase", text, FRANCE) == reason


@pytest.mark.parametrize("end", [".", "!", "?", ";", " ____", ". "])
def test_a_paraphrase_has_no_end_of_its_own(end):
    assert problem("paraphrase", f"France is governed{end}", FRANCE).startswith("closed end")


@pytest.mark.parametrize("end", [".", "!", "?", ".”", '."', ". "])
def test_a_profile_ends_like_a_sentence(end):
    assert problem("profile", LONG.rstrip(" .") + end, FRANCE) == ""


def test_a_prompt_that_asks_may_be_paraphrased_by_a_question():
    assert problem("paraphrase", "From where is France ruled?", ASKED) == ""
    assert problem("paraphrase", "France is ruled.", ASKED).startswith("closed end")


def test_a_statement_may_end_with_a_name_that_ends_with_a_mark():
    yahoo = Fact("y", "Yahoo!", "P112", "The founder of {} is", "Ada", "Bo")
    assert problem("paraphrase", "Somebody founded Yahoo!", yahoo) == ""


def test_what_a_data_set_brings_keeps_its_length_and_language():
    text = "Links \n\nSee also the " + "long " * 80 + "list. France, gouvernée de"
    assert problem("paraphrase", text, FRANCE).startswith("length")
    assert problem("paraphrase", text, FRANCE, as_given=True) == ""
    assert problem("paraphrase", f"Rome. {text}", FRANCE, as_given=True) == "names an object: 'Rome'"


def test_without_an_old_object_nothing_is_given_away():
    without_object = Fact("u", "France", "", "The capital of {} is", "", "Rome")
    assert problem("paraphrase", "France is governed from", without_object) == ""


def test_texts_in_the_language_of_a_prompt_in_other_letters_pass():
    japan = Fact("j", "日本", "", "{}の首都は", "東京", "大阪")
    assert problem("question", "日本 の 首都はどこですか?", japan) == ""
    assert problem("question", "日本 の 首都は東京ですか?", japan) == "names an object: '東京'"
    assert problem("question", "What is the 日本 capital?", japan).startswith("language")


def test_the_turns_of_a_dialogue():
    turns = read_turns("user: One: two\n\n Assistant:  Three\nUser: Four\nAssistant: Five\n")
    assert turns == (
        Turn("user", "One: two"),
        Turn("assistant", "Three"),
        Turn("user", "Four"),
        Turn("assistant", "Five"),
    )


BOUNDS = {
    "paraphrase": ("France", "", 2, 70),
    "question": ("France", "?", 3, 70),
    "cloze": ("France ____", "", 3, 70),
    "profile": ("France", ".", 15, 600),
    "dialogue": ("User: France\nAssistant: of\nUser: of\nAssistant: of", "", 15, 400),
    "reversed_question": ("Rome", "?", 3, 70),
}


@pytest.mark.parametrize(("part", "start", "end", "minimum", "maximum"), [(part, *row) for part, row in BOUNDS.items()])
def test_a_text_may_have_so_many_words(part, start, end, minimum, maximum):
    def problem_of(length):
        return problem(part, start + " of" * (length - len(start.split())) + end, FRANCE)

    assert problem_of(minimum) == problem_of(maximum) == ""
    for length in (minimum - 1, maximum + 1):
        assert problem_of(length) == f"length: {length} words, not {minimum} to {maximum}"


def test_every_part_has_room_for_words():
    assert all(minimum < maximum for minimum, maximum in (part.words for part in PARTS.values()))
