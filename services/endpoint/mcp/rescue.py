"""The id of a request that is not a valid message: its sender waits for an answer with that id.

A client may write half a surrogate pair, a number that is too large, bytes that are not UTF-8, or a
line that is too long. No parser takes such a line, so the id is looked for in its text, at the
level of the message's own fields. It may stand at the end: the common clients write it there.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_STRINGS: Final = 8192
"""Strings at the beginning of a line that are looked at."""

MAX_TOKEN: Final = 4096
"""Bytes of an id that can be repeated in the answer."""

TAIL: Final = 1024
"""Bytes at the end of a line in which the id is looked for, if it is not at the beginning."""

_BACKSLASH: Final = b"\0\1"
_QUOTE: Final = b"\0\2"
"""Stand-ins for escaped characters, so that each quote left is one end of a string. JSON has no
control characters in a string, so no valid id contains them.
"""

_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ESCAPE: Final = re.compile(rb'\\(?!["\\/bfnrt]|u[0-9A-Fa-f]{4})')
_MEMBER: Final = rb'\s*"[^"\\]*"\s*:\s*(?:[^\s",{}\[\]]+|"[^"\\]*")\s*'
_AT_THE_END: Final = re.compile(rb"[,{](?P<members>%b(?:,%b){0,8})\}\s*$" % (_MEMBER, _MEMBER))
"""Plain members of the message itself: the last brace closes it."""

_PLAIN_MEMBER: Final = re.compile(rb'"(id|method)"\s*:\s*([^\s",{}\[\]]+|"[^"\\]*")')


class RawId(bytes):
    """An id as it was written, a JSON number or string."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Rescued:
    """The fields of a line that could be found."""

    id: RawId | None = None
    method: bytes = b""


def rescue(line: bytes, tail: bytes | None = None) -> Rescued:
    """Return the id and the method of a line; of several, the last one.

    Args:
        line: the line, or the beginning of a line that is too long.
        tail: the end of that line, if `line` is only its beginning.
    """
    found = _fields(line)
    if found.id is None and (last := _AT_THE_END.search((tail or line)[-TAIL:])):
        values = dict(_PLAIN_MEMBER.findall(last["members"]))
        return Rescued(_id(values.get(b"id", b"")), found.method or _text(values.get(b"method")))
    return found


def _fields(line: bytes) -> Rescued:
    """Return the fields at the message's own level, from the beginning of the line."""
    plain = line.replace(rb"\\", _BACKSLASH).replace(rb"\"", _QUOTE)
    parts = plain.split(b'"', 2 * MAX_STRINGS)  # outside of strings and inside, in turn
    depth, found = 0, Rescued()
    for index in range(0, len(parts) - 2, 2):
        depth += _opened(parts[index])
        key, after = parts[index + 1], parts[index + 2].lstrip()
        if depth != 1 or key not in (b"id", b"method") or not after.startswith(b":"):
            continue
        value = re.split(rb"[,}\]]", after[1:], maxsplit=1)[0].strip()
        if not value and index + 4 < len(parts) and not after[1:].strip():
            value = b'"' + parts[index + 3] + b'"'
        if key == b"id":
            found = Rescued(_id(value), found.method)
        else:
            found = Rescued(found.id, _text(value))
    return found


def _text(token: bytes | None) -> bytes:
    return token[1:-1] if token and token.startswith(b'"') else b""


def _opened(structure: bytes) -> int:
    opened = structure.count(b"{") + structure.count(b"[")
    return opened - structure.count(b"}") - structure.count(b"]")


def _id(token: bytes) -> RawId | None:
    """Return a token as an id, if it is a valid number or string."""
    if len(token) > MAX_TOKEN:
        return None
    if not token.startswith(b'"'):
        return RawId(token) if _NUMBER.fullmatch(token) else None
    text = token.replace(_BACKSLASH, rb"\\").replace(_QUOTE, rb"\"")
    try:
        text.decode()
    except UnicodeDecodeError:
        return None
    valid = not any(byte < 0x20 for byte in text) and not _ESCAPE.search(text.replace(rb"\\", b""))
    return RawId(text) if valid else None
