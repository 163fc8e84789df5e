"""What somebody types to find a text, as a query of sqlite's full-text index.

    plain words         all of them occur, in any order
    "a phrase"          these words, one after the other
    begin*              words that begin so; also as the end of a phrase

Capitals, accents and punctuation do not matter. Nothing else means anything: whatever is typed
becomes quoted texts, so that it is never syntax of the index.
"""

import re
import unicodedata
from typing import Final

from wire.errors import InvalidArgument

MAX_LENGTH: Final = 256
"""The longest text, in characters."""
MAX_TERMS: Final = 16
"""The most words and phrases."""

# A phrase whose end is missing ends with the text.
_TERM: Final = re.compile(r'"([^"]*)(?:"(\*?)|$)|([^\s"]+)')


def query(text: str) -> str:
    """The query that finds what `text` asks for.

    Raises:
        InvalidArgument: it is too long, or there is no letter or digit in it.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(
            f"The text to search for has {len(text)} characters; the most is {MAX_LENGTH}."
        )
    terms = [_quoted(*match.groups()) for match in _TERM.finditer(_cleaned(text))]
    found = [term for term in terms if term]
    if not found:
        raise InvalidArgument(
            'There is nothing to search for: give a word, "a phrase" or the beginning of one*, '
            "with a letter or digit in it."
        )
    if len(found) > MAX_TERMS:
        raise InvalidArgument(
            f"There are {len(found)} words and phrases to search for; the most is {MAX_TERMS}. "
            'Quote those that follow each other: "one phrase".'
        )
    return " ".join(found)


def _cleaned(text: str) -> str:
    """`text` without control characters, and what is no character: sqlite would stop there."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def _quoted(phrase: str | None, star: str | None, word: str | None) -> str:
    """One term of the query; empty when there is nothing in it that the index knows."""
    term = word if phrase is None else phrase
    begins = bool(star) if word is None else word.endswith("*")
    if term is None or not any(_indexed(c) for c in term):
        return ""
    quoted = term.rstrip("*").replace('"', '""')
    return f'"{quoted}"*' if begins else f'"{quoted}"'


def _indexed(character: str) -> bool:
    """Whether the index's tokenizer (unicode61) takes it for a part of a word."""
    category = unicodedata.category(character)
    return category[0] in "LN" or category == "Co"
