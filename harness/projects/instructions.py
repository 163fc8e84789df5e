"""AGENTS.md and CLAUDE.md of a project, which its authors wrote for agents like this one."""

import re
from pathlib import Path
from typing import Final

from harness.prompts import own_file

NAMES: Final = ("AGENTS.md", "CLAUDE.md")
MAX_BYTES: Final = 32 * 1024
"""Bytes of each project in the system prompt, which is in every request of the model."""
MAX_DEPTH: Final = 5
"""The longest chain of files that name each other."""

_IMPORT: Final = re.compile(r"^@(?P<path>[^\s@]+)[ \t]*$", re.MULTILINE)


def read(directory: Path) -> list[tuple[Path, str]]:
    """Return the files with instructions at the top of a working copy, with their texts.

    A line `@PATH` of such a file is replaced by the text of the file PATH, if there is one. Only
    files below `directory` are read, each once; links are followed within it.
    """
    reader = _Reader(directory)
    found = ((directory / name, reader.text(directory / name)) for name in NAMES)
    return [(path, text) for path, text in found if text]


class _Reader:
    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._left = MAX_BYTES
        self._seen: set[Path] = set()

    def text(self, path: Path, depth: int = 0) -> str:
        """Return the text of a file; empty if it is none, lies elsewhere, or was read before."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError):  # a chain of links without end
            return ""
        inside = real.is_relative_to(self._directory)
        if not inside or real in self._seen or depth > MAX_DEPTH or self._left <= 0:
            return ""
        self._seen.add(real)
        text = own_file.read(real, self._left)
        self._left -= len(text.encode())
        return _IMPORT.sub(lambda found: self._named(real, found, depth), text).strip()

    def _named(self, file: Path, found: re.Match[str], depth: int) -> str:
        path = file.parent / found["path"]
        return self.text(path, depth + 1) if path.is_file() else found[0]
