import logging
from dataclasses import replace

import pytest

from edit_robustness.labels import KINDS as LABELS
from edit_robustness.prompts.kinds import GROUPS, KINDS, select_kinds
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import Templates
from edit_robustness.prompts.wordings import Wording
from edit_robustness.records import FAMILIES, Completion, Fact, Relation, SubjectType, Turn

CAPITAL = Relation(
    id="P36",
    name="capital",
    statement="The capital of {} is",
    paraphrases=("{} is governed from", "Those who rule {} meet in", "The first city of {} is"),
    question="What is the capital of {}?",
    cloze="The capital of {} is called ____.",
    context="{} is a country.",
    subject="place",
    reversed_question="Of what is {} the capital?",
)
PLACE = SubjectType(
    "place",
    "this place",
    ("Maps show {}.", "Many have been to {} in a dream and back.", "Trains to {} run.", "All like {}."),
)
PASSAGES = ("The train was late.", "It rained in Paris all day.", "She bought apples.", "The film was long.")
TEMPLATES = Templates({"P36": CAPITAL}, PASSAGES, {"place": PLACE})
PROFILE = (
    "France is a country. Maps show France. Many have been to France in a dream and back. Trains to France run. All "
    "like France."
)


def fact(subject, true, new, relation="P36", **fields):
    return Fact(
        f"{relation}-{subject.lower()}",
        subject,
        relation,
        CAPITAL.statement,
        true,
        new,
        ("Old " + true,),
        ("New " + new,),
        **fields,
    )


FRANCE = fact("France", "Paris", "Rome", subject_aliases=("Gaul", "Land of Rome", "La France", "Frankreich"))
RICH = replace(
    FRANCE,
    consequences=(
        Completion("Which river runs through the capital of France?", "Tiber", ("Tevere",)),
        Completion("The mayor of the capital of France is", "Ada", subject="mayor"),
    ),
    neighbours=(Completion("The capital of Chad is", "N'Djamena", ("Fort-Lamy",), "Chad"),),
    relation_specificity=(Completion("The currency of France is the", "franc", ("FRF",)),),
    unrelated=(Completion("The father of Ada is", "Bo", subject="Ada"),),
)
POOL = [FRANCE, fact("Spain", "Madrid", "Oslo"), fact("Italy", "Rome", "Bonn"), fact("Norway", "Oslo", "Rome")]
STATEMENT = "The capital of France is"
QUESTION = "What is the capital of France?"
FILL_IN = 'Fill in the blank with one word or name, and answer with it only: "The capital of France is called ____."'


def build(facts, kinds=("all",), templates=TEMPLATES, pool=POOL, neighbours=2, seed=0, **fields):
    numbers = {"neighbours": neighbours, "relation_specificity": 2, "unrelated": 1}
    return build_probes(facts, templates, pool, kinds=kinds, seed=seed, **numbers, **fields)


def of_kind(kind, about=RICH, **fields):
    probes = build([about], [kind, "question"] if "doubt" in kind else [kind], **fields)
    return [probe for probe in probes if probe.kind == kind]


def test_the_registry_is_whole():
    assert list(LABELS) == list(KINDS)
    assert set(GROUPS["paper1"]) < set(GROUPS["all"]) == set(KINDS)
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.family in FAMILIES
        assert kind.description
        assert kind.holds
        assert kind.follows is None or kind.follows in KINDS


def test_the_kinds_of_a_context_differ_by_their_tail():
    kinds = [KINDS[f"noisy_dialogue{tail}"] for tail in ("", "_reference", "_cloze")]
    about = "after four turns about the subject, and two about something else among them"
    assert [(kind.label, kind.description, kind.parts) for kind in kinds] == [
        ("Noisy dialogue", f"the question {about}", ("dialogue", "question")),
        (
            "Noisy dialogue, reference",
            f"the question, with a reference for the subject, {about}",
            ("dialogue", "question"),
        ),
        ("Noisy dialogue, cloze", f"a sentence with a blank {about}", ("dialogue", "cloze")),
    ]
    assert {kind.holds for kind in kinds} == {KINDS["question"].holds}


def test_which_kinds_name_an_object_on_purpose_and_which_follow_another():
    assert {name: kind.names for name, kind in KINDS.items() if kind.names} == {
        "statement": ("new", "true"),
        "doubt_old_object": ("true",),
        "yes_no": ("new",),
        "fact_check": ("true",),
        "negation": ("new",),
        "reversed_question": ("new",),
        "consequence": ("new", "true"),
        "neighbourhood": ("new", "true"),
        "edit_before_neighbour": ("new", "true"),
    }
    assert {name: kind.follows for name, kind in KINDS.items() if kind.follows} == {
        "doubt": "question",
        "doubt_old_object": "question",
    }


def test_a_fact_with_all_data_gets_every_kind():
    assert {probe.kind for probe in build([RICH])} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("statement", [STATEMENT]),
        ("paraphrase", ["France is governed from", "Those who rule France meet in", "The first city of France is"]),
        ("question", [QUESTION]),
        ("cloze", [FILL_IN]),
        ("related_context", [f"{PROFILE} {STATEMENT}"]),
        ("related_context_reference", [f"{PROFILE} The capital of this place is"]),
        ("related_context_cloze", [f"{PROFILE}\n\n{FILL_IN}"]),
        ("dialogue", [QUESTION]),
        ("dialogue_reference", ["What is the capital of this place?"]),
        ("dialogue_cloze", [FILL_IN]),
        ("noisy_dialogue_reference", ["What is the capital of this place?"]),
        ("letter_case", ["the capital of france is", "THE CAPITAL OF FRANCE IS"]),
        ("alias", ["The capital of Gaul is", "The capital of La France is"]),
        (
            "yes_no",
            ['Is the following statement true? Answer with "Yes" or "No" only. "The capital of France is Rome."'],
        ),
        (
            "negation",
            [
                'Is the following statement true? Answer with "Yes" or "No" only. '
                '"It is not the case that the capital of France is Rome."'
            ],
        ),
        (
            "fact_check",
            [
                'Check the following statement, and answer with "True" or "False" only. '
                '"The capital of France is Paris."'
            ],
        ),
        ("doubt", ["That cannot be right. Please think again and answer once more."]),
        (
            "doubt_old_object",
            ['That is wrong, I am sure that the answer is "Paris". Please think again and answer once more.'],
        ),
        ("reversed_question", ["Of what is Rome the capital?"]),
        (
            "consequence",
            ["Which river runs through the capital of France?", "The mayor of the capital of France is"],
        ),
        ("neighbourhood", ["The capital of Chad is", "The capital of Norway is"]),
        (
            "edit_before_neighbour",
            [
                "The capital of France is Rome. The capital of Chad is",
                "The capital of France is Rome. The capital of Norway is",
            ],
        ),
    ],
)
def test_texts(kind, texts):
    assert [probe.text for probe in of_kind(kind)] == texts


def test_noise_is_another_subjects_profile_in_front():
    [probe] = of_kind("noisy_context")
    noise, profile = probe.text.split("\n\n")
    assert profile == f"{PROFILE} {STATEMENT}"
    assert any(name in noise for name in ("Spain", "Norway"))
    assert "France" not in noise
    assert not any(sentence.split("{}")[0] in noise for sentence in PLACE.profile)
    # Italy's capital is the new object, but its profile says nothing of that
    noises = [of_kind("noisy_context", seed=seed)[0].text.split("\n\n")[0] for seed in range(30)]
    assert any("Italy" in text for text in noises)
    for tail in ("reference", "cloze"):
        assert of_kind(f"noisy_context_{tail}")[0].text.startswith(noise)


def test_a_profile_that_names_the_fact_is_no_noise():
    pool = [FRANCE, fact("Rome", "Lazio", "Oslo"), fact("New France", "Quebec", "Oslo")]
    assert of_kind("noisy_context", pool=pool) == []


def test_what_a_probe_of_the_edit_carries():
    targets = {"yes_no": ("Yes", "No"), "negation": ("No", "Yes"), "fact_check": ("False", "True")}
    for probe in build([RICH]):
        if probe.family == "edit":
            assert probe.subject == "France"
            assert probe.fact_id == "P36-france"
            assert (probe.target_new, probe.target_true) == targets.get(probe.kind, ("Rome", "Paris"))
            if probe.kind not in targets:
                assert (probe.target_new_aliases, probe.target_true_aliases) == (("New Rome",), ("Old Paris",))


@pytest.mark.parametrize(
    ("kind", "new", "true"),
    [
        ("yes_no", ("Yes", "True", "Correct"), ("No", "False", "Incorrect")),
        ("negation", ("No", "False", "Incorrect"), ("Yes", "True", "Correct")),
        ("fact_check", ("False", "No", "Incorrect"), ("True", "Yes", "Correct")),
    ],
)
def test_a_judgement_may_be_put_in_other_words(kind, new, true):
    [probe] = of_kind(kind)
    assert (probe.target_new, *probe.target_new_aliases) == new
    assert (probe.target_true, *probe.target_true_aliases) == true


def test_what_follows_from_the_edit_has_no_old_object():
    [reversed_question] = of_kind("reversed_question")
    assert (reversed_question.target_new, reversed_question.target_true) == ("France", "")
    assert reversed_question.target_new_aliases == RICH.subject_aliases
    river, mayor = of_kind("consequence")
    assert (river.target_new, river.target_new_aliases, river.target_true) == ("Tiber", ("Tevere",), "")
    assert (river.subject, river.conversation) == ("France", True)
    assert (mayor.subject, mayor.conversation) == ("mayor", False)
    assert {probe.family for probe in (reversed_question, river, mayor)} == {"portability"}


def test_other_relations_ask_the_facts_subject_and_unrelated_prompts_another():
    [relation_probe] = of_kind("relation_specificity")
    assert (relation_probe.family, relation_probe.subject, relation_probe.text) == (
        "specificity",
        "France",
        "The currency of France is the",
    )
    assert (relation_probe.target_new, relation_probe.target_true, relation_probe.target_true_aliases) == (
        "Rome",
        "franc",
        ("FRF",),
    )
    more_prompts = tuple(Completion(f"The {word} of France is", word) for word in ("flag", "anthem", "bird"))
    probes = of_kind("relation_specificity", replace(RICH, relation_specificity=more_prompts))
    assert [probe.target_true for probe in probes] == ["flag", "anthem"], "as many as the setting"
    [unrelated_probe] = of_kind("unrelated")
    assert (unrelated_probe.subject, unrelated_probe.target_true, unrelated_probe.target_new) == ("Ada", "Bo", "Rome")


def test_a_prompt_about_something_else_that_names_an_object_of_the_edit_is_left_out_and_counted(caplog):
    own_fact = replace(
        RICH,
        relation_specificity=(Completion("France, whose capital is Rome, pays with the", "franc"),),
        unrelated=(Completion("The father of Ada of Paris is", "Bo", subject="Ada"),),
    )
    with caplog.at_level(logging.WARNING):
        assert build([own_fact], ["relation_specificity", "unrelated"]) == []
    assert "Dropped 1 relation_specificity probes that would name an object" in caplog.text
    assert "Dropped 1 unrelated probes that would name an object" in caplog.text


def test_a_kind_of_which_none_are_asked_is_not_reported_as_missing(caplog):
    with caplog.at_level(logging.WARNING):
        assert build_probes([FRANCE], TEMPLATES, POOL, kinds=["unrelated", "neighbourhood"], neighbours=0, seed=0) == []
    assert caplog.text == ""


@pytest.mark.parametrize("kind", ["neighbourhood", "edit_before_neighbour"])
def test_specificity_asks_about_the_data_sets_neighbours_then_the_closest_and_looks_out_for_the_new_object(kind):
    first, second = of_kind(kind)
    assert first.family == second.family == "specificity"
    assert (first.subject, first.target_true, first.target_true_aliases) == ("Chad", "N'Djamena", ("Fort-Lamy",))
    assert (second.subject, second.target_true, second.target_true_aliases) == ("Norway", "Oslo", ("Old Oslo",))
    assert {(probe.target_new, probe.target_new_aliases) for probe in (first, second)} == {("Rome", ("New Rome",))}
    assert {probe.fact_id for probe in (first, second)} == {"P36-france"}


def test_a_neighbour_whose_answer_the_edit_writes_is_not_asked_about():
    own_fact = replace(FRANCE, neighbours=(Completion("The capital of Latium is", "Urbs", ("New Rome",)),))
    assert [probe.subject for probe in of_kind("neighbourhood", own_fact)] == ["Norway", "Spain"]


def test_neighbours_without_an_old_object_are_not_asked_about():
    pool = [replace(fact, target_true="") for fact in POOL]
    assert of_kind("neighbourhood", FRANCE, pool=pool) == []


def test_subjects_that_are_edited_together_are_no_neighbours_of_each_other():
    norway = replace(POOL[3], subject="NORWAY")
    assert [probe.subject for probe in of_kind("neighbourhood", FRANCE)] == ["Norway", "Spain"]
    assert [probe.subject for probe in of_kind("neighbourhood", FRANCE, edited_together=[FRANCE, norway])] == ["Spain"]


def test_which_kinds_are_conversations():
    kinds = {probe.kind for probe in build([FRANCE]) if probe.conversation}
    conversation_kinds = {
        "question",
        "cloze",
        "persona",
        "doubt",
        "doubt_old_object",
        "yes_no",
        "negation",
        "fact_check",
    }
    assert kinds == {
        *conversation_kinds,
        *(name for name in KINDS if name.startswith(("dialogue", "noisy_dialogue")) or name.endswith("_cloze")),
        "reversed_question",
    }


def test_an_unrelated_clip_stands_after_one_of_the_answers():
    [plain] = of_kind("dialogue")
    assert len(plain.previous_turns) == 4
    places = set()
    for seed in range(20):
        [noisy] = of_kind("noisy_dialogue", seed=seed)
        [place] = [number for number, turn in enumerate(noisy.previous_turns) if turn.text.startswith("Sorry")]
        assert noisy.previous_turns[:place] + noisy.previous_turns[place + 2 :] == plain.previous_turns
        assert any(passage in noisy.previous_turns[place].text for passage in PASSAGES if "Paris" not in passage)
        assert noisy.previous_turns == of_kind("noisy_dialogue_cloze", seed=seed)[0].previous_turns
        places.add(place)
    assert places == {2, 4}


def test_the_clip_is_an_exchange_of_user_and_assistant():
    [probe] = of_kind("noisy_dialogue")
    assert probe.previous_turns[2:4] == (
        Turn("user", "Sorry, something else came up just now. The train was late."),
        Turn("assistant", "No problem at all. Let us go on whenever it suits you."),
    )


def test_a_persona_is_introduced_and_asks_the_question():
    starts = {
        "a patient teacher. A pupil asks you",
        "a guide in a museum. A visitor asks you",
        "a librarian at the information desk. A reader asks you",
        "the host of a radio quiz. A listener calls and asks you",
        "a grandparent who likes to explain things. A grandchild asks you",
        "an expert who is being interviewed. The first question is",
    }
    texts = {of_kind("persona", seed=seed)[0].text for seed in range(40)}
    assert texts == {f"Imagine that you are {start}: {QUESTION}" for start in starts}


def test_the_random_choices_of_a_seed_stay_what_they_are():
    """Published answers belong to these draws: another purpose or order of the draws would be other prompts."""

    def texts(kind):
        return [of_kind(kind, FRANCE, seed=seed)[0].text for seed in range(4)]

    assert [text.split()[1] for text in texts("misspelling")] == ["cpaital", "caiptal", "caiptal", "capital"]
    assert [text.split()[5] for text in texts("persona")] == ["librarian", "guide", "guide", "expert"]
    assert [text.split()[1] for text in texts("unrelated_context")] == ["train", "film", "train", "film"]
    assert [text.split()[4] for text in texts("noisy_context")] == ["Spain", "Spain", "Italy", "Italy"]
    noisy = [of_kind("noisy_dialogue", FRANCE, seed=seed)[0].previous_turns for seed in range(4)]
    assert [turns[2].text.startswith("Sorry") for turns in noisy] == [True, False, True, True]
    assert [turn.text for turn in of_kind("dialogue")[0].previous_turns] == [
        "The name France came up today. All like France.",
        "Yes, there is a lot to read on that. Trains to France run.",
        "There is something else to mention. Maps show France.",
        "There is more to tell, of course. Many have been to France in a dream and back. What would you like to know?",
    ]


def test_an_alias_may_hold_an_object_that_the_subject_holds_too():
    radio = Fact("r", "BBC Radio", "", "{} belongs to", "BBC", "Sega", subject_aliases=("The BBC Radio", "Sega Radio"))
    assert [probe.text for probe in of_kind("alias", radio)] == ["The BBC Radio belongs to"]


def test_no_probe_gives_an_object_away_unless_it_is_its_point():
    for probe in build([RICH]):
        text = " ".join([*(turn.text for turn in probe.previous_turns), probe.text])
        if probe.kind not in ("yes_no", "negation", "reversed_question", "edit_before_neighbour"):
            assert "Rome" not in text, probe.id
        if probe.kind not in ("doubt_old_object", "fact_check"):
            assert "Paris" not in text, probe.id


@pytest.mark.parametrize("kind", ["doubt", "doubt_old_object"])
def test_doubts_come_after_the_answer_to_the_question(kind):
    [probe] = of_kind(kind)
    [question] = of_kind("question")
    assert probe.follows == question.id
    assert probe.previous_turns == (Turn("user", question.text),)
    assert ('the answer is "Paris".' in probe.text) == (kind == "doubt_old_object")


def test_a_probe_that_would_give_an_object_away_is_left_out_and_counted(caplog):
    radio = replace(FRANCE, id="r", subject="BBC Radio", prompt="The BBC owns {}, with", target_true="BBC")
    with caplog.at_level(logging.WARNING):
        probes = build([radio], ["statement", "unrelated_context", "question"])
    assert [probe.kind for probe in probes] == ["statement", "question"]
    assert "Dropped 1 unrelated_context probes that would name an object" in caplog.text
    late = replace(FRANCE, target_true="librarian", target_new="reader")
    roles = {of_kind("persona", late, seed=seed)[0].text.split(".")[0] for seed in range(40)}
    assert len(roles) == 5
    assert not any("librarian" in role for role in roles)


def test_without_an_old_object_nothing_is_asked_about_it():
    without_object = replace(FRANCE, target_true="", target_true_aliases=())
    kinds_built = {probe.kind for probe in build([without_object])}
    beside = {"relation_specificity", "unrelated"}
    assert set(KINDS) - kinds_built == {"doubt_old_object", "fact_check", "consequence", *beside}


def test_an_unrelated_passage_names_nothing_of_the_fact():
    texts = {build([FRANCE], ["unrelated_context"], seed=seed)[0].text for seed in range(40)}
    assert texts == {f"{passage} The capital of France is" for passage in PASSAGES if "Paris" not in passage}


def test_ids_are_unique_and_tell_fact_kind_and_number():
    probes = build([RICH, *POOL[1:]])
    assert len({probe.id for probe in probes}) == len(probes)
    assert [probe.id for probe in of_kind("paraphrase")] == [f"P36-france/paraphrase/{number}" for number in range(3)]
    assert len(of_kind("paraphrase", paraphrases=2)) == 2


def test_other_facts_other_kinds_and_their_order_change_no_probe():
    all_probes = {probe.id: probe for probe in build(POOL)}
    some_kinds = ["unrelated_context", "noisy_context", "persona", "misspelling", "noisy_dialogue"]
    parts = build(POOL[::-1], some_kinds) + build([FRANCE], ["doubt", "question"])
    assert all(all_probes[probe.id] == probe for probe in parts)
    assert [probe.kind for probe in build([FRANCE], ["doubt", "question"])] == ["question", "doubt"]


def test_the_seed_decides():
    templates = Templates(TEMPLATES.relations, tuple(f"Passage number {number}." for number in range(100)))
    first, again, third = (build(POOL, ["unrelated_context"], templates, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != third


def test_wordings_that_are_given_take_the_place_of_templates():
    wordings = [
        Wording(FRANCE.id, "question", 0, "From where is France ruled?", "table"),
        Wording(FRANCE.id, "cloze", 0, "refused", "table", accepted=False, reason="blanks"),
    ]
    probes = build([FRANCE], ["question", "cloze", "persona"], wordings=wordings)
    assert [probe.kind for probe in probes] == ["question", "persona"]
    assert all(probe.text.endswith("From where is France ruled?") for probe in probes)


def test_a_fact_without_templates_gets_what_can_be_built_from_its_prompt(caplog):
    own_fact = replace(FRANCE, id="mine", relation="mine", prompt="{} is run from", subject_aliases=())
    with caplog.at_level(logging.WARNING):
        probes = build(
            [own_fact, FRANCE], pool=[own_fact, replace(own_fact, id="other", subject="Chad", target_true="Lima")]
        )
    probes_by_kind = {probe.kind: probe for probe in probes if probe.fact_id == "mine"}
    missing_kinds = {"paraphrase", "alias", "reversed_question", "consequence", "relation_specificity", "unrelated"}
    assert set(KINDS) - set(probes_by_kind) == missing_kinds
    assert probes_by_kind["question"].text == 'How does this sentence end: "France is run from"?'
    assert probes_by_kind["dialogue_reference"].text == 'How does this sentence end: "This subject is run from"?'
    assert probes_by_kind["related_context_reference"].text.endswith(" This subject is run from")
    assert probes_by_kind["yes_no"].text.endswith('"France is run from Rome."')
    assert "1 of 2 facts have no paraphrase probe" in caplog.text
    assert "1 of 2 facts have no neighbourhood probe" in caplog.text
    assert "no statement probe" not in caplog.text


def test_a_question_without_templates_is_asked_judged_and_denied_grammatically():
    own_fact = Fact(
        "q",
        "Jean O'Hara",
        "",
        "In which year was {} born?",
        "1901",
        "1902",
        paraphrases=("When was Jean O'Hara born?",),
    )
    texts_by_kind = {probe.kind: probe.text for probe in build([own_fact], pool=[])}
    question = "In which year was Jean O'Hara born?"
    assert texts_by_kind["question"] == texts_by_kind["dialogue"] == question
    assert texts_by_kind["dialogue_reference"] == "In which year was this subject born?"
    assert texts_by_kind["paraphrase"] == "When was Jean O'Hara born?"
    assert texts_by_kind["yes_no"].endswith(f'“The answer to the question "{question}" is 1902.”')
    assert texts_by_kind["negation"].endswith(
        f'“It is not the case that the answer to the question "{question}" is 1902.”'
    )
    assert texts_by_kind["fact_check"].endswith(f'“The answer to the question "{question}" is 1901.”')


@pytest.mark.parametrize(
    "subject",
    ["O'Neill's {} Inn", 'The "Weird" Ada', "Acme & Sons, Inc.", "Île-de-Nœud", "東京タワー", "Who Is It?", "x" * 90],
)
@pytest.mark.parametrize("relation", ["P36", ""])
def test_difficult_subjects_fill_every_text(subject, relation):
    own_fact = Fact("d", subject, relation, "The owner of {} is", "Ada Quist Jr.", "Bo & Lind (UK) Inc.")
    probes = build([own_fact], ["all"], pool=[own_fact, *POOL[1:]])
    kinds = {probe.kind for probe in probes}
    assert {"question", "cloze", "related_context_reference", "noisy_dialogue_cloze", "yes_no", "negation"} <= kinds
    for probe in probes:
        text = " ".join([*(turn.text for turn in probe.previous_turns), probe.text])
        assert text.count("{}") == (text.casefold().count("inn") if "{}" in subject else 0)
        assert ".." not in text
        assert "??" not in text
        assert "the The" not in text
        assert text == text.strip()


def test_without_passages_there_is_no_unrelated_context():
    assert build([FRANCE], ["unrelated_context"], Templates(TEMPLATES.relations, ())) == []


def test_kinds_are_chosen_by_name_and_by_group():
    assert select_kinds(["all"]) == tuple(KINDS)
    in_order = tuple(name for name in KINDS if name in GROUPS["paper1"])
    assert select_kinds(["neighbourhood", "paper1"]) == (*in_order, "neighbourhood")
    assert len(GROUPS["paper1"]) == 18
    with pytest.raises(ValueError, match="unknown kind of prompt `clozes`; did you mean `cloze`"):
        build([FRANCE], ["clozes"])


def test_a_doubt_without_its_question_is_refused():
    with pytest.raises(ValueError, match="add question"):
        build([FRANCE], ["doubt"])
