"""Paths with which a commit could trick the computers of those who check it out."""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from services.projects.changes.trees import text

_IGNORED_BY_MACS: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""The characters that HFS+ leaves out of names."""
_GIT_OF_WINDOWS: Final = re.compile(r"git~[0-9]{1,6}")
_CONTROLS: Final = re.compile(rb"[\x00-\x1f\x7f]")


def dot_git(paths: Iterable[bytes]) -> bytes | None:
    """Return a path of which a part is `.git` on some computer, whatever it is on this one."""
    fine: set[bytes] = set()
    for path in paths:
        for part in path.split(b"/"):
            if part in fine:
                continue
            if _is_dot_git(text(part)):
                return path
            fine.add(part)
    return None


def _is_dot_git(part: str) -> bool:
    plain = _IGNORED_BY_MACS.sub("", part).casefold()
    # Windows drops these at the end, and takes what follows a colon for a stream of the file.
    windows = plain.partition(":")[0].rstrip(". ")
    return ".git" in (plain, windows) or bool(_GIT_OF_WINDOWS.fullmatch(windows))


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
    one_of: dict[str, str] = {}
    twice = []
    for raw in present:
        path = text(raw)
        if (other := one_of.setdefault(_folded(path), path)) != path:
            twice.append((other, path))
    new = sorted(map(text, added)) if twice else []
    for pair in twice:
        if any(_has(new, path) for path in pair):
            one, other = sorted(pair)
            return one, other
    return None


def _has(paths: Sequence[str], path: str) -> bool:
    """Return whether sorted `paths` have a path, or a file in that directory."""
    for wanted in (path, f"{path}/"):
        at = bisect_left(paths, wanted)
        if at < len(paths) and (paths[at] == path or paths[at].startswith(f"{path}/")):
            return True
    return False
