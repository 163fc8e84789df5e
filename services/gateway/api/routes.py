"""The requests that are passed on. Claude Code needs no others, so nothing else is let through."""

import re
from enum import Enum, auto
from typing import Final


class Route(Enum):
    """The kinds of requests that are let through."""

    MESSAGES = auto()
    COUNT_TOKENS = auto()
    MODELS = auto()
    ALIVE = auto()
    """`HEAD /`, by which some clients find out whether there is a server; answered here."""


_ROUTES: Final = (
    ("POST", re.compile(r"/v1/messages"), Route.MESSAGES),
    ("POST", re.compile(r"/v1/messages/count_tokens"), Route.COUNT_TOKENS),
    ("GET", re.compile(r"/v1/models(/[A-Za-z0-9][A-Za-z0-9._:@-]{0,127})?"), Route.MODELS),
    ("HEAD", re.compile(r"/"), Route.ALIVE),
)
_QUERY: Final = re.compile(r"[A-Za-z0-9._~=&-]{0,512}")


def find(method: str, target: str) -> Route | None:
    """Return the route of a request, or None if it is not let through.

    Args:
        method: the method.
        target: the path and the query exactly as the client sent them: a path that is written in
            another way, with `//`, `..` or `%`, has no route.
    """
    path, _, query = target.partition("?")
    if not _QUERY.fullmatch(query):
        return None
    return next((r for m, pattern, r in _ROUTES if m == method and pattern.fullmatch(path)), None)
