"""Approvals as its callers see it; docs/dbus.md describes each member."""

from wire import names
from wire.clients.client import Client, remote
from wire.records.approvals import (
    Allowed,
    ApplyRequestOptions,
    Approval,
    ApprovalFilter,
    ApprovalOptions,
    Change,
    Comparison,
    ConfigFile,
    ConfigureOptions,
    Deploy,
    DiffBase,
    SpawnRequestOptions,
)
from wire.types import ObjectPath, Str, StrList, UInt32, UInt64


class ApprovalsClient(Client, interface=names.APPROVALS, path=names.APPROVALS_PATH):
    """org.hyperhive.Approvals1."""

    @remote("RequestSpawn")
    async def request_spawn(self, name: Str, reason: Str, options: SpawnRequestOptions) -> UInt64:
        """Request a new agent and return the number of the request."""

    @remote("RequestApply")
    async def request_apply(
        self, agent: Str, commit: Str, description: Str, options: ApplyRequestOptions
    ) -> UInt64:
        """Request the deploy of a commit and return the number of the request."""

    @remote("Revert")
    async def revert(self, agent: Str, tag: Str) -> UInt64:
        """Request the deploy of an earlier configuration and return the number of the request."""

    @remote("Withdraw")
    async def withdraw(self, id: UInt64) -> None:
        """Take a request back."""

    @remote("Approve")
    async def approve(self, id: UInt64, commit: Str, options: ApprovalOptions) -> ObjectPath:
        """Approve a request, if it is about `commit`, and return the path of its job."""

    @remote("ApproveNow")
    async def approve_now(self, id: UInt64, commit: Str, options: ApprovalOptions) -> ObjectPath:
        """Approve as `approve`, and deploy without waiting for the end of the turn."""

    @remote("Deny")
    async def deny(self, id: UInt64, commit: Str, note: Str) -> None:
        """Deny a request, if it is about `commit`."""

    @remote("AllowTool")
    async def allow_tool(self, agent: Str, rule: Str, reason: Str) -> Allowed:
        """Add a rule to the allowed tools of an agent, and approve that."""

    @remote("AllowEgress")
    async def allow_egress(self, agent: Str, rule: Str, reason: Str) -> Allowed:
        """Add a rule to the hosts to which an agent may connect, and approve that."""

    @remote("Configure")
    async def configure(
        self, agent: Str, path: Str, text: Str, base: Str, options: ConfigureOptions
    ) -> Allowed:
        """Change a file of an agent's configuration, if `base` is deployed, and deploy that."""

    @remote("ImportHistory")
    async def import_history(self, agent: Str) -> StrList:
        """Take over the history that an import has copied, and return its branches and tags."""

    @remote("CompareFile")
    async def compare_file(self, agent: Str, path: Str, text: Str) -> Change:
        """Return the change that Configure would make."""

    @remote("GetFile")
    async def get_file(self, agent: Str, path: Str) -> ConfigFile:
        """Return a file of an agent's deployed configuration."""

    @remote("Diff")
    async def diff(self, id: UInt64) -> Change:
        """Return the change that a request makes."""

    @remote("DiffAgainst")
    async def diff_against(self, id: UInt64, base: DiffBase) -> Comparison:
        """Return a request compared with another configuration."""

    @remote("DiffDeploy")
    async def diff_deploy(self, agent: Str, tag: Str) -> Change:
        """Return the change that a deploy made."""

    @remote("DeployLog")
    async def deploy_log(self, agent: Str, limit: UInt32) -> list[Deploy]:
        """Return the newest deploys of an agent, or of all when `agent` is empty."""

    @remote("List")
    async def list_approvals(self, filter: ApprovalFilter) -> list[Approval]:
        """Return the requests that match."""
