"""The changes as callers see them: what a request changes, against which configuration."""

from typing import Final

from services import agentfile
from services.approvals import bounds, settings
from services.approvals.deploys.reconciler import INITIAL, Reconciler
from services.approvals.git.protocols import Repositories
from services.approvals.ledger import Ledger
from services.approvals.model import IN_PROGRESS, Approval
from wire import names
from wire.errors import InvalidArgument, LimitExceeded, NotFound
from wire.records.approvals import ApprovalState, Change, Comparison, DiffBase

APPROVED: Final = frozenset({*IN_PROGRESS, ApprovalState.DEPLOYED, ApprovalState.FAILED})
"""The states of a request to which the operator said yes."""


class Comparisons:
    """The changes of requests and deploys: the settings, then the lines."""

    def __init__(self, ledger: Ledger, repositories: Repositories, reconciler: Reconciler) -> None:
        self._ledger = ledger
        self._repositories = repositories
        self._reconciler = reconciler

    async def diff(self, number: int) -> Change:
        """Return what a request changes.

        Its base is the deployed commit: until the approval the current one, then the one at the
        time of the approval.

        Raises:
            NotFound: there is no such request, or its agent was purged.
        """
        approval = self._ledger.get(number)
        if not approval.commit:
            return Change(diff="", base="")
        base = await self._base(approval)
        return Change(await self.between(approval.agent, base, approval.commit), base)

    async def diff_against(self, number: int, against: DiffBase) -> Comparison:
        """Return what a request changes in comparison with another configuration.

        Raises:
            NotFound: there is no such request or configuration, or the agent was purged.
        """
        if against is DiffBase.DEPLOYED:
            diff, base = await self.diff(number)
            return Comparison(diff, base, base)
        approval = self._ledger.get(number)
        deployed = await self._base(approval)
        base = self._earlier(approval, against).commit
        return Comparison(await self.between(approval.agent, base, approval.commit), base, deployed)

    async def diff_deploy(self, agent: str, tag: str) -> Change:
        """Return what a deploy of an agent changed.

        Args:
            agent: the agent, which must exist, or whose configurations are kept.
            tag: `deployed/3`; `deployed/0` for its first configuration.

        Raises:
            InvalidArgument: an argument is not valid.
            NotFound: there was no such deploy, or the agent was purged.
        """
        names.check_agent_name(agent)
        bounds.check_deployed_tag(tag)
        commit = await self._repositories.resolve(agent, f"refs/tags/{tag}")
        if commit is None:
            raise NotFound(
                f"{agent} has no tag {tag}; `hivectl deploy-log {agent}` lists its deployments."
            )
        if tag == INITIAL:
            return Change(await self.between(agent, "", commit), "")
        return await self.diff(int(tag.partition("/")[2]))

    async def between(self, agent: str, old: str, new: str) -> str:
        """Return the settings and the lines that differ between two commits.

        Args:
            agent: the agent.
            old: empty: everything in `new` is added.
            new: the other commit.
        """
        lines = await self._repositories.diff(agent, old or None, new)
        before = await self._config(agent, old) if old else None
        return settings.account(before, await self._config(agent, new)) + lines

    async def _base(self, approval: Approval) -> str:
        if approval.state in APPROVED:
            return approval.base
        return await self._reconciler.main(approval.agent) or ""

    def _earlier(self, approval: Approval, against: DiffBase) -> Approval:
        """Return an earlier request of the same agent.

        Raises:
            NotFound: there is none.
        """
        found = self._ledger.requests.find(agent=approval.agent, before=approval.id)
        wanted = APPROVED if against is DiffBase.APPROVED else frozenset(ApprovalState)
        for earlier in reversed(found):
            if earlier.commit and earlier.state in wanted:
                return earlier
        which = "that was approved " if against is DiffBase.APPROVED else ""
        raise NotFound(f"There is no request for {approval.agent} {which}before {approval.id}.")

    async def _config(self, agent: str, commit: str) -> str:
        """Return the agent.toml of a commit; empty if an earlier version took one without it."""
        try:
            return await self._repositories.read(agent, commit, agentfile.NAME)
        except (NotFound, InvalidArgument, LimitExceeded):
            return ""
