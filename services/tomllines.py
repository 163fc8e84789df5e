"""The lines of keys in a TOML text, which the standard library's parser does not report."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<string> \"\"\"(?:\\.|[^\\])*?\"\"\"+ | \'\'\'.*?\'\'\'+ | "(?:\\.|[^"\\\n])*" | '[^'\n]*' )
    | (?P<comment> \#[^\n]* )
    | (?P<open> [\[{] ) | (?P<close> [\]}] ) | (?P<end> \n )
    | (?P<other> [^"'\#\[\]{}\n]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


def line_of(text: str, path: Sequence[str | int]) -> int:
    """Return the line that first has the longest beginning of `path` that is in `text`.

    Args:
        text: valid TOML.
        path: keys, and positions in arrays.

    Returns:
        A number from 1. A part of a value counts as on the line where the value begins. If there is
        no such line, 1.
    """
    keys = [str(part) for part in path]
    best, line = 0, 1
    table: list[str] = []
    for start, statement in _statements(text):
        if statement.startswith("["):
            table = here = _header(statement)
        else:
            here = table + _first_keys(tomllib.loads(statement), keys[len(table) :])
        common = _common(here, keys)
        if common > best:
            best, line = common, start
    return line


def most_dots(text: str) -> int:
    """Return the most dots on any one line, outside of strings and comments.

    The parser's work grows with the square of a key's dots.
    """
    most = dots = 0
    for token in _TOKEN.finditer(text):
        match token.lastgroup:
            case "end":
                dots = 0
            case "other":
                dots += token[0].count(".")
        most = max(most, dots)
    return most


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of each table header and each key with its value."""
    line, start, depth = 1, 1, 0
    parts: list[str] = []
    for token in _TOKEN.finditer(text.replace("\r\n", "\n")):
        depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        line += token[0].count("\n")
        if token.lastgroup == "end" and depth == 0:
            yield from _whole(start, parts)
            start, parts = line, []
        else:
            parts.append(token[0])
    yield from _whole(start, parts)


def _whole(start: int, parts: list[str]) -> Iterator[tuple[int, str]]:
    statement = "".join(parts).strip(" \t")
    if statement and not statement.startswith("#"):
        yield start, statement


def _header(statement: str) -> list[str]:
    """Return the keys of `[a.b]` or `[[a.b]]`."""
    keys: list[str] = []
    at: object = tomllib.loads(statement)
    while at:
        if isinstance(at, list):
            at = at[0]
        if not isinstance(at, dict) or not at:
            break
        key = next(iter(at))
        keys.append(key)
        at = at[key]
    return keys


def _first_keys(value: object, wanted: Sequence[str]) -> list[str]:
    """Return the first keys of `wanted` that lead into `value`, which is one parsed statement."""
    keys: list[str] = []
    for key in wanted:
        if not isinstance(value, dict) or key not in value:
            break
        keys.append(key)
        value = value[key]
    return keys


def _common(here: Sequence[str], keys: Sequence[str]) -> int:
    """Return how many keys both begin with; 0 when `here` leads away from `keys`."""
    same = 0
    for one, other in zip(here, keys, strict=False):
        if one != other:
            break
        same += 1
    return same
