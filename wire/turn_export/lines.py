"""A turn as lines of JSON."""

import json
from collections.abc import Iterable, Iterator

from wire.agent_web.client import JsonObject


def json_lines(agent: str, turn: JsonObject, events: Iterable[JsonObject]) -> Iterator[str]:
    """Yield the lines of the file, each with a newline: the turn, then each event.

    They are ASCII, so that no character in them has an effect on a terminal.

    Args:
        agent: the agent.
        turn: the figures of the turn.
        events: its events, oldest first.
    """
    yield json.dumps({"agent": agent, "turn": turn}) + "\n"
    for event in events:
        yield json.dumps(event) + "\n"
