"""Fixtures: a ledger with a clock of its own, whose gateways leave the bus when the test says."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.config import LedgerConfig
from services.ledger.budgets import store as budget_store
from services.ledger.budgets.allowances import Allowances
from services.ledger.budgets.budgets import Budgets
from services.ledger.budgets.store import Source
from services.ledger.egress.hosts import Hosts
from services.ledger.egress.store import EgressStore
from services.ledger.ledger import Ledger, Parts
from services.ledger.prices.prices import Prices
from services.ledger.requests.requests import Requests
from services.ledger.storage.database import Database
from services.ledger.turns.store import TurnStore
from services.ledger.turns.turns import Turns
from wire.records.ledger import Budget, BudgetKind, BudgetPeriod, Egress, Request, TurnRecorded

NOON = 1_764_417_600_000_000  # 2025-11-29 12:00 UTC, a Saturday
SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
DOLLAR = 1_000_000


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
    bus_id: str = "bus-1"
    heard: list[TurnRecorded] = field(default_factory=list)
    settled: list[Request] = field(default_factory=list)
    hosts_heard: list[tuple[Egress, bool]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    gateways: dict[str, "asyncio.Future[None]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.database = Database(self.path)
        with self.database.look() as db:
            allowances = Allowances(self.config.budgets, budget_store.allowances(db))
            self.budgets = Budgets(budget_store.accounts(db), allowances)
        prices = Prices(self.config.prices)
        self.requests = Requests(
            self.database, self.budgets, prices, self.config, self.watch, self.bus_id, self.clock
        )
        self.turns = Turns(TurnStore(self.database), self.config, self.requests, self.clock)
        self.hosts = Hosts(EgressStore(self.database), self.clock)
        parts = Parts(self.database, self.turns, self.requests, self.budgets, self.hosts)
        self.ledger = Ledger(parts, self.config, self.clock)
        self.turns.on_recorded = self.heard.append
        self.requests.on_settled = self.settled.append
        self.requests.on_refused = lambda key, agent: self.refused.append((str(key), agent))
        self.hosts.on_changed = lambda entry, urgent: self.hosts_heard.append((entry, urgent))
        self.ledger.recover()
        self.ledger.look_again()

    def clock(self) -> int:
        return self.now

    def watch(self, connection: str) -> "asyncio.Future[None]":
        gone = asyncio.get_running_loop().create_future()
        known = self.gateways.get(connection)
        if known is not None and known.done() and not known.cancelled():
            gone.set_result(None)
        self.gateways[connection] = gone
        return gone

    def close(self) -> None:
        self.requests.close()
        self.database.close()
        self.gateways.clear()

    def reopen(self) -> None:
        self.close()
        self.open()

    async def leave(self, connection: str) -> None:
        """Let a gateway leave the bus."""
        self.gateways[connection].set_result(None)
        await asyncio.sleep(0)

    def reserve(self, agent: str = "alice", **more: Any) -> int:
        base = {
            "credential": "default",
            "model": "claude-opus-4-5",
            "input_tokens": 0,
            "output_tokens": 40_000,  # a dollar
        }
        connection = more.pop("connection", f":{agent}")
        return self.requests.reserve(agent, connection, {**base, **more})

    def settle(self, number: int, agent: str = "alice", **more: Any) -> None:
        self.requests.settle(agent, number, {"outcome": "done", **more})

    def spend(self, dollars: float, agent: str = "alice", **more: Any) -> None:
        """Make a request that costs so much."""
        tokens = round(dollars * 40_000)
        number = self.reserve(agent, output_tokens=tokens, **more)
        self.settle(number, agent, output_tokens=tokens)

    def limit(self, kind: str, name: str, source: Source = Source.OPERATOR, **limits: Any) -> None:
        self.ledger.set_budget(source, kind, name, limits)

    def budget(self, kind: str = "agent", name: str = "alice", period: str = "day") -> Budget:
        wanted = (BudgetKind(kind), name, BudgetPeriod(period))
        [found] = [one for one in self.ledger.list_budgets() if one[:3] == wanted]
        return found

    async def numbers(self, **filter: Any) -> list[tuple[str, int]]:
        """Return agent and number of the turns that match, newest first."""
        return [(t.agent, t.turn) for t in await self.turns.list_turns(filter, 1000)]

    async def usage(self, **filter: Any) -> list[Request]:
        return await self.requests.list_usage(filter, 1000)


@pytest.fixture
def config() -> LedgerConfig:
    return LedgerConfig()


@pytest.fixture
async def room(tmp_path: Path, config: LedgerConfig) -> AsyncIterator[Room]:
    made = Room(tmp_path / "ledger.sqlite", config)
    yield made
    made.close()
