"""The tool that lists open threads: get_open_threads."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from services.endpoint.jsonvalues import JsonObject
from services.endpoint.tools.arguments import Arguments
from services.endpoint.tools.tool import HARNESS, MODELS, Context, Tool, ToolResult
from wire.records.broker import Thread
from wire.records.codec import keys

MAX_ROWS: Final = 50
"""Rows of each kind. There are six kinds, and a row has a text of up to 200 characters."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Threads(Arguments):
    """Arguments of `get_open_threads`."""

    limit: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_ROWS,
            description="The most rows of each kind to return, oldest first. The counts always"
            " include all.",
        ),
    ] = 20


async def _threads(context: Context, call: Threads) -> ToolResult:
    threads = await context.services.open_threads()
    counts: Counter[str] = Counter()
    shown = []
    for thread in threads:
        if counts[thread.kind] < call.limit:
            shown.append(_shown(thread))
        counts[thread.kind] += 1
    return ToolResult({"counts": dict(counts), "threads": shown})


def _shown(thread: Thread) -> JsonObject:
    """Return a thread as JSON, without empty values, and with its times in ISO 8601."""
    shown: JsonObject = dict(zip(keys(Thread).values(), thread, strict=True))
    shown["since"], shown["due"] = _time(thread.since), _time(thread.due)
    return {key: value for key, value in shown.items() if value not in ("", 0)}


def _time(microseconds: int) -> str:
    if not microseconds:
        return ""
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="seconds")
    except OverflowError:
        return str(microseconds)


TOOLS: Final = (
    Tool(
        "get_open_threads",
        "List everything that is still open: questions that you asked or were asked, messages that"
        " have not been handled yet, and reminders. The manager sees those of the whole hive, and"
        " also requests that wait for the operator's approval and messages that were given up"
        " (dead-letter). Returns how many there are of each kind, and rows with kind, id, from, to,"
        " the beginning of the text, and times. Use it when you have lost track, or to see who is"
        " waiting for whom.",
        Threads,
        _threads,
        # The harness counts what is open after a turn.
        MODELS | HARNESS,
    ),
)
