"""Orders of the operator to lifecycle, and the ends of their jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from wire import names
from wire.bus import Bus
from wire.errors import Conflict
from wire.signals import Signal

MANAGER: Final = (names.LIFECYCLE, names.LIFECYCLE_PATH, names.LIFECYCLE)
LIMIT: Final = 300.0
"""Seconds within which any job must end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a job, from JobRemoved."""

    job: str
    agent: str
    verb: str
    result: str
    note: str


class Orders:
    """Gives orders over `bus`, and keeps the ends of all jobs, in their order, in `ended`."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.ended: list[Ended] = []
        self._ends: dict[str, asyncio.Future[Ended]] = {}
        self._over = asyncio.Event()

    def removed(self, signal: Signal) -> None:
        """Take a JobRemoved."""
        ended = Ended(*signal.args[1:])
        self.ended.append(ended)
        self._end(ended.job).set_result(ended)
        self._over.set()
        self._over = asyncio.Event()

    async def manager(self, member: str, signature: str = "", *args: object) -> Any:
        """Call the manager object."""
        return await self.bus.call1(*MANAGER, member, signature, *args)

    async def agent(self, agent: str, member: str) -> str:
        """Give an order that makes a job; return its path."""
        path = names.agent_path(agent)
        job = await self.bus.call1(names.LIFECYCLE, path, names.AGENT_INTERFACE, member)
        return str(job)

    async def tell(self, path: str, interface: str, member: str) -> None:
        """Call a method that returns nothing."""
        await self.bus.call(names.LIFECYCLE, path, interface, member)

    async def end(self, job: str) -> Ended:
        """Return the end of a job. Raises TimeoutError when it never comes."""
        async with asyncio.timeout(LIMIT):
            return await asyncio.shield(self._end(job))

    async def done(self, job: str) -> None:
        """Wait for the end of a job. Raises RuntimeError with its note when it is not `done`."""
        ended = await self.end(job)
        if ended.result != "done":
            raise RuntimeError(f"{ended.verb} of {ended.agent} {ended.result}: {ended.note}")

    async def spawn(self, agent: str) -> float:
        """Spawn an agent; return the seconds until it is READY."""
        began = monotonic()
        await self.done(await self.manager("Spawn", "sa{sv}", agent, {}))
        return monotonic() - began

    async def purge(self, agent: str) -> float:
        """Destroy an agent with all its data; return the seconds that took, without the wait for
        another job of the agent: it may be falling asleep.
        """
        while True:
            over, began = self._over, monotonic()
            try:
                await self.done(await self.manager("Destroy", "sb", agent, True))
            except Conflict:
                async with asyncio.timeout(LIMIT):
                    await over.wait()
            else:
                return monotonic() - began

    async def value(self, agent: str, name: str) -> Any:
        """Return a property of an agent."""
        interface = names.AGENT_INTERFACE
        path = names.agent_path(agent)
        return await self.bus.call1(
            names.LIFECYCLE, path, names.PROPERTIES, "Get", "ss", interface, name
        )

    async def until(self, agent: str, name: str, wanted: str) -> None:
        """Wait until a property of an agent is `wanted`. Raises TimeoutError when it never is."""
        path = names.agent_path(agent)
        async with (
            asyncio.timeout(LIMIT),
            self.bus.subscribe(path=path, member="PropertiesChanged") as changed,
        ):
            while await self.value(agent, name) != wanted:
                await anext(changed)

    async def until_last(self, agent: str, verb: str) -> None:
        """Wait until the last job of an agent that has ended is a `verb`."""
        async with asyncio.timeout(LIMIT):
            while [job.verb for job in self.ended if job.agent == agent][-1:] != [verb]:
                await self._over.wait()

    def _end(self, job: str) -> asyncio.Future[Ended]:
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
