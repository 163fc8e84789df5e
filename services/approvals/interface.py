"""org.hyperhive.Approvals1: forwards to the rules, and their changes to signals."""

from typing import Annotated, Any, TypeAlias

from services.approvals import query
from services.approvals.approvals import Approvals
from services.approvals.ledger import Ledger
from services.approvals.model import Approval, State
from wire import names
from wire.interface import Interface, caller, method, signal
from wire.principal import MANAGER, OPERATOR, service
from wire.types import Dict, ObjectPath, Signature, Str, UInt32, UInt64

ApprovalStructs: TypeAlias = Annotated[list[list[Any]], Signature("a(tsssssxssx)")]
DeployStructs: TypeAlias = Annotated[list[list[Any]], Signature("a(xsstss)")]


class Approvals1(Interface, name=names.APPROVALS):
    """The queue of what waits for the operator, and what became of it."""

    def __init__(self, approvals: Approvals, ledger: Ledger) -> None:
        self._approvals = approvals
        ledger.on_change = self._signal_change

    @method(allow=MANAGER | OPERATOR)
    async def RequestSpawn(self, name: Str, reason: Str, options: Dict) -> UInt64:
        config = query.config_of(options)
        return await self._approvals.request_spawn(caller().voice, name, reason, config)

    @method(allow=MANAGER | OPERATOR)
    async def RequestApply(
        self, agent: Str, commit: Str, description: Str, options: Dict
    ) -> UInt64:
        revert = query.revert_of(options)
        return await self._approvals.request_apply(
            caller().voice, agent, commit, description, revert=revert
        )

    @method(allow=MANAGER | OPERATOR)
    async def Revert(self, agent: Str, tag: Str) -> UInt64:
        return await self._approvals.revert(caller().voice, agent, tag)

    @method(allow=MANAGER | OPERATOR)
    async def Withdraw(self, id: UInt64) -> None:
        await self._approvals.withdraw(caller().voice, id)

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64) -> ObjectPath:
        return await self._approvals.approve(id)

    @method(allow=OPERATOR)
    async def ApproveNow(self, id: UInt64) -> ObjectPath:
        return await self._approvals.approve(id, now=True)

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, note: Str) -> None:
        await self._approvals.deny(id, note)

    @method(allow=MANAGER | OPERATOR)
    async def Diff(self, id: UInt64) -> Str:
        return await self._approvals.diff(id)

    @method(allow=MANAGER | OPERATOR)
    async def DeployLog(self, agent: Str, limit: UInt32) -> DeployStructs:
        deployed = await self._approvals.deploy_log(agent, query.limit_of(limit))
        return [list(deploy) for deploy in deployed]

    @method(allow=MANAGER | OPERATOR | service("broker") | service("notify"))
    async def List(self, filter: Dict) -> ApprovalStructs:
        return [_struct(approval) for approval in self._approvals.find(**query.parse(filter))]

    @signal()
    def ApprovalAdded(self, agent: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def ApprovalResolved(self, agent: Str, id: UInt64, state: Str) -> None: ...

    def _signal_change(self, approval: Approval) -> None:
        if approval.state is State.PENDING:
            self.ApprovalAdded(approval.agent, approval.id, approval.kind)
        else:
            self.ApprovalResolved(approval.agent, approval.id, approval.state)


def _struct(approval: Approval) -> list[Any]:
    return [
        approval.id,
        str(approval.kind),
        approval.agent,
        approval.commit,
        approval.reason,
        approval.requested_by,
        approval.requested,
        str(approval.state),
        approval.note,
        approval.resolved,
    ]
