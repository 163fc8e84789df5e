"""A turn as lines of JSON."""

import json
from math import isfinite

from wire.agent_web.client import Json, JsonObject
from wire.agent_web.values import is_deep


class JsonLines:
    """The turn, then each event, as one line each.

    The lines are printable ASCII, so that no character in them has an effect on a terminal. What
    JSON cannot carry is null, or left out of an event that is too deep.
    """

    def head(self, agent: str, turn: JsonObject) -> str:
        """Return the beginning of the file."""
        return _line({"agent": agent, "turn": turn})

    def event(self, event: JsonObject) -> str:
        """Return an event."""
        return _line(event)

    def end(self, left_out: str) -> str:
        """Return the end of the file; `left_out` says which events are not in it, or is empty."""
        return _line({"left_out": left_out}) if left_out else ""


def _line(value: JsonObject) -> str:
    if is_deep(value):
        plain: JsonObject = {"left_out": "too deep"}
        value = plain | {k: item for k, item in value.items() if not isinstance(item, dict | list)}
    try:
        return json.dumps(value, allow_nan=False) + "\n"
    except ValueError:
        return json.dumps(_finite(value)) + "\n"


def _finite(value: Json) -> Json:
    """Return the value with null for each number that JSON lacks."""
    match value:
        case float() if not isfinite(value):
            return None
        case list():
            return [_finite(item) for item in value]
        case dict():
            return {key: _finite(item) for key, item in value.items()}
    return value
