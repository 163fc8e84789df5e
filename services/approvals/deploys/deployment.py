"""The state machine of one request that is being carried out.

It is kept in memory only: after a restart each approved request begins as `queued`, and a look at
what lifecycle is doing tells how far the request has come.
"""

import asyncio
from enum import StrEnum
from typing import Final

from services.approvals.model import Approval
from wire.errors import Conflict, HiveError, Unavailable
from wire.records.approvals import ApprovalKind
from wire.records.lifecycle import JobRemoved, JobVerb

VERBS: Final = {
    ApprovalKind.SPAWN: JobVerb.SPAWN,
    ApprovalKind.APPLY: JobVerb.DEPLOY,
    ApprovalKind.REVERT: JobVerb.DEPLOY,
}
"""The verb of lifecycle's job for each kind of request."""


class Stage(StrEnum):
    """The stage of a request."""

    QUEUED = "queued"
    """There is no job; it is ordered as soon as lifecycle can take it."""
    ORDERING = "ordering"
    """Lifecycle has been asked for a job, and has not answered."""
    RUNNING = "running"
    """A job of lifecycle carries the request out."""
    ENDED = "ended"
    """The outcome is on disk."""


TRANSITIONS: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.QUEUED: frozenset({Stage.ORDERING, Stage.RUNNING, Stage.ENDED}),
    Stage.ORDERING: frozenset({Stage.QUEUED, Stage.RUNNING, Stage.ENDED}),
    Stage.RUNNING: frozenset({Stage.QUEUED, Stage.ENDED}),
    Stage.ENDED: frozenset(),
}
"""The stages that can follow each stage."""


class Deployment:
    """One approved request on its way. Each event is a method."""

    def __init__(self, approval: Approval) -> None:
        self.number: Final = approval.id
        self.verb: Final = VERBS[approval.kind]
        self.stage = Stage.QUEUED
        self.job: str | None = None
        """The path of the job while the request is `running`."""
        self._early: dict[str, JobRemoved] = {}
        """The ends of jobs that may be this request's: lifecycle has been asked for the job, or
        for its snapshot, and the answer has not been used yet."""
        self._waiters: set[asyncio.Future[str]] = set()

    @property
    def awaited(self) -> bool:
        """Whether a caller waits for the job."""
        return bool(self._waiters)

    async def wait_for_job(self, seconds: float) -> str:
        """Return the path of the job as soon as there is one.

        Raises:
            Unavailable: there is none within `seconds`, or it cannot be ordered now.
            HiveError: lifecycle refused the order.
        """
        if self.job is not None:
            return self.job
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(seconds):
                return await waiter
        except TimeoutError:
            raise Unavailable(
                f"Request {self.number} is approved, and will be carried out when the agent's "
                "current job has ended."
            ) from None
        finally:
            self._waiters.discard(waiter)

    def order(self) -> None:
        """Note that lifecycle is about to be asked for a job."""
        self._move(Stage.ORDERING)
        self._early.clear()

    def accept(self, job: str) -> JobRemoved | None:
        """Note the job that lifecycle has answered; return its end if it has already ended."""
        if self.stage is Stage.ORDERING:
            self._run(job)
        else:  # lifecycle was lost meanwhile, and the job may be lost with it
            self._answer(job)
        return self._early.get(job)

    def resume(self, job: str) -> JobRemoved | None:
        """Note that a job still runs which was ordered before a restart of this service.

        Return its end if it has ended since lifecycle said so.
        """
        self._run(job)
        return self._early.get(job)

    def requeue(self, error: HiveError | None = None) -> None:
        """Wait for the next change of lifecycle: no job can be ordered now, or lifecycle was lost.

        Args:
            error: the answer to callers that wait for the job; None: they go on waiting.
        """
        if self.stage is not Stage.QUEUED:
            self._move(Stage.QUEUED)
        if error is not None:
            self._answer(error)

    def is_end(self, removed: JobRemoved) -> bool:
        """Return whether the end of a job is the end of this request.

        While the job is not known nobody knows; then `accept` or `resume` returns the end.
        """
        if self.job is None and removed.verb == self.verb:
            self._early[removed.job] = removed
        ours = (removed.job, removed.verb) == (self.job, self.verb)
        return self.stage is Stage.RUNNING and ours

    def end(self, error: HiveError | None = None) -> None:
        """Note that the outcome is on disk.

        Args:
            error: the answer to callers that wait for the job, when lifecycle refused the order.
        """
        self._move(Stage.ENDED)
        self._answer(error or Conflict(f"Request {self.number} has already ended."))

    def _run(self, job: str) -> None:
        self._move(Stage.RUNNING)
        self.job = job
        self._answer(job)

    def _move(self, stage: Stage) -> None:
        if stage not in TRANSITIONS[self.stage]:
            raise AssertionError(f"request {self.number} is {self.stage}; it cannot be {stage}")
        self.stage = stage
        self.job = None

    def _answer(self, answer: str | HiveError) -> None:
        for waiter in self._waiters:
            if waiter.done():
                continue
            if isinstance(answer, str):
                waiter.set_result(answer)
            else:
                waiter.set_exception(answer)
