"""Budgets through the real ledger, the real broker and a real gateway on one bus."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from services import unit
from services.broker.__main__ import build as build_broker
from services.config import Config, GatewayConfig
from services.gateway.clients import BusLedger
from services.gateway.credentials import Credential
from services.gateway.gateway import Gateway
from services.gateway.tests.stage import listening, write_settings
from services.gateway.tests.upstream import Sent, http, message, upstream
from services.ledger.__main__ import build as build_ledger
from services.ledger.requests import requests
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.clients.ledger import LedgerClient
from wire.errors import BudgetExhausted, LimitExceeded
from wire.fixtures import Connect
from wire.principal import Kind, Principal, gateway
from wire.records import decode
from wire.records.broker import HoldKind, HoldsChanged, MessageFilter, QuestionFilter
from wire.records.ledger import (
    Budget,
    BudgetKind,
    BudgetLimits,
    BudgetState,
    RequestOutcome,
    ReserveRequest,
    Settlement,
    UsageFilter,
)
from wire.signals import SignalStream
from wire.testing import FixedPrincipals

DOLLAR = 1_000_000
A_DOLLAR = ReserveRequest("default", "claude-opus-4-5", 0, 40_000)
SPENT = Settlement(RequestOutcome.DONE, status=200, output_tokens=40_000)


class Hive:
    """The two services, and their callers."""

    def __init__(self, connect: Connect, principals: FixedPrincipals, folder: Path) -> None:
        self._connect = connect
        self._principals = principals
        self._folder = folder

    async def bus(self, who: Principal | None = None) -> Bus:
        bus = await self._connect()
        if who is not None:
            self._principals.known[bus.unique_name] = who
        return bus

    async def serve(self, name: str, patch: pytest.MonkeyPatch) -> "Served":
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        patch.setenv("STATE_DIRECTORY", str(folder))
        bus = await self.bus(Principal(Kind.SERVICE, name))
        build = {"broker": build_broker, "ledger": build_ledger}[name]
        service = await build(bus, Config())
        await bus.own({"broker": names.BROKER, "ledger": names.LEDGER}[name])
        await service.start()
        return Served(bus, service)

    async def gateway(self, agent: str) -> LedgerClient:
        return LedgerClient(await self.bus(gateway(agent)))


class Served:
    """A service that runs."""

    def __init__(self, bus: Bus, service: unit.Service) -> None:
        self._bus = bus
        self._service = service
        self._task = asyncio.create_task(service.run())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._service.close()
        await self._bus.close()


@pytest.fixture
async def hive(
    connect: Connect,
    principals: FixedPrincipals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Hive]:
    made = Hive(connect, principals, tmp_path)
    async with AsyncExitStack() as stack:
        for name in ("broker", "ledger"):
            served = await made.serve(name, monkeypatch)
            stack.push_async_callback(served.close)
        lifecycle = BrokerClient(await made.bus(Principal(Kind.SERVICE, "lifecycle")))
        for agent in ("alice", "manager"):
            await lifecycle.register_agent(agent)
        yield made


async def hold_changes(signals: SignalStream, kind: str) -> HoldsChanged:
    """Wait for a hold of this kind; empty for its end."""
    async with asyncio.timeout(10):
        async for signal in signals:
            change = decode(HoldsChanged, signal.args)
            if change.kind == kind:
                return change
    raise AssertionError("the bus was lost")


async def test_a_budget_that_is_used_up_holds_its_agent_until_the_operator_raises_it(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "WAIT_SECONDS", 0.01)
    alice = await hive.gateway("alice")
    bus = await hive.bus()
    operator, broker = LedgerClient(bus), BrokerClient(bus)
    await operator.set_budget(BudgetKind.AGENT, "alice", BudgetLimits(day=2 * DOLLAR))
    async with (
        bus.subscribe(interface=names.BROKER, member="HoldsChanged") as holds,
        bus.subscribe(interface=names.LEDGER, member="BudgetChanged") as budgets,
    ):
        first, second = await alice.reserve(A_DOLLAR), await alice.reserve(A_DOLLAR)
        with pytest.raises(LimitExceeded, match="under way"):
            await alice.reserve(A_DOLLAR)
        await alice.settle(first, SPENT)
        await alice.settle(second, SPENT)
        with pytest.raises(BudgetExhausted, match="hivectl budget alice --day DOLLARS"):
            await alice.reserve(A_DOLLAR)
        held = await hold_changes(holds, HoldKind.BUDGET)
        assert held.agent == "alice"
        assert held.text.startswith("the budget of alice for a day is used up until ")
        async with asyncio.timeout(10):
            async for signal in budgets:
                budget = decode(Budget, signal.args[0])
                if budget.state is BudgetState.EXHAUSTED:
                    break
        assert (budget.name, budget.spent, budget.limit) == ("alice", 2 * DOLLAR, 2 * DOLLAR)
        [question] = await broker.list_questions(QuestionFilter(sender="system"), 10)
        await broker.answer(question.id, [question.choices[0]])
        assert question.choices[0] == "raise it by $1.00 for today"
        assert (await hold_changes(holds, "")).agent == "alice"
    await alice.settle(await alice.reserve(A_DOLLAR), SPENT)
    spent = [one.cost for one in await operator.list_usage(UsageFilter(agent="alice"), 10)]
    assert spent == [DOLLAR] * 3


async def test_the_manager_and_the_operator_are_told(hive: Hive) -> None:
    alice = await hive.gateway("alice")
    bus = await hive.bus()
    operator, broker = LedgerClient(bus), BrokerClient(bus)
    await operator.set_budget(BudgetKind.HIVE, "hive", BudgetLimits(week=2_200_000))
    async with bus.subscribe(interface=names.BROKER, member="MessagesChanged") as messages:
        for _ in range(3):
            await alice.settle(await alice.reserve(A_DOLLAR), SPENT)
        found: set[tuple[str, str]] = set()
        async with asyncio.timeout(10):
            while len(found) < 4:
                await anext(messages)
                listed = await broker.list_messages(MessageFilter(sender="system"), 10)
                found = {(one.recipient, one.kind) for one in listed}
    assert found == {
        ("manager", "budget-warning"),
        ("operator", "budget-warning"),
        ("manager", "budget-exhausted"),
        ("operator", "budget-exhausted"),
    }


async def test_a_gateway_that_dies_leaves_its_reservations_behind(hive: Hive) -> None:
    bus = await hive.bus(gateway("alice"))
    operator = LedgerClient(listening := await hive.bus())
    async with listening.subscribe(interface=names.LEDGER, member="RequestSettled") as settled:
        lost = await LedgerClient(bus).reserve(A_DOLLAR)
        await bus.close()
        async with asyncio.timeout(10):
            await anext(settled)
    [request] = await operator.list_usage(UsageFilter(), 10)
    assert (request.id, request.outcome) == (lost, RequestOutcome.LOST)
    assert request.cost == DOLLAR


ANSWER = http(
    json.dumps(
        {**message(input_tokens=0, output_tokens=40_000), "model": "claude-opus-4-5"}
    ).encode()
)
ASK = {
    "model": "claude-opus-4-5",
    "max_tokens": 40_000,
    "messages": [{"role": "user", "content": "Hi"}],
}
TIME_LIMIT = 60


async def answer_a_dollar(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent
) -> None:
    """Answer with a message that costs a dollar."""
    writer.write(ANSWER)
    await writer.drain()


@asynccontextmanager
async def gateway_of_alice(hive: Hive, folder: Path, url: str) -> AsyncIterator[Path]:
    """Run alice's gateway; yield the socket of the Messages API."""
    directory = folder / "settings"
    directory.mkdir()
    write_settings(directory, upstream=url)
    bus = await hive.bus(gateway("alice"))
    ledger = BusLedger(bus)
    await ledger.watch()
    made = Gateway(
        "alice",
        GatewayConfig(),
        Credential("default", "a key"),
        ledger,
        api=listening(folder / "api.sock"),
        proxy=listening(folder / "proxy.sock"),
        directory=directory,
    )
    made.start()
    running = asyncio.create_task(made.run())
    try:
        yield folder / "api.sock"
    finally:
        running.cancel()
        await asyncio.wait([running])
        await made.close()


async def ask(session: aiohttp.ClientSession) -> tuple[int, str]:
    async with session.post("/v1/messages", json=ASK) as answer:
        return answer.status, await answer.text()


async def test_who_speaks_to_the_socket_itself_cannot_pass_the_budget(
    hive: Hive, tmp_path: Path
) -> None:
    operator = LedgerClient(await hive.bus())
    await operator.set_budget(BudgetKind.AGENT, "alice", BudgetLimits(day=5 * DOLLAR))
    async with (
        upstream(answer_a_dollar) as up,
        gateway_of_alice(hive, tmp_path, up.url) as socket,
        aiohttp.ClientSession(
            "http://hive.internal", connector=aiohttp.UnixConnector(str(socket), limit=0)
        ) as session,
        asyncio.timeout(TIME_LIMIT),
    ):
        answers = await asyncio.gather(*[ask(session) for _ in range(20)])
    refused = [text for status, text in answers if status != 200]
    assert 1 <= len(up.sent) <= 6, "one more than fits, at most"
    assert len(refused) == 20 - len(up.sent)
    assert all("The budget of alice for a day is used up" in text for text in refused)
    ended = await operator.list_usage(UsageFilter(), 100)
    assert sum(one.cost for one in ended) == len(up.sent) * DOLLAR
    assert {one.outcome for one in ended} == {RequestOutcome.DONE}


async def test_what_was_used_while_the_ledger_was_away_is_counted(
    connect: Connect,
    principals: FixedPrincipals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hive = Hive(connect, principals, tmp_path)
    asked, answers = asyncio.Event(), asyncio.Event()

    async def wait_and_answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent
    ) -> None:
        asked.set()
        await answers.wait()
        await answer_a_dollar(reader, writer, sent)

    ledger = await hive.serve("ledger", monkeypatch)
    async with (
        upstream(wait_and_answer) as up,
        gateway_of_alice(hive, tmp_path, up.url) as socket,
        aiohttp.ClientSession(
            "http://hive.internal", connector=aiohttp.UnixConnector(str(socket))
        ) as session,
        asyncio.timeout(TIME_LIMIT),
    ):
        asking = asyncio.create_task(ask(session))
        await asked.wait()
        await ledger.close()
        answers.set()
        assert (await asking)[0] == 200
        assert (await ask(session))[0] == 503, "what cannot be counted is not sent"
        bus = await hive.bus()
        async with bus.subscribe(interface=names.LEDGER, member="RequestSettled") as settled:
            ledger = await hive.serve("ledger", monkeypatch)
            await anext(settled)
        [request] = await LedgerClient(bus).list_usage(UsageFilter(), 10)
    assert (request.outcome, request.cost) == (RequestOutcome.DONE, DOLLAR)
    await ledger.close()
