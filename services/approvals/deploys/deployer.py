"""Carries out the approved requests: orders a job of lifecycle for each, and keeps its outcome.

It compares the requests on disk with what lifecycle says, and does what is missing between the two.
So it does not matter where an earlier process was ended.
"""

import logging
from typing import Final

from services.approvals.deploys.deployment import Deployment, Stage
from services.approvals.deploys.lifecycle import Lifecycle, Snapshot
from services.approvals.deploys.reconciler import Reconciler
from services.approvals.ledger import Ledger
from services.approvals.model import Approval
from wire.errors import Conflict, HiveError, Stopping, Timeout, Unavailable
from wire.records.approvals import ApprovalKind, ApprovalState
from wire.records.lifecycle import JobRemoved, JobResult

log = logging.getLogger(__name__)

JOB_TIMEOUT: Final = 20.0
"""Seconds that Approve waits for its job while the agent has another one."""
MAX_NOTE: Final = 16 * 1024
"""Characters kept of what lifecycle says about a failure: the first line and the end."""

MAX_TOLD: Final = 2000
"""Characters of the change that the agent is told."""

_AWAY: Final = (Unavailable, Stopping, Timeout)
"""Errors that say nothing about the order, only that lifecycle could not be asked."""
_ATTEMPTS: Final = 3
"""The attempts to order a job while other jobs of the agent begin and end."""


class Deployer:
    """The requests in progress."""

    def __init__(self, ledger: Ledger, reconciler: Reconciler, lifecycle: Lifecycle) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._lifecycle = lifecycle
        self._deployments: dict[int, Deployment] = {}
        self._lost = False
        """Whether lifecycle has ended since the last look began."""

    async def job_of(self, approval: Approval) -> str:
        """Return the path of the job of an approved request, as soon as it is ordered.

        Raises:
            Unavailable: it cannot be ordered soon. The request stays approved.
            HiveError: lifecycle refused the order. The request has failed.
        """
        self._ledger.changed.set()
        return await self._deployment(approval).wait_for_job(JOB_TIMEOUT)

    async def hurry(self, approval: Approval) -> str:
        """Deploy an approved request without waiting for the turn; return the path of its job.

        Raises as `job_of`, and NotFound when the job has just ended.
        """
        self._ledger.hurry(approval.id)
        job = await self.job_of(approval)
        if approval.kind is not ApprovalKind.SPAWN:
            await self._lifecycle.hurry(job)
        return job

    @property
    def awaited(self) -> bool:
        """Whether a caller waits for the job of a request."""
        return any(deployment.awaited for deployment in self._deployments.values())

    def queued(self) -> list[Approval]:
        """Return the approved requests that have no job."""
        return [
            approval
            for approval in self._ledger.requests.in_progress()
            if self._deployment(approval).stage is Stage.QUEUED
        ]

    # Events

    def look_begins(self) -> None:
        """Lifecycle is about to be asked for the snapshot that `advance` gets."""
        self._lost = False

    def job_removed(self, removed: JobRemoved) -> None:
        """Keep the outcome of the job if it is that of a request."""
        for approval in self._ledger.requests.in_progress(removed.agent):
            deployment = self._deployment(approval)
            if deployment.is_end(removed):
                self._finish(deployment, removed)

    def lifecycle_lost(self) -> None:
        """Look again at what lifecycle had begun."""
        self._lost = True
        for deployment in self._deployments.values():
            deployment.requeue()

    def lifecycle_failed(self, error: HiveError) -> None:
        """Answer the callers that wait: lifecycle cannot be asked now."""
        for approval in self.queued():
            self._deployment(approval).requeue(_later(approval, error))

    async def advance(self, snapshot: Snapshot) -> None:
        """Bring each request without a job as far as possible now.

        One that has to wait does not delay the others. When lifecycle is lost meanwhile, the jobs
        of the snapshot may be lost with it; the loss has made another look due.
        """
        for approval in self.queued():
            if self._lost:
                return
            await self._advance(approval, snapshot)

    async def _advance(self, approval: Approval, snapshot: Snapshot) -> None:
        deployment = self._deployment(approval)
        job = snapshot.jobs.get(approval.agent)
        if job and job.verb != deployment.verb:
            return  # its end is signalled
        try:
            if approval.state is ApprovalState.APPROVED:
                approval = self._ledger.move(approval.id, ApprovalState.BUILDING)
            if job:
                if removed := deployment.resume(job.path):
                    self._finish(deployment, removed)
            elif snapshot.agents.get(approval.agent) == approval.commit:
                # Its job ended while we were away. The same holds where neither has a commit: the
                # request was approved and begun by a version without commits.
                self._end(deployment, ApprovalState.DEPLOYED)
            else:
                await self._order(deployment, approval)
        except HiveError as error:
            log.warning("the job of request %d cannot be ordered yet: %s", approval.id, error)
            deployment.requeue(_later(approval, error))

    async def _order(self, deployment: Deployment, approval: Approval) -> None:
        """Order the job.

        Raises:
            HiveError: it could not be ordered; that says nothing about the request.
        """
        approval = await self._reconciler.ensure_commit(approval)
        await self._reconciler.prepare(approval)
        try:
            job = await self._ask(deployment, approval)
        except _AWAY:
            raise
        except HiveError as error:
            self._end(deployment, ApprovalState.FAILED, str(error), error)
            return
        if job is None:
            deployment.requeue()
        elif removed := deployment.accept(job):
            self._finish(deployment, removed)

    async def _ask(self, deployment: Deployment, approval: Approval) -> str | None:
        """Ask lifecycle for the job; None: another job has begun meanwhile, whose end is signalled.

        Raises:
            HiveError: what lifecycle answers.
        """
        agent, commit = approval.agent, approval.commit
        for attempt in range(1, _ATTEMPTS + 1):
            deployment.order()
            try:
                if approval.kind is ApprovalKind.SPAWN:
                    return await self._lifecycle.spawn(agent, commit)
                return await self._lifecycle.deploy(
                    agent, commit, now=approval.now, changes=_told(approval)
                )
            except Conflict:
                if agent in (await self._lifecycle.snapshot()).jobs:
                    return None
                if attempt == _ATTEMPTS:
                    raise
                deployment.requeue()
        raise AssertionError("the last attempt returns or raises")

    def _finish(self, deployment: Deployment, removed: JobRemoved) -> None:
        """Keep the outcome of the job."""
        done = removed.result is JobResult.DONE
        note = removed.note or removed.result
        self._end(deployment, ApprovalState.DEPLOYED if done else ApprovalState.FAILED, note)

    def _end(
        self,
        deployment: Deployment,
        state: ApprovalState,
        note: str = "",
        error: HiveError | None = None,
    ) -> None:
        """Keep the final state of a request that is `building`."""
        kept = "" if state is ApprovalState.DEPLOYED else _shortened(note)
        try:
            self._ledger.move(deployment.number, state, kept)
        except HiveError as failure:
            # The next look finds the outcome by what lifecycle says is deployed.
            log.error("cannot store the outcome of request %d: %s", deployment.number, failure)
            deployment.requeue(error)
        else:
            deployment.end(error)
            self._deployments.pop(deployment.number, None)

    def _deployment(self, approval: Approval) -> Deployment:
        if approval.id not in self._deployments:
            self._deployments[approval.id] = Deployment(approval)
        return self._deployments[approval.id]


def _shortened(note: str) -> str:
    """Return `note`; of a long one the first line and the end, where a build says what is wrong."""
    if len(note) <= MAX_NOTE:
        return note
    first = note.split("\n", 1)[0][:1000]
    return f"{first}\n...{note[len(first) + 4 - MAX_NOTE :]}"


def _told(approval: Approval) -> str:
    """Return the change in words, for the agent itself."""
    words = f"{approval.kind} {approval.id}, requested by {approval.requested_by}"
    return f"{words}: {approval.reason}"[:MAX_TOLD]


def _later(approval: Approval, error: HiveError) -> Unavailable:
    return Unavailable(f"Request {approval.id} is approved, and will be carried out later: {error}")
