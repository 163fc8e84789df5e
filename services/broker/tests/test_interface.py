"""The broker on a real private bus."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.broker.__main__ import compose
from services.broker.clients import BusPendingRequests
from services.broker.deadlines.clock import HostClock
from services.broker.interface import Broker1
from services.broker.messages import changes
from services.broker.messages.invocations import Invocations
from services.broker.messages.store import MessageStore
from services.broker.parts import Parts
from services.broker.storage.database import Database
from services.config import BrokerConfig
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.errors import AccessDenied, HiveError, LimitExceeded, NotFound, Stopping
from wire.fixtures import Connect
from wire.principal import THE_OPERATOR, Kind, Principal, agent, gateway
from wire.records import decode_all
from wire.records.broker import Message, MessageChange, MessageFilter, MessageState
from wire.signals import SignalStream
from wire.testing import FixedPrincipals


class Client:
    """A caller of the broker."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.typed = BrokerClient(bus, timeout=10)

    async def call(self, member: str, signature: str = "", *args: Any, timeout: float = 10) -> Any:
        result = await self.bus.call(
            names.BROKER,
            names.BROKER_PATH,
            names.BROKER,
            member,
            signature,
            *args,
            timeout=timeout,
        )
        return result[0] if result else None

    async def send(self, to: str, body: str, **options: Any) -> int:
        message_id = await self.call("Send", "ssa{sv}", to, body, options)
        assert isinstance(message_id, int)
        return message_id

    async def receive(self, limit: int = 100, timeout_ms: int = 0) -> list[Message]:
        return await self.typed.receive(limit, timeout_ms)

    async def history(self, limit: int = 100, **wanted: Any) -> list[Message]:
        return await self.typed.list_messages(MessageFilter(**wanted), limit)


class Hive:
    """A broker, and its clients by their principals."""

    def __init__(
        self, parts: Parts, watches: "Watches", connect: Connect, principals: FixedPrincipals
    ) -> None:
        self.parts = parts
        self.watches = watches
        self._connect = connect
        self._principals = principals

    async def client(self, who: Principal) -> Client:
        bus = await self._connect()
        self._principals.known[bus.unique_name] = who
        return Client(bus)

    async def alice(self) -> Client:
        return await self.client(agent("alice"))

    async def bob(self) -> Client:
        return await self.client(agent("bob"))

    async def operator(self) -> Client:
        return await self.client(THE_OPERATOR)

    async def in_line(self, name: str, count: int) -> None:
        """Wait until so many calls of Receive wait for messages to `name`."""
        inbox = self.parts.inboxes[name]
        async with asyncio.timeout(5):
            # No event says that a call has begun to wait, so this test looks.
            while inbox.waiting != count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


class Watches:
    """The bus, with a list of the connections that the interface watches."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.connections: list[str] = []

    def watch_sender(self, connection: str) -> "asyncio.Future[None]":
        self.connections.append(connection)
        return self._bus.watch_sender(connection)


@pytest.fixture
async def hive(
    connect: Connect, principals: FixedPrincipals, database: Database, store: MessageStore
) -> AsyncIterator[Hive]:
    bus = await connect()
    principals.default = None
    parts = compose(database, BrokerConfig(), Invocations(), BusPendingRequests(bus), HostClock())
    await parts.broker.recover()
    watches = Watches(bus)
    bus.export(names.BROKER_PATH, Broker1(parts, watches))
    await bus.own(names.BROKER)
    yield Hive(parts, watches, connect, principals)
    parts.inboxes.stop()
    await bus.close()
    await parts.writes.wait()


async def test_from_one_agent_to_another(hive: Hive) -> None:
    alice, bob = await hive.alice(), await hive.bob()
    first = await alice.send("bob", "six times seven?", urgent=True)
    [message] = await bob.receive()
    assert message == Message(
        id=first,
        sender="alice",
        recipient="bob",
        kind="message",
        body="six times seven?",
        queued=message.queued,
        redeliveries=0,
        urgent=True,
        in_reply_to=0,
        state=MessageState.LEASED,
    )
    assert message.queued > 1_700_000_000_000_000
    answer = await bob.send("alice", "42", in_reply_to=first)
    await bob.call("Acknowledge", "at", [first])
    [reply] = await alice.receive()
    assert (reply.id, reply.body, reply.in_reply_to) == (answer, "42", first)
    assert [m.state for m in await bob.history()] == ["acknowledged", "leased"]


async def test_a_receive_that_waits_wakes_by_itself(hive: Hive) -> None:
    alice, bob = await hive.alice(), await hive.bob()
    waits = asyncio.create_task(bob.receive(1, 180_000))
    await hive.in_line("bob", 1)
    first = await alice.send("bob", "hello")
    async with asyncio.timeout(1):
        assert [m.id for m in await waits] == [first]


async def test_a_lease_ends_when_its_connection_does(hive: Hive) -> None:
    alice, gone, stays = await hive.alice(), await hive.bob(), await hive.bob()
    first = await alice.send("bob", "hello")
    assert len(await gone.receive()) == 1
    assert await stays.receive() == []
    waits = asyncio.create_task(stays.receive(1, 180_000))
    await hive.in_line("bob", 1)
    await gone.bus.close()
    async with asyncio.timeout(5):
        [message] = await waits
    assert (message.id, message.redeliveries) == (first, 1)


async def test_a_waiting_receive_leases_nothing_once_its_caller_left(hive: Hive) -> None:
    alice, gone, stays = await hive.alice(), await hive.bob(), await hive.bob()
    waits = asyncio.create_task(gone.receive(1, 180_000))
    await hive.in_line("bob", 1)
    await gone.bus.close()
    with pytest.raises(HiveError):
        await waits
    await hive.in_line("bob", 0)
    first = await alice.send("bob", "hello")
    [message] = await stays.receive()
    assert (message.id, message.redeliveries) == (first, 0)


async def test_one_watch_a_connection(hive: Hive) -> None:
    bob = await hive.bob()
    for _ in range(20):
        await bob.receive()
    assert hive.watches.connections == [bob.bus.unique_name]


async def states_of(
    signals: SignalStream, message: int, until: MessageState
) -> list[MessageChange]:
    """The changes of one message, up to the first with the state `until`."""
    found: list[MessageChange] = []
    async with asyncio.timeout(10):
        async for changed in signals:
            [rows] = changed.args
            found += [c for c in decode_all(MessageChange, rows) if c.id == message]
            if found and found[-1].state is until:
                break
    return found


async def test_changes_of_messages_are_told_with_their_text(hive: Hive) -> None:
    alice, bob, operator = await hive.alice(), await hive.bob(), await hive.operator()
    async with operator.bus.subscribe(interface=names.BROKER, member="MessagesChanged") as signals:
        first = await alice.send("bob", "hello")
        [queued] = await states_of(signals, first, MessageState.QUEUED)
        await bob.receive()
        [leased] = await states_of(signals, first, MessageState.LEASED)
        await bob.call("Release", "ata{sv}", [first], {})
        [again] = await states_of(signals, first, MessageState.QUEUED)
        await bob.receive()
        [redelivered] = await states_of(signals, first, MessageState.LEASED)
        await bob.call("Acknowledge", "at", [first])
        [done] = await states_of(signals, first, MessageState.ACKNOWLEDGED)
    [stored] = await operator.history()
    assert queued == MessageChange(
        first,
        "alice",
        "bob",
        "message",
        MessageState.QUEUED,
        "hello",
        5,
        stored.queued,
        0,
        False,
        0,
    )
    assert leased == queued._replace(state=MessageState.LEASED, body="", length=0)
    assert again == queued._replace(redeliveries=1, body="", length=0)
    assert redelivered == leased._replace(redeliveries=1)
    assert done == leased._replace(state=MessageState.ACKNOWLEDGED, redeliveries=1)


async def test_a_burst_is_told_in_few_signals(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "WINDOW", 0.5)  # so that a busy machine has no more windows
    alice, operator = await hive.alice(), await hive.operator()
    async with operator.bus.subscribe(interface=names.BROKER, member="MessagesChanged") as signals:
        ids = await asyncio.gather(*(alice.send("bob", "hello") for _ in range(50)))
        told: set[int] = set()
        count = 0
        async with asyncio.timeout(10):
            async for changed in signals:
                count += 1
                [rows] = changed.args
                told |= {change.id for change in decode_all(MessageChange, rows)}
                if told == set(ids):
                    break
    assert count <= len(ids) / 2


async def test_only_messages_to_the_operator_are_told_to_who_waits_for_them(hive: Hive) -> None:
    alice, operator = await hive.alice(), await hive.operator()
    async with operator.bus.subscribe(
        interface=names.BROKER, member="OperatorMessageQueued"
    ) as signals:
        await alice.send("bob", "not for the operator")
        first = await alice.send("operator", "hello")
        async with asyncio.timeout(10):
            told = await anext(aiter(signals))
    assert told.args == ["alice", first, "message"]


async def test_the_operator_hears_of_dead_letters_and_decides(hive: Hive) -> None:
    alice, bob, operator = await hive.alice(), await hive.bob(), await hive.operator()
    first = await alice.send("bob", "hello")
    async with operator.bus.subscribe(interface=names.BROKER, member="MessagesChanged") as signals:
        for _ in range(6):
            await bob.receive()
            await bob.call("Release", "ata{sv}", [first], {})
        *_, parked = await states_of(signals, first, MessageState.DEAD)
    assert (parked.redeliveries, parked.body) == (6, "hello")
    assert await bob.receive() == []
    assert [m.id for m in await operator.history(state=MessageState.DEAD)] == [first]
    for member in ("Requeue", "Drop"):
        with pytest.raises(AccessDenied):
            await bob.call(member, "at", [first])
    await operator.call("Requeue", "at", [first])
    [message] = await bob.receive()
    assert (message.id, message.redeliveries) == (first, 6)
    with pytest.raises(NotFound, match="Not dead letters"):
        await operator.call("Drop", "at", [first])


async def test_agents_see_and_take_only_their_own_messages(hive: Hive) -> None:
    alice, bob = await hive.alice(), await hive.bob()
    manager, operator = await hive.client(agent("manager")), await hive.operator()
    first = await manager.send("bob", "secret")
    assert await alice.receive() == []
    assert await alice.history() == await alice.history(recipient="bob") == []
    for member in ("Acknowledge",):
        with pytest.raises(NotFound):
            await alice.call(member, "at", [first])
    await alice.call("Release", "ata{sv}", [first], {})
    [message] = await bob.receive()
    assert message.body == "secret"
    await alice.call("Release", "ata{sv}", [first], {})
    assert [m.state for m in await operator.history()] == ["leased"]


LIFECYCLE, APPROVALS, STRANGE = (
    Principal(Kind.SERVICE, name) for name in ("lifecycle", "approvals", "agent")
)
BUDGET_HOLD = {"agents": [], "reason": "r", "question": "q", "choices": ["c"], "key": "k"}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "Send": ("ssa{sv}", "bob", "x", {}),
    "Receive": ("uu", 1, 0),
    "Acknowledge": ("at", []),
    "Release": ("ata{sv}", [], {}),
    "ReceiveUrgent": ("uu", 1, 0),
    "AcknowledgeCancelled": ("at", []),
    "GiveBack": ("ata{sv}", [], {}),
    "Retract": ("t", 99),
    "SetInboxOptions": ("sa{sv}", "alice", {}),
    "ListHolds": ("",),
    "Hold": ("ss", "alice", ""),
    "Unhold": ("s", "alice"),
    "HoldBudget": ("a{sv}", BUDGET_HOLD),
    "ReleaseBudget": ("ast", ["alice"], 0),
    "ListMessages": ("a{sv}u", {}, 1),
    "CountMessages": ("",),
    "RegisterAgent": ("s", "carol"),
    "UnregisterAgent": ("s", "alice"),
    "ListWaiting": ("",),
}
READERS = {"Send", "Receive", "Acknowledge", "Release", "ListMessages", "Retract"}
AGENT = READERS | {"ReceiveUrgent", "AcknowledgeCancelled", "GiveBack"}
OPERATOR = READERS | {"CountMessages", "ListHolds", "Hold", "Unhold"}
OF_LIFECYCLE = {
    *("RegisterAgent", "UnregisterAgent", "ListWaiting", "SetInboxOptions", "ListHolds", "Hold"),
}


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        (agent("alice"), AGENT),
        (agent("manager"), AGENT),
        (THE_OPERATOR, OPERATOR),
        (Principal(Kind.SERVICE, "dashboard"), OPERATOR),
        (LIFECYCLE, {"Send", *OF_LIFECYCLE}),
        (APPROVALS, {"Send"}),
        (Principal(Kind.SERVICE, "ledger"), {"Send", "ListHolds", "HoldBudget", "ReleaseBudget"}),
        (gateway("alice"), set()),
        (None, set()),
    ],
)
async def test_each_principal_may_call_its_methods_only(
    hive: Hive, who: Principal | None, allowed: set[str]
) -> None:
    client = await hive.client(who)  # type: ignore[arg-type]
    may = set()
    for member, arguments in ARGUMENTS.items():
        try:
            await client.call(member, *arguments)
        except AccessDenied:
            continue
        except NotFound:
            pass
        may.add(member)
    assert may == allowed


async def test_too_large_and_unknown_are_refused_and_all_goes_on(hive: Hive) -> None:
    alice = await hive.alice()
    with pytest.raises(LimitExceeded, match="5242880 bytes; at most 1048576"):
        await alice.send("bob", "x" * 5 * 2**20)
    with pytest.raises(NotFound, match="hivectl list"):
        await alice.send("nobody", "x")
    assert await alice.send("bob", "x" * 2**20)


async def test_stop_answers_waiting_calls(hive: Hive) -> None:
    bob = await hive.bob()
    waits = asyncio.create_task(bob.receive(1, 180_000))
    await hive.in_line("bob", 1)
    hive.parts.inboxes.stop()
    async with asyncio.timeout(1):
        with pytest.raises(Stopping):
            await waits
