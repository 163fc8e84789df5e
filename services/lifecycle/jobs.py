"""Jobs: what takes time, one at a time for each agent, as systemd does it.

A job is on disk from the moment it is accepted until it has ended. So one that is interrupted by
the end of lifecycle goes on when lifecycle is back, under its old number.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from wire.errors import Conflict, HiveError, NotFound

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 20.0
"""How long a stopping service waits for its jobs; what is left then goes on at the next start."""


_fields: ContextVar[Mapping[str, object]] = ContextVar("fields", default={})  # noqa: B039


def step(text: str) -> None:
    """Log what the job that is being done does next, under its number."""
    log.info(text, extra=dict(_fields.get()))


class Verb(StrEnum):
    """What a job does to its agent."""

    SPAWN = "spawn"
    DESTROY = "destroy"
    PURGE = "purge"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    REBUILD = "rebuild"
    UPDATE = "update"
    SLEEP = "sleep"
    DEPLOY = "deploy"


PARTICIPLES: Final[Mapping[Verb, str]] = {
    Verb.SPAWN: "spawned",
    Verb.DESTROY: "destroyed",
    Verb.PURGE: "purged",
    Verb.START: "started",
    Verb.STOP: "stopped",
    Verb.RESTART: "restarted",
    Verb.REBUILD: "rebuilt",
    Verb.UPDATE: "updated",
    Verb.SLEEP: "put to sleep",
    Verb.DEPLOY: "deployed",
}


class CutShortError(Exception):
    """What a job needs goes down with the host: the next lifecycle goes on with it."""


class JobState(StrEnum):
    """How far a job is; a finished one is gone, with a Result."""

    WAITING = "waiting"
    RUNNING = "running"
    CANCELLING = "cancelling"


class Result(StrEnum):
    """How a job ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Job:
    """Something that is being done to an agent.

    `arguments` is plain data that is kept with it: what was asked for, and what its work must know
    to go on after an interruption. Two requests are the same when their verb and `wanted` are.
    """

    agent: str
    verb: Verb
    wanted: tuple[object, ...] = ()
    arguments: dict[str, object] = field(default_factory=dict)
    number: int = 0
    state: JobState = JobState.WAITING
    final: bool = False
    """Whether it is past the point where it could still be undone."""
    waits: bool = False
    """Whether it only waits, maybe for long: a service that stops does not wait for that."""

    @property
    def cancelling(self) -> bool:
        """Whether it is to be undone."""
        return self.state is JobState.CANCELLING


Work = Callable[[Job], Awaitable[str]]
"""Does a job and returns what it changed, in one line, or nothing. It may be called again for a job
that was interrupted anywhere."""


class JobStore(Protocol):
    """Where jobs are kept while they run."""

    def add_job(self, job: Job) -> int:
        """Keep it, on disk; returns its number, which no other job ever has."""

    def save_job(self, job: Job) -> None:
        """Keep its new arguments."""

    def remove_job(self, number: int) -> None:
        """It has ended."""


class JobObserver(Protocol):
    """Who is told of jobs."""

    def job_new(self, job: Job) -> None:
        """It was accepted, or goes on after an interruption."""

    def job_changed(self, job: Job) -> None:
        """Its state is another one."""

    def job_removed(self, job: Job, result: Result, note: str) -> None:
        """It is over; `note` says why it is not done, or what it has changed."""


class Jobs:
    """The jobs that run now. Owns their tasks."""

    def __init__(
        self, store: JobStore, observer: JobObserver, ended: Callable[[Job, Result, str], None]
    ) -> None:
        """`ended` is called when nothing is done to an agent any more, as the observer is."""
        self._store = store
        self._observer = observer
        self._ended = ended
        self._running: dict[str, Job] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._draining = False

    def of(self, agent: str) -> Job | None:
        """The job that is done to `agent` now."""
        return self._running.get(agent)

    def find(self, number: int) -> Job:
        """The job that waits or runs under `number`; raises NotFound."""
        for job in self._running.values():
            if job.number == number:
                return job
        raise NotFound(f"Job {number} is over already.")

    def submit(self, job: Job, work: Work, undo: Work) -> Job:
        """Accept `job` and answer at once; the same request while it runs gets the same job.

        Args:
            job: a new one.
            work: does it.
            undo: puts the agent back as it was, when the job is cancelled.

        Raises Conflict when something else is being done to the agent.
        """
        running = self._running.get(job.agent)
        if running is not None:
            if (running.verb, running.wanted) == (job.verb, job.wanted):
                return running
            raise Conflict(
                f"{job.agent} is being {PARTICIPLES[running.verb]} (job {running.number}); "
                "ask again when that is over."
            )
        job.number = self._store.add_job(job)
        self.resume(job, work, undo)
        return job

    def resume(self, job: Job, work: Work, undo: Work) -> None:
        """Begin `job`, which is kept already."""
        self._running[job.agent] = job
        self._tasks[job.number] = asyncio.create_task(
            self._run(job, work, undo), name=f"job-{job.number}"
        )
        self._observer.job_new(job)

    def cancel(self, number: int) -> None:
        """Have the job undone; its end comes as that of any job.

        Raises NotFound when it is over, Conflict when it cannot be undone any more.
        """
        job = self.find(number)
        if job.final:
            raise Conflict(
                f"Job {number} cannot be cancelled any more: part of {job.agent} is gone already."
            )
        if not job.cancelling:
            self._enter(job, JobState.CANCELLING)
            self._tasks[number].cancel()

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Wait for what runs, at most `seconds`; the rest goes on at the next start."""
        tasks = list(self._tasks.values())
        if not tasks:
            return
        for job in self._running.values():
            if job.waits:
                self._tasks[job.number].cancel()
        _, late = await asyncio.wait(tasks, timeout=seconds)
        self._draining = True
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: Job, work: Work, undo: Work) -> None:
        fields = {"HIVE_AGENT": job.agent, "HIVE_JOB": job.number}
        _fields.set(fields)  # for this task, which is the job's own
        try:
            result, note = await self._outcome(job, work, undo)
        except (asyncio.CancelledError, CutShortError) as end:
            log.info("%s of %s is interrupted", job.verb, job.agent, extra=fields)
            self._forget(job)
            if isinstance(end, CutShortError):
                return
            raise
        level = logging.INFO if result is Result.DONE else logging.WARNING
        log.log(
            level, "%s of %s %s%s", job.verb, job.agent, result, f": {note}" if note else "",
            extra=fields,
        )  # fmt: skip
        self._store.remove_job(job.number)
        self._forget(job)
        self._observer.job_removed(job, result, note)
        self._ended(job, result, note)

    async def _outcome(self, job: Job, work: Work, undo: Work) -> tuple[Result, str]:
        """How it ended. Raises CancelledError or CutShortError when the service ends before it."""
        if not job.cancelling:
            try:
                self._enter(job, JobState.RUNNING)
                return Result.DONE, await work(job)
            except asyncio.CancelledError:
                if self._draining or not job.cancelling:
                    raise
            except CutShortError:
                raise
            except HiveError as failure:
                return Result.FAILED, str(failure)
            except Exception as failure:
                log.exception("%s of %s failed", job.verb, job.agent)
                return Result.FAILED, f"{type(failure).__name__}: {failure}"
        try:
            await undo(job)
        except HiveError as failure:
            return Result.FAILED, f"It was cancelled, but could not be undone: {failure}"
        return Result.CANCELLED, f"It was cancelled; {job.agent} is as it was."

    def _enter(self, job: Job, state: JobState) -> None:
        job.state = state
        self._store.save_job(job)
        self._observer.job_changed(job)

    def _forget(self, job: Job) -> None:
        del self._running[job.agent]
        del self._tasks[job.number]
