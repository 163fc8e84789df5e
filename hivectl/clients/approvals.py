"""A client of approvals over the system bus."""

from collections.abc import Mapping
from typing import Any

from hivectl.output.records import Approval, Deployment
from wire import names
from wire.bus import Bus


class Approvals:
    """The service that keeps requests for approval and deployments."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def requests(self, wanted: Mapping[str, Any]) -> list[Approval]:
        """Return the requests that match `wanted`, oldest first."""
        structs = await self._ask("List", "a{sv}", dict(wanted))
        return [Approval.from_struct(fields) for fields in structs]

    async def request_spawn(self, name: str, reason: str, config: str | None) -> int:
        """Request a new agent, with `config` as its first agent.toml; return the request's ID."""
        options = {} if config is None else {"config": config}
        return int(await self._ask("RequestSpawn", "ssa{sv}", name, reason, options))

    async def request_apply(
        self, agent: str, commit: str, description: str, *, revert: bool
    ) -> int:
        """Request the deployment of a commit of the agent's proposed repository; return the ID.

        With `revert`, the commit need not be based on the deployed one.
        """
        options = {"revert": True} if revert else {}
        return int(await self._ask("RequestApply", "sssa{sv}", agent, commit, description, options))

    async def revert(self, agent: str, tag: str) -> int:
        """Request that an agent goes back to a deployment's tag; return the request's ID."""
        return int(await self._ask("Revert", "ss", agent, tag))

    async def approve(self, number: int, *, now: bool) -> str:
        """Approve a request; return the path of the job.

        With `now`, the job does not wait for the end of the agent's turn.
        """
        return str(await self._ask("ApproveNow" if now else "Approve", "t", number))

    async def deny(self, number: int, note: str) -> None:
        """Deny a request; the manager gets `note` as the reason."""
        await self._order("Deny", "ts", number, note)

    async def withdraw(self, number: int) -> None:
        """Withdraw a pending request."""
        await self._order("Withdraw", "t", number)

    async def diff(self, number: int) -> str:
        """Return what a request changes, as a unified diff."""
        return str(await self._ask("Diff", "t", number))

    async def deploy_log(self, agent: str, limit: int) -> list[Deployment]:
        """Return the newest `limit` deployments of `agent`, or of all if it is empty."""
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
