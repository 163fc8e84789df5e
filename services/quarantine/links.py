"""Symbolic links in a tree of strangers: whether they stay in it."""

import posixpath
from collections.abc import Mapping
from typing import Final

_HOPS: Final = 40
_STEPS: Final = 400
"""Parts of paths that are walked for one link: many intricate ones would take minutes."""


def stays(link: str, links: Mapping[str, str]) -> bool:
    """Return whether a symbolic link stays in its tree, through other links, too.

    One that is too intricate to tell does not.

    Args:
        link: the path of the link.
        links: the targets of all links in the tree, by their paths.
    """
    at = posixpath.dirname(link)
    ahead = links[link].split("/")[::-1]
    hops = steps = 0
    if links[link].startswith("/"):
        return False
    while ahead:
        part = ahead.pop()
        steps += 1
        if steps > _STEPS:
            return False
        if part == "..":
            if not at:
                return False
            at = posixpath.dirname(at)
        elif part not in ("", "."):
            at = posixpath.join(at, part)
            if target := links.get(at):
                hops += 1
                if hops > _HOPS or target.startswith("/"):
                    return False
                at = posixpath.dirname(at)
                ahead += target.split("/")[::-1]
    return True
