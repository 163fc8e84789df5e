"""Checks of the values that an agent reports: each becomes one that pages can show."""

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Final, TypeAlias

from services.dashboard.state import shown
from services.dashboard.state.tables import Json
from wire import names

MAX_ITEMS: Final = 50
"""Messages, servers, choices or tools of a report that are shown."""

MAX_NAME: Final = 100
"""Characters of a name: of a tool, a model, a server."""

MAX_REASON: Final = 1_000
MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that a page can hold."""

Data: TypeAlias = Mapping[str, object]
"""An object of JSON, unchecked."""

_WORD: Final = re.compile(r"[a-z-]{1,24}")
_CALL: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")


def integer(value: object) -> int:
    """Return a number that is not negative and that a page can hold; 0 for anything else."""
    return int(number(value))


def number(value: object) -> float:
    """Return a finite number that is not negative; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if isinstance(value, float) and not isfinite(value):
        return 0
    return value if 0 <= value <= MAX_INTEGER else 0


def microseconds(seconds: object) -> int:
    """Return a time in seconds since 1970 as microseconds; 0, which is never, for anything else."""
    checked = number(seconds)
    # Pages have no dates after the year 275,760. What is not a time of this century is not a time.
    return int(checked * 1e6) if checked < 4e9 else 0


def text(value: object) -> str:
    """Return a text; a value of another type as JSON."""
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "(nested too deeply to be shown)"


def cut(whole: str, limit: int) -> str:
    """Return a text of at most `limit` characters."""
    return whole if len(whole) <= limit else f"{whole[: limit - 1]}…"


def name(value: object) -> Json:
    """Return a name that is read exactly, as pages show it."""
    return shown.exactly(cut(text(value), MAX_NAME))


def sentence(value: object, limit: int = MAX_REASON) -> Json:
    """Return a short text in any language, as pages show it."""
    return shown.message(cut(text(value), limit))


def word(value: object) -> str:
    """Return a word of a fixed vocabulary, such as a state; `unknown` for anything else."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "unknown"


def call(value: object) -> str:
    """Return the id of a tool's call, which its result repeats; empty for anything else."""
    return value if isinstance(value, str) and _CALL.fullmatch(value) else ""


def messages(value: object) -> list[Json]:
    """Return the messages that have woken an agent."""
    found: list[Json] = []
    for message in dictionaries(value):
        sender = message.get("from")
        known = isinstance(sender, str) and names.AGENT_NAME.fullmatch(sender)
        found.append(
            {
                "id": integer(message.get("id")),
                "from": str(sender) if known else "unknown",
                "kind": word(message.get("kind")),
            }
        )
    return found


def dictionaries(value: object) -> list[dict[str, object]]:
    """Return the first objects of a list; nothing for anything else."""
    found = value if isinstance(value, list) else []
    return [one for one in found[:MAX_ITEMS] if isinstance(one, dict)]
