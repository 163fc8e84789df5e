"""The values of web.sock, checked one by one: a value that is not valid becomes an empty one.

A harness is hostile, or newer than its reader. One wrong value must not hide the rest, so nothing
here raises.
"""

import json
import re
from math import isfinite
from typing import Final

from wire import names

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that a browser can hold."""
MAX_SECONDS: Final = 2**33
"""The latest time, in the year 2242: any calendar can show it."""

TOO_DEEP: Final = "(nested too deeply to be shown)"
MAX_DEPTH: Final = 200
"""The most levels of lists and objects that are written as JSON again. The depth at which Python
itself gives up depends on its version.
"""

_CURSOR: Final = re.compile(r"[a-z0-9=;]{1,300}")
_WORD: Final = re.compile(r"[a-z-]{1,24}")


def number(value: object) -> float:
    """Return a finite number that is not negative; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if isinstance(value, float) and not isfinite(value):
        return 0
    return value if 0 <= value <= MAX_INTEGER else 0


def integer(value: object) -> int:
    """Return a number that is not negative, without its fraction; 0 for anything else."""
    return int(number(value))


def priority(value: object) -> int:
    """Return a priority of the journal, 0 to 7; 6 for anything else."""
    return value if type(value) is int and 0 <= value < 8 else 6


def cursor(value: object) -> str:
    """Return a place in a journal; empty for anything else."""
    return value if isinstance(value, str) and _CURSOR.fullmatch(value) else ""


def seconds(value: object) -> float:
    """Return a time since 1970 or a duration; 0 for anything else."""
    checked = number(value)
    return checked if checked <= MAX_SECONDS else 0


def is_deep(value: object) -> bool:
    """Return whether a value of JSON has more than MAX_DEPTH levels."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        if not inner:
            return False
        level = inner
    return True


def text(value: object) -> str:
    """Return a text; a value of another type as JSON, and nothing for null."""
    if isinstance(value, str):
        return value
    if is_deep(value):
        return TOO_DEEP
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def word(value: object) -> str:
    """Return a word of a fixed vocabulary, such as a state; `unknown` for anything else."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "unknown"


def sender(value: object) -> str:
    """Return the name of a sender of messages; `unknown` for anything else."""
    return value if isinstance(value, str) and names.AGENT_NAME.fullmatch(value) else "unknown"


def flag(value: object) -> bool:
    """Return whether a value is true, and nothing else."""
    return value is True


def objects(value: object) -> list[dict[str, object]]:
    """Return the objects of a list; nothing for anything else."""
    return [one for one in items(value) if isinstance(one, dict)]


def items(value: object) -> list[object]:
    """Return a list; nothing for anything else."""
    return value if isinstance(value, list) else []


def table(value: object) -> dict[str, object]:
    """Return an object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}
