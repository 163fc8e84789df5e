"""org.hyperhive.Approvals1 on the bus. Forwards, and nothing else."""

from services.approvals import options as checked
from services.approvals.approvals import Approvals
from services.approvals.comparisons import Comparisons
from services.approvals.configurations import Configurations
from services.approvals.ledger import Ledger
from services.approvals.model import Approval
from wire import names
from wire.interface import Interface, caller, method, signal
from wire.principal import MANAGER, OPERATOR, service
from wire.records import approvals as records
from wire.types import Dict, ObjectPath, Str, StrList, UInt32, UInt64


class Approvals1(Interface, name=names.APPROVALS):
    """The object of the service."""

    def __init__(
        self,
        approvals: Approvals,
        comparisons: Comparisons,
        configurations: Configurations,
        ledger: Ledger,
    ) -> None:
        self._approvals = approvals
        self._comparisons = comparisons
        self._configurations = configurations
        ledger.on_change = self._signal_change

    @method(allow=MANAGER | OPERATOR)
    async def RequestSpawn(self, name: Str, reason: Str, options: Dict) -> UInt64:
        chosen = checked.SPAWN.parse(options)
        return await self._approvals.request_spawn(caller().voice, name, reason, chosen.config)

    @method(allow=MANAGER | OPERATOR)
    async def RequestApply(
        self, agent: Str, commit: Str, description: Str, options: Dict
    ) -> UInt64:
        chosen = checked.APPLY.parse(options)
        return await self._approvals.request_apply(
            caller().voice, agent, commit, description, revert=chosen.revert
        )

    @method(allow=MANAGER | OPERATOR)
    async def Revert(self, agent: Str, tag: Str) -> UInt64:
        return await self._approvals.revert(caller().voice, agent, tag)

    @method(allow=MANAGER | OPERATOR)
    async def Withdraw(self, id: UInt64) -> None:
        await self._approvals.withdraw(caller().voice, id)

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64, commit: Str, options: Dict) -> ObjectPath:
        return await self._approvals.approve(id, commit, checked.APPROVE.parse(options).base)

    @method(allow=OPERATOR)
    async def ApproveNow(self, id: UInt64, commit: Str, options: Dict) -> ObjectPath:
        base = checked.APPROVE.parse(options).base
        return await self._approvals.approve(id, commit, base, now=True)

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, commit: Str, note: Str) -> None:
        await self._approvals.deny(id, commit, note)

    @method(allow=OPERATOR)
    async def AllowTool(self, agent: Str, rule: Str, reason: Str) -> records.Allowed:
        return await self._approvals.allow_tool(agent, rule, reason)

    @method(allow=OPERATOR)
    async def AllowEgress(self, agent: Str, rule: Str, reason: Str) -> records.Allowed:
        return await self._approvals.allow_egress(agent, rule, reason)

    @method(allow=OPERATOR)
    async def Configure(
        self, agent: Str, path: Str, text: Str, base: Str, options: Dict
    ) -> records.Allowed:
        chosen = checked.CONFIGURE.parse(options)
        return await self._configurations.configure(agent, path, text, base, chosen)

    @method(allow=OPERATOR)
    async def ImportHistory(self, agent: Str) -> StrList:
        return await self._approvals.import_history(agent)

    @method(allow=OPERATOR)
    async def CompareFile(self, agent: Str, path: Str, text: Str) -> records.Change:
        return await self._configurations.compare(agent, path, text)

    @method(allow=OPERATOR)
    async def GetFile(self, agent: Str, path: Str) -> records.ConfigFile:
        return await self._configurations.get(agent, path)

    @method(allow=MANAGER | OPERATOR)
    async def Diff(self, id: UInt64) -> records.Change:
        return await self._comparisons.diff(id)

    @method(allow=OPERATOR)
    async def DiffAgainst(self, id: UInt64, base: Str) -> records.Comparison:
        return await self._comparisons.diff_against(id, checked.diff_base(base))

    @method(allow=OPERATOR)
    async def DiffDeploy(self, agent: Str, tag: Str) -> records.Change:
        return await self._comparisons.diff_deploy(agent, tag)

    @method(allow=MANAGER | OPERATOR)
    async def DeployLog(self, agent: Str, limit: UInt32) -> list[records.Deploy]:
        checked.check_limit(limit)
        return await self._approvals.deploy_log(agent, limit)

    @method(allow=MANAGER | OPERATOR | service("broker") | service("notify"))
    async def List(self, filter: Dict) -> list[records.Approval]:
        found = self._approvals.find(checked.FILTER.parse(filter))
        return [approval.record() for approval in found]

    @signal()
    def ApprovalAdded(self, agent: Str, id: UInt64, kind: records.ApprovalKind) -> None: ...

    @signal()
    def ApprovalResolved(self, agent: Str, id: UInt64, state: records.ApprovalState) -> None: ...

    def _signal_change(self, approval: Approval) -> None:
        if approval.state is records.ApprovalState.PENDING:
            self.ApprovalAdded(approval.agent, approval.id, approval.kind)
        else:
            self.ApprovalResolved(approval.agent, approval.id, approval.state)
