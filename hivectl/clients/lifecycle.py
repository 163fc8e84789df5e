"""A client of lifecycle over the system bus: agents, their containers and their jobs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from hivectl.clients.jobs import Jobs
from hivectl.output.records import Agent
from wire import names
from wire.bus import Bus
from wire.errors import Conflict, NotFound
from wire.signals import DAEMON


class Lifecycle:
    """The service that runs the agents' containers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    # Agents

    async def agents(self) -> list[Agent]:
        """Return all agents, sorted by name.

        Raises:
            Conflict: lifecycle is older than this hivectl.
        """
        objects = await self._objects()
        found = [o[names.AGENT_INTERFACE] for o in objects.values() if names.AGENT_INTERFACE in o]
        try:
            agents = [Agent.from_properties(properties) for properties in found]
        except KeyError as error:
            raise Conflict(
                f"hive-lifecycle runs another version, which reports no {error.args[0]} of agents. "
                "Run `systemctl restart hive-lifecycle`."
            ) from error
        return sorted(agents, key=lambda agent: agent.name)

    async def agent(self, name: str) -> Agent:
        """Return the agent `name`.

        Raises:
            NotFound: there is no such agent.
        """
        for agent in await self.agents():
            if agent.name == name:
                return agent
        raise _no_agent(name)

    async def spawn(self, name: str) -> str:
        """Make the agent `name`; return the path of the job."""
        return str(await self._call("Spawn", "sa{sv}", name, {}))

    async def destroy(self, name: str, *, purge: bool) -> str:
        """Destroy the agent `name`, and its data if `purge`; return the path of the job."""
        return str(await self._call("Destroy", "sb", name, purge))

    async def start_job(self, name: str, member: str) -> str:
        """Call Start, Stop, Restart, Rebuild or Update of `name`; return the path of the job."""
        return str(await self.call_agent(name, member))

    async def call_agent(self, name: str, member: str, signature: str = "", *args: Any) -> Any:
        """Call a method of the agent `name` and return its answer, None if it has none.

        Raises:
            NotFound: there is no such agent.
        """
        if not names.AGENT_NAME.fullmatch(name):
            raise _no_agent(name)
        path, interface = names.agent_path(name), names.AGENT_INTERFACE
        try:
            answer = await self._bus.call(
                names.LIFECYCLE, path, interface, member, signature, *args
            )
        except NotFound as error:
            raise _no_agent(name) from error  # the bus names an object path
        return answer[0] if answer else None

    async def update_all(self) -> list[str]:
        """Update each stale agent once it is idle; return the names of these agents."""
        return list(await self._call("UpdateAll", ""))

    async def set_resources(self, name: str, limits: Mapping[str, int | str]) -> None:
        """Change limits of the agent `name`."""
        await self.call_agent(name, "SetResources", "a{sv}", dict(limits))

    async def usage(self, name: str) -> dict[str, int]:
        """Return what the agent `name` uses now; empty when it does not run."""
        found: dict[str, int] = await self.call_agent(name, "GetUsage")
        return found

    # Destroyed agents

    async def tombstones(self) -> list[tuple[str, int, int]]:
        """Return the destroyed agents whose data are kept.

        Returns:
            For each: name, bytes, and when it was destroyed, in microseconds since 1970.
        """
        return [tuple(row) for row in await self._call("ListTombstones", "")]

    async def purge(self, name: str) -> str:
        """Delete the kept data of the destroyed agent `name`; return the path of the job."""
        return str(await self._call("PurgeTombstone", "s", name))

    # Jobs

    async def job_of(self, name: str) -> tuple[int, str] | None:
        """Return number and verb of the agent's queued or running job, None if it has none."""
        for shown in (await self._objects()).values():
            job = shown.get(names.JOB_INTERFACE)
            if job and job["Agent"] == name:
                return job["Id"], job["Verb"]
        return None

    async def cancel_job(self, number: int) -> None:
        """Cancel a job and undo what it did.

        Raises:
            NotFound: there is no such job, or it has ended.
        """
        path = names.job_path(number)
        try:
            await self._bus.call(names.LIFECYCLE, path, names.JOB_INTERFACE, "Cancel")
        except NotFound as error:
            raise NotFound(f"There is no job {number}, or it has ended.") from error

    @asynccontextmanager
    async def jobs(self) -> AsyncIterator[Jobs]:
        """Watch how jobs end.

        Enter the context *before* the call that starts a job: a quick end is missed otherwise.
        """
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

    async def _objects(self) -> dict[str, Any]:
        reply: dict[str, Any] = await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        return reply

    async def _call(self, member: str, signature: str, *args: Any) -> Any:
        return await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.LIFECYCLE, member, signature, *args
        )


def _no_agent(name: str) -> NotFound:
    return NotFound(f"There is no agent {name!r}; `hivectl list` shows all.")
