"""Starting and stopping an agent's container, the core of most jobs."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.budgets import Budgets
from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.start import SYSTEM, WAKE, Start
from services.lifecycle.backends.backend import Backend
from services.lifecycle.broker import Broker
from services.lifecycle.jobs.job import CutShortError, Job
from services.lifecycle.jobs.progress import step
from services.lifecycle.watch.disk import DiskWatch
from services.lifecycle.watch.monitor import Monitor
from wire.errors import HiveError
from wire.records.lifecycle import AgentState, JobVerb

STARTS_AT_ONCE: Final = max(4, 2 * len(os.sched_getaffinity(0)))
"""The starts that may run at a time. More would only make each slower, up to its time limit."""


@contextlib.contextmanager
def waiting(job: Job) -> Iterator[None]:
    """Mark `job` as waiting, possibly for long, while the context is entered."""
    job.waits = True
    try:
        yield
    finally:
        job.waits = False


class Containers:
    """The containers, as jobs start and stop them."""

    def __init__(
        self,
        roster: Roster,
        backend: Backend,
        monitor: Monitor,
        disk: DiskWatch,
        broker: Broker,
        budgets: Budgets,
    ) -> None:
        self._broker = broker
        self._budgets = budgets
        self._roster = roster
        self._backend = backend
        self._monitor = monitor
        self._disk = disk
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)

    async def start(self, job: Job) -> None:
        """Start the container of the job's agent and wait until it is READY.

        A container whose start fails is stopped.
        """
        agent = self._roster.agent(job.agent)
        await self._monitor.refresh(agent.name)
        if agent.unit_status.up:
            return
        try:
            if agent.state is not AgentState.STARTING:
                await self._disk.refuse_full(agent)
                await self.prepare(job)
            step(f"{agent.name}: starting the container")
            # A start that is under way was ordered before an interruption, or by systemd itself.
            async with self._starts:
                await self._backend.start(agent.spec, fresh=agent.state is not AgentState.STARTING)
        except Exception:
            # Otherwise systemd would keep trying what the caller learns has failed.
            await self.stop(job)
            raise
        await self._monitor.refresh(agent.name)

    async def stop(self, job: Job) -> None:
        """Stop the container of the job's agent, and do not report a crash."""
        step(f"{job.agent}: stopping the container")
        self._roster.expect_end(self._roster.records[job.agent])
        await self._backend.stop(job.agent)
        await self._monitor.refresh(job.agent)

    async def prepare(self, job: Job) -> None:
        """Write everything that the next start needs; build what is missing."""
        agent = self._roster.agent(job.agent)
        with waiting(job):
            await self._backend.build(agent.spec, job.number, job.tell)
        self._note_start(job)
        # From here on systemd starts the container with this network, also after a crash.
        self._roster.set_network(agent.name, self._backend.network_mode(agent.spec))
        await self.write(agent)
        try:
            await self._broker.limit_attempts(
                agent.name, self._backend.configuration(agent.spec).max_attempts
            )
        except HiveError as error:
            # A broker that starts is told anyway.
            step(f"{agent.name}: the limit of attempts was not set: {error}")
        self.mark_current(agent)

    def mark_current(self, agent: Agent) -> None:
        """Note that this version of Hyperhive has made the container, unless its build is older."""
        if self._backend.is_current(agent.spec):
            self._roster.mark_current(agent.name)

    async def write(self, agent: Agent) -> None:
        """Write the files of a container, for its present network.

        A container that runs takes over the keys of agent.toml that apply at once.
        """
        step(f"{agent.name}: writing the files")
        await self._backend.configure(agent.spec)
        await self._budgets.set(agent.name)

    def _note_start(self, job: Job) -> None:
        """Note the start that the agent is told of. It knows of its first one."""
        if job.verb is JobVerb.SPAWN:
            return
        arguments = job.arguments
        verb = str(arguments.get("reason", job.verb))
        if job.verb is JobVerb.START and arguments.get("asleep"):
            verb = WAKE
        start = Start.now(verb, str(arguments.get("by", SYSTEM)), str(arguments.get("changes", "")))
        if job.verb is JobVerb.DEPLOY and not arguments.get("runs", True):
            start = replace(start, waits=True)
        self._roster.set_started(job.agent, start)

    def note_later_start(self, job: Job) -> None:
        """Note that the next start of an agent that does not run is the one of this job.

        Changes that wait for that start are told with it.
        """
        before = self._roster.records[job.agent].started
        changes = before.changes if before and before.waits else ""
        start = Start.now(job.verb, str(job.arguments.get("by", SYSTEM)), changes)
        self._roster.set_started(job.agent, replace(start, waits=True))

    async def raise_if_host_stops(self) -> None:
        """Explain a failure by the end of the host, if that is the reason.

        Raises:
            CutShortError: the host stops.
        """
        try:
            stops = await self._backend.host_is_stopping()
        except HiveError:
            stops = True  # the bus itself is going down
        if stops:
            raise CutShortError
