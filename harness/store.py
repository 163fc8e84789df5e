"""The record of turns in /state, which the agent's page shows: events, turns, the model."""

import json
import logging
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.jsonvalues import Json

log = logging.getLogger(__name__)

MAX_DATA: Final = 256 * 1024
"""Bytes of an event's data; longer data are cut."""

_EVENTS: Final = """
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  turn INTEGER,
  type TEXT NOT NULL,
  data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_at ON events (at);
"""
_TURNS: Final = """
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
"""


@dataclass
class TurnStats:
    """The figures of a turn; tokens are the model's, the cost is in US dollars."""

    outcome: str = "running"
    session: str | None = None
    model: str | None = None
    steps: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    context_tokens: int | None = None
    cost_usd: float | None = None
    error: str | None = None
    messages: list[int] = field(default_factory=list)


class TurnStore:
    """The sqlite files in /state. An error in writing them never stops a turn."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._events = _open(state / "hyperhive-events.sqlite", _EVENTS)
        self._turns = _open(state / "hyperhive-turn-stats.sqlite", _TURNS)
        self._model: str | None = None
        self.turn: int | None = None

    def event(self, kind: str, **data: Json) -> None:
        """Add an event of the current turn."""
        text = json.dumps(data, default=str)
        if len(text) > MAX_DATA:
            text = json.dumps({"cut": text[: MAX_DATA // 2]})
        _write(
            self._events,
            "INSERT INTO events (at, turn, type, data) VALUES (?, ?, ?, ?)",
            (time.time(), self.turn, kind, text),
        )

    def begin(self, messages: list[int]) -> None:
        """Add a turn that starts with these messages."""
        self.turn = _write(
            self._turns,
            "INSERT INTO turns (started, outcome, messages) VALUES (?, 'running', ?)",
            (time.time(), json.dumps(messages)),
        )

    def end(self, stats: TurnStats) -> None:
        """Complete the row of the current turn."""
        values = (
            time.time(),
            stats.outcome,
            stats.session,
            stats.model,
            stats.steps,
            stats.input_tokens,
            stats.output_tokens,
            stats.context_tokens,
            stats.cost_usd,
            stats.error,
            self.turn,
        )
        _write(
            self._turns,
            "UPDATE turns SET ended = ?, outcome = ?, session = ?, model = ?, steps = ?,"
            " input_tokens = ?, output_tokens = ?, context_tokens = ?, cost_usd = ?, error = ?"
            " WHERE id = ?",
            values,
        )
        self.turn = None

    def model(self, name: str) -> None:
        """Save the name of the model that answers."""
        if name == self._model:
            return
        try:
            (self._state / "hyperhive-model").write_text(name + "\n", encoding="utf-8")
        except OSError as exc:
            log.warning("cannot save the model's name: %s", exc)
        self._model = name

    def close(self) -> None:
        """Close the files."""
        for database in (self._events, self._turns):
            if database is not None:
                database.close()


def _open(path: Path, schema: str) -> sqlite3.Connection | None:
    database = None
    try:
        database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        database.execute("PRAGMA journal_mode = WAL")
        # Losing the last events in a power cut is acceptable; the broker keeps the messages.
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(schema)
    except sqlite3.Error as exc:
        log.error("%s cannot be used, so nothing is recorded in it: %s", path, exc)
        if database is not None:
            database.close()
        return None
    return database


def _write(
    database: sqlite3.Connection | None,
    statement: str,
    values: tuple[str | int | float | None, ...],
) -> int | None:
    if database is None:
        return None
    try:
        return database.execute(statement, values).lastrowid
    except sqlite3.Error as exc:
        log.warning("cannot record: %s", exc)
        return None
