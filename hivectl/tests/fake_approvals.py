# ruff: noqa: N802 -- D-Bus members are PascalCase
"""Approvals of paper."""

from typing import TYPE_CHECKING, Annotated, Any

from hivectl.tests.fake_agent import COMMIT, SINCE
from wire import names
from wire.errors import NotFound
from wire.interface import Interface, caller, method
from wire.principal import OPERATOR
from wire.types import Dict, ObjectPath, Signature, Str, UInt32, UInt64

if TYPE_CHECKING:
    from hivectl.tests.fake_hive import FakeLifecycle

Approvals = Annotated[list[list[Any]], Signature("a(tsssssxssx)")]
Deployments = Annotated[list[list[Any]], Signature("a(xsstss)")]

DIFF = """\
diff --git a/agent.toml b/agent.toml
--- a/agent.toml
+++ b/agent.toml
@@ -1,2 +1,2 @@
-model = "a"
+model = "b"
"""


class FakeApprovals(Interface, name=names.APPROVALS):
    def __init__(self, lifecycle: "FakeLifecycle") -> None:
        self._lifecycle = lifecycle
        by = ["manager", SINCE]
        self.requests: list[list[Any]] = [
            [7, "spawn", "carol", COMMIT, "to test", *by, "pending", "", 0],
            [6, "spawn", "dave", "", "to rest", *by, "denied", "no", SINCE],
            [5, "apply", "alice", COMMIT, "to fail", *by, "failed", "no jq:\nlast line", SINCE],
        ]
        self.deployments: list[list[Any]] = [
            [SINCE, "alice", COMMIT, 3, "manager", "More memory"],
            [SINCE - 1_000_000, "bob-2", COMMIT[::-1], 0, "operator", "The first one"],
        ]
        self.text = DIFF
        self.calls: list[tuple[Any, ...]] = []

    @method(allow=OPERATOR)
    async def List(self, filter: Dict) -> Approvals:
        return [r for r in self.requests if r[7] == filter.get("state", r[7])]

    @method(allow=OPERATOR)
    async def RequestSpawn(self, name: Str, reason: Str, options: Dict) -> UInt64:
        self.calls.append(("spawn", name, reason, options))
        return 8

    @method(allow=OPERATOR)
    async def RequestApply(
        self, agent: Str, commit: Str, description: Str, options: Dict
    ) -> UInt64:
        self.calls.append(("apply", agent, commit, description, options))
        return 8

    @method(allow=OPERATOR)
    async def Revert(self, agent: Str, tag: Str) -> UInt64:
        self.calls.append(("revert", agent, tag))
        return 8

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64) -> ObjectPath:
        return self._approve("approve", id)

    @method(allow=OPERATOR)
    async def ApproveNow(self, id: UInt64) -> ObjectPath:
        return self._approve("approve now", id)

    def _approve(self, how: str, id: int) -> str:
        if id != 7:
            raise NotFound(f"There is no request {id}.")
        self.calls.append((how, id))
        return self._lifecycle.job("carol", "spawn")

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, note: Str) -> None:
        self.calls.append(("deny", id, note, str(caller())))

    @method(allow=OPERATOR)
    async def Withdraw(self, id: UInt64) -> None:
        self.calls.append(("withdraw", id))

    @method(allow=OPERATOR)
    async def Diff(self, id: UInt64) -> Str:
        return self.text

    @method(allow=OPERATOR)
    async def DeployLog(self, agent: Str, limit: UInt32) -> Deployments:
        self.calls.append(("deploy log", agent, limit))
        return [d for d in self.deployments if agent in ("", d[1])][:limit]
