"""Bringing an agent's container up, and taking it down: what most jobs are made of."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Final

from services.lifecycle.agents.agent import State
from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.jobs.job import CutShortError, Job
from services.lifecycle.jobs.progress import step
from services.lifecycle.watch.monitor import Monitor
from wire.errors import HiveError

STARTS_AT_ONCE: Final = max(4, 2 * len(os.sched_getaffinity(0)))
"""Of containers. More of them would only make each slower, up to the time limit of a start."""


@contextlib.contextmanager
def waiting(job: Job) -> Iterator[None]:
    """Inside, `job` only waits, maybe for long."""
    job.waits = True
    try:
        yield
    finally:
        job.waits = False


class Containers:
    """The containers, as far as jobs have their hands on them."""

    def __init__(self, roster: Roster, backend: Backend, monitor: Monitor) -> None:
        self._roster = roster
        self._backend = backend
        self._monitor = monitor
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)

    async def up(self, job: Job) -> None:
        """Have the container of the job's agent run; READY on return. One that fails is down."""
        agent = self._roster.agent(job.agent)
        await self._monitor.refresh(agent.name)
        if agent.unit_status.up:
            return
        try:
            if agent.state is not State.STARTING:
                await self.lay(job)
            step(f"{agent.name}: its container is started")
            # One that is starting was ordered before an interruption, or systemd starts it again.
            async with self._starts:
                await self._backend.start(agent.spec, fresh=agent.state is not State.STARTING)
        except Exception:
            # Or systemd would go on trying what was just answered as failed.
            await self.down(job)
            raise
        await self._monitor.refresh(agent.name)

    async def stay(self) -> None:
        """Raises CutShortError when what has just failed did so because the host goes down."""
        try:
            ends = await self._backend.host_is_stopping()
        except HiveError:
            ends = True  # the bus is what goes
        if ends:
            raise CutShortError

    async def lay(self, job: Job) -> None:
        """Write all that its next start needs; what is missing of its build is made."""
        agent = self._roster.agent(job.agent)
        with waiting(job):
            await self._backend.build(agent.spec, job.number)
        step(f"{agent.name}: its files are written")
        await self._backend.configure(agent.spec)
        self._roster.built(agent.name)

    async def down(self, job: Job) -> None:
        """Have it not run, and excuse that."""
        step(f"{job.agent}: its container is stopped")
        self._roster.excuse(self._roster.records[job.agent])
        await self._backend.stop(job.agent)
        await self._monitor.refresh(job.agent)
