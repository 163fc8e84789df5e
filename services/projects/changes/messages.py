"""The commits of a change themselves: their messages, authors and parents, as agents wrote them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.projects.changes import trees
from services.projects.changes.merges import PRETENDING
from services.quarantine.runner import git
from wire.errors import InvalidArgument, LimitExceeded
from wire.text.escaping import literal

MAX_COMMIT: Final = 2**16
"""Bytes of a commit without its files."""

_LISTING: Final = 2**24
_NAMED: Final = 5
_PLAIN: Final = re.compile(
    rb"utf-?8|us-ascii|ascii|iso-?8859-?\d{1,2}|latin-?\d{1,2}|(?:windows-|cp-?)125\d|koi8-[ru]"
    rb"|euc-?(?:jp|kr|cn)|gbk|gb2312|gb18030|big5|shift[_-]?jis|sjis",
    re.IGNORECASE,
)
"""Encodings in which each ASCII character is itself. In others, a message could hide lines."""
_HEADER: Final = re.compile(rb"(?:author|committer) ([^\n]*<([^>\n]*)>)")
_HIVE: Final = b"hyperhive@hive.invalid"


async def examine(home: Path, commits: Sequence[str]) -> list[str]:
    """Check commits, and return sentences about what the operator should know of them.

    Args:
        home: the git directory that has them.
        commits: what `git rev-list` takes.

    Raises:
        InvalidArgument: one has more than two parents, or its message cannot be shown as it is.
        LimitExceeded: one is too large.
    """
    names = (await git(home, "rev-list", *commits)).decode().split()
    asked = "".join(f"{name}\n" for name in names).encode()
    for line in (await git(home, "cat-file", "--batch-check", stdin=asked)).splitlines():
        name, _, size = line.decode().split()
        if int(size) > MAX_COMMIT:
            raise LimitExceeded(
                f"The message of the commit {name[:12]} is too long: {size} bytes; at most "
                f"{MAX_COMMIT} are allowed."
            )
    forged: dict[str, None] = {}
    others: dict[str, None] = {}
    for name, content in (await trees.contents(home, names, _LISTING)).items():
        head, _, message = content.partition(b"\n\n")
        _check(name, content, head)
        if found := PRETENDING.search(message):
            line = message[found.start() :].partition(b"\n")[0]
            forged[f"{_quoted(line)} ({name[:12]})"] = None
        for who, address in _HEADER.findall(head):
            if address == _HIVE or not address.endswith(b"@hive.invalid"):
                others[_quoted(who)] = None
    return [
        *_listed("Its messages have lines that look like those of the hive:", [*forged]),
        *_listed("It has commits in the name of somebody else:", [*others]),
    ]


def _check(name: str, content: bytes, head: bytes) -> None:
    if head.count(b"\nparent ") > 2:
        raise InvalidArgument(
            f"The commit {name[:12]} merges more than two commits, which cannot be reviewed. Merge "
            "one after the other."
        )
    if b"\0" in content:
        raise InvalidArgument(
            f"The message of the commit {name[:12]} has a NUL, which hides what follows. Write "
            "another message."
        )
    for line in head.split(b"\n"):
        encoding = line.removeprefix(b"encoding ")
        if encoding != line and not _PLAIN.fullmatch(encoding):
            raise InvalidArgument(
                f"The message of the commit {name[:12]} is in the encoding {_quoted(encoding)}. "
                "Write it in UTF-8."
            )


def _listed(beginning: str, found: Sequence[str]) -> list[str]:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return [f"{beginning} {', '.join(found[:_NAMED])}{more}."] if found else []


def _quoted(text: bytes) -> str:
    return f"'{literal(trees.text(text[:200]), one_line=True)}'"
