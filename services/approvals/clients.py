"""Lifecycle and the broker over the bus."""

from collections.abc import Callable
from typing import Any

from services.approvals.deploys.controller import Controller
from services.approvals.deploys.deployment import Outcome
from services.approvals.deploys.lifecycle import Job, Snapshot
from services.approvals.notifier import Notice
from wire import names
from wire.bus import Bus
from wire.signals import DAEMON, DAEMON_PATH, Signal, Subscription

KIND = "approval-resolved"


class LifecycleClient:
    """org.hyperhive.Lifecycle1."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def snapshot(self) -> Snapshot:
        """Return the agents and the jobs that there are now."""
        objects: dict[str, Any] = await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        agents = [o[names.AGENT_INTERFACE] for o in objects.values() if names.AGENT_INTERFACE in o]
        jobs = {p: o[names.JOB_INTERFACE] for p, o in objects.items() if names.JOB_INTERFACE in o}
        return Snapshot(
            agents={agent["Name"]: agent["DeployedCommit"] for agent in agents},
            jobs={job["Agent"]: Job(job["Verb"], path) for path, job in jobs.items()},
        )

    async def running(self) -> bool:
        """Return whether lifecycle's name has an owner."""
        return bool(
            await self._bus.call1(DAEMON, DAEMON_PATH, DAEMON, "NameHasOwner", "s", names.LIFECYCLE)
        )

    async def tombstones(self) -> frozenset[str]:
        """Return the destroyed agents whose state is kept."""
        kept: list[list[Any]] = await self._call("ListTombstones")
        return frozenset(tombstone[0] for tombstone in kept)

    async def spawn(self, agent: str, commit: str) -> str:
        """Order a new agent; return the path of the job."""
        return str(await self._call("Spawn", "sa{sv}", agent, {"commit": commit}))

    async def deploy(self, agent: str, commit: str, *, now: bool) -> str:
        """Order another configuration; return the path of the job."""
        return str(await self._call("Deploy", "ssa{sv}", agent, commit, {"now": now}))

    async def hurry(self, job: str) -> None:
        """Stop waiting for the end of the turn in the job of a deploy."""
        await self._bus.call(names.LIFECYCLE, job, names.JOB_INTERFACE, "Hurry")

    async def _call(self, member: str, signature: str = "", *arguments: Any) -> Any:
        return await self._bus.call1(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.LIFECYCLE, member, signature, *arguments
        )


class BrokerClient:
    """org.hyperhive.Broker1."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def send(self, notice: Notice) -> None:
        """Send the manager a message from the hive."""
        options = {"kind": KIND, "dedupe_key": notice.dedupe_key}
        await self._bus.call(
            names.BROKER,
            names.BROKER_PATH,
            names.BROKER,
            "Send",
            "ssa{sv}",
            notice.recipient,
            notice.body,
            options,
        )


async def listen(
    bus: Bus, controller: Controller, broker_appeared: Callable[[], None]
) -> list[Subscription]:
    """Hand the events of lifecycle to `controller`, and tell when there is a new broker.

    Subscribe before the first order: the end of a job is signalled once.
    """

    def on_job_removed(signal: Signal) -> None:
        _number, path, agent, verb, result, error = signal.args
        controller.job_removed(path, agent, verb, Outcome(result, error))

    def on_lifecycle(signal: Signal) -> None:
        _name, old, _new = signal.args
        if old:
            controller.lifecycle_vanished()
        else:
            controller.lifecycle_appeared()

    def on_broker(signal: Signal) -> None:
        _name, _old, new = signal.args
        if new:
            broker_appeared()

    listening = [
        await bus.on_signal(
            on_job_removed,
            sender=names.LIFECYCLE,
            interface=names.LIFECYCLE,
            member="JobRemoved",
        )
    ]
    for name, callback in ((names.LIFECYCLE, on_lifecycle), (names.BROKER, on_broker)):
        listening.append(
            await bus.on_signal(
                callback,
                sender=DAEMON,
                interface=DAEMON,
                member="NameOwnerChanged",
                arg0=name,
            )
        )
    return listening
