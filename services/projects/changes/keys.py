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
_HUNK: Final = re.compile(rb"@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")
_FILE: Final = b"+++ b/"


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
    path, number, left = b"", 0, 0
    for line in diff.split(b"\n"):
        if left and line.startswith(b"+"):
            left -= 1
            for shape, kind in _KEYS:
                if shape.search(line):
                    yield Found(kind, path, number)
                    break
            number += 1
        elif hunk := _HUNK.match(line):
            number, left = int(hunk[1]), int(hunk[2] or 1)
        elif line.startswith(_FILE):
            path = line.removeprefix(_FILE).rstrip(b"\t")
