"""org.hyperhive.Ledger1 on the bus. Forwards, and nothing else."""

from services.ledger.budgets.account import Key
from services.ledger.budgets.store import Source
from services.ledger.ledger import Ledger, Parts
from services.ledger.pace import Pace
from wire import names
from wire.interface import Interface, caller, method, sender, signal
from wire.principal import AGENTS, GATEWAYS, OPERATOR, Kind, service
from wire.records import ledger as records
from wire.records import to_dict
from wire.records.ledger import Budget, Cost, Egress, ProviderLimit, Request, Turn, UsageSum
from wire.types import Bool, Dict, Int64, Str, UInt16, UInt32, UInt64


class Ledger1(Interface, name=names.LEDGER):
    """The object of the service."""

    def __init__(self, ledger: Ledger, parts: Parts) -> None:
        self._ledger = ledger
        self._parts = parts
        self._budgets: Pace[Key] = Pace(self._signal_budget)
        self._hosts: Pace[tuple[str, str, int]] = Pace(self._signal_host)
        self._latest: dict[tuple[str, str, int], Egress] = {}
        parts.turns.on_recorded = self._signal_recorded
        parts.requests.on_settled = self._signal_settled
        parts.requests.limits.on_limit = self._signal_limit
        parts.requests.limits.on_agent = self._signal_agent
        parts.budgets.on_changed = self._budget_changed
        parts.hosts.on_changed = self._host_changed
        ledger.on_limits = lambda key: self._budgets.changed(key, urgent=True)

    def close(self) -> None:
        """Send the changes that wait for the end of a window."""
        self._budgets.close()
        self._hosts.close()

    @method(allow=AGENTS)
    async def RecordTurn(self, turn: Dict) -> None:
        await self._parts.turns.record_on_disk(caller().name, turn)

    @method(allow=OPERATOR)
    async def ListTurns(self, filter: Dict, limit: UInt32) -> list[Turn]:
        return await self._parts.turns.list_turns(filter, limit)

    @method(allow=OPERATOR)
    async def Costs(self, filter: Dict) -> list[Cost]:
        return await self._parts.turns.costs(filter)

    @method(allow=GATEWAYS)
    async def Reserve(self, request: Dict) -> UInt64:
        return await self._parts.requests.reserve_when_free(caller().name, sender(), request)

    @method(allow=GATEWAYS)
    async def Settle(self, id: UInt64, usage: Dict) -> None:
        await self._parts.requests.settle_on_disk(caller().name, id, usage)

    @method(allow=GATEWAYS)
    async def Release(self, key: Str) -> None:
        self._parts.requests.release(caller().name, key)

    @method(allow=GATEWAYS)
    async def ReportEgress(self, report: Dict) -> None:
        self._parts.hosts.report(caller().name, report)

    @method(allow=GATEWAYS | AGENTS)
    async def CheckEgress(self, host: Str, port: UInt16, reason: Str) -> Bool:
        who = caller()
        gateway = who.kind is Kind.GATEWAY
        return self._parts.hosts.check(who.name, host, port, reason, gateway=gateway)

    @method(allow=OPERATOR)
    async def ListUsage(self, filter: Dict, limit: UInt32) -> list[Request]:
        return await self._parts.requests.list_usage(filter, limit)

    @method(allow=OPERATOR)
    async def SumUsage(self, filter: Dict) -> list[UsageSum]:
        return await self._parts.requests.sum_usage(filter)

    @method(allow=OPERATOR)
    async def ListBudgets(self) -> list[Budget]:
        return self._ledger.list_budgets()

    @method(allow=OPERATOR | service("lifecycle"))
    async def SetBudget(self, kind: Str, name: Str, limits: Dict) -> None:
        source = Source.OPERATOR if caller().is_operator else Source.DEPLOYED
        self._ledger.set_budget(source, kind, name, limits)

    @method(allow=OPERATOR | service("notify"))
    async def ListEgress(self, filter: Dict, limit: UInt32) -> list[Egress]:
        return await self._parts.hosts.list(filter, limit)

    @method(allow=OPERATOR)
    async def DecideEgress(self, agent: Str, host: Str, port: UInt16, decision: Str) -> None:
        self._parts.hosts.decide(agent, host, port, decision)

    @method(allow=service("lifecycle"))
    async def SetEgress(self, agent: Str, rules: list[Str]) -> None:
        self._parts.hosts.apply(agent, rules)

    @method(allow=service("lifecycle"))
    async def ForgetAgent(self, agent: Str) -> None:
        self._ledger.forget(agent)

    @method(allow=OPERATOR | service("lifecycle"))
    async def ListLimits(self) -> list[ProviderLimit]:
        return self._ledger.list_limits()

    @method(allow=GATEWAYS)
    async def LimitedUntil(self) -> Int64:
        return self._ledger.limited_until(caller().name)

    @method(allow=OPERATOR | service("lifecycle"))
    async def LiftLimits(self) -> None:
        self._parts.requests.lift_limits()

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

    def _signal_settled(self, request: Request) -> None:
        self.RequestSettled(to_dict(request))

    def _signal_limit(self, change: records.ProviderLimitChanged) -> None:
        self.ProviderLimitChanged(*change)

    def _signal_agent(self, change: records.AgentLimited) -> None:
        self.AgentLimited(*change)

    def _budget_changed(self, key: Key, urgent: bool) -> None:
        self._budgets.changed(key, urgent=urgent)

    def _host_changed(self, host: Egress, urgent: bool) -> None:
        key = (host.agent, host.host, host.port)
        self._latest[key] = host
        self._hosts.changed(key, urgent=urgent)

    def _signal_budget(self, key: Key) -> None:
        self.BudgetChanged(to_dict(self._ledger.budget(key)))

    def _signal_host(self, key: tuple[str, str, int]) -> None:
        self.EgressChanged(to_dict(self._latest.pop(key)))
