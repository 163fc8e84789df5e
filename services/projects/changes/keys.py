"""Keys and tokens in the lines that a change adds, as far as their issuers made them known.

A few shapes that nothing else has, so that a finding is worth a look. What has no such shape, a
password for example, is not found.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_SHAPES: Final = (
    (rb"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY-----", "a private key"),
    (rb"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b", "an access key of AWS"),
    (rb"\bgh[pousr]_[A-Za-z0-9]{36,251}\b", "a token of GitHub"),
    (rb"\bgithub_pat_[A-Za-z0-9_]{60,251}\b", "a token of GitHub"),
    (rb"\bglpat-[A-Za-z0-9_-]{20,64}\b", "a token of GitLab"),
    (rb"\bxox[abeoprs]-[A-Za-z0-9-]{20,200}\b", "a token of Slack"),
    (rb"\bsk-ant-[A-Za-z0-9_-]{20,200}", "a key of Anthropic"),
    (rb"\bsk-(?:proj-)?[A-Za-z0-9]{40,200}\b", "a key of OpenAI"),
    (rb"\bsk_live_[A-Za-z0-9]{20,200}\b", "a key of Stripe"),
    (rb"\bAIza[A-Za-z0-9_-]{35}\b", "a key of Google"),
    (rb"\bnpm_[A-Za-z0-9]{36}\b", "a token of npm"),
    (rb"\bpypi-[A-Za-z0-9_-]{50,300}", "a token of PyPI"),
)
_KEYS: Final = tuple((re.compile(shape), kind) for shape, kind in _SHAPES)
_MARK: Final = re.compile(rb"^(?:diff --git |@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@)", re.MULTILINE)
"""The beginnings of files and hunks; no line of a file begins so in a diff."""
_FILE: Final = b"\n+++ "


class Found(NamedTuple):
    """A line that looks like a secret."""

    kind: str
    path: bytes
    line: int


def find(diff: bytes) -> Iterator[Found]:
    """Yield the added lines of a diff that look like keys or tokens.

    Args:
        diff: a diff of git without context (`--unified=0`).
    """
    hits = sorted((hit.start(), kind) for shape, kind in _KEYS for hit in shape.finditer(diff))
    marks = _MARK.finditer(diff)
    ahead = next(marks, None)
    path, number, inside, at, end = b"", 0, False, 0, 0
    # Nothing is read twice: a diff may have millions of lines, and a line as many hits.
    for place, kind in hits:
        if place < end:
            continue
        while ahead and ahead.start() <= place:
            if inside := ahead[1] is not None:
                number, at = int(ahead[1]) - 1, ahead.end()
            else:
                path = _path(diff, ahead.end())
            ahead = next(marks, None)
        begin = diff.rfind(b"\n", end, place) + 1 or end
        end = diff.find(b"\n", place) % (len(diff) + 1)
        if inside and diff.startswith(b"+", begin):
            number += diff.count(b"\n+", at, begin + 1)
            at = begin
            yield Found(kind, path, number)


def _path(diff: bytes, at: int) -> bytes:
    """Return the path of the file whose head begins at `at`."""
    begin = diff.find(_FILE, at)
    line = diff[begin : diff.find(b"\n", begin + 1)].removeprefix(_FILE)
    return line.rstrip(b"\t").strip(b'"').removeprefix(b"b/")
