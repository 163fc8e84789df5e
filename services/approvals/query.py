"""The filter of `List`: `state` (s), `agent` (s), `limit` (an integer)."""

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from services.approvals.model import State
from wire.errors import InvalidArgument

MAX_LISTED: Final = 1000
"""The most requests that one answer carries; the default, too."""


class Query(TypedDict, total=False):
    """What is wanted, as the rules take it."""

    state: State | None
    agent: str | None
    limit: int


def parse(wanted: Mapping[str, Any]) -> Query:
    """The filter of a caller. Raises InvalidArgument for a key or a value that is none."""
    unknown = set(wanted) - {"state", "agent", "limit"}
    if unknown:
        raise InvalidArgument(f"Unknown filter {min(unknown)!r}; allowed are state, agent, limit.")
    state, agent, limit = wanted.get("state"), wanted.get("agent"), wanted.get("limit", MAX_LISTED)
    if state is not None and state not in list(State):
        raise InvalidArgument(f"The state is one of {', '.join(State)}.")
    if not isinstance(agent, str | None):
        raise InvalidArgument("The agent is a name.")
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LISTED:
        raise InvalidArgument(f"The limit is a number from 1 to {MAX_LISTED}.")
    return Query(state=None if state is None else State(state), agent=agent, limit=limit)
