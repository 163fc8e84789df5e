"""Samples of what agents use, and the depths of their inboxes, asked for after events only.

No signal tells them. So an event about an agent, such as a new state, another activity or a request
to the model API that it has paid, makes the dashboard ask once, and no agent more often than
SAMPLE_SECONDS allow. Nothing is asked about an agent of which nothing is heard.
"""

import asyncio
from typing import Final

from services.dashboard.clients.measurements import Measurements
from services.dashboard.state.page_state import PageState
from services.dashboard.state.tables import Table, Tables
from wire.records.lifecycle import AgentState

SAMPLE_SECONDS: Final = 10.0
"""The least time between two samples of an agent."""

DEPTH_SECONDS: Final = 2.0
"""The least time between two questions about the inboxes."""

SAMPLED: Final = frozenset({AgentState.RUNNING, AgentState.PAUSED})


class Samples:
    """Asks for the samples and the depths."""

    def __init__(
        self,
        measurements: Measurements,
        state: PageState,
        tables: Tables,
        sample_seconds: float = SAMPLE_SECONDS,
        depth_seconds: float = DEPTH_SECONDS,
    ) -> None:
        self._measurements = measurements
        self._state = state
        self._tables = tables
        self._sample_seconds = sample_seconds
        self._depth_seconds = depth_seconds
        self._wake = asyncio.Event()
        self._wanted: dict[str, float] = {}
        """The agents of which something was heard, with the times at which they may be asked."""
        self._next: dict[str, float] = {}
        """The times at which the agents that were asked may be asked again."""
        self._depths_wanted = False
        self._next_depths = 0.0
        tables.watch(self._changed)

    def _changed(self, table: Table, keys: set[str]) -> None:
        """Note the agents of which something was heard."""
        if table in (Table.AGENTS, Table.COSTS):
            for name in keys:
                self._wanted[name] = self._next.get(name, 0.0) if self._runs(name) else 0.0
        if table in (Table.AGENTS, Table.MESSAGES):
            self._depths_wanted = True
        if table in (Table.AGENTS, Table.COSTS, Table.MESSAGES, Table.SERVICES):
            self._wake.set()

    async def run(self) -> None:
        """Ask after events, until cancelled."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if timer is not None:
                    timer.cancel()
                await self._ask(loop.time())
                # An event that came too early counts, too.
                if (due := self._due()) is not None:
                    timer = loop.call_at(due, self._wake.set)
        finally:
            if timer is not None:
                timer.cancel()

    def _due(self) -> float | None:
        """Return when to ask next; None if nothing was heard, or nobody can answer."""
        times = list(self._wanted.values()) if self._answers("lifecycle") else []
        if self._depths_wanted and self._answers("broker"):
            times.append(self._next_depths)
        return min(times, default=None)

    def _answers(self, service: str) -> bool:
        row = self._tables.rows(Table.SERVICES).get(service)
        return row is not None and bool(row["available"])

    def _runs(self, name: str) -> bool:
        row = self._tables.rows(Table.AGENTS).get(name)
        return row is not None and row["state"] in SAMPLED

    async def _ask(self, now: float) -> None:
        if self._answers("lifecycle"):
            names = [name for name, due in self._wanted.items() if due <= now]
            for name in names:
                del self._wanted[name]
            await asyncio.gather(*(self._sample(name, now) for name in names))
        if self._depths_wanted and self._next_depths <= now and self._answers("broker"):
            self._depths_wanted = False
            self._next_depths = now + self._depth_seconds
            depths = await self._measurements.depths()
            if depths is not None:
                self._state.replace_queues(depths)

    async def _sample(self, name: str, now: float) -> None:
        if not self._runs(name):
            self._next.pop(name, None)
            self._state.drop_samples(name)
            return
        self._next[name] = now + self._sample_seconds
        usage = await self._measurements.usage(name)
        if usage is not None and usage.cpu is not None:
            self._state.put_sample(name, usage)
