"""The one grammar of a URL that a program of the hive shows for somebody to open.

It is a small part of RFC 3986, `https://HOST/PATH?QUERY`, without anything that programs read
differently: no user, port, backslash, fragment or upper-case host; no empty segment, no `.` or
`..`, and percent-encoding in the query only.
"""

import re
from typing import Final, NamedTuple

MAX_URL: Final = 4096

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SEGMENT: Final = r"(?!\.{1,2}(?:[/?]|\Z))[A-Za-z0-9._~-]+"
_QUERY: Final = r"(?:[A-Za-z0-9._~+:=&-]|%[0-9A-Fa-f]{2})*"
_URL: Final = re.compile(
    rf"https://(?P<host>{_LABEL}(?:\.{_LABEL})+)"
    rf"(?P<path>(?:/{_SEGMENT})*/?)(?:\?(?P<query>{_QUERY}))?"
)


class Url(NamedTuple):
    """A URL of the grammar, in its parts."""

    host: str
    path: str
    """Empty, or a slash and segments."""
    query: str

    def __str__(self) -> str:
        return f"https://{self.host}{self.path}" + (f"?{self.query}" if self.query else "")


def parse(text: str) -> Url | None:
    """Return the parts of `text`, or None if it is not a URL of the grammar.

    Print the result, never `text`.
    """
    found = _URL.fullmatch(text) if len(text) <= MAX_URL else None
    if found is None or len(found["host"]) > 253:
        return None
    return Url(found["host"], found["path"], found["query"] or "")
