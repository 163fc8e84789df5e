"""The syntax of searches, translated into queries of sqlite's full-text index.

    plain words         all of these words, in any order
    "a phrase"          these words, one after the other
    begin*              words that begin so; also at the end of a phrase

Capitals, accents and punctuation do not matter, and there is no other syntax: the query consists of
quoted texts, so that no input is syntax of the index.
"""

import re
import unicodedata
from typing import Final

from wire.errors import InvalidArgument

MAX_LENGTH: Final = 256
"""The longest text, in characters."""
MAX_TERMS: Final = 16
"""The most words and phrases."""

# A phrase without a closing quote ends with the text.
_TERM: Final = re.compile(r'"([^"]*)(?:"(\*?)|$)|([^\s"]+)')


def query(text: str) -> str:
    """Return the query of the index for the search `text`.

    Raises:
        InvalidArgument: the text is too long, or has no letter or digit.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(
            f"The text to search for has {len(text)} characters; at most {MAX_LENGTH} are allowed."
        )
    terms = [_quoted(*match.groups()) for match in _TERM.finditer(_cleaned(text))]
    found = [term for term in terms if term]
    if not found:
        raise InvalidArgument(
            'There is nothing to search for: give a word, "a phrase" or the beginning of one*, '
            "with at least one letter or digit."
        )
    if len(found) > MAX_TERMS:
        raise InvalidArgument(
            f"There are {len(found)} words and phrases to search for; the maximum is {MAX_TERMS}. "
            'Quote words that follow each other: "one phrase".'
        )
    return " ".join(found)


def _cleaned(text: str) -> str:
    """Return `text` without control characters and surrogates, at which sqlite would stop."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def _quoted(phrase: str | None, star: str | None, word: str | None) -> str:
    """Return one term of the query; empty when it has no character that is indexed."""
    term = word if phrase is None else phrase
    begins = bool(star) if word is None else word.endswith("*")
    if term is None or not any(_indexed(c) for c in term):
        return ""
    quoted = term.rstrip("*").replace('"', '""')
    return f'"{quoted}"*' if begins else f'"{quoted}"'


def _indexed(character: str) -> bool:
    """Return whether the index's tokenizer (unicode61) takes a character as part of a word."""
    category = unicodedata.category(character)
    return category[0] in "LN" or category == "Co"
