"""The disk space of agents: measured, with a warning at 80 % of the limit, and a stop at 100 %."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.jobs.job import Job
from services.lifecycle.notices.notice import Notice, notices
from services.tasks import Tasks
from wire import names
from wire.errors import HiveError, LimitExceeded
from wire.records.lifecycle import AgentState, JobResult, JobVerb

log = logging.getLogger(__name__)

KIND: Final = "disk-space"

WARNED_AT: Final = 0.8
"""The part of the limit at which the manager and the operator are warned."""

RATE: Final = 64 * 2**20
"""Bytes a second. An agent that does not write faster is seen before it reaches the next level."""
SOONEST: Final = 15.0
LATEST: Final = 300.0
"""Seconds between two measurements of a running agent without any event."""
SHORTEST: Final = 5.0
"""Seconds between two measurements of an agent, whatever happens."""
SHARE: Final = 20
"""The part of the time that is spent on measuring one agent is at most one of so many."""


class Level(StrEnum):
    """How near an agent is to its limit."""

    ENOUGH = "enough"
    LOW = "low"
    FULL = "full"


class DiskWatch:
    """Measures one agent after the other. Owns one task.

    An agent is measured when its harness reports another turn state, when its container starts or
    ends, and when a job of it ends. A hostile harness reports nothing, so a running agent is also
    measured after the time that it needs to reach the next level by fast writing.
    """

    def __init__(
        self,
        roster: Roster,
        backend: Backend,
        order: Callable[[JobVerb, str], object],
        busy: Callable[[str], bool],
        hurry: Callable[[str], None],
        tell: Callable[[Notice], None],
        measured: Callable[[], None],
    ) -> None:
        """Do nothing before `start`.

        Args:
            roster: the agents.
            backend: measures their files.
            order: orders a job.
            busy: returns whether an agent has a job.
            hurry: makes a job of an agent wait for no end of a turn.
            tell: sends a message.
            measured: is called after each measurement.
        """
        self._roster = roster
        self._backend = backend
        self._order = order
        self._busy = busy
        self._hurry = hurry
        self._tell = tell
        self._measured = measured
        self._used: dict[str, int] = {}
        self._levels: dict[str, Level] = {}
        self._due: dict[str, float] = {}
        self._rested: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._tasks = Tasks()

    def start(self) -> None:
        """Measure all agents, and from now on each when there is a reason."""
        for name in self._roster.agents:
            self.check(name)
        self._tasks.start_detached(self._run(), "disk")

    async def stop(self) -> None:
        """Measure nothing more."""
        await self._tasks.cancel()

    def used(self, name: str) -> int | None:
        """Return the bytes on disk of an agent when they were last measured."""
        return self._used.get(name)

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """Measure an agent whose turn or container has changed."""
        if changed & {"turn_state", "unit_status", "spec"}:
            self.check(agent.name)

    def job_ended(self, job: Job, _result: JobResult, _note: str) -> None:
        """Measure the agent of a job that has ended."""
        self.check(job.agent)

    def check(self, name: str) -> None:
        """Measure an agent soon."""
        soon = max(self._now, self._rested.get(name, 0.0))
        self._due[name] = min(soon, self._due.get(name, soon))
        self._changed.set()

    async def refuse_full(self, agent: Agent) -> None:
        """Check that a container may start.

        Raises:
            LimitExceeded: the agent has reached its limit.
        """
        if self._levels.get(agent.name) is not Level.FULL:
            return
        if await self._measure(agent) is Level.FULL:
            raise LimitExceeded(
                f"{agent.name} is not started: {self._sentence(agent)} Delete some of its files, "
                f"or raise the limit with `hivectl limits {agent.name} disk_max=SIZE`."
            )

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            name = min(self._due, key=self._due.__getitem__, default=None)
            if name is not None and self._due[name] <= self._now:
                del self._due[name]
                if agent := self._roster.agents.get(name):
                    await self._look_at(agent)
                continue
            until = None if name is None else self._due[name]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._changed.wait()

    async def _look_at(self, agent: Agent) -> None:
        try:
            before = self._levels.get(agent.name, Level.ENOUGH)
            now = await self._measure(agent)
            if now is not before:
                self._report(agent, now)
            if now is Level.FULL and _runs(agent):
                if self._busy(agent.name):
                    # A deploy stops the container, and does not start one that is full. A hostile
                    # agent would have it wait for ever.
                    self._hurry(agent.name)
                else:
                    self._order(JobVerb.STOP, agent.name)
            self._measured()
        except (HiveError, OSError) as error:
            log.error("cannot limit the disk space of %s: %s", agent.name, error)
        except Exception:
            # A failure with one agent must not lift the limits of the others.
            log.exception("cannot limit the disk space", extra={"HIVE_AGENT": agent.name})

    async def _measure(self, agent: Agent) -> Level:
        name, limit = agent.name, self._backend.resources(agent.spec).disk_max
        began = self._now
        # An agent that has filled the disk with small files is not measured to the last one.
        enough = 2 * limit if limit else 2**62
        used = self._used[name] = await self._backend.disk_usage(agent.spec, enough)
        took = self._now - began
        self._rested[name] = self._now + max(SHORTEST, SHARE * took)
        level = self._levels[name] = level_of(used, limit)
        if _runs(agent) and limit:
            later = self._now + pause(used, limit)
            self._due[name] = max(self._rested[name], min(later, self._due.get(name, later)))
        return level

    def _report(self, agent: Agent, level: Level) -> None:
        if level is Level.ENOUGH:
            return
        text = self._sentence(agent)
        text += (
            " It is stopped, and does not start before files are deleted or the limit is raised: "
            f"`hivectl limits {agent.name} disk_max=SIZE`."
            if level is Level.FULL
            else " At the limit it is stopped."
        )
        log.warning("%s", text, extra={"HIVE_AGENT": agent.name})
        # An agent that fills and clears its disk in turn must not flood its readers.
        key = f"{KIND}:{agent.name}:{level}:{int(time.time() // 3600)}"
        recipients = [names.MANAGER] if agent.name != names.MANAGER else []
        for notice in notices(KIND, text, key, [*recipients, names.OPERATOR]):
            self._tell(notice)

    def _sentence(self, agent: Agent) -> str:
        used, limit = self._used[agent.name], self._backend.resources(agent.spec).disk_max or 0
        amount = f"{_gib(used)} of" if used < 2 * limit else "more than twice"
        return f"{agent.name} uses {amount} the {_gib(limit)} of disk space that it may use."


def level_of(used: int, limit: int | None) -> Level:
    """Return how near an agent is to its limit; None is no limit."""
    if limit is None or used < WARNED_AT * limit:
        return Level.ENOUGH
    return Level.LOW if used < limit else Level.FULL


def pause(used: int, limit: int) -> float:
    """Return the seconds until a running agent is measured again."""
    room = (limit if used >= WARNED_AT * limit else WARNED_AT * limit) - used
    return min(max(room / RATE, SOONEST), LATEST)


def _runs(agent: Agent) -> bool:
    return agent.state not in (AgentState.STOPPED, AgentState.SLEEPING, AgentState.FAILED)


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
