"""Classes of characters for regular expressions, and the scripts of letters, from `table.py`."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from wire.text import table


def _ranges(written: str) -> Iterator[tuple[int, int]]:
    for part in written.split():
        first, _, last = part.partition("-")
        yield int(first, 16), int(last or first, 16)


def _class(written: str) -> str:
    """Return ranges, none of which has ASCII punctuation, as the inside of a character class."""
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in _ranges(written))


def _set(written: str) -> frozenset[str]:
    return frozenset(chr(c) for first, last in _ranges(written) for c in range(first, last + 1))


HIDDEN: Final = _class(table.HIDDEN)
"""Controls, default-ignorable and unassigned characters, and others that show nothing."""
MARKS: Final = _class(table.MARKS)
"""Nonspacing and enclosing marks, which are drawn over their neighbours."""
LETTERS: Final = _class(" ".join(table.LETTERS.values()))
"""Letters and marks, except ASCII, of the scripts in common use; and rare lookalikes of ASCII."""
LETTER_MARKS: Final = _class(table.LETTER_MARKS)
JOINING: Final = _class(table.JOINING)
"""The letters that the joiners U+200C and U+200D may join."""
PICTOGRAPHS: Final = _class(table.PICTOGRAPHS)
EMOJI_BASES: Final = _class(table.EMOJI_BASES)
"""The characters that U+FE0E and U+FE0F show as text or as an emoji."""

LOOKALIKES: Final = _set(table.LOOKALIKES)
"""Letters that look like ASCII, or like another script; and those that are written to the left."""
ASCII_LOOKALIKES: Final = _set(table.ASCII_LOOKALIKES)

_NAMES: Final = sorted({"Latn", *(name for scripts in table.LETTERS for name in scripts.split())})
_BITS: Final = {name: 1 << at for at, name in enumerate(_NAMES)}
_EVERY: Final = (1 << len(_NAMES)) - 1
_SPANS: Final = sorted(
    (first, last, sum(_BITS[name] for name in scripts.split()) or _EVERY)
    for scripts, written in table.LETTERS.items()
    for first, last in _ranges(written)
)
_STARTS: Final = [first for first, _, _ in _SPANS]


class _Scripts(dict[str, int]):
    """The scripts of characters as bits, looked up once for each character."""

    def __missing__(self, char: str) -> int:
        if char.isascii():
            bits = _BITS["Latn"] if char.isalpha() else _EVERY
        else:
            first, last, bits = _SPANS[bisect_right(_STARTS, ord(char)) - 1]
            bits = bits if first <= ord(char) <= last else _EVERY
        self[char] = bits
        return bits


_scripts: Final = _Scripts()


def is_mixed(word: str) -> bool:
    """Return whether no script has all letters of `word`.

    Chinese, Japanese and Korean count as one script each, although they are written with several.
    """
    common = _EVERY
    for char in word:
        common &= _scripts[char]
    return not common
