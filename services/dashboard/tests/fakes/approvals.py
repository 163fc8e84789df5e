"""A fake of approvals, with requests, deploys and the configuration of alice."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import asyncio
import difflib
from collections.abc import Mapping

from services.dashboard.tests.fakes.now import NOW
from wire import names
from wire.errors import Conflict, NotFound
from wire.interface import Interface, method, signal
from wire.principal import OPERATOR
from wire.records import decode
from wire.records.approvals import (
    Allowed,
    Approval,
    ApprovalFilter,
    ApprovalKind,
    ApprovalOptions,
    ApprovalState,
    Change,
    Comparison,
    ConfigFile,
    ConfigureOptions,
    Deploy,
    SpawnRequestOptions,
)
from wire.types import Dict, ObjectPath, Str, UInt32, UInt64


class FakeApprovals(Interface, name=names.APPROVALS):
    def __init__(self) -> None:
        self.log: list[Approval] = []
        self.calls: list[tuple[str, int]] = []
        self.allowed: list[tuple[str, str, str]] = []
        self.diff = "+a new line\n"
        self.base = "b" * 40
        self.hold = asyncio.Event()
        """Set unless files are not answered yet."""
        self.hold.set()
        self.configs = {"agent.toml": 'model = "small"\n', "notes/plan.md": "Wait.\n"}
        """The files of alice."""
        self.deploys = [
            Deploy(NOW, "alice", "0123456789abcdef" * 2, 7, "manager", "More memory for the tests")
        ]
        self.saved: list[tuple[object, ...]] = []
        self.spawned: list[tuple[str, str, str | None]] = []
        self.against: list[str] = []

    @method(allow=OPERATOR)
    async def DeployLog(self, agent: Str, limit: UInt32) -> list[Deploy]:
        found = [deploy for deploy in self.deploys if agent in ("", deploy.agent)]
        return found[:limit]

    @method(allow=OPERATOR)
    async def DiffDeploy(self, agent: Str, tag: Str) -> Change:
        return Change(self.diff, self.base)

    @method(allow=OPERATOR)
    async def Revert(self, agent: Str, tag: Str) -> UInt64:
        return self.ask(agent, f"Back to {tag}", "revert", by="operator")

    @method(allow=OPERATOR)
    async def Withdraw(self, id: UInt64) -> None:
        self.calls.append(("withdraw", id))
        self.settle(id, "withdrawn", "By the operator.")

    @method(allow=OPERATOR)
    async def RequestSpawn(self, name: Str, reason: Str, options: Dict) -> UInt64:
        if name == "alice":
            raise Conflict("The agent alice already exists; choose another name.")
        config = decode(SpawnRequestOptions, options).config
        self.spawned.append((name, reason, config))
        return self.ask(name, reason, "spawn", by="operator")

    @method(allow=OPERATOR)
    async def GetFile(self, agent: Str, path: Str) -> ConfigFile:
        if agent != "alice":
            raise NotFound(f"There is no agent {agent}.")
        if path not in self.configs:
            raise NotFound(f"There is no file {path}.")
        await self.hold.wait()
        return ConfigFile(self.configs[path], self.base, list(self.configs))

    @method(allow=OPERATOR)
    async def CompareFile(self, agent: Str, path: Str, text: Str) -> Change:
        if path not in self.configs:
            raise NotFound(f"There is no file {path}.")
        if text == self.configs[path]:
            raise Conflict(f"{path} of {agent} is deployed as it is: there is no change.")
        lines = difflib.unified_diff(
            self.configs[path].splitlines(), text.splitlines(), f"a/{path}", f"b/{path}"
        )
        diff = "\n".join(line.rstrip("\n") for line in lines)
        return Change(f"diff --git a/{path} b/{path}\n{diff}\n", self.base)

    @method(allow=OPERATOR)
    async def Configure(
        self, agent: Str, path: Str, text: Str, base: Str, options: Dict
    ) -> Allowed:
        wanted = decode(ConfigureOptions, options)
        if base != self.base:
            raise Conflict(f"{agent} has {self.base[:12]} deployed now: nothing was done.")
        self.saved.append((agent, path, text, wanted.reason, wanted.now))
        self.configs[path] = text
        self.base = "c" * 40
        return Allowed(9, names.job_path(2))

    def ask(self, agent: str, reason: str, kind: str = "spawn", *, by: str = "manager") -> int:
        number = len(self.log) + 1
        self.log.append(
            Approval(
                id=number,
                kind=ApprovalKind(kind),
                agent=agent,
                commit=f"{number:040x}",
                reason=reason,
                requested_by=by,
                requested=NOW,
                state=ApprovalState.PENDING,
                note="",
                resolved=0,
            )
        )
        self.ApprovalAdded(agent, number, kind)
        return number

    def settle(self, number: int, state: str, note: str) -> None:
        if not 0 < number <= len(self.log):
            raise NotFound(f"There is no request {number}.")
        self.log[number - 1] = approval = self.log[number - 1]._replace(
            state=ApprovalState(state), note=note, resolved=NOW + 1
        )
        self.ApprovalResolved(approval.agent, number, state)

    @method(allow=OPERATOR)
    async def AllowTool(self, agent: Str, rule: Str, reason: Str) -> Allowed:
        if rule == "Refused":
            raise Conflict("The agent.toml of alice already allows Refused.")
        self.allowed.append((agent, rule, reason))
        return Allowed(8, names.job_path(2))

    @method(allow=OPERATOR)
    async def AllowEgress(self, agent: Str, rule: Str, reason: Str) -> Allowed:
        if rule == "refused.example:443":
            raise Conflict("The agent.toml of alice already allows refused.example.")
        self.allowed.append((agent, rule, reason))
        return Allowed(8, names.job_path(2))

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64, commit: Str, options: Dict) -> ObjectPath:
        self._decide("approve", id, commit, options)
        self.settle(id, "approved", "")
        return names.job_path(2)

    @method(allow=OPERATOR)
    async def ApproveNow(self, id: UInt64, commit: Str, options: Dict) -> ObjectPath:
        self._decide("approve now", id, commit, options)
        self.settle(id, "approved", "")
        return names.job_path(2)

    def _decide(self, how: str, id: int, commit: str, options: Mapping[str, object]) -> None:
        self.calls.append((how, id))
        base = decode(ApprovalOptions, options).base
        if not 0 < id <= len(self.log):
            raise NotFound(f"There is no request {id}.")
        approval = self.log[id - 1]
        if approval.state is not ApprovalState.PENDING:
            raise Conflict(f"Request {id} for {approval.agent} is already {approval.state}.")
        if commit != approval.commit:
            raise Conflict(f"Request {id} is about another commit, not {commit}.")
        if base not in (None, self.base):
            raise Conflict(f"The change was shown against {base}.")

    @method(allow=OPERATOR)
    async def DiffAgainst(self, id: UInt64, base: Str) -> Comparison:
        self.against.append(base)
        if not 0 < id <= len(self.log):
            raise NotFound(f"There is no request {id}.")
        if base == "previous":
            raise NotFound(f"There is no request for {self.log[id - 1].agent} before {id}.")
        if base == "approved":
            return Comparison("+since the approved one\n", "a" * 40, self.base)
        return Comparison(self.diff, self.base, self.base)

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, commit: Str, note: Str) -> None:
        self._decide("deny", id, commit, {})
        self.settle(id, "denied", note)

    @method(allow=OPERATOR)
    async def List(self, filter: Dict) -> list[Approval]:
        wanted = decode(ApprovalFilter, filter)
        found = [
            one
            for one in self.log
            if wanted.id in (None, one.id) and one.id < (wanted.before or 2**63)
        ]
        return found[-(wanted.limit or 1000) :]

    @signal()
    def ApprovalAdded(self, agent: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def ApprovalResolved(self, agent: Str, id: UInt64, state: Str) -> None: ...
