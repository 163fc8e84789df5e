"""What comes in the options and filters of the interface, checked."""

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from services.approvals.model import State
from wire.errors import InvalidArgument

MAX_LISTED: Final = 1000
"""The most requests, or deploys, that one answer carries; of `List` the default, too."""


class Query(TypedDict, total=False):
    """What is wanted, as the rules take it."""

    state: State | None
    agent: str | None
    limit: int


def parse(wanted: Mapping[str, Any]) -> Query:
    """The filter of `List`: `state` (s), `agent` (s), `limit` (an integer).

    Raises InvalidArgument for a key or a value that is none.
    """
    _only(wanted, "filter", "state", "agent", "limit")
    state, agent, limit = wanted.get("state"), wanted.get("agent"), wanted.get("limit", MAX_LISTED)
    if state is not None and state not in list(State):
        raise InvalidArgument(f"The state is one of {', '.join(State)}.")
    if not isinstance(agent, str | None):
        raise InvalidArgument("The agent is a name.")
    return Query(state=None if state is None else State(state), agent=agent, limit=limit_of(limit))


def limit_of(limit: object) -> int:
    """How many are wanted at most; raises InvalidArgument."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LISTED:
        raise InvalidArgument(f"The limit is a number from 1 to {MAX_LISTED}.")
    return limit


def config_of(options: Mapping[str, Any]) -> str | None:
    """The configuration in the options of `RequestSpawn`; raises InvalidArgument."""
    _only(options, "option", "config")
    config = options.get("config")
    if not isinstance(config, str | None):
        raise InvalidArgument("The config is the text of an agent.toml.")
    return config


def revert_of(options: Mapping[str, Any]) -> bool:
    """Whether the options of `RequestApply` say that it goes back; raises InvalidArgument."""
    _only(options, "option", "revert")
    revert = options.get("revert", False)
    if not isinstance(revert, bool):
        raise InvalidArgument("revert is true or false.")
    return revert


def _only(given: Mapping[str, Any], what: str, *allowed: str) -> None:
    if unknown := set(given) - set(allowed):
        raise InvalidArgument(f"Unknown {what} {min(unknown)!r}; allowed is {', '.join(allowed)}.")
