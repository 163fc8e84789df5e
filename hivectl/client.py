"""The hive over the system bus: agents, requests, and the broker behind an attribute."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from hivectl.broker import Broker
from hivectl.records import Agent, Approval
from wire import names
from wire.bus import Bus
from wire.errors import HiveError, NotFound, Timeout, Unavailable
from wire.signals import DAEMON, Signal


class Job(NamedTuple):
    """A job that has ended: `result` is done, failed or cancelled, `error` says why."""

    number: int
    agent: str
    verb: str
    result: str
    error: str


class Hive:
    """The operator's connection to a hive."""

    broker: Broker
    """What is said in it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.broker = Broker(bus)

    @classmethod
    @asynccontextmanager
    async def connect(cls) -> AsyncIterator["Hive"]:
        """Connect to the system bus for as long as the context lasts.

        Raises Unavailable when there is no system bus.
        """
        try:
            bus = await Bus.connect()
        except (OSError, Unavailable) as error:
            raise Unavailable(f"The hive cannot be reached: {error}") from error
        try:
            yield cls(bus)
        finally:
            await bus.close()

    # Agents

    async def agents(self) -> list[Agent]:
        """All agents, by name."""
        objects = await self._objects()
        found = [o[names.AGENT_INTERFACE] for o in objects.values() if names.AGENT_INTERFACE in o]
        return sorted((Agent.from_properties(p) for p in found), key=lambda agent: agent.name)

    async def agent(self, name: str) -> Agent:
        """The agent `name`; raises NotFound when there is none."""
        for agent in await self.agents():
            if agent.name == name:
                return agent
        raise NotFound(f"There is no agent {name!r}; `hivectl list` shows all.")

    async def machine(self, name: str) -> tuple[str | None, int | None]:
        """Machine id and leader of a running container; None twice when it does not run."""
        manager = "org.freedesktop.machine1"
        try:
            path = await self._bus.call1(
                manager, "/org/freedesktop/machine1", f"{manager}.Manager", "GetMachine", "s", name
            )
            found = await self._bus.call1(
                manager, path, names.PROPERTIES, "GetAll", "s", f"{manager}.Machine"
            )
        except HiveError:
            return None, None
        return bytes(found["Id"]).hex() or None, found["Leader"] or None

    async def _objects(self) -> dict[str, Any]:
        reply: dict[str, Any] = await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        return reply

    async def spawn(self, name: str) -> str:
        """Order the agent `name`; returns the job's path."""
        return str(await self._lifecycle("Spawn", "sa{sv}", name, {}))

    async def destroy(self, name: str, *, purge: bool) -> str:
        """Order the end of the agent `name`, with its data if `purge`; returns the job's path."""
        return str(await self._lifecycle("Destroy", "sb", name, purge))

    async def order(self, name: str, member: str) -> str:
        """Call Start, Stop or Restart of the agent `name`; returns the job's path."""
        nobody = NotFound(f"There is no agent {name!r}; `hivectl list` shows all.")
        if not names.AGENT_NAME.fullmatch(name):
            raise nobody
        path = names.agent_path(name)
        try:
            return str(await self._bus.call1(names.LIFECYCLE, path, names.AGENT_INTERFACE, member))
        except NotFound as error:
            raise nobody from error  # its own sentence is about an object path

    async def _lifecycle(self, member: str, signature: str, *args: Any) -> Any:
        return await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.LIFECYCLE, member, signature, *args
        )

    @asynccontextmanager
    async def jobs(self) -> AsyncIterator["Jobs"]:
        """Watch how jobs end. Enter it *before* giving an order, or a quick end is missed."""
        jobs = Jobs()
        removed = await self._bus.on_signal(
            jobs.on_removed,
            sender=names.LIFECYCLE,
            interface=names.LIFECYCLE,
            member="JobRemoved",
        )
        owner = await self._bus.on_signal(
            jobs.on_owner_changed,
            sender=DAEMON,
            interface=DAEMON,
            member="NameOwnerChanged",
            arg0=names.LIFECYCLE,
        )
        try:
            yield jobs
        finally:
            await owner.close()
            await removed.close()

    # Requests

    async def requests(self, wanted: Mapping[str, Any]) -> list[Approval]:
        """The requests that match `wanted`, oldest first."""
        structs = await self._approvals("List", "a{sv}", dict(wanted))
        return [Approval.from_struct(fields) for fields in structs]

    async def approve(self, number: int) -> str:
        """Approve a request; returns the path of the job that carries it out."""
        return str(await self._approvals("Approve", "t", number))

    async def deny(self, number: int, note: str) -> None:
        """Deny a request; `note` tells the manager why."""
        await self._bus.call(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, "Deny", "ts", number, note
        )

    async def _approvals(self, member: str, signature: str, *args: Any) -> Any:
        return await self._bus.call1(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, member, signature, *args
        )

    # Dashboard

    async def login_link(self) -> str:
        """A fresh one-time address of the dashboard."""
        return str(
            await self._bus.call1(
                names.DASHBOARD, names.DASHBOARD_PATH, names.DASHBOARD, "LoginLink"
            )
        )


class Jobs:
    """The ends of lifecycle's jobs since the watch began."""

    def __init__(self) -> None:
        self._ended: dict[str, Job] = {}
        self._lost = False
        self._news = asyncio.Event()

    def on_removed(self, signal: Signal) -> None:
        """Keep how a job ended: its order's reply may still be on the way."""
        number, path, agent, verb, result, error = signal.args
        self._ended[path] = Job(number, agent, verb, result, error)
        self._news.set()

    def on_owner_changed(self, signal: Signal) -> None:
        """Lifecycle came or went. Jobs do not outlive it, so none of ours ends any more."""
        _name, old, _new = signal.args
        if old:
            self._lost = True
            self._news.set()

    async def end_of(self, path: str, slow: Callable[[], None], seconds: float) -> Job:
        """How the job at `path` ended; calls `slow` once when that takes longer than a second.

        Raises Timeout after `seconds`, Unavailable when lifecycle ends before the job does.
        """
        ending = asyncio.ensure_future(self._wait(path))
        try:
            async with asyncio.timeout(seconds):
                done, _ = await asyncio.wait({ending}, timeout=1.0)
                if not done:
                    slow()
                return await ending
        except TimeoutError:
            raise Timeout(
                f"Job {path.rpartition('/')[2]} still runs after {seconds:g} s."
            ) from None
        finally:
            ending.cancel()

    async def _wait(self, path: str) -> Job:
        while path not in self._ended:
            if self._lost:
                raise Unavailable(
                    "hive-lifecycle ended before the job did; look at `hivectl list`."
                )
            await self._news.wait()
            self._news.clear()
        return self._ended[path]
