"""Data classes that all modules share: facts, probes, answers and transcripts.

They are frozen, contain only plain Python values, and do not depend on models, so that prompts, metrics and statistics
can be read, tested and rerun without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SLOT = "{}"
"""Placeholder of the subject in a template."""

OBJECT_NAMES = {"true": "old object", "new": "new object"}
"""Names of the objects whose columns end in `_true` and `_new`."""

UNEDITED = "none"
"""Name of the unedited model in the column `method` of all tables; also the method that leaves the model unchanged."""

FAMILIES = ("edit", "portability", "specificity")
"""Families of probes: efficacy and generalization of the edit, portability to its consequences, and specificity."""


def fill(template: str, subject: str) -> str:
    """Insert the subject into a template; braces in the subject are kept."""
    return template.replace(SLOT, subject)


@dataclass(frozen=True)
class Completion:
    """Prompt from a data set with its expected completion.

    Attributes:
        prompt: A statement that ends before the object, or a question.
        target: The object.
        aliases: Other names of the object.
        subject: The subject of the prompt; empty if the data set does not contain it.
        join: Text between the prompt and the object; None for the text that natural language has there.
    """

    prompt: str
    target: str
    aliases: tuple[str, ...] = ()
    subject: str = ""
    join: str | None = None


@dataclass(frozen=True)
class Fact:
    """One fact to edit: a subject, a relation, the old object and the new object.

    Attributes:
        id: Stable name, unique in a table, safe as a file name.
        subject: The entity, as written in the prompt.
        relation: Wikidata property (``P36``), or a user-defined name of a relation.
        prompt: Statement with ``{}`` once, in the subject's place; it ends before the object. Data sets of questions
            have a question here, and the object follows it.
        target_true: The object before the edit; empty if it is unknown until a model answers.
        target_new: The counterfactual object.
        target_true_aliases: Other names of the old object.
        target_new_aliases: Other names of the new object.
        page_views: English Wikipedia page views of the subject in one month; None if unknown.
        subject_aliases: Other names of the subject.
        subject_id: Wikidata item of the subject (``Q142``); this and the next two are empty if unknown.
        target_true_id: Wikidata item of the old object.
        target_new_id: Wikidata item of the new object.
        paraphrases: Paraphrases of the statement from the data set, including the subject.
        neighbours: Prompts of the data set about other subjects of the same relation, each with its true object.
        relation_specificity: Prompts of the data set about other relations of the same subject.
        unrelated: Prompts of the data set that share neither subject nor relation with the fact.
        consequences: Prompts of the data set about consequences of the edit, with the resulting object (portability).
        join: Text between a prompt about the fact and its object: nothing, or a space; None for the text that natural
            language has there (`text.joining`).
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
        reference: Phrase that refers to a subject that was named before: ``this person``.
        profile: Sentences that fit any such subject, each with ``{}`` at least once. Together they form a page about
            the subject that does not reveal any object.
    """

    name: str
    reference: str
    profile: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """Wordings of one relation, each with ``{}`` in the subject's place.

    Attributes:
        id: Wikidata property.
        name: Name of the relation in tables and figures.
        subject: Name of the subjects' `SubjectType`.
        object: Type of the object: ``city``, ``language`` ...
        statement: Statement that ends before the object.
        paraphrases: Paraphrases of the statement that end before the object, each with another structure.
        question: A question whose answer is the object.
        cloze: A sentence with ``____`` in the object's place.
        context: One or two sentences about such a subject that name no object.
        reversed_question: A question whose answer is the subject, with ``{}`` in the object's place; empty if many
            subjects share an object, because the question would not have a unique answer.
        unaffected: Ids of relations that apply to any such subject and that a new object of this relation does not
            change (relation specificity).
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
    """One prompt to test one edit with.

    Attributes:
        id: ``<fact id>/<kind>/<number>``, unique in a run.
        fact_id: The fact whose edit is probed.
        kind: Kind of prompt: ``statement``, ``paraphrase``, ``question`` ...
        family: One of ``FAMILIES``.
        subject: Subject of the prompt: the fact's subject, or the other subject of a neighbourhood or unrelated prompt.
        text: The prompt; in a conversation, the last turn of the user.
        target_new: The new object of the edit.
        target_true: The true object of `subject` before the edit; empty if it is unknown.
        target_new_aliases: Other names of the new object.
        target_true_aliases: Other names of the true object.
        conversation: Whether `text` is a user's turn (chat template) rather than a text to continue.
        previous_turns: Turns before `text`.
        follows: Id of a probe whose answer is the assistant's turn between `previous_turns` and `text` (doubts).
        join: Text between `text` and an object after it; None for the text that natural language has there.
        relation_objects: Objects of the right type for the prompt's relation, each with all its names; set if
            `target_true` is unknown, so that answers that name an object can be distinguished from those that do not.
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
    previous_turns: tuple[Turn, ...] = ()
    follows: str | None = None
    join: str | None = None
    relation_objects: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Answer:
    """Answer of a model to a probe, under both protocols.

    Attributes:
        probe: The probe.
        text: Free generation: the greedy continuation up to its natural stop, without the prompt.
        thinking: The model's reasoning before its answer, without the tags; empty if there is none.
        finished: Whether the sentence ended before the token limit or the context length cut it.
        tokens: Number of generated tokens, without the reasoning before the answer.
        logprob_new: Teacher forcing: summed natural log-probability of the new object's tokens.
        logprob_true: The same for the true object.
        tokens_new: Number of tokens of the new object.
        tokens_true: Number of tokens of the true object.
        match_new: Whether each token of the new object is the most probable one at its position.
        match_true: The same for the true object.
        margin: Difference in log-probability, in nats, between the first token of the free generation and the second
            most probable one; None if it was not measured.
        kl: Kullback-Leibler divergence, in nats, of the next-token distribution after the prompt from that of the
            unedited model: KL(unedited || edited); None if it was not measured (all but specificity probes).
        top_unchanged: Whether the most probable token after the prompt is that of the unedited model; None if it was
            not measured (all but specificity probes, and non-finite log-probabilities).
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
"""Flags of a document whose score is meaningless."""


@dataclass(frozen=True)
class Document:
    """Result of a model on one document of a benchmark, under one filter of its task.

    Attributes:
        benchmark: The benchmark, e.g. mmlu.
        task: The task of the harness, e.g. mmlu_anatomy.
        filter: The task's filter, `none` if it has none.
        metric: The main metric: acc, exact_match, perplexity ...
        number: The document's number in its task.
        doc_hash: Hash of the document.
        prompt_hash: Hash of the whole prompt, including the few-shot examples.
        shots: Number of few-shot examples in the prompt.
        score: The metric's value; 0 if `flags` mark it as meaningless, never NaN.
        metrics: All metrics from the harness.
        gold: The right option's number; -1 if there are no options, or several are right.
        logprobs: Summed natural log-probability of each option, or of the whole document under `perplexity`; empty for
            free generation. Not finite if the model's outputs are not.
        text: The generated text; empty without generation.
        tokens: Number of tokens generated, or scored under `perplexity`.
        capped: Whether the generation reached the token limit.
        flags: Reasons why the score is meaningless: `NOT_FINITE`, `TIED`.
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
    """Conversation of a tester with an edited model about one fact.

    Attributes:
        fact_id: The fact that was edited.
        method: Name of the editing method.
        tester: Name of the speaker that takes the user's turns.
        turns: Alternating turns of the user (the tester) and the assistant (the edited model), the user's first.
        refused: Number of the tester's turns that were rejected, because they named an object or were empty.
        replaced: Number of the tester's turns that were replaced by a neutral question.
        unfinished: Number of the model's turns that the token limit cut.
        cut_short: Whether the conversation ended early, because it exceeded the model's context length.
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
    def replies(self) -> tuple[str, ...]:
        """Return the turns of the edited model."""
        return tuple(turn.text for turn in self.turns if turn.role == "assistant")
