"""Characters of scripts that write no spaces between words."""

from __future__ import annotations

import unicodedata

_CHINESE_JAPANESE = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "BOPOMOFO")
_WITHOUT_SPACES = (
    *_CHINESE_JAPANESE,
    *("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "JAVANESE", "BALINESE", "TAI THAM", "NEW TAI LUE", "TAI LE"),
)


def writes_no_spaces(character: str) -> bool:
    """Return whether a character is of a script that writes no spaces between words (Chinese, Japanese, Thai ...).

    Korean is not one of them.
    """
    return _name(character).startswith(_WITHOUT_SPACES)


def is_chinese_or_japanese(character: str) -> bool:
    """Return whether a character is of the Chinese or Japanese script."""
    return _name(character).startswith(_CHINESE_JAPANESE)


def bounds_no_words(character: str) -> bool:
    """Return whether a name that starts or ends with this character may be inside a longer run of letters.

    This holds in scripts without spaces, and in Korean, which attaches particles to names.
    """
    return _name(character).startswith(("HANGUL", *_WITHOUT_SPACES))


def _name(character: str) -> str:
    # half-width and compatibility forms belong to the script of their normal forms
    form = unicodedata.normalize("NFKC", character)[:1]
    return unicodedata.name(form, "") if form else ""
