"""Approvals over the system bus: each method is one question or one order to it."""

from collections.abc import Mapping
from typing import Any

from hivectl.output.records import Approval, Deployment
from wire import names
from wire.bus import Bus


class Approvals:
    """What waits for the operator, what came of it, and what was deployed."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def requests(self, wanted: Mapping[str, Any]) -> list[Approval]:
        """The requests that match `wanted`, oldest first."""
        structs = await self._ask("List", "a{sv}", dict(wanted))
        return [Approval.from_struct(fields) for fields in structs]

    async def request_spawn(self, name: str, reason: str, config: str | None) -> int:
        """Ask for a new agent, with the text of its first agent.toml if any; returns the id."""
        options = {} if config is None else {"config": config}
        return int(await self._ask("RequestSpawn", "ssa{sv}", name, reason, options))

    async def request_apply(
        self, agent: str, commit: str, description: str, *, revert: bool
    ) -> int:
        """Ask for a commit of the agent's proposed repository; returns the request's id."""
        options = {"revert": True} if revert else {}
        return int(await self._ask("RequestApply", "sssa{sv}", agent, commit, description, options))

    async def revert(self, agent: str, tag: str) -> int:
        """Ask to take an agent back to a tag; returns the request's id."""
        return int(await self._ask("Revert", "ss", agent, tag))

    async def approve(self, number: int, *, now: bool) -> str:
        """Approve a request, also in the middle of a turn if `now`; returns the job's path."""
        return str(await self._ask("ApproveNow" if now else "Approve", "t", number))

    async def deny(self, number: int, note: str) -> None:
        """Deny a request; `note` tells the manager why."""
        await self._order("Deny", "ts", number, note)

    async def withdraw(self, number: int) -> None:
        """Take a request back."""
        await self._order("Withdraw", "t", number)

    async def diff(self, number: int) -> str:
        """What a request changes, as a unified diff."""
        return str(await self._ask("Diff", "t", number))

    async def deploy_log(self, agent: str, limit: int) -> list[Deployment]:
        """The newest `limit` deployments, of all agents if `agent` is empty; newest first."""
        structs = await self._ask("DeployLog", "su", agent, limit)
        return [Deployment.from_struct(fields) for fields in structs]

    async def _ask(self, member: str, signature: str, *args: Any) -> Any:
        return await self._bus.call1(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, member, signature, *args
        )

    async def _order(self, member: str, signature: str, *args: Any) -> None:
        await self._bus.call(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, member, signature, *args
        )
