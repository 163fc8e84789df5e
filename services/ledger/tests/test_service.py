"""The service on a private bus: its callers, its signal, its policy and its README."""

import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from services.config import Config
from services.ledger.__main__ import build
from services.ledger.interface import Ledger1
from services.ledger.tests.conftest import turn
from wire import names
from wire.bus import Bus
from wire.clients.ledger import LedgerClient
from wire.errors import AccessDenied, InvalidArgument, NotFound, Unavailable
from wire.fixtures import Connect
from wire.principal import DASHBOARD, THE_MANAGER, Kind, Principal, agent, gateway
from wire.records import decode
from wire.records.ledger import (
    BudgetKind,
    BudgetLimits,
    Cost,
    CostFilter,
    CostKey,
    EgressDecision,
    EgressFilter,
    EgressOutcome,
    EgressReport,
    RequestOutcome,
    ReserveRequest,
    Settlement,
    Turn,
    TurnFilter,
    TurnRecorded,
    UsageFilter,
    UsageSumFilter,
)
from wire.testing import FixedPrincipals

ROOM = Path(__file__).parents[1]
VACUUM = Principal(Kind.SERVICE, "vacuum")
RECENT = 10**6


@pytest.fixture
async def service(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bus]:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    bus = await connect()
    running = await build(bus, Config())
    await bus.own(names.LEDGER)
    yield bus
    await running.close()


async def client(connect: Connect, principals: FixedPrincipals, who: Principal) -> LedgerClient:
    bus = await connect()
    principals.known[bus.unique_name] = who
    return LedgerClient(bus)


def recent(number: int = 1, **more: Any) -> Turn:
    return decode(Turn, turn(number, time.time_ns() // 1000 - 60 * RECENT, **more))


async def test_a_turn_goes_from_its_agent_to_the_operator(
    service: Bus, connect: Connect, principals: FixedPrincipals
) -> None:
    alice = await client(connect, principals, agent("alice"))
    operator_bus = await connect()
    operator = LedgerClient(operator_bus)
    async with operator_bus.subscribe(interface=names.LEDGER, member="TurnRecorded") as signals:
        made = recent(cost=5, model="opus", tools={"Bash": 1})
        await alice.record_turn(made)
        await alice.record_turn(made)
        heard = decode(TurnRecorded, (await anext(signals)).args)
    assert heard == TurnRecorded("alice", 1, made.started, 5)
    assert await operator.list_turns(TurnFilter(), 10) == [made._replace(id=1, agent="alice")]
    assert await operator.list_turns(TurnFilter(agent="bob"), 10) == []
    [cost] = await operator.costs(CostFilter(by=CostKey.MODEL, agent="alice"))
    assert cost == Cost("opus", 1, RECENT, 0, 0, 0, 0, 5)
    assert await operator.vacuum() == 0


async def test_an_agent_records_for_itself_only(
    service: Bus, connect: Connect, principals: FixedPrincipals
) -> None:
    alice = await client(connect, principals, agent("alice"))
    with pytest.raises(InvalidArgument, match="agent"):
        await alice.record_turn(recent()._replace(agent="bob"))
    manager = await client(connect, principals, THE_MANAGER)
    await manager.record_turn(recent())
    [found] = await LedgerClient(await connect()).list_turns(TurnFilter(), 10)
    assert found.agent == "manager"


CALLERS = {
    "Reserve": {"gateway"},
    "Settle": {"gateway"},
    "Release": {"gateway"},
    "ReportEgress": {"gateway"},
    "CheckEgress": {"gateway", "alice", "manager"},
    "ListUsage": {"operator", "dashboard"},
    "SumUsage": {"operator", "dashboard"},
    "ListBudgets": {"operator", "dashboard"},
    "SetBudget": {"operator", "dashboard", "lifecycle"},
    "ListEgress": {"operator", "dashboard"},
    "DecideEgress": {"operator", "dashboard"},
    "SetEgress": {"lifecycle"},
    "ForgetAgent": {"lifecycle"},
    "ListLimits": {"operator", "dashboard", "lifecycle"},
    "LimitedUntil": {"gateway"},
    "LiftLimits": {"operator", "dashboard", "lifecycle"},
    "RecordTurn": {"alice", "manager"},
    "ListTurns": {"operator", "dashboard"},
    "Costs": {"operator", "dashboard"},
    "Vacuum": {"operator", "dashboard", "vacuum"},
}


@pytest.mark.parametrize(
    "who",
    [
        *(agent("alice"), THE_MANAGER, gateway("alice"), None, DASHBOARD, VACUUM),
        *(Principal(Kind.SERVICE, name) for name in ("lifecycle", "approvals", "broker")),
    ],
)
async def test_callers(
    service: Bus, connect: Connect, principals: FixedPrincipals, who: Principal | None
) -> None:
    bus = await connect()
    if who is not None:
        principals.known[bus.unique_name] = who
    ledger = LedgerClient(bus)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "RecordTurn": lambda: ledger.record_turn(recent()),
        "ListTurns": lambda: ledger.list_turns(TurnFilter(), 1),
        "Costs": lambda: ledger.costs(CostFilter()),
        "Reserve": lambda: ledger.reserve(ReserveRequest("default", "opus", 1, 1)),
        "Settle": lambda: ledger.settle(7, Settlement(RequestOutcome.DONE)),
        "Release": lambda: ledger.release("lost"),
        "ReportEgress": lambda: ledger.report_egress(
            EgressReport("example.org", 443, EgressOutcome.ALLOWED)
        ),
        "CheckEgress": lambda: ledger.check_egress("example.org", 443, ""),
        "ListUsage": lambda: ledger.list_usage(UsageFilter(), 1),
        "SumUsage": lambda: ledger.sum_usage(UsageSumFilter()),
        "ListBudgets": ledger.list_budgets,
        "SetBudget": lambda: ledger.set_budget(BudgetKind.AGENT, "bob", BudgetLimits()),
        "ListEgress": lambda: ledger.list_egress(EgressFilter(), 1),
        "DecideEgress": lambda: ledger.decide_egress(
            "alice", "example.org", 443, EgressDecision.DENY
        ),
        "SetEgress": lambda: ledger.set_egress("alice", ["example.org"]),
        "ForgetAgent": lambda: ledger.forget_agent("bob"),
        "ListLimits": ledger.list_limits,
        "LimitedUntil": ledger.limited_until,
        "LiftLimits": ledger.lift_limits,
        "Vacuum": ledger.vacuum,
    }
    assert set(calls) == set(Ledger1.methods) == set(CALLERS)
    name = "operator" if who is None else "gateway" if who.kind is Kind.GATEWAY else who.name
    may = set()
    for member, call in calls.items():
        try:
            await call()
        except AccessDenied:
            continue
        except (NotFound, Unavailable):
            pass
        may.add(member)
    assert may == {member for member, callers in CALLERS.items() if name in callers}


def rules(**who: str) -> list[ET.Element]:
    policy = ET.parse(ROOM / "org.hyperhive.Ledger1.conf").getroot()
    [(key, value)] = who.items()
    return [rule for p in policy if p.get(key) == value for rule in p]


@pytest.mark.parametrize(
    ("who", "principal"),
    [
        ({"group": "hive-agents"}, agent("alice")),
        ({"user": "hive-gateway"}, gateway("alice")),
        ({"user": "hive-vacuum"}, VACUUM),
    ],
)
def test_the_policy_lets_through_what_the_service_allows(
    who: dict[str, str], principal: Principal
) -> None:
    found = [rule for rule in rules(**who) if rule.get("send_destination")]
    assert {rule.get("send_interface") for rule in found} == {names.LEDGER}
    assert {rule.get("send_member") for rule in found} == {
        name for name, method in Ledger1.methods.items() if principal in method.allow
    }


def test_every_method_is_in_the_readme() -> None:
    lines = (ROOM / "README.md").read_text().splitlines()
    table = "\n".join(line for line in lines if line.startswith("|"))
    for name in Ledger1.methods:
        assert f"`{name}`" in table
