"""The rules: which turns are recorded, and for how long."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from services.config import LedgerConfig
from services.ledger import checks
from services.ledger.store import Store
from wire.errors import LimitExceeded
from wire.records.ledger import Cost, Turn, TurnRecorded
from wire.types import Value

HOUR: Final = 3600 * checks.SECOND
_DAY: Final = 24 * HOUR


def _now() -> int:
    return time.time_ns() // 1000


class Ledger:
    """The record of all agents' turns."""

    def __init__(self, store: Store, config: LedgerConfig, now: Callable[[], int] = _now) -> None:
        """Make the ledger; `now` is the clock, in microseconds since 1970."""
        self._store = store
        self._config = config
        self._now = now
        self._vacuuming = asyncio.Lock()
        self.on_recorded: Callable[[TurnRecorded], None] = lambda recorded: None

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
        if turn.started < now - self._kept or self._store.has(agent, turn):
            return
        self._check_rate(agent, now)
        if number := self._store.add(agent, turn, now):
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
        """Return the sums of the turns that match, in the order of their keys.

        Raises:
            InvalidArgument: the filter is not valid.
            LimitExceeded: the query takes too long.
            Unavailable: the store could not be read.
        """
        return await self._store.costs(checks.COSTS.parse(filter))

    async def vacuum(self) -> int:
        """Delete turns that are too old or too many; return how many.

        Raises:
            Unavailable: the store could not be written; some turns may be gone.
        """
        async with self._vacuuming:
            cutoff = self._now() - self._kept
            gone = await _repeated(lambda: self._store.delete_before(cutoff))
            most = self._config.max_turns_per_agent
            for agent in self._store.agents():
                gone += await _repeated(
                    lambda agent=agent: self._store.delete_excess(agent, most)  # type: ignore[misc]
                )
            return gone

    @property
    def _kept(self) -> int:
        return self._config.keep_days * _DAY

    def _check_rate(self, agent: str, now: int) -> None:
        most = self._config.agent_turns_per_hour
        earlier = self._store.recorded_before(agent, most)
        # A time in the future was recorded before the clock was set back.
        if now - HOUR < earlier <= now:
            raise LimitExceeded(
                f"{agent} has recorded {most} turns within an hour (ledger.agent_turns_per_hour of "
                f"hyperhive.toml). Try again in {math.ceil((earlier + HOUR - now) / 1e6)} s."
            )


async def _repeated(delete: Callable[[], int]) -> int:
    """Call `delete` until it deletes nothing, and let others work in between."""
    gone = 0
    while deleted := delete():
        gone += deleted
        # Calls that came meanwhile are answered before the next rows are deleted.
        await asyncio.sleep(0)
    return gone
