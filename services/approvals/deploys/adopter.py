"""Adopts agents that were spawned without a request, and forgets those that were purged."""

import logging
from typing import Final

from services.approvals.deploys.lifecycle import Lifecycle, Snapshot
from services.approvals.deploys.reconciler import Reconciler
from services.approvals.ledger import Ledger
from wire.errors import HiveError
from wire.records.approvals import ApprovalKind, ApprovalState
from wire.records.lifecycle import JobVerb

log = logging.getLogger(__name__)

VERBS: Final = frozenset({JobVerb.SPAWN, JobVerb.DESTROY, JobVerb.PURGE})
"""The verbs of jobs after which the hive has other agents than before."""


class Adopter:
    """Keeps the repositories in agreement with the agents that there are."""

    due = True
    """Whether agents may have come or gone since the last look."""

    def __init__(self, ledger: Ledger, reconciler: Reconciler, lifecycle: Lifecycle) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._lifecycle = lifecycle

    async def adopt(self) -> None:
        """Compare the agents with the repositories; log an error, and stay due then."""
        self.due = False  # first: an agent that comes or goes meanwhile makes another look due
        try:
            snapshot = await self._lifecycle.snapshot()
            if self._ledger.requests.unrecorded():
                # By git alone, the agent of a request that ended just now looks unknown.
                self.due = True
                return
            await self._adopt_unknown(snapshot)
            await self._forget_purged(snapshot)
            self._withdraw(snapshot)
        except HiveError as error:
            self.due = True
            log.warning("cannot check for new and removed agents; trying again later: %s", error)

    async def _adopt_unknown(self, snapshot: Snapshot) -> None:
        # The agent of a request in progress gets its repository from the request.
        expected = {approval.agent for approval in self._ledger.requests.in_progress()}
        for agent in await self._reconciler.unknown(frozenset(snapshot.agents) - expected):
            job = snapshot.jobs.get(agent)
            if job is None or job.verb is not JobVerb.SPAWN:  # the end of a spawn is signalled
                await self._reconciler.adopt(agent)

    async def _forget_purged(self, snapshot: Snapshot) -> None:
        """Forget the agents that neither exist nor have kept state, asked in this order.

        An agent may come back between the questions, so the first one is asked once more.
        """
        gone = await self._reconciler.known() - snapshot.agents.keys()
        if gone:
            gone -= await self._lifecycle.tombstones()
        if gone:
            gone -= (await self._lifecycle.snapshot()).agents.keys()
        for agent in sorted(gone):
            if self.due:
                return  # somebody came or went meanwhile
            await self._reconciler.forget(agent)

    def _withdraw(self, snapshot: Snapshot) -> None:
        """Withdraw the pending requests for agents that were destroyed."""
        if self.due:
            return  # somebody came or went meanwhile
        for approval in self._ledger.requests.find(state=ApprovalState.PENDING):
            if approval.kind is not ApprovalKind.SPAWN and approval.agent not in snapshot.agents:
                self._ledger.move(
                    approval.id, ApprovalState.WITHDRAWN, f"{approval.agent} was destroyed."
                )
