"""The nouns that every room shares: what is edited, what is asked, what was said.

They are frozen, hold plain Python values only, and know nothing of models, so that prompts, metrics and
statistics can be read, tested and rerun without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SLOT = "{}"
"""Where a template takes its subject."""

FAMILIES = ("edit", "portability", "locality")
"""What a probe tests: that the edit holds, that what follows from it does, or that the rest stays as it was."""


def fill(template: str, subject: str) -> str:
    """Put the subject into a template; braces inside the subject stay as they are."""
    return template.replace(SLOT, subject)


@dataclass(frozen=True)
class Completion:
    """A prompt of a data set's own, and what ought to come after it.

    Attributes:
        prompt: A statement that ends where the object comes, or a question.
        target: The object.
        aliases: Other names of the object.
        subject: Who is asked about; empty where the data set does not say.
        join: What stands between the prompt and the object; None for what a native text has there.
    """

    prompt: str
    target: str
    aliases: tuple[str, ...] = ()
    subject: str = ""
    join: str | None = None


@dataclass(frozen=True)
class Fact:
    """One fact to edit: a subject, a relation, the object that is true and the object that shall be.

    Attributes:
        id: Stable name, unique in a table, safe as a file name.
        subject: The entity, as it stands in the prompt.
        relation: Wikidata property (``P36``), or the user's own name for a relation.
        prompt: Statement with ``{}`` once, in the subject's place; it ends where the object comes. Data sets of
            questions have a question here, and the object comes after it.
        target_true: The object before the edit; empty where it is not known until a model is asked.
        target_new: The counterfactual object.
        target_true_aliases: Other names of the true object.
        target_new_aliases: Other names of the new object.
        page_views: English Wikipedia page views of the subject in one month; None where unknown.
        subject_aliases: Other names of the subject.
        subject_id: Wikidata item of the subject (``Q142``); empty where unknown, and so the next two.
        target_true_id: Wikidata item of the true object.
        target_new_id: Wikidata item of the new object.
        paraphrases: Paraphrases of the statement that the data set brings, subject and all.
        neighbours: Prompts of the data set about other subjects of the same relation, each with its true object.
        relation_specificity: Prompts of the data set about other relations of the same subject.
        unrelated: Prompts of the data set that share neither subject nor relation with the fact.
        consequences: What the data set says follows from the edit, with the object that comes of it (portability).
        join: What stands between a prompt about the fact and its object: nothing, or a space; None for what a native
            text has there (`text.joining`).
    """

    id: str
    subject: str
    relation: str
    prompt: str
    target_true: str
    target_new: str
    target_true_aliases: tuple[str, ...] = ()
    target_new_aliases: tuple[str, ...] = ()
    page_views: int | None = None
    subject_aliases: tuple[str, ...] = ()
    subject_id: str = ""
    target_true_id: str = ""
    target_new_id: str = ""
    paraphrases: tuple[str, ...] = ()
    neighbours: tuple[Completion, ...] = ()
    relation_specificity: tuple[Completion, ...] = ()
    unrelated: tuple[Completion, ...] = ()
    consequences: tuple[Completion, ...] = ()
    join: str | None = None

    @property
    def statement(self) -> str:
        """Return the prompt with its subject, on which the edit is made."""
        return fill(self.prompt, self.subject)


@dataclass(frozen=True)
class SubjectType:
    """Texts that are true of every subject of one type.

    Attributes:
        name: ``person``, ``place``, ``organisation``, ``work``, ``thing`` ...
        reference: What stands for the subject once it was named: ``this person``.
        profile: Sentences about any such subject, each with ``{}`` at least once; together a page about it that gives
            no object away.
    """

    name: str
    reference: str
    profile: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """The wordings of one relation, each with ``{}`` in the subject's place.

    Attributes:
        id: Wikidata property.
        name: What the relation is called in tables and figures.
        subject: Name of the subjects' `SubjectType`.
        object: What kind of thing the object is: ``city``, ``language`` ...
        statement: Ends where the object comes.
        paraphrases: Ends where the object comes; each of another shape.
        question: A question whose answer is the object.
        cloze: A sentence with ``____`` in the object's place.
        context: One or two sentences about such a subject that name no object.
        reversed_question: A question whose answer is the subject, with ``{}`` in the object's place; empty where many
            subjects share an object, so that the question would have no one answer.
        unaffected: Ids of relations that can be asked of any such subject, and that a new object of this relation
            leaves as they are (relation specificity).
    """

    id: str
    name: str
    statement: str
    paraphrases: tuple[str, ...]
    question: str
    cloze: str
    context: str
    subject: str = "thing"
    object: str = ""
    reversed_question: str = ""
    unaffected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True)
class Probe:
    """One thing to ask a model about one edit.

    Attributes:
        id: ``<fact id>/<kind>/<number>``, unique in a run.
        fact_id: The edit that is probed.
        kind: Kind of prompt: ``statement``, ``paraphrase``, ``question`` ...
        family: One of ``FAMILIES``.
        subject: Subject of the prompt: the fact's subject, or the other subject of a neighbourhood or unrelated prompt.
        text: The prompt; in a conversation, what the user says last.
        target_new: The object that the edit wrote.
        target_true: The object that is true of `subject` before the edit; empty where there is none to name.
        target_new_aliases: Other names of the new object.
        target_true_aliases: Other names of the true object.
        conversation: Whether `text` is a user's turn to answer (chat template) rather than text to go on with.
        history: Turns before `text`.
        follows: Id of a probe whose answer is the assistant's turn between `history` and `text` (doubts).
        join: What stands between `text` and an object after it; None for what a native text has there.
        relation_objects: Objects of the right type for the prompt's relation, each with all its names; given where
            `target_true` is not known, so that an answer that names an object can be told from one that names none.
    """

    id: str
    fact_id: str
    kind: str
    family: str
    subject: str
    text: str
    target_new: str
    target_true: str
    target_new_aliases: tuple[str, ...] = ()
    target_true_aliases: tuple[str, ...] = ()
    conversation: bool = False
    history: tuple[Turn, ...] = ()
    follows: str | None = None
    join: str | None = None
    relation_objects: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Answer:
    """Answer of a model to a probe, under both protocols.

    Attributes:
        probe: What was asked.
        text: Free generation: the greedy continuation up to its natural stop, prompt not included.
        thinking: What the model thought before it answered, marks not included; empty where it did not.
        finished: Whether the sentence ended before a limit of tokens, or the model's context, cut it off.
        tokens: Number of tokens generated, what was thought before not included.
        logprob_new: Teacher forcing: summed natural log-probability of the new object's tokens.
        logprob_true: The same of the true object.
        tokens_new: Number of tokens of the new object.
        tokens_true: Number of tokens of the true object.
        match_new: Whether each token of the new object is the most probable one where it stands.
        match_true: The same of the true object.
        margin: By how much log-probability the first token of the free generation leads the second best; None where
            it was not measured.
        kl: Kullback-Leibler divergence, in nats, of the next-token distribution after the prompt from that of the
            unedited model: KL(unedited || edited); None where it was not measured (all but locality probes).
        top_unchanged: Whether the most probable token after the prompt is that of the unedited model; None where it
            was not measured (all but locality probes, and where the log-probabilities are not finite).
    """

    probe: Probe
    text: str
    # the order of the fields is that of the columns of a table of answers
    thinking: str = field(default="", kw_only=True)
    finished: bool
    tokens: int
    logprob_new: float
    logprob_true: float
    tokens_new: int
    tokens_true: int
    match_new: bool
    match_true: bool
    margin: float | None = None
    kl: float | None = None
    top_unchanged: bool | None = None


NOT_FINITE, TIED = "not_finite", "tied"
"""What makes a document's score meaningless."""


@dataclass(frozen=True)
class Document:
    """Result of a model on one document of a benchmark, under one filter of its task.

    Attributes:
        benchmark: The benchmark, mmlu.
        task: The task of the harness, mmlu_anatomy.
        filter: The task's filter, `none` where it has none.
        metric: The metric that counts, acc, exact_match, perplexity ...
        number: The document's number in its task.
        doc_hash: A hash of the document.
        prompt_hash: A hash of all that the model was asked about it, examples included.
        shots: Number of examples in the prompt.
        score: The metric's value; 0 where `flags` say that it means nothing, never NaN.
        metrics: Every metric that the harness gives.
        gold: The right option's number; -1 where there are no options, or several are right.
        logprobs: Summed natural log-probability of each option, or of the whole document under `perplexity`; empty for
            free generation. Not finite where the model's are not.
        text: What was generated; empty where nothing was.
        tokens: Tokens generated, or scored under `perplexity`.
        capped: Whether the generation reached its limit of tokens.
        flags: What makes the score meaningless: `NOT_FINITE`, `TIED`.
    """

    benchmark: str
    task: str
    filter: str
    metric: str
    number: int
    doc_hash: str
    prompt_hash: str
    shots: int
    score: float
    metrics: Mapping[str, float]
    gold: int
    logprobs: tuple[float, ...]
    text: str = ""
    tokens: int = 0
    capped: bool = False
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """A conversation of a tester with an edited model about one fact.

    Attributes:
        fact_id: The fact that was edited.
        method: Row of METHODS that made the edit.
        tester: Name of the speaker whose turns the user's are.
        turns: The user's (the tester's) and the assistant's (the edited model's) in alternation, the user's first.
        refused: Turns of the tester that were not let through, because they named an object or said nothing.
        replaced: Turns of the tester in whose place a neutral question of our own was put.
        unfinished: Turns of the model that the limit of new tokens cut off.
        cut_short: Whether the conversation ended early, because no more of it fits into the model's context.
    """

    fact_id: str
    method: str
    tester: str
    turns: tuple[Turn, ...]
    refused: int = 0
    replaced: int = 0
    unfinished: int = 0
    cut_short: bool = False

    @property
    def said(self) -> tuple[str, ...]:
        """Return the turns of the edited model."""
        return tuple(turn.text for turn in self.turns if turn.role == "assistant")
