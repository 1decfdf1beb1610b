"""Which other relations, and which unrelated facts, are asked to see what else an edit changes."""

from dataclasses import replace

from edit_robustness.prompts.relations import Templates
from edit_robustness.prompts.specificity import MOST_OBJECTS, Specificity
from edit_robustness.records import Completion, Fact, Relation


def relation(name, kind, other_relations=()):
    statement = f"The {kind} of {{}} is the"
    return Relation(name, kind, statement, (), "", "", "", "place", kind, unaffected=tuple(other_relations))


RELATIONS = (
    relation("capital", "city", ["currency", "language", "kind"]),
    relation("currency", "currency", ["capital"]),
    relation("language", "language"),
    relation("country", "country", ["kind"]),
    relation("kind", "kind"),
)
TEMPLATES = Templates({own.id: own for own in RELATIONS}, ())


def fact(subject, name, true, new, **fields):
    return Fact(f"{name}-{subject}", subject, name, f"The {name} of {{}} is", true, new, **fields)


FRANCE = fact("France", "capital", "Paris", "Rome")
POOL = [
    FRANCE,
    fact("France", "currency", "euro", "krona", target_true_aliases=("EUR",)),
    fact("france", "country", "Europe", "Asia"),
    fact("Spain", "language", "Spanish", "Latin"),
    fact("Peru", "language", "Spanish", "Dutch", target_true_aliases=("Castilian",)),
    fact("Rome", "country", "Italy", "Spain"),
    fact("Chad", "language", "French", "Latin"),
]


def chooser(pool=POOL, edited_facts=(), seed=0):
    return Specificity(pool, TEMPLATES, edited_facts, seed)


def test_the_subjects_own_facts_come_first_then_relations_whose_objects_are_known():
    euro, language, kind = chooser().relation_specificity(FRANCE, 9)
    assert euro.completion == Completion("The currency of France is", "euro", ("EUR",), "France")
    assert (language.completion.prompt, language.completion.target) == ("The language of France is the", "")
    assert language.objects == (("Latin",), ("Spanish", "Castilian"), ("Dutch",), ("French",))
    assert (kind.completion.prompt, kind.objects) == ("The kind of France is the", ())


def test_a_relation_that_the_edit_may_change_is_not_asked():
    prompts = {candidate.completion.prompt for candidate in chooser().relation_specificity(FRANCE, 9)}
    assert not any("country" in prompt for prompt in prompts)
    # one of two relations lists the other: neither says anything about the other
    [capital] = chooser().relation_specificity(POOL[1], 9)
    assert capital.completion.target == "Paris"
    assert chooser().relation_specificity(POOL[6], 9) == ()


def test_what_the_data_set_brings_comes_first_but_not_what_the_edit_writes():
    own_fact = replace(
        FRANCE, relation_specificity=(Completion("The flag of France is", "blue"), Completion("Its twin is", "Rome"))
    )
    flag, euro = chooser().relation_specificity(own_fact, 2)
    assert (flag.completion.target, euro.completion.target) == ("blue", "euro")


def test_a_relation_that_is_edited_on_the_same_model_is_not_asked():
    prompts = {
        prompt.completion.prompt for prompt in chooser(edited_facts=[FRANCE, POOL[1]]).relation_specificity(FRANCE, 9)
    }
    assert prompts == {"The language of France is the", "The kind of France is the"}


def test_subjects_that_share_a_name_alone_are_told_apart_by_their_items():
    namesake = replace(POOL[1], subject_id="Q2")
    [first, *_] = chooser([FRANCE, namesake]).relation_specificity(replace(FRANCE, subject_id="Q1"), 9)
    assert first.completion.target == ""


def test_unrelated_prompts_share_nothing_with_the_fact_and_follow_from_the_seed():
    completions = chooser().unrelated(FRANCE, 9)
    assert {completion.subject for completion in completions} == {"Spain", "Peru", "Chad"}
    assert chooser(POOL[::1]).unrelated(FRANCE, 2) == completions[:2]
    assert len({chooser(seed=seed).unrelated(FRANCE, 1) for seed in range(20)}) == 3
    assert {completion.subject for completion in chooser(edited_facts=[POOL[3], FRANCE]).unrelated(FRANCE, 9)} == {
        "Peru",
        "Chad",
    }


def test_the_list_of_objects_is_cut_at_the_most_frequent():
    pool = [fact(f"S{n}", "language", f"L{n:03}", "Latin") for n in range(MOST_OBJECTS + 5)]
    language = next(
        prompt for prompt in chooser(pool).relation_specificity(FRANCE, 9) if "language" in prompt.completion.prompt
    )
    assert len(language.objects) == MOST_OBJECTS
    assert language.objects[0] == ("Latin",)


def test_an_object_of_several_facts_has_the_most_names_that_one_of_them_gives():
    spellings = [("Spanish", ()), ("Spanish", ("Castilian",)), ("spanish", ())]
    pool = [
        fact(f"S{n}", "language", true, "Latin", target_true_aliases=names) for n, (true, names) in enumerate(spellings)
    ]
    for order in (pool, pool[::-1]):
        [language] = [prompt for prompt in chooser(order).relation_specificity(FRANCE, 9) if prompt.objects]
        assert language.objects == (("Latin",), ("Spanish", "Castilian"))


def test_the_random_choices_of_a_seed_stay_what_they_are():
    """Published answers belong to these draws: another purpose or order of the draws would be other prompts."""
    choosers = [chooser(seed=seed) for seed in range(3)]
    subjects = [
        [completion.subject for completion in seeded_chooser.unrelated(FRANCE, 9)] for seeded_chooser in choosers
    ]
    assert subjects == [["Chad", "Peru", "Spain"], ["Spain", "Peru", "Chad"], ["Spain", "Chad", "Peru"]]
    pool = [*POOL, fact("France", "language", "French", "Latin"), fact("France", "kind", "state", "city")]
    choosers = [chooser(pool, seed=seed) for seed in range(3)]
    objects = [
        [prompt.completion.target for prompt in seeded_chooser.relation_specificity(FRANCE, 9)]
        for seeded_chooser in choosers
    ]
    assert objects == [["French", "state", "euro"], ["euro", "state", "French"], ["French", "euro", "state"]]
