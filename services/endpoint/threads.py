"""The tool that shows what is open: get_open_threads."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import Field

from services.endpoint.arguments import Arguments
from services.endpoint.tool import MODELS, Context, Outcome, Tool

MAX_ROWS: Final = 50
"""Of each kind. There are six, and a row has a text of up to 200 characters."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Threads(Arguments):
    """Arguments of `get_open_threads`."""

    limit: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_ROWS,
            description="The most rows to show of each kind, the oldest; counts are of all.",
        ),
    ] = 20


async def _threads(context: Context, call: Threads) -> Outcome:
    rows = await context.hive.open_threads()
    counts: Counter[str] = Counter()
    shown = []
    for row in rows:
        kind = str(row.get("kind", ""))
        if counts[kind] < call.limit:
            shown.append(_row(row))
        counts[kind] += 1
    return Outcome({"counts": dict(counts), "threads": shown})


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """As the broker has it, without what is empty, and with times that can be read."""
    shown = {key: value for key, value in row.items() if value not in ("", 0)}
    for key in ("since", "due"):
        if isinstance(shown.get(key), int):
            shown[key] = _time(shown[key])
    return shown


def _time(microseconds: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="seconds")
    except OverflowError:
        return str(microseconds)


TOOLS: Final = (
    Tool(
        "get_open_threads",
        "See what is open: questions that you asked or were asked, messages that nobody has dealt"
        " with yet, reminders; for the manager in the whole hive, also what waits for the"
        " operator's approval and messages that were given up (dead-letter). Returns how many"
        " there are of each kind, and for each a row with its kind, id, from, to, the beginning of"
        " its text, and times. Use it when you have lost the thread, or to see who waits for"
        " whom.",
        Threads,
        _threads,
        MODELS,
    ),
)
