"""Text for a terminal: escaped, and fitted to columns."""

import unicodedata
from collections.abc import Iterator

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories that can control a terminal: controls, formats (bidi), surrogates, separators."""

_JOINERS = frozenset("\u200c\u200d")
"""Formats that only shape adjacent glyphs; many scripts and emoji need them."""


def safe(text: str, *, multiline: bool = False) -> str:
    """Return `text` with every character that could control a terminal escaped, as in `\\x1b`.

    With `multiline`, newlines and tabs are kept.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = "\n\t" if multiline else ""
    return "".join(c if c in kept else _visible(c) for c in text)


def _visible(char: str) -> str:
    if char in _JOINERS or unicodedata.category(char) not in _UNSAFE:
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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
