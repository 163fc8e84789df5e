"""The values of an agent's report, as pages show them; wire.agent_web has checked their shapes."""

import re
from typing import Final

from services.dashboard.state import shown
from services.dashboard.state.tables import Json
from wire.agent_web.records import Cause

MAX_ITEMS: Final = 50
"""Messages, servers, choices or tools of a report that are shown."""

MAX_NAME: Final = 100
"""Characters of a name: of a tool, a model, a server."""

MAX_REASON: Final = 1_000

_CALL: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")


def microseconds(seconds: float) -> int:
    """Return a time in seconds since 1970 as microseconds."""
    return int(seconds * 1e6)


def cut(whole: str, limit: int) -> str:
    """Return a text of at most `limit` characters."""
    return whole if len(whole) <= limit else f"{whole[: limit - 1]}…"


def name(whole: str) -> Json:
    """Return a name that is read exactly, as pages show it."""
    return shown.exactly(cut(whole, MAX_NAME))


def sentence(whole: str, limit: int = MAX_REASON) -> Json:
    """Return a short text in any language, as pages show it."""
    return shown.message(cut(whole, limit))


def call(value: str) -> str:
    """Return the id of a tool's call, which its result repeats; empty for anything else."""
    return value if _CALL.fullmatch(value) else ""


def messages(causes: tuple[Cause, ...]) -> list[Json]:
    """Return the messages that have woken an agent."""
    return [{"id": one.id, "from": one.sender, "kind": one.kind} for one in causes[:MAX_ITEMS]]
