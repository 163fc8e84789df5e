"""The room's own work: one task that wakes at each change and does what can be done then."""

import logging

from services.approvals.deploys import adopter
from services.approvals.deploys.adopter import Adopter
from services.approvals.deploys.deployer import Deployer
from services.approvals.deploys.lifecycle import Lifecycle, Snapshot
from services.approvals.deploys.reconciler import Reconciler
from services.approvals.ledger import Ledger
from services.approvals.notifier import Notifier
from wire.errors import HiveError
from wire.records.lifecycle import JobRemoved

log = logging.getLogger(__name__)


class Controller:
    """Drives the parts that act on the requests, and hands them the events of other services."""

    def __init__(
        self,
        ledger: Ledger,
        reconciler: Reconciler,
        deployer: Deployer,
        adopter: Adopter,
        notifier: Notifier,
        lifecycle: Lifecycle,
    ) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._deployer = deployer
        self._adopter = adopter
        self._notifier = notifier
        self._lifecycle = lifecycle

    # Events

    def job_removed(self, removed: JobRemoved) -> None:
        """A job of lifecycle has ended."""
        if removed.verb in adopter.VERBS:
            self._adopter.due = True
        self._deployer.job_removed(removed)
        self._ledger.changed.set()

    def lifecycle_appeared(self) -> None:
        """Lifecycle runs again: it can be asked."""
        self._adopter.due = True
        self._ledger.changed.set()

    def lifecycle_vanished(self) -> None:
        """Lifecycle has ended; its jobs may have ended with it."""
        self._adopter.due = True
        self._deployer.lifecycle_lost()
        self._ledger.changed.set()

    # Work

    async def run(self) -> None:
        """Work at each change, until cancelled. Nothing is done by the clock."""
        while True:
            await self._ledger.changed.wait()
            self._ledger.changed.clear()
            await self.step()

    async def step(self) -> None:
        """Do what can be done now.

        Never raises a HiveError: what it prevents is tried again at the next change.
        """
        await self._reconciler.try_reconcile()
        if snapshot := await self._look():
            await self._deployer.advance(snapshot)
            if self._adopter.due:
                await self._adopter.adopt()
        # A state that changed here is recorded by the next step: the change woke it.
        self._notifier.deliverer.wake()

    async def _look(self) -> Snapshot | None:
        """Ask lifecycle what there is; None: nobody needs to know, or it cannot be asked.

        Lifecycle is started only for a caller who waits. When it starts later, that is signalled.
        """
        if not (self._deployer.queued() or self._adopter.due):
            return None
        try:
            if self._deployer.awaited or await self._lifecycle.running():
                self._deployer.look_begins()
                return await self._lifecycle.snapshot()
        except HiveError as error:
            log.warning("cannot ask lifecycle for its agents and jobs: %s", error)
            self._deployer.lifecycle_failed(error)
        return None
