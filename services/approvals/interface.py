"""org.hyperhive.Approvals1: forwards to the rules, and their changes to signals."""

from typing import Annotated, Any, TypeAlias

from services.approvals.approvals import Approvals
from services.approvals.model import Approval, State
from services.approvals.query import parse
from wire import names
from wire.interface import Interface, caller, method, signal
from wire.principal import MANAGER, OPERATOR, service
from wire.types import Dict, ObjectPath, Signature, Str, UInt64

ApprovalStructs: TypeAlias = Annotated[list[list[Any]], Signature("a(tssssxssx)")]


class Approvals1(Interface, name=names.APPROVALS):
    """The queue of what waits for the operator."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals
        approvals.on_change = self._announce

    @method(allow=MANAGER | OPERATOR)
    async def RequestSpawn(self, name: Str, reason: Str) -> UInt64:
        return await self._approvals.request_spawn(caller().voice, name, reason)

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64) -> ObjectPath:
        return await self._approvals.approve(id)

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, note: Str) -> None:
        await self._approvals.deny(id, note)

    @method(allow=MANAGER | OPERATOR | service("broker") | service("notify"))
    async def List(self, filter: Dict) -> ApprovalStructs:
        return [_struct(approval) for approval in self._approvals.find(**parse(filter))]

    @signal()
    def ApprovalAdded(self, agent: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def ApprovalResolved(self, agent: Str, id: UInt64, state: Str) -> None: ...

    def _announce(self, approval: Approval) -> None:
        if approval.state is State.PENDING:
            self.ApprovalAdded(approval.agent, approval.id, approval.kind)
        else:
            self.ApprovalResolved(approval.agent, approval.id, approval.state)


def _struct(approval: Approval) -> list[Any]:
    return [
        approval.id,
        str(approval.kind),
        approval.agent,
        approval.reason,
        approval.requested_by,
        approval.requested,
        str(approval.state),
        approval.note,
        approval.resolved,
    ]
