"""A turn as lines of JSON."""

import json
from collections.abc import Iterable, Iterator

from wire.agent_web.client import JsonObject


def json_lines(agent: str, turn: JsonObject, events: Iterable[JsonObject]) -> Iterator[str]:
    """Yield the lines of the file, each with a newline: the turn, then each event.

    They are printable ASCII, so that no character in them has an effect on a terminal.

    Args:
        agent: the agent.
        turn: the figures of the turn.
        events: its events, oldest first. One that is too deep for JSON has its plain values only.
    """
    yield _line({"agent": agent, "turn": turn})
    for event in events:
        yield _line(event)


def _line(value: JsonObject) -> str:
    try:
        return json.dumps(value) + "\n"
    except RecursionError:
        plain = {key: item for key, item in value.items() if not isinstance(item, dict | list)}
        return json.dumps(plain | {"left_out": "too deep"}) + "\n"
