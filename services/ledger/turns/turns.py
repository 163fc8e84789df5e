"""The rules: which turns are recorded, and for how long."""

import math
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from services.config import LedgerConfig
from services.ledger.storage.database import Change
from services.ledger.turns import checks
from services.ledger.turns.store import TurnStore
from wire.errors import LimitExceeded
from wire.records.ledger import Cost, Turn, TurnRecorded
from wire.types import Value

HOUR: Final = 3600 * checks.SECOND


class Spending(Protocol):
    """The requests, as far as turns matter to them."""

    def of_turn(self, agent: str, turn: Turn) -> Change | None:
        """Return the change that counts a turn of an agent that has a login of its own."""


class Turns:
    """The record of all agents' turns."""

    def __init__(
        self, store: TurnStore, config: LedgerConfig, spending: Spending, now: Callable[[], int]
    ) -> None:
        """Make the turns.

        Args:
            store: the turns on disk.
            config: the settings.
            spending: hears of each new turn.
            now: the clock, in microseconds since 1970.
        """
        self._store = store
        self._config = config
        self._spending = spending
        self._now = now
        self.on_recorded: Callable[[TurnRecorded], None] = lambda recorded: None

    async def record_on_disk(self, agent: str, values: Mapping[str, Value]) -> None:
        """Do as `record`, and return when the turn is on the disk."""
        self.record(agent, values)
        await self._store.synced()

    def record(self, agent: str, values: Mapping[str, Value]) -> None:
        """Record a turn of `agent`. One that is recorded already stays as it is.

        A turn that is old enough to be deleted is not recorded, without an error: its harness
        need not try again.

        Raises:
            InvalidArgument: a value is not valid.
            LimitExceeded: the agent has recorded too many turns within an hour.
            Unavailable: the store could not be written.
        """
        turn = checks.TURN.parse(values)
        now = self._now()
        checks.check_times(turn, now)
        if turn.started < now - self._config.keep_days * 24 * HOUR or self._store.has(agent, turn):
            return
        self._check_rate(agent, now)
        change = self._spending.of_turn(agent, turn)
        if number := self._store.add(agent, turn, now, change):
            if change is not None:
                change.adopt()
            self.on_recorded(TurnRecorded(agent, number, turn.started, turn.cost))

    async def list_turns(self, filter: Mapping[str, Value], limit: int) -> list[Turn]:
        """Return the turns that match and were recorded last, newest first.

        Raises:
            InvalidArgument: the filter or the limit is not valid.
            LimitExceeded: the query takes too long.
            Unavailable: the store could not be read.
        """
        checks.check_limit(limit)
        return await self._store.find(checks.TURNS.parse(filter), limit)

    async def costs(self, filter: Mapping[str, Value]) -> list[Cost]:
        """Return the sums of the turns and requests that match, in the order of their keys.

        Raises:
            InvalidArgument: the filter is not valid.
            LimitExceeded: the query takes too long.
            Unavailable: the store could not be read.
        """
        return await self._store.costs(checks.COSTS.parse(filter))

    def _check_rate(self, agent: str, now: int) -> None:
        most = self._config.agent_turns_per_hour
        earlier = self._store.recorded_before(agent, most)
        # A time in the future was recorded before the clock was set back.
        if now - HOUR < earlier <= now:
            raise LimitExceeded(
                f"{agent} has recorded {most} turns within an hour (ledger.agent_turns_per_hour of "
                f"hyperhive.toml). Try again in {math.ceil((earlier + HOUR - now) / 1e6)} s."
            )
