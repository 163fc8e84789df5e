"""Text for a terminal: escaped, and fitted to columns."""

import unicodedata
from collections.abc import Iterator

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories that steer a terminal: controls, formats (bidi among them), surrogates, separators."""

_JOINERS = frozenset("\u200c\u200d")
"""Formats that only shape the glyphs beside them; many scripts and emoji need them."""


def safe(text: str, *, multiline: bool = False) -> str:
    """`text` with everything that could steer a terminal shown as an escape like `\\x1b`.

    With `multiline`, newlines and tabs stay what they are.
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
    """`text` as one safe line: runs of white space become one space."""
    return safe(" ".join(text.split()))


def width(text: str) -> int:
    """How many terminal columns `text` takes; it must be safe already."""
    if text.isascii():
        return len(text)
    return sum(_char_width(c) for c in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or char in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def elide(text: str, columns: int) -> str:
    """`text` cut to at most `columns` columns; an ellipsis shows that something is missing."""
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
    """The safe `line` in pieces of at most `columns` columns, broken at spaces where it can be."""
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
