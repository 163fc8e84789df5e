"""The events of the last days, with sequence numbers, in /state/hyperhive-events.sqlite."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.events.database import Database, Value, now_in_milliseconds
from harness.jsonvalues import Json, JsonObject

FILE: Final = "hyperhive-events.sqlite"

MAX_DATA: Final = 256 * 1024
"""Characters of an event's data; longer texts in them are cut."""
MAX_PAGE: Final = 500
"""The most events of one answer."""
MAX_PAGE_DATA: Final = 1024 * 1024
"""Characters of data after which an answer has no further event."""
MAX_VALUES: Final = 10_000
"""The objects, lists and commas in the data of an event; longer lists in them are cut."""
MAX_PAGE_VALUES: Final = 40_000
"""The objects, lists and commas of data after which an answer has no further event: its readers
take no more than 50,000, because JSON that is parsed needs much more memory than its text."""

_SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS events (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      at REAL NOT NULL,
      turn INTEGER,
      type TEXT NOT NULL,
      data TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS events_at ON events (at);
    """,
    "CREATE INDEX IF NOT EXISTS events_turn ON events (turn, id)",
)


@dataclass(frozen=True)
class Event:
    """An event; `seq` grows, with gaps, and is never used again."""

    seq: int
    at: float
    turn: int | None
    type: str
    data: JsonObject
    values: int = 0
    """About how many values the data have."""

    def json(self) -> JsonObject:
        """Return the event as it is shown."""
        return {
            "seq": self.seq,
            "at": self.at,
            "turn": self.turn,
            "type": self.type,
            "data": self.data,
        }


class Events:
    """The rows of events."""

    def __init__(self, state: Path) -> None:
        self._database = Database(state / FILE, _SCHEMA, "events", now_in_milliseconds())

    @property
    def trouble(self) -> str:
        """Why the rows are in memory only; empty if they are stored."""
        return self._database.trouble

    def add(self, turn: int | None, kind: str, data: JsonObject) -> int:
        """Add an event; return its sequence number."""
        return self._database.write(
            "INSERT INTO events (at, turn, type, data) VALUES (?, ?, ?, ?)",
            (time.time(), turn, kind, _text(data)),
        )

    def recover(self) -> bool:
        """Try the file again if the rows are in memory; return whether they are stored now."""
        return self._database.recover()

    def after(self, seq: int, limit: int = MAX_PAGE, turn: int | None = None) -> list[Event]:
        """Return the first events after `seq`, of a turn or of all, oldest first."""
        if turn is None:
            return self._page("id > ? ORDER BY id", (seq,), limit)
        return self._page("id > ? AND turn = ? ORDER BY id", (seq, turn), limit)

    def before(self, seq: int | None, limit: int, turn: int | None) -> list[Event]:
        """Return the last events before `seq`, of a turn or of all, oldest first."""
        values: list[Value] = [seq or 2**62]
        if turn is not None:
            values.append(turn)
        condition = "id < ?" if turn is None else "id < ? AND turn = ?"
        return self._page(f"{condition} ORDER BY id DESC", values, limit)[::-1]

    def bounds(self) -> tuple[int, int]:
        """Return the first and the last sequence number; zeros if there are no events."""
        rows = self._database.read(
            "SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events)"
        )
        first, last = rows[0] if rows else (0, 0)
        return int(first or 0), int(last or 0)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _page(self, condition: str, values: Sequence[Value], limit: int) -> list[Event]:
        """Return a page; one event at least, so that readers make progress."""
        # The sizes first: 500 large events would be 128 MB at once.
        query = f"SELECT id, length(data) FROM events WHERE {condition} LIMIT ?"  # noqa: S608
        sizes = self._database.read(query, (*values, min(limit, MAX_PAGE)))
        count, total = 0, 0
        for _, size in sizes:
            total += int(size or 0)
            if count and total > MAX_PAGE_DATA:
                break
            count += 1
        query = f"SELECT id, at, turn, type, data FROM events WHERE {condition} LIMIT ?"  # noqa: S608
        found: list[Event] = []
        total = 0
        for row in self._database.read(query, (*values, count)):
            event = _event(row)
            total += event.values
            if found and total > MAX_PAGE_VALUES:
                break
            found.append(event)
        return found


def _event(row: tuple[Value, ...]) -> Event:
    number, at, turn, kind, text = row
    data = _parsed(text)
    values = _values(text) if isinstance(text, str) else 0
    if values > MAX_VALUES:  # stored by an earlier version, or by the agent
        text = _text(data)
        data, values = _parsed(text), _values(text)
    return Event(
        int(number or 0),
        float(at) if isinstance(at, int | float) else 0.0,
        turn if isinstance(turn, int) else None,
        str(kind),
        data,
        values,
    )


def _parsed(text: Value) -> JsonObject:
    """Return the data; the agent may have changed them, and so they can be anything."""
    try:
        data = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        data = None
    return data if isinstance(data, dict) else {"text": "(unreadable)"}


def _text(data: JsonObject) -> str:
    """Return the data as JSON, with shorter texts and lists if they are too long."""
    text = _dumped(data)
    limit, items = 2 * MAX_DATA, 2 * MAX_VALUES
    while (is_long := len(text) > MAX_DATA) or _values(text) > MAX_VALUES:
        if is_long:
            limit //= 4
        if _values(text) > MAX_VALUES:
            items //= 4
        if limit <= 8 or items <= 8:
            return _dumped({"text": "(too large)", "cut": True})
        text = _dumped(_cut(data, limit, items, 8))
    return text


def _values(text: str) -> int:
    """Return the number of objects, lists and commas of JSON; those in texts count only if many."""
    signs = ("{", "[", ",")
    count = sum(map(text.count, signs))
    if count <= MAX_VALUES:
        return count
    outside = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    return sum(part.count(sign) for part in outside for sign in signs)


def _dumped(data: Json) -> str:
    # ASCII: half a surrogate pair, which Claude Code may read from a file, is no valid UTF-8.
    return json.dumps(data, default=str)


def _cut(value: Json, limit: int, items: int, depth: int) -> Json:
    """Return `value` with texts of `limit` characters, lists of `items` items, and less depth."""
    match value:
        case str() if len(value) > limit:
            return f"{value[:limit]}\n[cut: {len(value)} characters]"
        case list() if depth:
            kept = [_cut(item, limit, items, depth - 1) for item in value[:items]]
            return [*kept, f"[cut: {len(value)} items]"] if len(value) > items else kept
        case dict() if depth:
            made = {
                str(key)[:limit]: _cut(item, limit, items, depth - 1)
                for key, item in list(value.items())[:items]
            }
            return made | {"[cut]": f"{len(value)} items"} if len(value) > items else made
        case list() | dict():
            return "[cut]"
    return value
