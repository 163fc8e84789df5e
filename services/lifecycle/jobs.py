"""Jobs: what takes time, one at a time for each agent, as systemd does it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from wire.errors import Conflict, HiveError

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 20.0
"""How long a stopping service waits for its jobs; what is cut off then is put right on start."""


class Verb(StrEnum):
    """What a job does to its agent."""

    SPAWN = "spawn"
    DESTROY = "destroy"
    START = "start"
    STOP = "stop"
    RESTART = "restart"


GERUND: Final[Mapping[Verb, str]] = {
    Verb.SPAWN: "being spawned",
    Verb.DESTROY: "being destroyed",
    Verb.START: "being started",
    Verb.STOP: "being stopped",
    Verb.RESTART: "being restarted",
}


class JobState(StrEnum):
    """How far a job is; a finished one is gone, with a Result."""

    WAITING = "waiting"
    RUNNING = "running"


class Result(StrEnum):
    """How a job ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Job:
    """Something that is being done to an agent."""

    number: int
    agent: str
    verb: Verb
    arguments: tuple[object, ...] = ()
    state: JobState = JobState.WAITING


class JobObserver(Protocol):
    """Who is told of jobs."""

    def job_new(self, job: Job) -> None:
        """It was accepted."""

    def job_changed(self, job: Job) -> None:
        """It began to run."""

    def job_removed(self, job: Job, result: Result, error: str) -> None:
        """It is over; `error` is a sentence, empty when it is done."""


class Jobs:
    """The jobs that run now. Owns their tasks."""

    def __init__(self, observer: JobObserver) -> None:
        self._observer = observer
        self._running: dict[str, Job] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._last = 0

    def of(self, agent: str) -> Job | None:
        """The job that is done to `agent` now."""
        return self._running.get(agent)

    def join(self, agent: str, verb: Verb, *arguments: object) -> Job | None:
        """The running job that does just this; None when nothing is being done to `agent`.

        Raises Conflict when something else is.
        """
        job = self._running.get(agent)
        if job is None or (job.verb, job.arguments) == (verb, arguments):
            return job
        raise Conflict(
            f"{agent} is {GERUND[job.verb]} (job {job.number}); ask again when that is over."
        )

    def submit(
        self, agent: str, verb: Verb, work: Callable[[], Awaitable[None]], *arguments: object
    ) -> Job:
        """Begin `work` and answer at once; the same request while it runs gets the same job."""
        if job := self.join(agent, verb, *arguments):
            return job
        self._last += 1
        job = Job(self._last, agent, verb, arguments)
        self._running[agent] = job
        self._tasks[job.number] = asyncio.create_task(
            self._run(job, work), name=f"job-{job.number}"
        )
        self._observer.job_new(job)
        return job

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Wait for what runs, at most `seconds`; then cancel it."""
        tasks = list(self._tasks.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: Job, work: Callable[[], Awaitable[None]]) -> None:
        fields = {"HIVE_AGENT": job.agent, "HIVE_JOB": job.number}
        result, error = Result.DONE, ""
        try:
            job.state = JobState.RUNNING
            self._observer.job_changed(job)
            await work()
        except asyncio.CancelledError:
            result, error = Result.CANCELLED, "Lifecycle is being stopped; look again afterwards."
            raise
        except HiveError as failure:
            result, error = Result.FAILED, str(failure)
            log.warning("%s of %s failed: %s", job.verb, job.agent, failure, extra=fields)
        except Exception as failure:
            result, error = Result.FAILED, f"{type(failure).__name__}: {failure}"
            log.exception("%s of %s failed", job.verb, job.agent, extra=fields)
        else:
            log.info("%s of %s is done", job.verb, job.agent, extra=fields)
        finally:
            del self._running[job.agent]
            del self._tasks[job.number]
            self._observer.job_removed(job, result, error)
