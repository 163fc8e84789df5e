"""A fake of the ledger."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import time
from typing import Any

from services.dashboard.tests.fakes.now import NOW
from wire import names
from wire.errors import NotFound
from wire.interface import Interface, method, signal
from wire.principal import OPERATOR
from wire.records import decode, to_dict
from wire.records.ledger import (
    Budget,
    Cost,
    CostFilter,
    CostKey,
    Egress,
    EgressFilter,
    EgressState,
    ProviderLimit,
    Request,
    RequestOutcome,
    Turn,
    TurnFilter,
    UsageFilter,
    UsageSum,
    UsageSumFilter,
)
from wire.types import Dict, Int64, Str, UInt16, UInt32, UInt64


class FakeLedger(Interface, name=names.LEDGER):
    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.days: list[Cost] = []
        self.budgets: list[Budget] = []
        self.hosts: list[Egress] = []
        self.decided: list[tuple[str, str, int, str]] = []
        self.requests: list[Request] = []
        self.sums: dict[str, list[UsageSum]] = {}
        """The answers of SumUsage, by the key, or by the key and the agent."""
        self.asked: list[UsageSumFilter] = []
        self.limits: list[ProviderLimit] = []
        self.set: list[tuple[str, str, dict[str, object]]] = []

    def settle(self, agent: str, model: str, **values: Any) -> None:
        """End a request to the model API."""
        request = Request(1, agent, "default", model, RequestOutcome.DONE, NOW, NOW + 1000)
        self.RequestSettled(to_dict(request._replace(**values)))

    def spend(self, budget: Budget) -> None:
        """Put a budget in place of the one of the same kind, name and period."""
        self.budgets = [known for known in self.budgets if known[:3] != budget[:3]] + [budget]
        self.BudgetChanged(to_dict(budget))

    def refuse(self, agent: str, host: str, port: int = 443, **values: Any) -> None:
        """Refuse a host to an agent once more."""
        known = next((e for e in self.hosts if e[:3] == (agent, host, port)), None)
        now = time.time_ns() // 1000
        entry = known or Egress(agent, host, port, EgressState.PENDING, now, now)
        entry = entry._replace(last=now, refused=entry.refused + 1)._replace(**values)
        self.hosts = [e for e in self.hosts if e[:3] != entry[:3]] + [entry]
        self.EgressChanged(to_dict(entry))

    def record(self, agent: str, cost: int, **values: Any) -> None:
        """Record a turn of now."""
        now, number = time.time_ns() // 1000, len(self.turns) + 1
        turn = Turn(turn=number, started=now - 5_000_000, ended=now, outcome="done", cost=cost)
        turn = turn._replace(id=number, agent=agent, **values)
        self.turns.append(turn)
        self.TurnRecorded(agent, number, turn.started, cost)

    @method(allow=OPERATOR)
    async def ListTurns(self, filter: Dict, limit: UInt32) -> list[Turn]:
        wanted = decode(TurnFilter, filter)
        found = [turn for turn in reversed(self.turns) if wanted.agent in (None, turn.agent)]
        return [turn for turn in found if turn.id < (wanted.before or 2**63)][:limit]

    @method(allow=OPERATOR)
    async def Costs(self, filter: Dict) -> list[Cost]:
        wanted = decode(CostFilter, filter)
        if wanted.by == CostKey.DAY and self.days:
            return self.days
        sums: dict[str, Cost] = {}
        for turn in self.turns:
            if wanted.agent in (None, turn.agent) and turn.started >= (wanted.since or 0):
                key = turn.agent if wanted.by == CostKey.AGENT else "2026-05-28"
                known = sums.get(key, Cost(key, 0, 0, 0, 0, 0, 0, 0))
                sums[key] = known._replace(
                    turns=known.turns + 1,
                    duration=known.duration + turn.duration,
                    cost=known.cost + turn.cost,
                )
        return list(sums.values())

    @method(allow=OPERATOR)
    async def SumUsage(self, filter: Dict) -> list[UsageSum]:
        wanted = decode(UsageSumFilter, filter)
        self.asked.append(wanted)
        return self.sums.get(f"{wanted.by} {wanted.agent}", self.sums.get(wanted.by, []))

    @method(allow=OPERATOR)
    async def ListUsage(self, filter: Dict, limit: UInt32) -> list[Request]:
        wanted = decode(UsageFilter, filter)
        found = [one for one in reversed(self.requests) if wanted.agent in (None, one.agent)]
        return [one for one in found if one.id < (wanted.before or 2**63)][:limit]

    @method(allow=OPERATOR)
    async def ListLimits(self) -> list[ProviderLimit]:
        return self.limits

    def limit(self, limit: ProviderLimit) -> None:
        """Tell the limit of a provider."""
        self.limits = [limit]
        self.ProviderLimitChanged(limit.credential, limit.until)

    @method(allow=OPERATOR)
    async def SetBudget(self, kind: Str, name: Str, limits: Dict) -> None:
        self.set.append((kind, name, limits))

    @method(allow=OPERATOR)
    async def ListBudgets(self) -> list[Budget]:
        return self.budgets

    @method(allow=OPERATOR)
    async def ListEgress(self, filter: Dict, limit: UInt32) -> list[Egress]:
        wanted = decode(EgressFilter, filter)
        found = [e for e in self.hosts if wanted.agent in (None, e.agent)]
        found = [e for e in found if wanted.state in (None, e.state)]
        return sorted(found, key=lambda e: -e.last)[:limit]

    @method(allow=OPERATOR)
    async def DecideEgress(self, agent: Str, host: Str, port: UInt16, decision: Str) -> None:
        self.decided.append((agent, host, port, decision))
        state = {"once": EgressState.ONCE, "deny": EgressState.DENIED}[decision]
        if not any(e[:3] == (agent, host, port) for e in self.hosts):
            raise NotFound(f"{host}:{port} was not refused to {agent}.")
        self.refuse(agent, host, port, state=state)

    @signal()
    def RequestSettled(self, request: Dict) -> None: ...

    @signal()
    def ProviderLimitChanged(self, credential: Str, until: Int64) -> None: ...

    @signal()
    def BudgetChanged(self, budget: Dict) -> None: ...

    @signal()
    def EgressChanged(self, host: Dict) -> None: ...

    @signal()
    def TurnRecorded(self, agent: Str, id: UInt64, started: Int64, cost: UInt64) -> None: ...
