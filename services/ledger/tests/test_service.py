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
from wire.errors import AccessDenied, InvalidArgument
from wire.fixtures import Connect
from wire.principal import DASHBOARD, THE_MANAGER, Kind, Principal, agent
from wire.records import decode
from wire.records.ledger import Cost, CostFilter, CostKey, Turn, TurnFilter, TurnRecorded
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
    "RecordTurn": {"alice", "manager"},
    "ListTurns": {"operator", "dashboard"},
    "Costs": {"operator", "dashboard"},
    "Vacuum": {"operator", "dashboard", "vacuum"},
}


@pytest.mark.parametrize("who", [agent("alice"), THE_MANAGER, None, DASHBOARD, VACUUM])
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
        "Vacuum": ledger.vacuum,
    }
    assert set(calls) == set(Ledger1.methods)
    for member, call in calls.items():
        if (who.name if who else "operator") in CALLERS[member]:
            await call()
        else:
            with pytest.raises(AccessDenied):
                await call()


def rules(**who: str) -> list[ET.Element]:
    policy = ET.parse(ROOM / "org.hyperhive.Ledger1.conf").getroot()
    [(key, value)] = who.items()
    return [rule for p in policy if p.get(key) == value for rule in p]


@pytest.mark.parametrize(
    ("who", "principal"),
    [({"group": "hive-agents"}, agent("alice")), ({"user": "hive-vacuum"}, VACUUM)],
)
def test_the_policy_lets_through_what_the_service_allows(
    who: dict[str, str], principal: Principal
) -> None:
    found = rules(**who)
    assert {rule.get("send_interface") for rule in found} == {names.LEDGER}
    assert {rule.get("send_member") for rule in found} == {
        name for name, method in Ledger1.methods.items() if principal in method.allow
    }


def test_every_method_is_in_the_readme() -> None:
    lines = (ROOM / "README.md").read_text().splitlines()
    table = "\n".join(line for line in lines if line.startswith("|"))
    for name in Ledger1.methods:
        assert f"`{name}`" in table
