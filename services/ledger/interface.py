"""org.hyperhive.Ledger1 on the bus. Forwards, and nothing else."""

from services.ledger.ledger import Ledger
from wire import names
from wire.errors import Unavailable
from wire.interface import Interface, caller, method, signal
from wire.principal import AGENTS, GATEWAYS, OPERATOR, service
from wire.records import ledger as records
from wire.records.ledger import Budget, Cost, Egress, ProviderLimit, Request, Turn
from wire.types import Bool, Dict, Int64, Str, UInt16, UInt32, UInt64


class Ledger1(Interface, name=names.LEDGER):
    """The object of the service."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        ledger.on_recorded = self._signal_recorded

    @method(allow=AGENTS)
    async def RecordTurn(self, turn: Dict) -> None:
        self._ledger.record(caller().name, turn)

    @method(allow=OPERATOR)
    async def ListTurns(self, filter: Dict, limit: UInt32) -> list[Turn]:
        return await self._ledger.list_turns(filter, limit)

    @method(allow=OPERATOR)
    async def Costs(self, filter: Dict) -> list[Cost]:
        return await self._ledger.costs(filter)

    @method(allow=GATEWAYS)
    async def Reserve(self, request: Dict) -> UInt64:
        raise Unavailable("Not made yet.")

    @method(allow=GATEWAYS)
    async def Settle(self, id: UInt64, usage: Dict) -> None:
        raise Unavailable("Not made yet.")

    @method(allow=GATEWAYS)
    async def ReportEgress(self, report: Dict) -> None:
        raise Unavailable("Not made yet.")

    @method(allow=GATEWAYS | AGENTS)
    async def CheckEgress(self, host: Str, port: UInt16, reason: Str) -> Bool:
        raise Unavailable("Not made yet.")

    @method(allow=OPERATOR)
    async def ListUsage(self, filter: Dict, limit: UInt32) -> list[Request]:
        raise Unavailable("Not made yet.")

    @method(allow=OPERATOR)
    async def ListBudgets(self) -> list[Budget]:
        raise Unavailable("Not made yet.")

    @method(allow=OPERATOR | service("lifecycle"))
    async def SetBudget(self, kind: Str, name: Str, limits: Dict) -> None:
        raise Unavailable("Not made yet.")

    @method(allow=OPERATOR | service("notify"))
    async def ListEgress(self, filter: Dict, limit: UInt32) -> list[Egress]:
        raise Unavailable("Not made yet.")

    @method(allow=OPERATOR | service("approvals"))
    async def DecideEgress(self, agent: Str, host: Str, port: UInt16, decision: Str) -> None:
        raise Unavailable("Not made yet.")

    @method(allow=OPERATOR)
    async def ListLimits(self) -> list[ProviderLimit]:
        raise Unavailable("Not made yet.")

    @method(allow=AGENTS)
    async def LimitedUntil(self) -> Int64:
        raise Unavailable("Not made yet.")

    @method(allow=OPERATOR | service("vacuum"))
    async def Vacuum(self) -> UInt64:
        return await self._ledger.vacuum()

    @signal()
    def TurnRecorded(self, agent: Str, id: UInt64, started: Int64, cost: UInt64) -> None: ...

    @signal()
    def RequestSettled(self, request: Dict) -> None: ...

    @signal()
    def BudgetChanged(self, budget: Dict) -> None: ...

    @signal()
    def EgressChanged(self, host: Dict) -> None: ...

    @signal()
    def ProviderLimitChanged(self, credential: Str, until: Int64) -> None: ...

    @signal()
    def AgentLimited(self, agent: Str, until: Int64) -> None: ...

    def _signal_recorded(self, turn: records.TurnRecorded) -> None:
        self.TurnRecorded(*turn)
