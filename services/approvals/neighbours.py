"""Lifecycle and the broker, as approvals sees them over the bus."""

from typing import Any

from services.approvals.approvals import Approvals, Swarm
from wire import names
from wire.bus import Bus
from wire.signals import DAEMON, Signal, Subscription

KIND = "approval-resolved"


class LifecycleOnBus:
    """Lifecycle1."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def swarm(self) -> Swarm:
        """The agents that there are, and those being spawned."""
        objects: dict[str, Any] = await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        agents = [o[names.AGENT_INTERFACE] for o in objects.values() if names.AGENT_INTERFACE in o]
        jobs = [o[names.JOB_INTERFACE] for o in objects.values() if names.JOB_INTERFACE in o]
        return Swarm(
            agents=frozenset(agent["Name"] for agent in agents),
            spawning=frozenset(job["Agent"] for job in jobs if job["Verb"] == "spawn"),
        )

    async def spawn(self, agent: str) -> str:
        """Order a new agent; returns the job's path."""
        path = await self._bus.call1(
            names.LIFECYCLE,
            names.LIFECYCLE_PATH,
            names.LIFECYCLE,
            "Spawn",
            "sa{sv}",
            agent,
            {},
        )
        return str(path)


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


async def listen(bus: Bus, approvals: Approvals) -> list[Subscription]:
    """Tell `approvals` how jobs end, and when a neighbour comes or goes.

    Do this before the first order: the end of a job is said once.
    """

    def on_job_removed(signal: Signal) -> None:
        _number, path, agent, verb, result, error = signal.args
        approvals.job_removed(path, agent, verb, result, error)

    def on_owner_changed(signal: Signal) -> None:
        name, old, _new = signal.args
        approvals.neighbour_changed(lifecycle_lost=name == names.LIFECYCLE and bool(old))

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
