"""The turns of the last 90 days: a row for each, in /state/hyperhive-turn-stats.sqlite."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from harness.events.database import Database, Value
from harness.jsonvalues import JsonObject

FILE: Final = "hyperhive-turn-stats.sqlite"

MAX_PAGE: Final = 200
"""The most turns of one answer."""

_SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS turns (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      started REAL NOT NULL,
      ended REAL,
      outcome TEXT NOT NULL,
      messages TEXT NOT NULL,
      session TEXT,
      model TEXT,
      steps INTEGER,
      input_tokens INTEGER,
      output_tokens INTEGER,
      context_tokens INTEGER,
      cost_usd REAL,
      error TEXT
    );
    CREATE INDEX IF NOT EXISTS turns_started ON turns (started);
    """,
    # `cost_usd` was the cost of the whole session until then.
    """
    ALTER TABLE turns ADD COLUMN woken_by TEXT;
    ALTER TABLE turns ADD COLUMN seconds REAL;
    ALTER TABLE turns ADD COLUMN first_request_ms INTEGER;
    ALTER TABLE turns ADD COLUMN first_token_ms INTEGER;
    ALTER TABLE turns ADD COLUMN cache_read_tokens INTEGER;
    ALTER TABLE turns ADD COLUMN cache_write_tokens INTEGER;
    ALTER TABLE turns ADD COLUMN tool_calls INTEGER;
    ALTER TABLE turns ADD COLUMN tools TEXT;
    ALTER TABLE turns ADD COLUMN open_threads INTEGER;
    ALTER TABLE turns ADD COLUMN open_reminders INTEGER;
    ALTER TABLE turns ADD COLUMN session_cost_usd REAL;
    ALTER TABLE turns ADD COLUMN recorded INTEGER NOT NULL DEFAULT 0;
    UPDATE turns SET session_cost_usd = cost_usd, seconds = ended - started, recorded = 1;
    UPDATE turns SET cost_usd = cost_usd - coalesce((SELECT before.session_cost_usd
      FROM turns AS before WHERE before.session = turns.session AND before.id < turns.id
      AND before.session_cost_usd <= turns.session_cost_usd ORDER BY before.id DESC LIMIT 1), 0)
    """,
    "ALTER TABLE turns ADD COLUMN denied INTEGER",
)


@dataclass
class TurnStats:
    """The figures of a turn; tokens are the model's, costs are in US dollars.

    Attributes:
        input_tokens: The tokens that the model read, with those of its cache.
        session_cost_usd: The cost of the session up to the end of the turn.
        tools: The calls of each tool.
        denied: The calls that were denied, by the settings or by the operator.
    """

    outcome: str = "running"
    session: str | None = None
    model: str | None = None
    steps: int | None = None
    seconds: float | None = None
    first_request_ms: int | None = None
    first_token_ms: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    context_tokens: int | None = None
    cost_usd: float | None = None
    session_cost_usd: float | None = None
    error: str | None = None
    tools: dict[str, int] = field(default_factory=dict)
    denied: int = 0
    open_threads: int | None = None
    open_reminders: int | None = None


@dataclass(frozen=True)
class Cause:
    """A message that woke the agent."""

    id: int
    sender: str
    kind: str

    def json(self) -> JsonObject:
        """Return the message as it is shown."""
        return {"id": self.id, "from": self.sender, "kind": self.kind}


_FIGURES: Final = tuple(f.name for f in fields(TurnStats) if f.name not in ("tools", "outcome"))
_SHOWN: Final = (
    "id",
    "started",
    "ended",
    "outcome",
    "woken_by",
    "messages",
    "tools",
    "tool_calls",
    *_FIGURES,
)


class Turns:
    """The rows of turns."""

    def __init__(self, state: Path) -> None:
        self._database = Database(state / FILE, _SCHEMA, "turns", 1)

    @property
    def trouble(self) -> str:
        """Why the rows are in memory only; empty if they are stored."""
        return self._database.trouble

    def begin(self, causes: Sequence[Cause]) -> int:
        """Add a turn; return its number."""
        self._database.recover()
        return self._database.write(
            "INSERT INTO turns (started, outcome, messages, woken_by) VALUES (?, 'running', ?, ?)",
            (
                time.time(),
                json.dumps([cause.id for cause in causes]),
                json.dumps([cause.json() for cause in causes]),
            ),
        )

    def end(self, number: int, started: float, causes: Sequence[Cause], stats: TurnStats) -> None:
        """Complete the row of a turn, also if it is not there any more."""
        columns = (
            "id",
            "started",
            "ended",
            "outcome",
            "messages",
            "woken_by",
            "tool_calls",
            "tools",
        )
        values: list[Value] = [
            number,
            started,
            time.time(),
            stats.outcome,
            json.dumps([cause.id for cause in causes]),
            json.dumps([cause.json() for cause in causes]),
            sum(stats.tools.values()),
            json.dumps(stats.tools),
        ]
        values += [getattr(stats, name) for name in _FIGURES]
        names = ", ".join((*columns, *_FIGURES))
        marks = ", ".join("?" * len(values))
        self._database.write(f"INSERT OR REPLACE INTO turns ({names}) VALUES ({marks})", values)  # noqa: S608

    def interrupted(self) -> None:
        """Complete the rows of turns that ended with an earlier process."""
        self._database.write(
            "UPDATE turns SET outcome = 'interrupted', error = 'the harness ended'"
            " WHERE outcome = 'running'",
            (),
        )

    def count_open(self, number: int, threads: int, reminders: int) -> None:
        """Add the numbers of open threads and reminders after a turn."""
        self._database.write(
            "UPDATE turns SET open_threads = ?, open_reminders = ? WHERE id = ?",
            (threads, reminders, number),
        )

    def mark_recorded(self, number: int) -> None:
        """Note that the hive has the turn."""
        self._database.write("UPDATE turns SET recorded = 1 WHERE id = ?", (number,))

    def unrecorded(self, limit: int) -> list[JsonObject]:
        """Return the oldest ended turns that the hive does not have yet."""
        return self._select("recorded = 0 AND outcome <> 'running' ORDER BY id LIMIT ?", (limit,))

    def page(self, before: int | None, limit: int) -> list[JsonObject]:
        """Return the newest turns before the turn `before`, newest first."""
        return self._select(
            "id < ? ORDER BY id DESC LIMIT ?", (before or 2**62, min(limit, MAX_PAGE))
        )

    def one(self, number: int) -> JsonObject | None:
        """Return a turn."""
        return next(iter(self._select("id = ?", (number,))), None)

    def session_cost(self, session: str) -> float | None:
        """Return the cost of a session at the end of its last turn."""
        rows = self._database.read(
            "SELECT session_cost_usd FROM turns WHERE session = ? AND session_cost_usd IS NOT NULL"
            " ORDER BY id DESC LIMIT 1",
            (session,),
        )
        return _float(rows[0][0]) if rows else None

    def cost_since(self, since: float) -> float:
        """Return the cost of the turns that were started since then."""
        query = "SELECT sum(cost_usd) FROM turns WHERE started >= ?"
        rows = self._database.read(query, (since,))
        return (_float(rows[0][0]) if rows else None) or 0.0

    def days(self, count: int) -> list[JsonObject]:
        """Return sums for each of the last days with turns, oldest first."""
        since = midnight(count - 1)
        rows = self._database.read(
            "SELECT date(started, 'unixepoch', 'localtime'), count(*), sum(seconds), sum(cost_usd),"
            " sum(input_tokens), sum(output_tokens) FROM turns WHERE started >= ? GROUP BY 1"
            " ORDER BY 1",
            (since,),
        )
        tools = self._tools_by_day(since)
        return [
            {
                "day": day,
                "turns": turns,
                "seconds": seconds or 0.0,
                "cost_usd": cost or 0.0,
                "input_tokens": read or 0,
                "output_tokens": written or 0,
                "tools": tools.get(str(day), {}),
            }
            for day, turns, seconds, cost, read, written in rows
        ]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _tools_by_day(self, since: float) -> dict[str, dict[str, int]]:
        sums: dict[str, dict[str, int]] = {}
        rows = self._database.read(
            "SELECT date(started, 'unixepoch', 'localtime'), tools FROM turns"
            " WHERE started >= ? AND tool_calls > 0",
            (since,),
        )
        for day, text in rows:
            of_day = sums.setdefault(str(day), {})
            for tool, calls in _object(text).items():
                if isinstance(calls, int):
                    of_day[tool] = of_day.get(tool, 0) + calls
        return sums

    def _select(self, condition: str, values: Sequence[Value]) -> list[JsonObject]:
        query = f"SELECT {', '.join(_SHOWN)} FROM turns WHERE {condition}"  # noqa: S608
        return [_shown(dict(_named(row))) for row in self._database.read(query, values)]


def midnight(days: int = 0) -> float:
    """Return the beginning of the day `days` ago; the container has the time zone of the host."""
    today = time.localtime()
    return time.mktime((today.tm_year, today.tm_mon, today.tm_mday - days, 0, 0, 0, 0, 0, -1))


def _named(row: tuple[Value, ...]) -> Iterator[tuple[str, Value]]:
    yield from zip(_SHOWN, row, strict=True)


def _shown(row: dict[str, Value]) -> JsonObject:
    """Return a row as it is shown; rows of earlier versions have only the ids of messages."""
    messages = _list(row.pop("messages"))
    causes = _list(row.pop("woken_by")) or [
        {"id": number, "from": "", "kind": ""} for number in messages
    ]
    return {**row, "woken_by": causes, "tools": _object(row["tools"])}


def _list(text: Value) -> list[object]:
    value = _parsed(text)
    return value if isinstance(value, list) else []


def _object(text: Value) -> JsonObject:
    value = _parsed(text)
    return value if isinstance(value, dict) else {}


def _parsed(text: Value) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _float(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None
