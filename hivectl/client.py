"""The hive over the system bus: agents; broker and approvals are behind attributes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from hivectl.approvals import Approvals
from hivectl.broker import Broker
from hivectl.jobs import Jobs
from hivectl.records import Agent
from wire import names
from wire.bus import Bus
from wire.errors import Conflict, HiveError, NotFound, Unavailable
from wire.signals import DAEMON


class Hive:
    """The operator's connection to a hive."""

    broker: Broker
    """What is said in it."""
    approvals: Approvals
    """What waits for the operator."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.broker = Broker(bus)
        self.approvals = Approvals(bus)

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
        """All agents, by name. Raises Conflict when lifecycle is older than this hivectl."""
        objects = await self._objects()
        found = [o[names.AGENT_INTERFACE] for o in objects.values() if names.AGENT_INTERFACE in o]
        try:
            agents = [Agent.from_properties(properties) for properties in found]
        except KeyError as error:
            raise Conflict(
                f"hive-lifecycle is of another version and does not tell {error.args[0]} of its "
                "agents: systemctl restart hive-lifecycle"
            ) from error
        return sorted(agents, key=lambda agent: agent.name)

    async def agent(self, name: str) -> Agent:
        """The agent `name`; raises NotFound when there is none."""
        for agent in await self.agents():
            if agent.name == name:
                return agent
        raise NotFound(f"There is no agent {name!r}; `hivectl list` shows all.")

    async def job_of(self, name: str) -> tuple[int, str] | None:
        """Number and verb of the job that runs or waits for the agent `name`, if one does."""
        for shown in (await self._objects()).values():
            job = shown.get(names.JOB_INTERFACE)
            if job and job["Agent"] == name:
                return job["Id"], job["Verb"]
        return None

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
        """Call Start, Stop, Restart, Rebuild or Update of `name`; returns the job's path."""
        return str(await self.tell(name, member))

    async def tell(self, name: str, member: str, signature: str = "", *args: Any) -> Any:
        """Call a method of the agent `name`; returns what it answers. Raises NotFound."""
        nobody = NotFound(f"There is no agent {name!r}; `hivectl list` shows all.")
        if not names.AGENT_NAME.fullmatch(name):
            raise nobody
        path, interface = names.agent_path(name), names.AGENT_INTERFACE
        try:
            answer = await self._bus.call(
                names.LIFECYCLE, path, interface, member, signature, *args
            )
        except NotFound as error:
            raise nobody from error  # its own sentence is about an object path
        return answer[0] if answer else None

    async def update_all(self) -> list[str]:
        """Have all that is stale updated, each when it is at rest; returns their names."""
        return list(await self._lifecycle("UpdateAll", ""))

    async def set_resources(self, name: str, limits: Mapping[str, int | str]) -> None:
        """Change limits of the agent `name`."""
        await self.tell(name, "SetResources", "a{sv}", dict(limits))

    async def usage(self, name: str) -> dict[str, int]:
        """What the agent `name` uses now; empty when it does not run."""
        found: dict[str, int] = await self.tell(name, "GetUsage")
        return found

    async def tombstones(self) -> list[tuple[str, int, int]]:
        """What is kept of destroyed agents: name, bytes, and when, in microseconds since 1970."""
        return [tuple(row) for row in await self._lifecycle("ListTombstones", "")]

    async def purge(self, name: str) -> str:
        """Order the end of what is kept of `name`; returns the job's path."""
        return str(await self._lifecycle("PurgeTombstone", "s", name))

    async def cancel_job(self, number: int) -> None:
        """Undo a job."""
        path = names.job_path(number)
        try:
            await self._bus.call(names.LIFECYCLE, path, names.JOB_INTERFACE, "Cancel")
        except NotFound as error:
            raise NotFound(f"There is no job {number}, or it is over already.") from error

    async def _lifecycle(self, member: str, signature: str, *args: Any) -> Any:
        return await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.LIFECYCLE, member, signature, *args
        )

    @asynccontextmanager
    async def jobs(self) -> AsyncIterator[Jobs]:
        """Watch how jobs end. Enter it *before* giving an order, or a quick end is missed."""
        jobs = Jobs(self._objects)
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

    # Dashboard

    async def login_link(self) -> str:
        """A fresh one-time address of the dashboard."""
        return str(
            await self._bus.call1(
                names.DASHBOARD, names.DASHBOARD_PATH, names.DASHBOARD, "LoginLink"
            )
        )
