"""Paths with which a commit could trick the computers of those who check it out."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from services.projects.changes.trees import text

_IGNORED_BY_MACS: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""The characters that HFS+ leaves out of names."""
_GIT_OF_WINDOWS: Final = re.compile(r"git~[0-9]{1,6}")
_CONTROLS: Final = re.compile(rb"[\x00-\x1f\x7f]")


def is_dot_git(path: bytes) -> bool:
    """Return whether a part of a path is `.git` on some computer, whatever it is on this one."""
    for part in text(path).split("/"):
        plain = _IGNORED_BY_MACS.sub("", part).casefold()
        # Windows drops these at the end, and takes what follows a colon for a stream of the file.
        windows = plain.partition(":")[0].rstrip(". ")
        if ".git" in (plain, windows) or _GIT_OF_WINDOWS.fullmatch(windows):
            return True
    return False


def has_controls(path: bytes) -> bool:
    """Return whether a path has control characters, such as a line break."""
    return bool(_CONTROLS.search(path))


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def collision(added: Iterable[bytes], present: Iterable[bytes]) -> tuple[str, str] | None:
    """Return two paths that are the same one where case does not count; None: there are none.

    Args:
        added: the new files.
        present: all files and directories of the commit.
    """
    concerned = set()
    for new in added:
        parts = text(new).split("/")
        concerned |= {_folded("/".join(parts[:count])) for count in range(1, len(parts) + 1)}
    seen: dict[str, set[str]] = defaultdict(set)
    for raw in present:
        path = text(raw)
        if (folded := _folded(path)) in concerned:
            seen[folded].add(path)
            if len(seen[folded]) > 1:
                one, other = sorted(seen[folded])
                return one, other
    return None
