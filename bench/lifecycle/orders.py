"""Orders of the operator to lifecycle, and the ends of their jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from wire import names
from wire.bus import Bus
from wire.clients.lifecycle import AgentClient, LifecycleClient
from wire.errors import Conflict
from wire.records import decode
from wire.records.lifecycle import JobRemoved, JobResult, JobVerb, SpawnOptions
from wire.signals import Signal

LIMIT: Final = 300.0
"""Seconds within which any job must end."""


class Orders:
    """Gives orders over `bus`, and keeps the ends of all jobs, in their order, in `ended`."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.lifecycle = LifecycleClient(bus)
        self.ended: list[JobRemoved] = []
        self._ends: dict[str, asyncio.Future[JobRemoved]] = {}
        self._over = asyncio.Event()

    def removed(self, signal: Signal) -> None:
        """Take a JobRemoved."""
        ended = decode(JobRemoved, signal.args)
        self.ended.append(ended)
        self._end(ended.job).set_result(ended)
        self._over.set()
        self._over = asyncio.Event()

    def agent(self, name: str) -> AgentClient:
        """Return the client of an agent; its orders return the paths of jobs."""
        return AgentClient(self.bus, names.agent_path(name))

    async def end(self, job: str) -> JobRemoved:
        """Return the end of a job. Raises TimeoutError when it never comes."""
        async with asyncio.timeout(LIMIT):
            return await asyncio.shield(self._end(job))

    async def done(self, job: str) -> None:
        """Wait for the end of a job. Raises RuntimeError with its note when it is not `done`."""
        ended = await self.end(job)
        if ended.result is not JobResult.DONE:
            raise RuntimeError(f"{ended.verb} of {ended.agent} {ended.result}: {ended.note}")

    async def spawn(self, agent: str) -> float:
        """Spawn an agent; return the seconds until it is READY."""
        began = monotonic()
        await self.done(await self.lifecycle.spawn(agent, SpawnOptions()))
        return monotonic() - began

    async def purge(self, agent: str) -> float:
        """Destroy an agent with all its data; return the seconds that took, without the wait for
        another job of the agent: it may be falling asleep.
        """
        while True:
            over, began = self._over, monotonic()
            try:
                await self.done(await self.lifecycle.destroy(agent, True))
            except Conflict:
                async with asyncio.timeout(LIMIT):
                    await over.wait()
            else:
                return monotonic() - began

    async def until(self, agent: str, name: str, wanted: str) -> None:
        """Wait until a property of an agent is `wanted`. Raises TimeoutError when it never is."""
        path = names.agent_path(agent)
        async with (
            asyncio.timeout(LIMIT),
            self.bus.subscribe(path=path, member="PropertiesChanged") as changed,
        ):
            while await self.agent(agent).get(name) != wanted:
                await anext(changed)

    async def until_last(self, agent: str, verb: JobVerb) -> None:
        """Wait until the last job of an agent that has ended is a `verb`."""
        async with asyncio.timeout(LIMIT):
            while [job.verb for job in self.ended if job.agent == agent][-1:] != [verb]:
                await self._over.wait()

    def _end(self, job: str) -> asyncio.Future[JobRemoved]:
        return self._ends.setdefault(job, asyncio.get_running_loop().create_future())


@asynccontextmanager
async def orders() -> AsyncIterator[Orders]:
    """Open orders on a connection of their own to the bus of this host."""
    bus = await Bus.connect()
    given = Orders(bus)
    await bus.on_signal(given.removed, interface=names.LIFECYCLE, member="JobRemoved")
    try:
        yield given
    finally:
        await bus.close()
