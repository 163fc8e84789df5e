# ruff: noqa: N802 -- D-Bus members are PascalCase
"""A fake of approvals."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hivectl.tests.fake_agent import COMMIT, SINCE
from wire import names
from wire.errors import Conflict, HiveError, InvalidArgument, NotFound
from wire.interface import Interface, caller, method
from wire.principal import OPERATOR
from wire.records import decode
from wire.records.approvals import (
    NO_JOB,
    Allowed,
    ApplyRequestOptions,
    Approval,
    ApprovalFilter,
    ApprovalKind,
    ApprovalOptions,
    ApprovalState,
    Change,
    ConfigFile,
    ConfigureOptions,
    Deploy,
    SpawnRequestOptions,
)
from wire.types import Dict, ObjectPath, Str, StrList, UInt32, UInt64

if TYPE_CHECKING:
    from hivectl.tests.fake_hive import FakeLifecycle

BASE = "b" * 40
DIFF = """\
diff --git a/agent.toml b/agent.toml
--- a/agent.toml
+++ b/agent.toml
@@ -1,2 +1,2 @@
-model = "a"
+model = "b"
"""


def request(
    id: int,
    kind: ApprovalKind,
    agent: str,
    commit: str,
    reason: str,
    state: ApprovalState,
    note: str = "",
) -> Approval:
    """Return a request by the manager."""
    resolved = 0 if state is ApprovalState.PENDING else SINCE
    return Approval(id, kind, agent, commit, reason, "manager", SINCE, state, note, resolved)


class FakeApprovals(Interface, name=names.APPROVALS):
    def __init__(self, lifecycle: "FakeLifecycle") -> None:
        self._lifecycle = lifecycle
        self.requests = [
            request(7, ApprovalKind.SPAWN, "carol", COMMIT, "to test", ApprovalState.PENDING),
            request(6, ApprovalKind.SPAWN, "dave", "", "to rest", ApprovalState.DENIED, "no"),
            request(
                *(5, ApprovalKind.APPLY, "alice", COMMIT, "to fail", ApprovalState.FAILED),
                "no jq:\nlast line",
            ),
        ]
        self.deployments = [
            Deploy(SINCE, "alice", COMMIT, 3, "manager", "More memory"),
            Deploy(SINCE - 1_000_000, "bob-2", COMMIT[::-1], 0, "operator", "The first one"),
        ]
        self.text = DIFF
        self.files = {"agent.toml": 'model = "a"\n', "notes.md": "\u202eold\n"}
        self.deployed = BASE
        self.allow_job = names.job_path(2)
        self.history_error: HiveError | None = None
        self.calls: list[tuple[Any, ...]] = []

    @method(allow=OPERATOR)
    async def List(self, filter: Dict) -> list[Approval]:
        wanted = decode(ApprovalFilter, filter)
        return [
            r
            for r in self.requests
            if wanted.state in (None, r.state) and wanted.id in (None, r.id)
        ]

    @method(allow=OPERATOR)
    async def RequestSpawn(self, name: Str, reason: Str, options: Dict) -> UInt64:
        self.calls.append(("spawn", name, reason, decode(SpawnRequestOptions, options)))
        return self._add(ApprovalKind.SPAWN, name, reason)

    def _add(self, kind: ApprovalKind, agent: str, reason: str) -> int:
        self.requests = [r for r in self.requests if r.id != 8]
        self.requests.append(request(8, kind, agent, COMMIT, reason, ApprovalState.PENDING))
        return 8

    @method(allow=OPERATOR)
    async def RequestApply(
        self, agent: Str, commit: Str, description: Str, options: Dict
    ) -> UInt64:
        chosen = decode(ApplyRequestOptions, options)
        self.calls.append(("apply", agent, commit, description, chosen))
        return self._add(ApprovalKind.APPLY, agent, description)

    @method(allow=OPERATOR)
    async def Revert(self, agent: Str, tag: Str) -> UInt64:
        self.calls.append(("revert", agent, tag))
        return self._add(ApprovalKind.REVERT, agent, f"Back to {tag}")

    @method(allow=OPERATOR)
    async def AllowTool(self, agent: Str, rule: Str, reason: Str) -> Allowed:
        self.calls.append(("allow", agent, rule, reason))
        return Allowed(8, self.allow_job)

    @method(allow=OPERATOR)
    async def AllowEgress(self, agent: Str, rule: Str, reason: Str) -> Allowed:
        self.calls.append(("allow egress", agent, rule, reason))
        job = NO_JOB if self.allow_job == NO_JOB else self._lifecycle.job("alice", "deploy")
        return Allowed(8, job)

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64, commit: Str, options: Dict) -> ObjectPath:
        return self._approve("approve", id, commit, options)

    @method(allow=OPERATOR)
    async def ApproveNow(self, id: UInt64, commit: Str, options: Dict) -> ObjectPath:
        return self._approve("approve now", id, commit, options)

    def _approve(self, how: str, id: int, commit: str, options: Mapping[str, object]) -> str:
        self.calls.append((how, id, commit, decode(ApprovalOptions, options)))
        [wanted] = [r for r in self.requests if r.id == id]
        if wanted.state is not ApprovalState.PENDING and how == "approve":
            raise Conflict(f"Request {id} for {wanted.agent} is already {wanted.state}.")
        return self._lifecycle.job("carol", "spawn")

    @method(allow=OPERATOR)
    async def GetFile(self, agent: Str, path: Str) -> ConfigFile:
        if path not in self.files:
            raise NotFound(f"There is no file {path} in 0123 of {agent}.")
        return ConfigFile(self.files[path], BASE, list(self.files))

    @method(allow=OPERATOR)
    async def ImportHistory(self, agent: Str) -> StrList:
        self.calls.append(("import history", agent))
        if self.history_error:
            raise self.history_error
        return ["heads/main", "tags/deployed/3"]

    @method(allow=OPERATOR)
    async def CompareFile(self, agent: Str, path: Str, text: Str) -> Change:
        if "wrong" in text:
            raise InvalidArgument("agent.toml, line 1: wrong is not a valid key.")
        return Change(self.text, self.deployed)

    @method(allow=OPERATOR)
    async def Configure(
        self, agent: Str, path: Str, text: Str, base: Str, options: Dict
    ) -> Allowed:
        self.calls.append(("configure", agent, path, text, base, decode(ConfigureOptions, options)))
        return Allowed(8, self._lifecycle.job(agent, "deploy"))

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, commit: Str, note: Str) -> None:
        self.calls.append(("deny", id, commit, note, str(caller())))

    @method(allow=OPERATOR)
    async def Withdraw(self, id: UInt64) -> None:
        self.calls.append(("withdraw", id))

    @method(allow=OPERATOR)
    async def Diff(self, id: UInt64) -> Change:
        return Change(self.text, BASE)

    @method(allow=OPERATOR)
    async def DeployLog(self, agent: Str, limit: UInt32) -> list[Deploy]:
        self.calls.append(("deploy log", agent, limit))
        return [d for d in self.deployments if agent in ("", d.agent)][:limit]
