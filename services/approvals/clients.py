"""Lifecycle, the broker and the ledger over the bus, as approvals uses them."""

from collections.abc import Callable

from services.approvals.deploys.controller import Controller
from services.approvals.deploys.lifecycle import Job, Snapshot
from services.approvals.notifier import Notice
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.clients.lifecycle import JobClient, LifecycleClient
from wire.records import decode
from wire.records.broker import SendOptions
from wire.records.lifecycle import DeployOptions, JobRemoved, SpawnOptions
from wire.signals import Signal, Subscription

KIND = "approval-resolved"
"""The kind of the messages to the manager."""


class BusLifecycle:
    """Lifecycle, for approvals. A call starts lifecycle when it does not run."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._client = LifecycleClient(bus)

    async def snapshot(self) -> Snapshot:
        """Return the agents and the jobs that there are now."""
        objects = await self._client.managed_objects()
        return Snapshot(
            agents={agent.name: agent.deployed_commit for agent in objects.agents.values()},
            jobs={job.agent: Job(job.verb, path) for path, job in objects.jobs.items()},
        )

    async def running(self) -> bool:
        """Return whether lifecycle runs, without starting it."""
        return bool(await self._bus.owner_of(names.LIFECYCLE))

    async def tombstones(self) -> frozenset[str]:
        """Return the destroyed agents whose state is kept."""
        return frozenset(tombstone.name for tombstone in await self._client.list_tombstones())

    async def spawn(self, agent: str, commit: str) -> str:
        """Order a new agent; return the path of the job."""
        return await self._client.spawn(agent, SpawnOptions(commit=commit))

    async def deploy(self, agent: str, commit: str, *, now: bool, changes: str) -> str:
        """Order another configuration; return the path of the job."""
        return await self._client.deploy(agent, commit, DeployOptions(now, changes))

    async def hurry(self, job: str) -> None:
        """Stop waiting for the end of the turn in the job of a deploy."""
        await JobClient(self._bus, job).hurry()


class BusBroker:
    """The broker, for approvals. A call starts the broker when it does not run."""

    def __init__(self, bus: Bus) -> None:
        self._client = BrokerClient(bus)

    async def send(self, notice: Notice) -> None:
        """Hand one message over; the dedupe key makes a repetition harmless."""
        options = SendOptions(kind=KIND, dedupe_key=notice.dedupe_key)
        await self._client.send(notice.recipient, notice.body, options)


async def listen(
    bus: Bus, controller: Controller, broker_appeared: Callable[[], None]
) -> list[Subscription]:
    """Hand the events of lifecycle to `controller`, and call `broker_appeared` for a new broker.

    Subscribe before the first order: the end of a job is signalled once.
    """

    def on_job_removed(signal: Signal) -> None:
        controller.job_removed(decode(JobRemoved, signal.args))

    return [
        await bus.on_signal(
            on_job_removed,
            sender=names.LIFECYCLE,
            interface=names.LIFECYCLE,
            member="JobRemoved",
        ),
        await bus.on_owner(
            names.LIFECYCLE,
            came=lambda _: controller.lifecycle_appeared(),
            went=lambda _: controller.lifecycle_vanished(),
        ),
        await bus.on_owner(names.BROKER, came=lambda _: broker_appeared()),
    ]
