"""The requests, the configurations and the kept data of agents, for the pages about them."""

import asyncio
from typing import Final, NamedTuple

from services import agentfile
from services.dashboard.clients.services import ExplainingCaller, agent_path
from services.dashboard.state.rows import approval_row, deploy_row
from services.dashboard.state.tables import Row
from wire.clients.approvals import ApprovalsClient
from wire.clients.lifecycle import LifecycleClient
from wire.errors import NotFound, Unavailable
from wire.records.approvals import (
    NO_JOB,
    ApprovalFilter,
    ApprovalOptions,
    Change,
    Comparison,
    ConfigFile,
    ConfigureOptions,
    DiffBase,
    SpawnRequestOptions,
)
from wire.records.lifecycle import SpawnOptions

PAGE: Final = 50
"""The requests in one answer."""


class Saved(NamedTuple):
    """A change that the operator made."""

    request: int
    said: str
    """A sentence about what comes of it."""


class Configurations:
    """Requests and configurations. Each method raises a HiveError whose text says what to do."""

    def __init__(self, caller: ExplainingCaller) -> None:
        self._approvals = ApprovalsClient(caller)
        self._lifecycle = LifecycleClient(caller)

    # Requests

    async def requests(self, before: int | None) -> tuple[list[Row], bool]:
        """Return older requests, newest first, and whether there are more.

        Args:
            before: only requests with a smaller number; None: the newest.
        """
        wanted = ApprovalFilter(before=before, limit=PAGE + 1)
        found = (await self._approvals.list_approvals(wanted))[::-1]
        return [approval_row(approval) for approval in found[:PAGE]], len(found) > PAGE

    async def approve(self, request: int, commit: str, base: str | None, *, now: bool) -> None:
        """Approve a request.

        Args:
            request: its number.
            commit: the commit that the page showed.
            base: the base of the change that the page showed; None: it showed no change.
            now: do not wait until the agent's turn is over.
        """
        method = self._approvals.approve_now if now else self._approvals.approve
        await method(request, commit, ApprovalOptions(base=base))

    async def deny(self, request: int, commit: str, note: str) -> None:
        """Deny a request that the page showed with `commit`; `note` tells the manager why."""
        await self._approvals.deny(request, commit, note)

    async def withdraw(self, request: int) -> None:
        """Take a request back."""
        await self._approvals.withdraw(request)

    async def diff(self, request: int, base: DiffBase) -> Comparison:
        """Return a request compared with another configuration."""
        return await self._approvals.diff_against(request, base)

    async def spawn(self, name: str, reason: str, config: str | None) -> Saved:
        """Request an agent with the configuration `config`, and approve that.

        Args:
            name: the agent.
            reason: the reason, which the log of deploys shows.
            config: the text of its agent.toml; None: what is kept of an earlier agent of that name,
                or else the template.
        """
        number = await self._approvals.request_spawn(
            name, reason, SpawnRequestOptions(config=config)
        )
        [request] = await self._approvals.list_approvals(ApprovalFilter(id=number))
        try:
            await self._approvals.approve(number, request.commit, ApprovalOptions())
        except Unavailable as error:
            return Saved(number, str(error))
        return Saved(number, f"Request {number} creates {name} now.")

    # Deploys

    async def deploys(self, agent: str, limit: int) -> list[Row]:
        """Return the newest deploys of an agent, or of all when `agent` is empty."""
        return [deploy_row(deploy) for deploy in await self._approvals.deploy_log(agent, limit)]

    async def deploy_diff(self, agent: str, number: int) -> Change:
        """Return the change that a deploy made."""
        return await self._approvals.diff_deploy(agent, f"deployed/{number}")

    async def revert(self, agent: str, number: int) -> int:
        """Request that an agent goes back to a deploy; return the number of the request."""
        return await self._approvals.revert(agent, f"deployed/{number}")

    # Configurations

    async def file(self, agent: str, path: str) -> ConfigFile:
        """Return a file of the deployed configuration."""
        return await self._approvals.get_file(agent, path)

    async def compare(self, agent: str, path: str, text: str) -> Change:
        """Return the change that `save` would make."""
        return await self._approvals.compare_file(agent, path, text)

    async def save(
        self, agent: str, path: str, text: str, base: str, reason: str, *, now: bool
    ) -> Saved:
        """Change a file of the configuration whose commit is `base`, and deploy that."""
        options = ConfigureOptions(reason=reason, now=now)
        saved = await self._approvals.configure(agent, path, text, base, options)
        if saved.job == NO_JOB:
            return Saved(
                saved.request, f"Request {saved.request} is approved, and will be deployed soon."
            )
        when = "now" if now else "when the agent's turn is over"
        return Saved(saved.request, f"Request {saved.request} deploys it {when}.")

    # Kept data

    async def tombstones(self) -> list[Row]:
        """Return the destroyed agents whose data are kept, the last one first."""
        found = await self._lifecycle.list_tombstones()
        return [kept._asdict() for kept in sorted(found, key=lambda kept: -kept.destroyed)]

    async def revive(self, name: str) -> None:
        """Begin to create a destroyed agent again, with its data and its configuration."""
        agent_path(name)
        if name not in [kept.name for kept in await self._lifecycle.list_tombstones()]:
            raise NotFound(f"No data of {name} are kept any more.")
        await self._lifecycle.spawn(name, SpawnOptions())

    async def purge(self, name: str) -> None:
        """Begin to delete the data of a destroyed agent."""
        agent_path(name)
        await self._lifecycle.purge_tombstone(name)


async def complaint(path: str, text: str) -> str:
    """Return why `text` cannot be the file `path` of a configuration; empty if it can."""
    if path != agentfile.NAME:
        return ""
    try:
        # A file of 64 KiB takes a while.
        await asyncio.to_thread(agentfile.parse, text)
    except ValueError as error:
        return str(error)
    return ""
