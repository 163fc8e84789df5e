"""An oracle for the answers to a line on the socket, independent of the endpoint's code."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final

from services.endpoint.mcp.jsonrpc import MAX_DEPTH, MAX_ID, MAX_STRINGS, MAX_STRUCTURE
from services.endpoint.mcp.lines import MAX_LINE

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)

Key = tuple[str, Any]
"""An id with its type: ("int", 1) differs from ("str", "1")."""

NOBODY: Final[Key] = ("NoneType", None)
"""The id of an error that answers a line without a usable one."""

ANYBODY: Final[Key] = ("any", None)
"""Any id, of the answer to a line that is too damaged to tell whether it has one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a line.

    Attributes:
        answers: The ids of the required answers.
        cancels: The id of a call that may stay unanswered from now on.
        tool: The tool that is called.
        waits: Whether the answer may take minutes.
    """

    answers: tuple[Key, ...] = ()
    cancels: Key | None = None
    tool: str = ""
    waits: bool = False


_SILENCE: Final = Verdict()
_ERROR: Final = Verdict((NOBODY,))
_DAMAGED: Final = Verdict((ANYBODY,))

_LONG_ID: Final = 1000
"""Characters of an id that is surely repeated."""


def key(id: Any) -> Key:
    """Return `id` as a key."""
    return type(id).__name__, id


def verdict(line: bytes) -> Verdict:
    """Return the verdict on `line`, which is complete and has no newline."""
    if len(line) > MAX_LINE:
        return _refused(line)
    if not line.strip():
        return _SILENCE
    try:
        message = _parse(line)
    except (ValueError, RecursionError):
        return _refused(line)
    if _is_excessive(line, message):
        return _refused(line)
    if isinstance(message, list):
        return _of_batch(message)
    if not isinstance(message, dict):
        return _DAMAGED
    return _of_message(message)


def _refused(line: bytes) -> Verdict:
    """Return the verdict on a line that no strict parser takes: a lenient one finds its id."""
    try:
        message = json.loads(line.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        return _DAMAGED
    if not isinstance(message, dict) or "\ufffd" in str(message.get("id")):
        return _DAMAGED
    return Verdict((_echo(message.get("id")),)) if "id" in message else _DAMAGED


def _echo(id: Any) -> Key:
    """Return the id with which a request is refused that has an unusual one."""
    if isinstance(id, bool | list | dict | None):
        return NOBODY
    if isinstance(id, float) and not math.isfinite(id):
        return ANYBODY
    if isinstance(id, str) and not id.isprintable():
        return ANYBODY
    return key(id) if len(str(id)) < _LONG_ID else ANYBODY


def _of_batch(messages: list[Any]) -> Verdict:
    """Each request is refused; a batch without one is refused as a whole."""
    requests = [m for m in messages if isinstance(m, dict) and "id" in m and "method" in m]
    ids = [key(m["id"]) if _is_id(m["id"]) else NOBODY for m in requests]
    return Verdict(tuple(ids)) if ids else _DAMAGED


def _of_message(message: dict[str, Any]) -> Verdict:
    id = message.get("id")
    if "id" in message and not _is_id(id) and not (id is None and "error" in message):
        return Verdict((_echo(id),))
    tool, waits = _call(message)
    answer = Verdict((key(id),), tool=tool, waits=waits)
    if message.get("jsonrpc") != "2.0":
        return answer
    method = message.get("method")
    if "method" not in message and ("result" in message or "error" in message):
        return _SILENCE
    params = message.get("params")
    if not isinstance(method, str) or not isinstance(params, dict | None):
        return answer
    if id is not None:
        return answer
    if method == "notifications/cancelled" and _is_id(wanted := (params or {}).get("requestId")):
        return Verdict(cancels=key(wanted))
    return _SILENCE


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID
    return type(value) is int and abs(value) < 2**63


def _call(message: dict[str, Any]) -> tuple[str, bool]:
    """Return the tool that is called, if any, and whether it is asked to wait."""
    params = message.get("params")
    if message.get("method") != "tools/call" or not isinstance(params, dict):
        return "", False
    name, arguments = params.get("name"), params.get("arguments")
    waits = isinstance(arguments, dict) and any(
        word.startswith("wait") and bool(value) for word, value in arguments.items()
    )
    return (name, waits) if isinstance(name, str) else ("", False)


def _parse(line: bytes) -> Any:
    message = json.loads(line.decode(), parse_int=_number, parse_constant=_refuse)
    if rb"\u" in line:
        json.dumps(message, ensure_ascii=False).encode()  # half a surrogate pair is not valid text
    return message


def _number(digits: str) -> int:
    return int(digits)  # a ValueError above 4300 digits, as in the endpoint


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _is_excessive(line: bytes, message: Any) -> bool:
    strings = len(_STRING.findall(line))
    structure = len(_STRING.sub(b"", line))
    return strings > MAX_STRINGS or structure > MAX_STRUCTURE or _depth(message) > MAX_DEPTH


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return depth
