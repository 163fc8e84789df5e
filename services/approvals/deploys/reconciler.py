"""Keeps git in agreement with the requests.

The row in the store is the truth. The records in git (tags, `main`, meta) are made from it, and
made again, with the same result, for each row that is not marked as recorded: after a crash at any
point, and when git could not be used for a while.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from services import agentfile
from services.approvals.git.protocols import Meta, Repositories
from services.approvals.ledger import Ledger
from services.approvals.model import Approval, history, tag
from wire import names
from wire.errors import HiveError, NotFound
from wire.records.approvals import ApprovalKind, ApprovalState

log = logging.getLogger(__name__)

INITIAL: Final = "deployed/0"
"""The tag of the configuration of an agent that was spawned without a request."""


class Reconciler:
    """The records in git of the requests and of the agents."""

    def __init__(self, ledger: Ledger, repositories: Repositories, meta: Meta) -> None:
        self.lock = asyncio.Lock()
        """Held while repositories are made, removed, or brought up to date."""
        self._repositories = repositories
        self._meta = meta
        self._ledger = ledger
        self._requests = ledger.requests

    # Recording

    async def reconcile(self, agent: str | None = None) -> None:
        """Record in git every state that it does not record yet.

        An error with one agent does not keep back the records of the others.

        Args:
            agent: record only the requests for it; None: those of all agents.

        Raises:
            HiveError: something could not be recorded; it is tried again the next time.
        """
        failed: dict[str, HiveError] = {}
        async with self.lock:
            for approval in self._requests.unrecorded(agent):
                if approval.agent in failed:
                    continue  # a later record is based on the earlier one
                try:
                    await self._record(approval)
                except HiveError as error:
                    log.warning("cannot record request %d in git yet: %s", approval.id, error)
                    failed[approval.agent] = error
        if failed:
            raise next(iter(failed.values()))

    async def try_reconcile(self) -> None:
        """Record as `reconcile`, for all agents; an error is logged and tried again later."""
        with suppress(HiveError):
            await self.reconcile()

    async def _record(self, approval: Approval) -> None:
        if approval.state is ApprovalState.PENDING:
            approval = await self._with_commit(approval)
        try:
            if approval.commit:
                await self._tag(approval)
                await self._conclude(approval)
        except NotFound as error:
            # The repository was purged with its agent: there is no place for the record.
            log.warning("request %d has no repository to be recorded in: %s", approval.id, error)
        self._ledger.recorded(approval)

    async def _tag(self, approval: Approval) -> None:
        for state in history(approval.state):
            note = approval.note if state is approval.state else ""
            name = tag(state, approval.id)
            await self._repositories.tag(approval.agent, name, approval.commit, note)

    async def _conclude(self, approval: Approval) -> None:
        agent = approval.agent
        if approval.state is ApprovalState.FAILED:
            await self._meta.abort(agent)
        if approval.state is ApprovalState.DEPLOYED:
            await self._repositories.move_main(agent, approval.commit)
            await self.prepare(approval)
            await self._meta.finalize(agent, approval.reason, approval.requested_by)
            await self._supersede(agent, approval)

    async def _supersede(self, agent: str, deployed: Approval) -> None:
        """Supersede a pending request that is not based on what was deployed now."""
        pending = self._requests.pending(agent)
        if pending and await self.outdated(pending, deployed.commit):
            note = outdated_note(pending, deployed.commit)
            self._ledger.move(pending.id, ApprovalState.SUPERSEDED, note)

    async def outdated(self, approval: Approval, main: str) -> bool:
        """Return whether a request cannot be deployed in the place of `main`, which is deployed."""
        if approval.kind is ApprovalKind.REVERT:
            return approval.commit == main
        return not await self._repositories.descends(approval.agent, approval.commit, main)

    # Configurations

    async def prepare(self, approval: Approval) -> None:
        """Write into meta that the request is about to be deployed."""
        await self._meta.prepare(approval.agent, approval.id, approval.commit)

    async def deployed(self, agent: str) -> str | None:
        """Return the commit that `agent` has deployed, all its records made.

        Returns:
            None: Nothing is deployed, or the agent has no repository.

        Raises:
            HiveError: git cannot be used now.
        """
        await self.reconcile(agent)
        return await self.main(agent)

    async def main(self, agent: str) -> str | None:
        """Return the commit that git records as deployed, as `deployed` does."""
        try:
            return await self._repositories.resolve(agent, "main")
        except NotFound:
            return None

    async def first_commit(self, agent: str, config: str | None) -> str:
        """Return the commit that a new agent begins with; hold `lock`.

        Args:
            config: the text of its agent.toml; None: what is kept of an earlier agent of this name,
                else the template.
        """
        await self._repositories.create(agent)
        main = await self.main(agent)
        if config is None and main:
            return main
        initial = await self._repositories.resolve(agent, f"refs/tags/{INITIAL}")
        if config is None and initial:
            return initial
        text = agentfile.TEMPLATE if config is None else config
        message = f"Initial configuration of {agent}"
        return await self._repositories.commit_first(agent, text, message, parent=main)

    async def ensure_commit(self, approval: Approval) -> Approval:
        """Return the request with a commit: one of a version without commits has none."""
        async with self.lock:
            return await self._with_commit(approval)

    async def _with_commit(self, approval: Approval) -> Approval:
        if approval.commit:
            return approval
        commit = await self.first_commit(approval.agent, None)
        return self._ledger.set_commit(approval.id, commit)

    # Agents

    async def known(self) -> frozenset[str]:
        """Return the agents that are in meta."""
        return frozenset(await self._meta.deployed())

    async def unknown(self, agents: frozenset[str]) -> list[str]:
        """Return which of `agents` have no repository, or are not in meta."""
        known = await self.known() & set(self._repositories.agents())
        return sorted(agents - known)

    async def adopt(self, agent: str) -> str:
        """Give an agent that was spawned without a request its repository and configuration.

        Everything that is there already is kept. Return the commit that is deployed then.
        """
        async with self.lock:
            commit = await self.first_commit(agent, None)
            if await self.main(agent) is None:
                await self._repositories.tag(agent, INITIAL, commit)
                await self._repositories.move_main(agent, commit)
            number, why, by = self._origin(agent, commit)
            await self._meta.prepare(agent, number, commit)
            await self._meta.finalize(agent, why, by)
            return commit

    def _origin(self, agent: str, commit: str) -> tuple[int, str, str]:
        """Return the id, reason and requester that brought `commit`: meta may have been lost."""
        for approval in reversed(self._requests.find(state=ApprovalState.DEPLOYED, agent=agent)):
            if approval.commit == commit:
                return approval.id, approval.reason, approval.requested_by
        return 0, "The initial configuration", names.OPERATOR

    async def forget(self, agent: str) -> None:
        """Remove the repository of an agent that was purged, and withdraw its pending request."""
        async with self.lock:
            if self._requests.in_progress(agent):
                return  # it is about to be spawned, with the configuration that is kept here
            log.warning("%s was purged: removing its configurations", agent)
            if pending := self._requests.pending(agent):
                self._ledger.move(pending.id, ApprovalState.WITHDRAWN, f"{agent} was purged.")
            # Meta comes last: by it the next start sees that there is something to remove.
            await self._repositories.remove(agent)
            await self._meta.remove(agent)


def outdated_note(approval: Approval, main: str) -> str:
    """Return why a request cannot be deployed in the place of `main`."""
    if approval.commit == main:
        return f"{main[:12]} is already deployed."
    return f"{main[:12]} was deployed meanwhile, and {approval.commit[:12]} is not based on it."
