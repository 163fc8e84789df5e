"""Text for a terminal: escaped, and fitted to columns."""

import re
import unicodedata
from collections.abc import Iterator

_JOINERS = frozenset("\u200c\u200d")
"""Formats that only shape adjacent glyphs; `safe` leaves them where scripts and emoji need them."""

_PLAIN = re.compile("[ -~]*")


def safe(text: str, *, multiline: bool = False) -> str:
    """Return `text` with every hidden, controlling or misleading character spelled out.

    With `multiline`, newlines and tabs are kept. The rule is `prose` of `wire.text.escaping`.
    """
    if _PLAIN.fullmatch(text):
        return text
    from wire.text.escaping import prose  # `--help` imports nothing of wire

    return prose(text, one_line=not multiline)


def literal(text: str, *, multiline: bool = False) -> str:
    """Return `text`, which is read exactly, with all but plain words spelled out.

    Use it for diffs, file names and identifiers. With `multiline`, newlines and tabs are kept. The
    rule is `literal` of `wire.text.escaping`.
    """
    if _PLAIN.fullmatch(text):
        return text
    from wire.text import escaping

    return escaping.literal(text, one_line=not multiline)


def one_line(text: str) -> str:
    """Return `text` as one safe line, with each run of white space as one space."""
    return safe(" ".join(text.split()))


def width(text: str) -> int:
    """Return the terminal columns that `text`, which must be safe, takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(c) for c in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or char in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def elide(text: str, columns: int) -> str:
    """Cut `text` to at most `columns` columns, with an ellipsis if something is cut off."""
    if width(text) <= columns:
        return text
    head, used = "", 0
    for char in text:
        used += _char_width(char)
        if used > columns - 1:
            break
        head += char
    return head + "…"


def wrap(line: str, columns: int) -> Iterator[str]:
    """Break the safe `line` into pieces of at most `columns` columns, at spaces if possible."""
    start, space, used = 0, -1, 0
    for at, char in enumerate(line):
        used += _char_width(char)
        if used > columns and at > start:
            end = space if space > start else at
            yield line[start:end]
            start, used = end, width(line[end : at + 1])
        if char == " ":
            space = at + 1
    yield line[start:]


_COLOUR = re.compile("\x1b\\[[0-9]*m")
"""The sequences with which `Output` paints."""


def wrap_painted(line: str, columns: int) -> Iterator[str]:
    """Break a line that may have colours at spaces into pieces of at most `columns` columns.

    A colour must not go on over a space at which the line may be broken, unless it ends the line.
    """
    if not _COLOUR.search(line):
        yield from wrap(line, columns)
        return
    piece = ""
    for word in line.split(" "):
        longer = f"{piece} {word}" if piece else word
        if piece and width(_COLOUR.sub("", longer)) > columns:
            yield piece
            longer = word
        piece = longer
    yield piece
