"""The running jobs: one at a time for each agent, like the job queue of systemd.

A job is on disk from the moment it is accepted until it has ended. When lifecycle is killed in
the middle of a job, the next lifecycle continues the job under its old number.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from services.lifecycle.jobs import progress
from services.lifecycle.jobs.job import CutShortError, Job, Work
from wire.errors import Conflict, HiveError, NotFound
from wire.records.lifecycle import JobResult, JobState

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 20.0
"""The seconds a stopping service waits for its jobs. The next start continues the others."""


class JobStore(Protocol):
    """The storage of jobs that have not ended."""

    def add_job(self, job: Job) -> int:
        """Store `job` on disk and return its number. Numbers are never reused."""

    def save_job(self, job: Job) -> None:
        """Store the new arguments and the new state of `job`."""

    def remove_job(self, number: int) -> None:
        """Remove a job that has ended."""


class JobObserver(Protocol):
    """The receiver of news about jobs (the D-Bus side)."""

    def job_new(self, job: Job) -> None:
        """Note that `job` was accepted, or continues after an interruption."""

    def job_changed(self, job: Job) -> None:
        """Note the new state of `job`."""

    def job_output(self, job: Job, lines: list[str]) -> None:
        """Note further lines about the work of `job`."""

    def job_removed(self, job: Job, result: JobResult, note: str) -> None:
        """Note that `job` has ended; `note` says why it failed, or what it changed."""


class JobRunner:
    """The jobs that wait or run now. Owns their tasks."""

    def __init__(self, store: JobStore, observer: JobObserver) -> None:
        """Start with no jobs.

        Args:
            store: the storage of the jobs.
            observer: is told first of each change.
        """
        self._store = store
        self._observer = observer
        # Are told of an end after the observer, when the agent has no job any more.
        self.watchers: tuple[Callable[[Job, JobResult, str], None], ...] = ()
        self._begun = False
        self._running: dict[str, Job] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._draining = False

    def begin(self) -> None:
        """Count an agent as busy only while it has a job.

        Before, each agent counts as busy: the job that an earlier lifecycle left may go on.
        """
        self._begun = True

    def busy(self, agent: str) -> bool:
        """Return whether an order for `agent` would have to wait for the end of a job."""
        return not self._begun or agent in self._running

    def of(self, agent: str) -> Job | None:
        """Return the current job of `agent`."""
        return self._running.get(agent)

    def all(self) -> list[Job]:
        """Return the jobs that have not ended, in the order of their numbers."""
        return sorted(self._running.values(), key=lambda job: job.number)

    def find(self, number: int) -> Job:
        """Return the job `number`. Raises NotFound when it has ended."""
        for job in self._running.values():
            if job.number == number:
                return job
        raise NotFound(f"Job {number} does not exist, or has ended.")

    def submit(self, job: Job, work: Work, undo: Work) -> Job:
        """Accept `job` and return at once. A repeated request joins the running job.

        Args:
            job: a new job.
            work: does the job.
            undo: puts the agent back as it was when the job is cancelled.

        Raises:
            Conflict: the agent has another job.
        """
        running = self._running.get(job.agent)
        if running is not None:
            if (running.verb, running.wanted) == (job.verb, job.wanted):
                return running
            raise Conflict(running.refusal)
        job.number = self._store.add_job(job)
        self.resume(job, work, undo)
        return job

    def resume(self, job: Job, work: Work, undo: Work) -> None:
        """Begin `job`, which is in the store already."""
        self._running[job.agent] = job
        job.on_output = lambda lines: self._observer.job_output(job, lines)
        self._tasks[job.number] = asyncio.create_task(
            self._run(job, work, undo), name=f"job-{job.number}"
        )
        self._observer.job_new(job)

    def cancel(self, number: int) -> None:
        """Undo a job. Its end is announced like the end of any other job.

        Raises:
            NotFound: the job has ended.
            Conflict: the job cannot be undone any more.
        """
        job = self.find(number)
        if job.final:
            raise Conflict(
                f"Job {number} can no longer be cancelled: part of {job.agent} is already removed."
            )
        if not job.cancelling:
            self._enter(job, JobState.CANCELLING)
            self._tasks[number].cancel()

    async def released(self, number: int) -> None:
        """Wait until job `number` has ended, or has been left for the next lifecycle."""
        if task := self._tasks.get(number):
            await asyncio.wait((task,))

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Wait at most `seconds` for the running jobs; the next start continues the others."""
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
        progress.begin(fields, job.tell)  # for this task only, which belongs to the job
        try:
            result, note = await self._outcome(job, work, undo)
        except (asyncio.CancelledError, CutShortError) as end:
            log.info("%s of %s interrupted", job.verb, job.agent, extra=fields)
            self._forget(job)
            if isinstance(end, CutShortError):
                return
            raise
        level = logging.INFO if result is JobResult.DONE else logging.WARNING
        log.log(
            level, "%s of %s %s%s", job.verb, job.agent, result, f": {note}" if note else "",
            extra=fields,
        )  # fmt: skip
        self._store.remove_job(job.number)
        self._forget(job)
        self._observer.job_removed(job, result, note)
        for watcher in self.watchers:
            watcher(job, result, note)

    async def _outcome(self, job: Job, work: Work, undo: Work) -> tuple[JobResult, str]:
        """Do or undo `job`; return its result and its note.

        Raises:
            CancelledError: the service stops first.
            CutShortError: the host stops first.
        """
        if not job.cancelling:
            try:
                self._enter(job, JobState.RUNNING)
                return JobResult.DONE, await work(job)
            except asyncio.CancelledError:
                if self._draining or not job.cancelling:
                    raise
            except CutShortError:
                raise
            except HiveError as failure:
                return JobResult.FAILED, str(failure)
            except Exception as failure:
                log.exception("%s of %s failed", job.verb, job.agent)
                return JobResult.FAILED, f"{type(failure).__name__}: {failure}"
        try:
            await undo(job)
        except HiveError as failure:
            return JobResult.FAILED, f"The job was cancelled, but could not be undone: {failure}"
        return JobResult.CANCELLED, f"The job was cancelled; {job.agent} is unchanged."

    def _enter(self, job: Job, state: JobState) -> None:
        job.state = state
        self._store.save_job(job)
        self._observer.job_changed(job)

    def _forget(self, job: Job) -> None:
        del self._running[job.agent]
        del self._tasks[job.number]
