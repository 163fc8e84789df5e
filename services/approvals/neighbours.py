"""Lifecycle and the broker, as approvals sees them over the bus."""

from typing import Any

from services.approvals.carrier import Carrier, Swarm, Task
from wire import names
from wire.bus import Bus
from wire.signals import DAEMON, DAEMON_PATH, Signal, Subscription

KIND = "approval-resolved"


class LifecycleOnBus:
    """Lifecycle1."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def swarm(self) -> Swarm:
        """The agents that there are, and what is being done to them."""
        objects: dict[str, Any] = await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        agents = [o[names.AGENT_INTERFACE] for o in objects.values() if names.AGENT_INTERFACE in o]
        jobs = {p: o[names.JOB_INTERFACE] for p, o in objects.items() if names.JOB_INTERFACE in o}
        return Swarm(
            agents={agent["Name"]: agent["DeployedCommit"] for agent in agents},
            tasks={job["Agent"]: Task(job["Verb"], path) for path, job in jobs.items()},
        )

    async def running(self) -> bool:
        """Whether somebody owns its name."""
        return bool(
            await self._bus.call1(DAEMON, DAEMON_PATH, DAEMON, "NameHasOwner", "s", names.LIFECYCLE)
        )

    async def tombstones(self) -> frozenset[str]:
        """The destroyed agents of which something is kept."""
        kept: list[list[Any]] = await self._call("ListTombstones")
        return frozenset(tombstone[0] for tombstone in kept)

    async def spawn(self, agent: str, commit: str) -> str:
        """Order a new agent; returns the job's path."""
        return str(await self._call("Spawn", "sa{sv}", agent, {"commit": commit}))

    async def deploy(self, agent: str, commit: str, *, now: bool) -> str:
        """Order another configuration; returns the job's path."""
        return str(await self._call("Deploy", "ssa{sv}", agent, commit, {"now": now}))

    async def hurry(self, job: str) -> None:
        """Have the job of a deploy wait for no turn."""
        await self._bus.call(names.LIFECYCLE, job, names.JOB_INTERFACE, "Hurry")

    async def _call(self, member: str, signature: str = "", *arguments: Any) -> Any:
        return await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.LIFECYCLE, member, signature, *arguments
        )


class BrokerOnBus:
    """Broker1."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def tell_manager(self, body: str, dedupe_key: str) -> None:
        """Send the manager a message from the hive."""
        options = {"kind": KIND, "dedupe_key": dedupe_key}
        await self._bus.call(
            names.BROKER,
            names.BROKER_PATH,
            names.BROKER,
            "Send",
            "ssa{sv}",
            names.MANAGER,
            body,
            options,
        )


async def listen(bus: Bus, carrier: Carrier) -> list[Subscription]:
    """Tell `carrier` how jobs end, and when a neighbour comes or goes.

    Do this before the first order: the end of a job is said once.
    """

    def on_job_removed(signal: Signal) -> None:
        _number, path, agent, verb, result, error = signal.args
        carrier.job_removed(path, agent, verb, result, error)

    def on_owner_changed(signal: Signal) -> None:
        name, old, _new = signal.args
        carrier.neighbour_changed(lifecycle=name == names.LIFECYCLE, lost=bool(old))

    listening = [
        await bus.on_signal(
            on_job_removed,
            sender=names.LIFECYCLE,
            interface=names.LIFECYCLE,
            member="JobRemoved",
        )
    ]
    for name in (names.LIFECYCLE, names.BROKER):
        listening.append(
            await bus.on_signal(
                on_owner_changed,
                sender=DAEMON,
                interface=DAEMON,
                member="NameOwnerChanged",
                arg0=name,
            )
        )
    return listening
