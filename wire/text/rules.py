"""The rules by which a text is shown, as regular expressions; `escaping` describes them."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from wire.text.characters import (
    ASCII_LOOKALIKES,
    EMOJI_BASES,
    HIDDEN,
    JOINING,
    LETTER_MARKS,
    LETTERS,
    LOOKALIKES,
    MARKS,
    PICTOGRAPHS,
    is_mixed,
)
from wire.text.parts import Mark, Part, Parts, Reason

MAX_MARKS: Final = 4
"""The most marks on one letter (UTS #39): more are drawn over other lines."""

_LONGEST_KNOWN: Final = 64
"""The longest text whose parts are remembered."""

# All patterns take linear time: quantifiers of single characters are possessive, and what follows a
# run cannot be in it. Those of groups are not: see "possessive" in docs/gotchas.md.
_ASCII_WORD: Final = "0-9A-Za-z_"
_TOKEN: Final = rf"{_ASCII_WORD}\x80-\U0010ffff"
_NOT_URL: Final = r"\x00-\x20\x7f\"'<>`"
_NON_ASCII_WORD: Final = rf"[{_ASCII_WORD}]*+[^\x00-\x7f][{_TOKEN}]*+"
_LITERAL: Final = re.compile(
    rf"(?<=://)(?P<host>[^{_NOT_URL}/?#\\]++)"
    rf"|(?<![{_TOKEN}])(?P<token>{_NON_ASCII_WORD})"
    rf"|(?P<control>[\x00-\x08\x0b-\x1f\x7f]++)"
)
_KEYCAP: Final = r"[#*](?=\ufe0f\u20e3)"
_PROSE: Final = re.compile(
    rf"(?<=://)(?P<url>[^{_NOT_URL}]++)"
    rf"|(?<![{_TOKEN}])(?P<token>(?:{_KEYCAP})?{_NON_ASCII_WORD})"
    rf"|(?P<control>[\x00-\x08\x0b-\x1f\x7f]++)"
)
_HOST_END: Final = re.compile(r"[/?#\\]|$")

_WORD: Final = re.compile(rf"[{_ASCII_WORD}{LETTERS}]++")
_BAD_MARKS: Final = re.compile(rf"\A[{LETTER_MARKS}]|[{LETTER_MARKS}]{{{MAX_MARKS + 1}}}")
_LOOSE_MARK: Final = re.compile(rf"[{_ASCII_WORD}][{LETTER_MARKS}]")
_EXCESS_MARKS: Final = re.compile(rf"(?<=[{MARKS}]{{{MAX_MARKS}}})[{MARKS}\u200c\u200d]++")
_EMOJI: Final = rf"(?:[{EMOJI_BASES}][\ufe0e\ufe0f]|[{PICTOGRAPHS}][\U0001f3fb-\U0001f3ff]?+)"
_FLAGS: Final = "|".join(
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)
_JOINT: Final = rf"(?<=[{JOINING}])[\u200c\u200d](?=[{JOINING}])"
_PROSE_TOKEN: Final = re.compile(
    rf"[#*0-9]\ufe0f\u20e3|{_FLAGS}|{_EMOJI}(?:\u200d{_EMOJI})*"
    rf"|(?P<word>[{_ASCII_WORD}{LETTERS}]++(?:{_JOINT}[{_ASCII_WORD}{LETTERS}]++)*)"
    rf"|(?P<hidden>[{HIDDEN}]++)"
)

_ASCII_LIKE: Final = re.compile(rf"[{_ASCII_WORD}{''.join(sorted(ASCII_LOOKALIKES))}]*+")
_DOMAIN: Final = re.compile(r"\.[A-Za-z]{2}")
"""The end of a host whose name may be written without a scheme, as in `example.org`."""

_Resolve = Callable[[re.Match[str]], Parts]


class Rule(NamedTuple):
    """A rule: a pattern, and the parts that replace a match."""

    pattern: re.Pattern[str]
    resolve: _Resolve

    def escape(self, text: str) -> str:
        """Return `text` with what the rule does not show spelled out."""
        return self.pattern.sub(lambda match: "".join(map(str, self.resolve(match))), text)

    def parts(self, text: str) -> list[Part]:
        """Return the parts of `text`; neighbouring strings are one."""
        parts: list[Part] = []
        end = 0
        for match in self.pattern.finditer(text):
            parts.append(text[end : match.start()])
            parts += self.resolve(match)
            end = match.end()
        return _joined([*parts, text[end:]])


def _joined(parts: list[Part]) -> list[Part]:
    """Return the parts with neighbouring strings as one, and without empty ones."""
    joined: list[Part] = []
    plain: list[str] = []
    for part in parts:
        if isinstance(part, str):
            plain.append(part)
            continue
        if shown := "".join(plain):
            joined.append(shown)
        plain = []
        joined.append(part)
    if shown := "".join(plain):
        joined.append(shown)
    return joined


def _literal_parts(match: re.Match[str]) -> Parts:
    found = match[0]
    if match.lastgroup == "host":
        return _host(found)
    return _spelled(found, Reason.HIDDEN) if match.lastgroup == "control" else _literal_token(found)


def _prose_parts(match: re.Match[str]) -> Parts:
    found = match[0]
    if match.lastgroup == "url":
        end = _HOST_END.search(found)
        at = end.start() if end else len(found)
        return [*_host(found[:at]), *LITERAL.parts(found[at:])]
    if match.lastgroup == "control":
        return _spelled(found, Reason.HIDDEN)
    if _DOMAIN.match(match.string, match.end()) and _ASCII_LIKE.fullmatch(found):
        return _spelled_foreign(found, Reason.LOOKALIKE)
    return _prose_token(found)


def _split(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[bool, str]]:
    """Yield the pieces of `text`, each with whether `pattern` matches it."""
    end = 0
    for match in pattern.finditer(text):
        if match.start() > end:
            yield False, text[end : match.start()]
        yield True, match[0]
        end = match.end()
    if end < len(text):
        yield False, text[end:]


_Judge = Callable[[str], Parts]


def _remembering(judge: _Judge) -> _Judge:
    """Return `judge` with a memory for short texts: a language repeats its words."""
    known = lru_cache(8192)(judge)
    return lambda text: known(text) if len(text) <= _LONGEST_KNOWN else judge(text)


def _reason(word: str) -> Reason | None:
    """Return the reason why a word that is not ASCII is spelled out, or None if it is not."""
    if is_mixed(word):
        return Reason.MIXED
    if not LOOKALIKES.isdisjoint(word) or _BAD_MARKS.search(word):
        return Reason.LOOKALIKE
    # A mark that no letter absorbs may be invisible (a dot on an i), or make another letter.
    loose = _LOOSE_MARK.search(word) and _LOOSE_MARK.search(unicodedata.normalize("NFC", word))
    return Reason.LOOKALIKE if loose else None


@_remembering
def _literal_token(token: str) -> Parts:
    parts: list[Part] = []
    for is_word, piece in _split(token, _WORD):
        if not is_word:
            parts += _spelled(piece, Reason.UNUSUAL)
        elif piece.isascii() or not (reason := _reason(piece)):
            parts.append(piece)
        else:
            parts += _spelled_foreign(piece, reason)
    return parts


@_remembering
def _prose_token(token: str) -> Parts:
    parts: list[Part] = []
    for is_excess, piece in _split(token, _EXCESS_MARKS):
        parts += _spelled(piece, Reason.HIDDEN) if is_excess else _prose_piece(piece)
    return parts


def _prose_piece(token: str) -> Parts:
    parts: list[Part] = []
    end = 0
    for match in _PROSE_TOKEN.finditer(token):
        parts.append(token[end : match.start()])
        end = match.end()
        found = match[0]
        if match.lastgroup == "hidden":
            parts += _spelled(found, Reason.HIDDEN)
        elif match.lastgroup == "word" and not found.isascii() and _misleads(found):
            parts += [
                Mark(char, _number(char), Reason.MIXED) if char in ASCII_LOOKALIKES else char
                for char in found
            ]
        else:
            parts.append(found)
    return [*parts, token[end:]]


def _misleads(word: str) -> bool:
    return not ASCII_LOOKALIKES.isdisjoint(word) and is_mixed(word)


_LONGEST_HOST: Final = 253
_FOREIGN: Final = re.compile(r"[^\x00-\x7f]++")


def _spelled_foreign(text: str, reason: Reason) -> Parts:
    parts: list[Part] = []
    for is_foreign, piece in _split(text, _FOREIGN):
        parts += _spelled(piece, reason) if is_foreign else [piece]
    return parts


def _host(host: str) -> Parts:
    """Return the authority of a URL, with its host as a name in the DNS has it."""
    if host.isascii():
        return [host]
    user, at, name = host.rpartition("@")
    name, colon, port = name.partition(":")
    shown = _ascii_host(name) if port.isascii() and len(name) <= _LONGEST_HOST else None
    if shown is None:
        return _spelled_foreign(host, Reason.UNUSUAL)
    known = name if name == shown else Mark(name, shown, Reason.HOST)
    return [*_spelled_foreign(user, Reason.UNUSUAL), at, known, colon, port]


@lru_cache(1024)
def _ascii_host(name: str) -> str | None:
    """Return the ASCII form of a host, or None for one that a browser would have to correct."""
    import idna  # costs some milliseconds, and few texts need it

    if name.isascii():
        return name
    try:
        return idna.encode(name, strict=True).decode()
    except (idna.IDNAError, UnicodeError):
        return None


def _spelled(text: str, reason: Reason) -> Parts:
    return [Mark(text, " ".join(map(_number, text)), reason)]


def _number(char: str) -> str:
    return f"U+{ord(char):04X}"


LITERAL: Final = Rule(_LITERAL, _literal_parts)
PROSE: Final = Rule(_PROSE, _prose_parts)
