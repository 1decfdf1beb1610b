"""Filling and turning sentences so that they stay English: articles, full stops, quotes, capitals, references."""

from __future__ import annotations

import re

from edit_robustness.records import SLOT
from edit_robustness.text.joining import joined

_PREPOSITIONS = ("of", "in", "on", "at", "by", "to", "for", "from", "with", "about", "like", "behind", "inside", "near")
_VERBS = ("is", "are", "was", "were", "has", "have", "had", "that", "which", "who", "whom", "where", "when", "and")
_KIND_OF = ("city", "town", "village", "country", "state", "island", "language", "continent", "book", "film", "song")

_APPOSITION = re.compile(
    rf"\bthe (?:(?!(?:{'|'.join(_PREPOSITIONS + _VERBS)})\b)[\w-]+ ){{0,2}}{re.escape(SLOT)}", re.IGNORECASE
)
_KIND_AND_NAME = re.compile(rf"\bthe (?:{'|'.join(_KIND_OF)}) of {re.escape(SLOT)}", re.IGNORECASE)


def words(*texts: str) -> frozenset[str]:
    """The words of some texts, in small letters."""
    return frozenset(word.casefold() for text in texts for word in re.findall(r"[^\W\d_]+", text))


_NEEDS_ARTICLE = re.compile(
    r"(?:United (?:States|Kingdom|Arab Emirates|Nations)|Netherlands|Philippines|Bahamas|Maldives|Soviet Union)\b"
    r"|(?:[A-Z][\w'’-]+ )+(?:Republic|Empire|Union|Islands|Confederation)$"
    r"|(?:Republic|Kingdom|Duchy|Empire) of "
)
"""Names of countries that stand with an article in a sentence, and without one in tables."""

_OPENERS = words(
    "a according after an anyone anybody around as at because before by during every everyone everything for from he",
    "her his how if in inside it its like most my near of on one once our she since so some somebody someone that the",
    "their there these they this those to under until upon visitors we what when where whether which while who whoever",
    "with within you your",
)
"""Words that are written small when something comes before them."""


def put(template: str, name: str) -> str:
    """A template with a name in its place, mended where the two meet: no "the The", no second full stop."""
    if name[:4].casefold() == "the ":
        template = re.sub(rf"\b([Tt]he ){re.escape(SLOT)}", SLOT, template)
    before, *rest = template.split(SLOT)
    text = before
    for after in rest:
        # "Yahoo!." and "Inc.." lose the second mark, and "Who Was She??" too; "Inc.?" keeps both
        doubled = name.endswith({".": (".", "!", "?"), "?": ("?",)}.get(after[:1], ()))
        text += name + (after[1:] if doubled else after)
    return text


def sentence(opening: str, name: str, join: str | None = None) -> str:
    """A sentence out of its opening and the name that completes it, with one full stop and the article it needs.

    Args:
        opening: Ends where the name comes.
        name: What completes it.
        join: What stands between them; None for what a native text has there.
    """
    lacks_article = _NEEDS_ARTICLE.match(name) and not opening.casefold().endswith(" the")
    whole = joined(opening, f"{'the ' if lacks_article else ''}{name}", join)
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


def quoted(text: str) -> str:
    """Text in quotation marks that differ from those inside it."""
    return f"“{text}”" if '"' in text else f'"{text}"'


def is_question(text: str) -> bool:
    """Whether a prompt asks, so that its object comes as an answer."""
    return text.rstrip().endswith("?")


def as_template(text: str, name: str) -> str:
    """Text with a slot wherever it holds the name as whole words."""
    return re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", SLOT, text)


def refer(template: str, reference: str) -> str:
    """A template with a reference ("this person") in the name's place, capitalised where a sentence opens with it.

    What only introduces the name goes with it: "the software {}" and "the city of {}" are "this ..." whole.
    """
    bare = _KIND_AND_NAME.sub(SLOT, _APPOSITION.sub(SLOT, template))
    text = ""
    for number, part in enumerate(bare.split(SLOT)):
        if number:
            opens = re.search(r"(?:^|[.!?:]\s+|[\"“])$", text) is not None
            text += reference[0].upper() + reference[1:] if opens else reference
        text += part
    return text


def inside(text: str) -> str:
    """A sentence as it stands after other words: its first letter is small, if its first word is not a name."""
    word = re.match(r"[A-Z][a-z]*(?!\w)", text)
    return text[0].lower() + text[1:] if word and word.group().casefold() in _OPENERS else text
