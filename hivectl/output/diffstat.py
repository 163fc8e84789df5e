"""A short account of a unified diff: which files it changes, and by how many lines."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_FILES: Final = 10
"""The files that are listed one by one."""

CUT: Final = "[cut here: "
"""The beginning of the last line of a diff that approvals has cut."""

SETTINGS: Final = "The settings that change:"
"""The first line of the account of changed settings, which approvals puts before a diff."""

_HUNK: Final = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


@dataclass
class _File:
    """One changed file."""

    name: str
    added: int = 0
    removed: int = 0
    is_binary: bool = False

    def __str__(self) -> str:
        lines = "binary" if self.is_binary else f"+{self.added} -{self.removed}"
        return f"{self.name} | {lines}"


def settings(diff: str) -> list[str]:
    """Return the lines about changed settings at the beginning of `diff`, if there are any."""
    return diff.partition("\n\n")[0].split("\n") if diff.startswith(SETTINGS) else []


def diffstat(diff: str) -> list[str]:
    """Return a line for each changed file, and for anything that is not shown."""
    if not diff:
        return ["no changes"]
    files = list(_files(diff))
    lines = [str(file) for file in files[:MAX_FILES]]
    if len(files) > MAX_FILES:
        lines.append(f"... and {len(files) - MAX_FILES} more files")
    if diff.removesuffix("\n").rpartition("\n")[2].startswith(CUT):
        lines.append("... and more: the diff is too long to be counted")
    return lines


def _files(diff: str) -> Iterator[_File]:
    file: _File | None = None
    # The lines that the hunk still has: its content must not be taken for headers.
    old = new = 0
    for line in diff.split("\n"):
        if (old > 0 or new > 0) and line[:1] in ("+", "-", " ", "\\") and file:
            old -= line[0] in "- "
            new -= line[0] in "+ "
            file.removed += line[0] == "-"
            file.added += line[0] == "+"
        elif line.startswith("diff --git "):
            if file:
                yield file
            file = _File(line.removeprefix("diff --git ").rpartition(" ")[2].removeprefix("b/"))
        elif file and line.startswith(("--- a/", "+++ b/", '--- "a/', '+++ "b/')):
            file.name = line[4:].removesuffix("\t").replace("a/" if line[0] == "-" else "b/", "", 1)
        elif file and line.startswith("Binary files "):
            file.is_binary = True
        elif found := _HUNK.match(line):
            old, new = (int(count) if count is not None else 1 for count in found.groups())
    if file:
        yield file
