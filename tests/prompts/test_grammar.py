import pytest

from edit_robustness.prompts.grammar import as_template, fill_slot, inside, quote, refer, sentence


@pytest.mark.parametrize(
    ("template", "name", "text"),
    [
        ("The capital of {} is", "France", "The capital of France is"),
        ("Which company makes the {}?", "The Walker", "Which company makes The Walker?"),
        ("The {} was built by", "The Walker", "The Walker was built by"),
        ("In the town there was {}.", "The Inn", "In the town there was The Inn."),
        ("They all know {}.", "Acme Inc.", "They all know Acme Inc."),
        ("Who developed {}?", "Acme Inc.", "Who developed Acme Inc.?"),
        ("They all know {}.", "Yahoo!", "They all know Yahoo!"),
        ("Who wrote {}?", "Who Was She?", "Who wrote Who Was She?"),
        ("{} and {} again", "Ada", "Ada and Ada again"),
        ("{}'s home is", "James {} O'Hara", "James {} O'Hara's home is"),
        ("The capital of {} is", "日本", "The capital of 日本 is"),
    ],
)
def test_a_name_is_put_into_its_template(template, name, text):
    assert fill_slot(template, name) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{} was born in", "This person was born in"),
        ("{}'s home is", "This person's home is"),
        ("The mother of {} was", "The mother of this person was"),
        ("The singer {} was born in", "This person was born in"),
        ("It was the {} that won", "It was this person that won"),
        ("The city of {} is the capital of", "This person is the capital of"),
        ("Where is the city of {}?", "Where is this person?"),
        ("The house in which {} lived is in", "The house in which this person lived is in"),
        ("Well known. {} sang in", "Well known. This person sang in"),
        ('How does it end: "{} sang in"?', 'How does it end: "This person sang in"?'),
        ("Both {} and {} sang", "Both this person and this person sang"),
    ],
)
def test_a_reference_takes_the_place_of_the_name_and_of_what_introduces_it(template, text):
    assert refer(template, "this person") == text


NO_NOUNS = (
    "of in on at by to for from with about like behind inside near "
    "is are was were has have had that which who whom where when and"
)


KINDS_OF_THINGS = "city town village country state island language continent book film song"


@pytest.mark.parametrize("word", NO_NOUNS.split())
def test_a_preposition_or_a_verb_introduces_no_name(word):
    assert refer(f"The one {word} {{}} sang in", "this person") == f"The one {word} this person sang in"


@pytest.mark.parametrize("kind", KINDS_OF_THINGS.split())
def test_the_kind_of_a_thing_introduces_its_name(kind):
    assert refer(f"It was the {kind} of {{}} that won", "this place") == "It was this place that won"


def test_a_name_is_found_as_whole_words_only():
    assert as_template("Iran and the Iranian plateau; Iran.", "Iran") == "{} and the Iranian plateau; {}."
    assert as_template("Who (C++) is it?", "C++") == "Who ({}) is it?"


@pytest.mark.parametrize(
    ("opening", "name", "text"),
    [
        ("The capital is", "Rome", "The capital is Rome."),
        ("It was built by", "Acme Inc.", "It was built by Acme Inc."),
        ("It lies in", "Philippines", "It lies in the Philippines."),
        ("It lies in", "the Philippines", "It lies in the Philippines."),
        ("It lies in the", "Netherlands", "It lies in the Netherlands."),
        ("It lies in", "Dominican Republic", "It lies in the Dominican Republic."),
        ("It lies in", "United Kingdom", "It lies in the United Kingdom."),
        ("It was made by", "United Artists", "It was made by United Artists."),
    ],
)
def test_a_sentence_has_one_full_stop_and_its_article(opening, name, text):
    assert sentence(opening, name) == text


NAMES_WITH_ARTICLE = (
    *("United States", "United Arab Emirates", "United Nations", "Bahamas", "Maldives", "Soviet Union"),
    *("Czech Republic", "Ottoman Empire", "European Union", "Marshall Islands", "Swiss Confederation"),
    *("Republic of Ireland", "Kingdom of Bavaria", "Duchy of Milan", "Empire of Japan", "Nullarbor’s Best Islands"),
)


@pytest.mark.parametrize("name", NAMES_WITH_ARTICLE)
def test_a_name_that_needs_an_article_gets_it(name):
    assert sentence("It lies in", name) == f"It lies in the {name}."


@pytest.mark.parametrize("name", ["Islands", "Empire State Building", "Republicans", "Maldivesian", "old Republic"])
def test_a_name_that_needs_no_article_gets_none(name):
    assert sentence("It lies in", name) == f"It lies in {name}."


def test_quotation_marks_differ_from_those_inside():
    assert quote("Rome is") == '"Rome is"'
    assert quote('"Weird Al" is') == '“"Weird Al" is”'


@pytest.mark.parametrize(
    ("text", "small"),
    [
        ("The capital of {} is", "the capital of {} is"),
        ("In {}, laws are written in", "in {}, laws are written in"),
        ("{} lies in", "{} lies in"),
        ("Ada met {} in", "Ada met {} in"),
        ("Incas met {} in", "Incas met {} in"),
    ],
)
def test_only_words_that_are_no_names_become_small(text, small):
    assert inside(text) == small
