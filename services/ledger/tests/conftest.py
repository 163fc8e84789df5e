"""Fixtures: a ledger with a clock of its own."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.config import LedgerConfig
from services.ledger.ledger import Ledger
from services.ledger.store import Store
from wire.records.ledger import TurnRecorded

NOON = 1_764_417_600_000_000  # 2025-11-29 12:00 UTC
SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR


def turn(number: int = 1, started: int = NOON - 60 * SECOND, **more: Any) -> dict[str, Any]:
    """Return a turn as RecordTurn takes it."""
    base = {"turn": number, "started": started, "ended": started + SECOND, "outcome": "done"}
    return {**base, **more}


@dataclass
class Room:
    """A ledger on its store, at a time that the test sets."""

    path: Path
    config: LedgerConfig
    now: int = NOON
    heard: list[TurnRecorded] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.store = Store(self.path)
        self.ledger = Ledger(self.store, self.config, lambda: self.now)
        self.ledger.on_recorded = self.heard.append

    def reopen(self) -> None:
        self.store.close()
        self.open()

    async def numbers(self, **filter: Any) -> list[tuple[str, int]]:
        """Return agent and number of the turns that match, newest first."""
        return [(t.agent, t.turn) for t in await self.ledger.list_turns(filter, 1000)]


@pytest.fixture
def config() -> LedgerConfig:
    return LedgerConfig()


@pytest.fixture
def room(tmp_path: Path, config: LedgerConfig) -> Iterator[Room]:
    made = Room(tmp_path / "ledger.sqlite", config)
    yield made
    made.store.close()
