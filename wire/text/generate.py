"""Write `table.py` from the Unicode Character Database: `python -m wire.text.generate DIRECTORY`.

DIRECTORY holds these files of one version, from https://www.unicode.org/Public/: `UnicodeData.txt`,
`DerivedCoreProperties.txt`, `Scripts.txt`, `ScriptExtensions.txt`, `PropertyValueAliases.txt`,
`emoji/emoji-data.txt` and `emoji/emoji-variation-sequences.txt` of the database, and of the
security data (UTS #39) `confusables.txt` and `IdentifierStatus.txt`. All lie in DIRECTORY itself.
"""

import re
import sys
import textwrap
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

_TABLE: Final = Path(__file__).with_name("table.py")
_LINE: Final = 84

_STYLED: Final = "Zsym"
"""The script that styled Latin letters, such as fullwidth ones, are said to be of."""

_BLANK: Final = frozenset({0x2800, 0x1D159, 0x16FE4})
"""Visible by their category, yet without ink: a Braille cell, a note head, a filler."""

_OVERLAYS: Final = frozenset(range(0x334, 0x339))
"""Combining strokes, which make other letters of the ones below."""

# fmt: off
_JOINING: Final = frozenset({
    "Arab", "Beng", "Deva", "Gujr", "Guru", "Khmr", "Knda", "Laoo", "Mlym", "Mong", "Mymr", "Orya",
    "Sinh", "Syrc", "Taml", "Telu", "Thaa", "Tibt",
})
# fmt: on
"""The scripts whose words need the joiners U+200C and U+200D."""

# UTS #39, 5.1: letters of these scripts may share a word.
_AUGMENTED: Final[Mapping[str, str]] = {
    "Hani": "Hanb Jpan Kore",
    "Hira": "Jpan",
    "Kana": "Jpan",
    "Hang": "Kore",
    "Bopo": "Hanb",
}
_HEAD: Final = '''\
"""Classes of characters as ranges of hexadecimal numbers; `generate.py` writes this module."""

# fmt: off

from typing import Final
'''


class Unicode:
    """The files of one version of Unicode, read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.categories = self._categories()
        self.scripts = self._scripts()
        self.confusables = {
            int(source, 16): "".join(chr(int(code, 16)) for code in target.split())
            for source, target, *_ in self._rows("confusables.txt")
        }

    @property
    def version(self) -> str:
        """The version that the files name."""
        first = self._lines("Scripts.txt")[0]
        found = re.fullmatch(r"# Scripts-([0-9.]+)\.txt", first)
        if found is None:
            raise ValueError(f"{first!r} does not name a version of Unicode.")
        return found[1]

    def having(self, file: str, value: str) -> set[int]:
        """Return the characters that have the property `value` in `file`."""
        return {
            code
            for codes, found, *_ in self._rows(file)
            if found == value
            for code in _codes(codes)
        }

    def emoji_bases(self) -> set[int]:
        """Return the characters for which U+FE0E and U+FE0F choose a presentation."""
        return {
            int(sequence.split()[0], 16)
            for sequence, *_ in self._rows("emoji-variation-sequences.txt")
        }

    def category(self, code: int) -> str:
        """Return the general category."""
        return self.categories.get(code, ("Cn", ""))[0]

    def is_right_to_left(self, code: int) -> bool:
        """Return whether a letter reorders its neighbours."""
        return self.categories.get(code, ("", ""))[1] in ("R", "AL", "AN")

    def skeleton(self, text: str) -> str:
        """Return the skeleton of `text` (UTS #39, 4): confusable texts have the same."""
        found = unicodedata.normalize("NFD", text)
        found = "".join(self.confusables.get(ord(c), c) for c in found)
        return unicodedata.normalize("NFD", found)

    def _lines(self, file: str) -> list[str]:
        return (self._directory / file).read_text(encoding="utf-8-sig").splitlines()

    def _rows(self, file: str) -> Iterator[list[str]]:
        for line in self._lines(file):
            if fields := line.partition("#")[0].strip():
                yield [field.strip() for field in fields.split(";")]

    def _categories(self) -> dict[int, tuple[str, str]]:
        found: dict[int, tuple[str, str]] = {}
        first = 0
        for fields in self._rows("UnicodeData.txt"):
            code = int(fields[0], 16)
            begin = first if fields[1].endswith("Last>") else code
            found |= dict.fromkeys(range(begin, code + 1), (fields[2], fields[4]))
            first = code
        return found

    def _scripts(self) -> dict[int, frozenset[str]]:
        """Return the scripts of each character; none are all."""
        short = {long: code for kind, code, long, *_ in self._aliases() if kind == "sc"}
        found = {
            code: frozenset({short[script]})
            for codes, script in self._rows("Scripts.txt")
            for code in _codes(codes)
        }
        for codes, scripts in self._rows("ScriptExtensions.txt"):
            found |= dict.fromkeys(_codes(codes), frozenset(scripts.split()))
        every = frozenset({"Zyyy", "Zinh"})
        return {
            code: frozenset() if scripts <= every else scripts for code, scripts in found.items()
        }

    def _aliases(self) -> Iterator[list[str]]:
        return (row for row in self._rows("PropertyValueAliases.txt") if len(row) > 2)


def _codes(written: str) -> range:
    first, _, last = written.partition("..")
    return range(int(first, 16), int(last or first, 16) + 1)


def classes(unicode: Unicode) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """Return the classes of characters by name, and the letters of words by their scripts."""
    letters = {
        code
        for code in unicode.having("IdentifierStatus.txt", "Allowed")
        if code > 0x7F and unicode.category(code)[0] in "LM" and code not in _OVERLAYS
    }
    # Letters and digits that look like ASCII count as parts of words even if they are rare.
    rare = {code for code in _like_ascii(unicode) if unicode.category(code)[0] in "LN"} - letters
    letters |= rare
    ascii_alike, alike = _confusable(unicode, letters)
    by_script: dict[str, set[int]] = defaultdict(set)
    for code in letters:
        scripts = unicode.scripts[code]
        if code in rare and scripts <= {"Latn"}:
            scripts = frozenset({_STYLED})
        more = (name for script in scripts for name in _AUGMENTED.get(script, "").split())
        by_script[" ".join(sorted({*scripts, *more}))].add(code)
    joining = {code for code in letters if unicode.scripts[code] & _JOINING}
    assigned = set(unicode.categories)
    found = {
        "HIDDEN": _hidden(unicode),
        "MARKS": {code for code in assigned if unicode.category(code) in ("Mn", "Me")},
        "LETTER_MARKS": {code for code in letters if unicode.category(code)[0] == "M"},
        "ASCII_LOOKALIKES": ascii_alike,
        "LOOKALIKES": alike | {code for code in letters if unicode.is_right_to_left(code)},
        "JOINING": joining,
        "PICTOGRAPHS": (unicode.having("emoji-data.txt", "Extended_Pictographic") & assigned)
        - letters,
        "EMOJI_BASES": {code for code in unicode.emoji_bases() if code > 0x7F},
    }
    return found, by_script


def _hidden(unicode: Unicode) -> set[int]:
    ignorable = unicode.having("DerivedCoreProperties.txt", "Default_Ignorable_Code_Point")
    return {
        code
        for code in range(0x110000)
        if unicode.category(code) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        or code in ignorable
        or code in _BLANK
    }


def _like_ascii(unicode: Unicode) -> set[int]:
    return {
        code
        for code in unicode.categories
        if code > 0x7F
        and unicode.category(code) != "Cs"
        and (
            unicode.skeleton(chr(code)).isascii() or unicode.confusables.get(code, "\x80").isascii()
        )
    }


def _confusable(unicode: Unicode, letters: Iterable[int]) -> tuple[set[int], set[int]]:
    """Return the letters that look like ASCII, and those that look like another script's.

    Of Latin letters, only those that look like ASCII are taken: the others (ǎ and ă) are as
    foreign as they look.
    """
    like: dict[str, set[int]] = defaultdict(set)
    for code in unicode.categories:
        if unicode.category(code) != "Cs":
            like[unicode.skeleton(chr(code))].add(code)
    ascii_alike, alike = _like_ascii(unicode) & set(letters), set()
    for code in letters:
        skeleton = unicode.skeleton(chr(code))
        others = (unicode.scripts.get(other, frozenset()) for other in like[skeleton] - {code})
        is_mark = unicode.category(code) == "Mn"
        if not is_mark and any("Latn" in scripts or not scripts for scripts in others):
            alike.add(code)
    latin = {code for code in alike if unicode.scripts[code] == {"Latn"}}
    return ascii_alike, ascii_alike | (alike - latin)


def ranges(codes: set[int]) -> str:
    """Return characters as ranges, such as `41-5a 5f`."""
    parts = []
    for code in sorted(codes):
        if code - 1 not in codes:
            first = code
        if code + 1 not in codes:
            parts.append(f"{first:x}" if code == first else f"{first:x}-{code:x}")
    return " ".join(parts)


def _literal(text: str) -> str:
    """Return the lines of a Python expression for `text`."""
    lines = textwrap.wrap(text, _LINE)
    body = "\n".join(f'    "{line} "' for line in lines)
    return f"(\n{body}\n)" if len(lines) > 1 else f'"{text}"'


def table(unicode: Unicode) -> str:
    """Return the text of `table.py`."""
    found, by_script = classes(unicode)
    lines = [_HEAD, f'VERSION: Final = "{unicode.version}"\n']
    lines += [f"{name}: Final = {_literal(ranges(codes))}\n" for name, codes in found.items()]
    lines.append("LETTERS: Final = {")
    for scripts, codes in sorted(by_script.items()):
        expression = _literal(ranges(codes)).replace("\n", "\n    ")
        lines.append(f'    "{scripts}": {expression},')
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"Usage: python -m wire.text.generate DIRECTORY\n\n{__doc__}")
    _TABLE.write_text(table(Unicode(Path(sys.argv[1]))))
