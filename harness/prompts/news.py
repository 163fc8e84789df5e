"""Sentences of the harness to the agent, about the agent itself and its session."""

import re
import secrets
from typing import Final

from harness.lines import one_line
from harness.turns.started import Started

MAX_CHANGES: Final = 2000

_NOTES: Final = "Your notes and files are in /state."

_VERBS: Final = {
    "start": "was started",
    "restart": "was restarted",
    "deploy": "was restarted with a new configuration",
    "update": "was restarted with new software",
    "rebuild": "was repaired and restarted",
    "crash": "was started again after it had crashed",
    "wake": "was started again after it had been put to sleep",
    "boot": "was started with the machine",
}

_CALLERS: Final = {"operator": "the operator", "manager": "the manager", "system": "the hive"}


def started(start: Started, *, continues: bool) -> str:
    """Return what happened to the container.

    Args:
        start: the start of the container.
        continues: whether the session from before is continued.
    """
    verb = _VERBS.get(start.verb, "was started")
    by = f" by {_CALLERS.get(start.by) or _name(start.by)}" if start.by else ""
    session = "and this session continues" if continues else "and this is a new session"
    text = (
        f"Your container {verb}{by} since your last turn: earlier processes have ended,"
        f" {session}. {_NOTES}"
    )
    if start.changes:
        mark = secrets.token_hex(4)
        changes = f"<change-{mark}>\n{start.changes[:MAX_CHANGES]}\n</change-{mark}>"
        text += f" The change, as its author described it:\n{changes}"
    return text


def lost_session(reason: str) -> str:
    """Return that the session is a new one, and why."""
    return (
        f"This is a new session, because the one before could not be continued: {reason}. You do"
        f" not remember what you did in it. {_NOTES}"
    )


def new_session(by: str) -> str:
    """Return that a new session was begun, and by whom: the operator or the manager."""
    return (
        f"The {_name(by)} has begun a new session for you: you do not remember earlier turns."
        f" {_NOTES}"
    )


def cut_off(limit: float) -> str:
    """Return that the last turn with these messages was cut off.

    Args:
        limit: the time limit of a turn, in seconds.
    """
    return (
        f"Your last turn was cut off because it took more than {limit:g} s, and the programs that"
        " it had started were ended. Its messages are delivered to you again: do not start from the"
        " beginning. Check which part of the work is done, and continue from there in smaller"
        " steps. Or give up, and tell the sender why."
    )


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "?", one_line(text, 64))
