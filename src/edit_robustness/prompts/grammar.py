"""Fill and rewrite sentences while keeping them grammatical: articles, full stops, quotes, capitals, references."""

from __future__ import annotations

import re

from edit_robustness.records import SLOT
from edit_robustness.text.joining import join_prompt

_PREPOSITIONS = ("of", "in", "on", "at", "by", "to", "for", "from", "with", "about", "like", "behind", "inside", "near")
_VERBS = ("is", "are", "was", "were", "has", "have", "had", "that", "which", "who", "whom", "where", "when", "and")
_KIND_OF = ("city", "town", "village", "country", "state", "island", "language", "continent", "book", "film", "song")

_APPOSITION = re.compile(
    rf"\bthe (?:(?!(?:{'|'.join(_PREPOSITIONS + _VERBS)})\b)[\w-]+ ){{0,2}}{re.escape(SLOT)}", re.IGNORECASE
)
_KIND_AND_NAME = re.compile(rf"\bthe (?:{'|'.join(_KIND_OF)}) of {re.escape(SLOT)}", re.IGNORECASE)


def words(*texts: str) -> frozenset[str]:
    """Return the words of some texts, in lower case."""
    return frozenset(word.casefold() for text in texts for word in re.findall(r"[^\W\d_]+", text))


_NEEDS_ARTICLE = re.compile(
    r"(?:United (?:States|Kingdom|Arab Emirates|Nations)|Netherlands|Philippines|Bahamas|Maldives|Soviet Union)\b"
    r"|(?:[A-Z][\w'’-]+ )+(?:Republic|Empire|Union|Islands|Confederation)$"
    r"|(?:Republic|Kingdom|Duchy|Empire) of "
)
"""Names of countries that take an article in a sentence but have none in tables."""

_OPENERS = words(
    "a according after an anyone anybody around as at because before by during every everyone everything for from he",
    "her his how if in inside it its like most my near of on one once our she since so some somebody someone that the",
    "their there these they this those to under until upon visitors we what when where whether which while who whoever",
    "with within you your",
)
"""Words that begin a sentence and are written in lower case inside one."""


def fill_slot(template: str, name: str) -> str:
    """Fill a template with a name, without repeating "the" or a full stop where the two meet."""
    if name[:4].casefold() == "the ":
        template = re.sub(rf"\b([Tt]he ){re.escape(SLOT)}", SLOT, template)
    text_before, *parts = template.split(SLOT)
    text = text_before
    for text_after in parts:
        # "Yahoo!.", "Inc.." and "Who Was She??" lose the second mark; "Inc.?" keeps both
        repeats_mark = name.endswith({".": (".", "!", "?"), "?": ("?",)}.get(text_after[:1], ()))
        text += name + (text_after[1:] if repeats_mark else text_after)
    return text


def sentence(opening: str, name: str, join: str | None = None) -> str:
    """Join an opening and the name that completes it to a sentence, with one full stop and the article it needs.

    Args:
        opening: The sentence up to the name.
        name: The name that completes it.
        join: The text between them; None for the usual one.
    """
    lacks_article = _NEEDS_ARTICLE.match(name) and not opening.casefold().endswith(" the")
    text = join_prompt(opening, f"{'the ' if lacks_article else ''}{name}", join)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def quote(text: str) -> str:
    """Put a text into quotation marks that differ from those inside it."""
    return f"“{text}”" if '"' in text else f'"{text}"'


def is_question(text: str) -> bool:
    """Return whether a prompt is a question, so that the object is its answer."""
    return text.rstrip().endswith("?")


def as_template(text: str, name: str) -> str:
    """Replace every occurrence of a name as whole words by a slot."""
    return re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", SLOT, text)


def refer(template: str, reference: str) -> str:
    """Fill a template with a reference ("this person") instead of the name, capitalised at the start of a sentence.

    A noun that introduces the name is replaced too: "the software {}" and "the city of {}" become "this ...".
    """
    template_without_nouns = _KIND_AND_NAME.sub(SLOT, _APPOSITION.sub(SLOT, template))
    text = ""
    for number, part in enumerate(template_without_nouns.split(SLOT)):
        if number:
            starts_sentence = re.search(r"(?:^|[.!?:]\s+|[\"“])$", text) is not None
            text += reference[0].upper() + reference[1:] if starts_sentence else reference
        text += part
    return text


def inside(text: str) -> str:
    """Return a sentence for use inside another one: its first letter is lower case unless its first word is a name."""
    word = re.match(r"[A-Z][a-z]*(?!\w)", text)
    return text[0].lower() + text[1:] if word and word.group().casefold() in _OPENERS else text
