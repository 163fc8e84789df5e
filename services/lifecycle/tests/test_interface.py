"""The service on a private bus: permissions and signals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.config import AgentSettings, LifecycleConfig
from services.lifecycle.__main__ import compose
from services.lifecycle.clients import BusBroker
from services.lifecycle.interface import BusObserver
from services.lifecycle.lifecycle import Lifecycle
from services.lifecycle.notices.notice import Notice
from services.lifecycle.store import Store
from services.lifecycle.tests.fakes import FakeBackend, FakeBroker, FakeLedger
from wire import names
from wire.bus import Bus
from wire.errors import AccessDenied, InvalidArgument, NotFound, Unavailable
from wire.fixtures import Connect
from wire.interface import Interface, method, signal
from wire.principal import DASHBOARD, EVERYBODY, THE_MANAGER, THE_OPERATOR, Kind, Principal, agent
from wire.records import decode
from wire.records.broker import MessageChange, MessageState
from wire.records.lifecycle import CommandArguments, CommandIssued, CommandVerb, JobRemoved, JobVerb
from wire.signals import SignalStream
from wire.testing import FixedPrincipals
from wire.types import Dict, Str, Typed, UInt64

BROKER = Principal(Kind.SERVICE, "broker")
APPROVALS = Principal(Kind.SERVICE, "approvals")
ALL = (THE_OPERATOR, DASHBOARD, THE_MANAGER, agent("alice"), agent("bob"), APPROVALS, BROKER)
ALICE = names.agent_path("alice")


class Room:
    """Lifecycle on the bus, and a connection for each principal that calls it."""

    def __init__(self, connect: Connect, client: Bus, principals: FixedPrincipals) -> None:
        self.client = client
        self.backend = FakeBackend()
        self._connect = connect
        self._principals = principals
        self._clients: dict[Principal, Bus] = {}

    async def call(self, who: Principal, path: str, interface: str, member: str, *args: Any) -> Any:
        if who not in self._clients:
            client = self._clients[who] = await self._connect()
            self._principals.known[client.unique_name] = who
        return await self._clients[who].call(names.LIFECYCLE, path, interface, member, *args)

    @asynccontextmanager
    async def following(self, who: Principal) -> AsyncIterator[SignalStream]:
        """Follow the signals of alice's object over the connection of `who`."""
        await self.objects_for(who)
        async with self._clients[who].subscribe(path=ALICE) as signals:
            yield signals

    async def leave(self, who: Principal) -> None:
        await self._clients.pop(who).close()

    async def spawn(self, who: Principal, name: str = "alice") -> tuple[str, str]:
        """Spawn an agent; return the result and the note of the job."""
        async with (
            asyncio.timeout(5),
            self.client.subscribe(member="JobRemoved", sender=names.LIFECYCLE) as removed,
        ):
            [job] = await self.call(
                who, names.LIFECYCLE_PATH, names.LIFECYCLE, "Spawn", "sa{sv}", name, {}
            )
            async for signal in removed:
                ended = decode(JobRemoved, signal.args)
                if ended.job == job:
                    assert ended.verb is JobVerb.SPAWN
                    return ended.result, ended.note
        raise AssertionError("no JobRemoved")

    async def objects(self) -> dict[str, Any]:
        return await self.objects_for(agent("bob"))

    async def objects_for(self, who: Principal) -> dict[str, Any]:
        [objects] = await self.call(
            who, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        return dict(objects)


@pytest.fixture
async def room(
    tmp_path: Path, connect: Connect, principals: FixedPrincipals
) -> AsyncIterator[Room]:
    server, client = await connect(), await connect()
    store = Store(tmp_path / "lifecycle.sqlite")
    room, observer = Room(connect, client, principals), BusObserver(server)
    images = {"alice": AgentSettings(image="/srv/small"), "bob": AgentSettings()}
    settings = LifecycleConfig(create_manager=False, agents=images)
    parts = compose(store, room.backend, FakeBroker(), FakeLedger(), observer, settings)
    observer.attach(parts)
    lifecycle = Lifecycle(parts, store, room.backend, settings, "")
    await lifecycle.start()
    await server.own(names.LIFECYCLE)
    yield room
    await lifecycle.stop()
    store.close()


async def test_a_spawned_agent_is_an_object(room: Room) -> None:
    assert await room.spawn(THE_OPERATOR) == ("done", "")
    [(path, interfaces)] = (await room.objects()).items()
    assert path == ALICE
    shown = interfaces[names.AGENT_INTERFACE]
    assert (shown["Name"], shown["Machine"], shown["State"]) == ("alice", "h-alice", "running")
    assert shown["Image"] == "/srv/small"
    assert (shown["Enabled"], shown["TurnState"]) == (True, "no-report")


async def test_a_job_is_an_object_while_it_runs(room: Room) -> None:
    room.backend.gate.clear()
    [job] = await room.call(
        THE_OPERATOR, names.LIFECYCLE_PATH, names.LIFECYCLE, "Spawn", "sa{sv}", "alice", {}
    )
    shown = (await room.objects())[job][names.JOB_INTERFACE]
    assert (shown["Agent"], shown["Verb"], shown["State"]) == ("alice", "spawn", "running")
    room.backend.gate.set()


async def test_the_work_of_a_job_is_told_while_it_goes_on(room: Room) -> None:
    room.backend.gate.clear()
    async with (
        asyncio.timeout(5),
        room.client.subscribe(interface=names.JOB_INTERFACE, member="Output") as output,
    ):
        [job] = await room.call(
            THE_OPERATOR, names.LIFECYCLE_PATH, names.LIFECYCLE, "Spawn", "sa{sv}", "alice", {}
        )
        signal = await anext(aiter(output))
        [lines] = await room.call(THE_OPERATOR, job, names.JOB_INTERFACE, "GetOutput")
        assert (signal.path, lines[: len(signal.args[0])]) == (job, signal.args[0])
        assert lines[0].startswith("alice: ")
        with pytest.raises(AccessDenied):
            await room.call(agent("bob"), job, names.JOB_INTERFACE, "GetOutput")
    room.backend.gate.set()


@pytest.mark.parametrize("who", ALL, ids=str)
@pytest.mark.parametrize(
    ("member", "signature", "args", "allowed"),
    [
        ("Spawn", "sa{sv}", ("carol", {}), {THE_OPERATOR, DASHBOARD, APPROVALS}),
        ("Destroy", "sb", ("alice", False), {THE_OPERATOR, DASHBOARD}),
        ("LiftLimits", "", (), {THE_OPERATOR, DASHBOARD}),
        ("ReadLogs", "a{sv}u", ({"agent": "alice"}, 5), {THE_OPERATOR, DASHBOARD}),
        ("Start", "", (), {THE_OPERATOR, DASHBOARD, THE_MANAGER}),
        ("Stop", "", (), {THE_OPERATOR, DASHBOARD, THE_MANAGER}),
        ("Restart", "", (), {THE_OPERATOR, DASHBOARD, THE_MANAGER}),
        ("GetLogs", "u", (5,), {THE_OPERATOR, DASHBOARD, THE_MANAGER}),
        ("Report", "a{sv}", ({"turn_state": "idle"},), {agent("alice")}),
        ("HarnessConnected", "b", (False,), {agent("alice")}),
    ],
)
async def test_who_may_call_what(
    room: Room,
    who: Principal,
    member: str,
    signature: str,
    args: tuple[Any, ...],
    allowed: set[Principal],
) -> None:
    await room.spawn(THE_OPERATOR)
    root = member in ("Spawn", "Destroy", "LiftLimits", "ReadLogs")
    path, interface = (
        (names.LIFECYCLE_PATH, names.LIFECYCLE) if root else (ALICE, names.AGENT_INTERFACE)
    )
    if who in allowed:
        await room.call(who, path, interface, member, signature, *args)
    else:
        with pytest.raises(AccessDenied):
            await room.call(who, path, interface, member, signature, *args)


@pytest.mark.parametrize(
    ("filter", "error"),
    [
        ({"unit": "ssh.service"}, NotFound),
        ({"agent": "alice", "unit": "hive-broker.service"}, NotFound),
        ({"agent": "nobody"}, NotFound),
        ({"priority": Typed("u", 8)}, InvalidArgument),
        ({"before": "no cursor"}, InvalidArgument),
        ({"after": "no cursor"}, InvalidArgument),
    ],
)
async def test_only_lines_of_the_hive_are_read(
    room: Room, filter: dict[str, Any], error: type[Exception]
) -> None:
    await room.spawn(THE_OPERATOR)
    call = (names.LIFECYCLE_PATH, names.LIFECYCLE, "ReadLogs", "a{sv}u")
    with pytest.raises(error):
        await room.call(THE_OPERATOR, *call, filter, 5)


@pytest.mark.parametrize("lines", [0, 201, 2**32 - 1])
async def test_logs_are_bounded(room: Room, lines: int) -> None:
    await room.spawn(THE_OPERATOR)
    call = (ALICE, names.AGENT_INTERFACE, "GetLogs", "u")
    assert await room.call(THE_MANAGER, *call, 2) == [["alice line 0", "alice line 1"]]
    with pytest.raises(InvalidArgument, match="1 to 200"):
        await room.call(THE_MANAGER, *call, lines)


async def test_a_crash_is_a_signal_and_a_changed_property(room: Room) -> None:
    await room.spawn(THE_OPERATOR)
    async with asyncio.timeout(5), room.client.subscribe(path=ALICE) as signals:
        room.backend.set("alice", "failed", result="signal", code=2, status=9)
        seen: dict[str, Any] = {}
        async for signal in signals:
            seen[signal.member] = signal.args
            if signal.member == "PropertiesChanged" and signal.args[1].get("State") == "failed":
                break
    assert seen["Crashed"] == ["signal", 9]


@pytest.mark.parametrize(
    ("principal", "by"),
    [(THE_OPERATOR, "operator"), (DASHBOARD, "operator"), (THE_MANAGER, "manager")],
)
async def test_a_command_reaches_only_the_endpoint_of_the_agent(
    room: Room, principal: Principal, by: str
) -> None:
    await room.spawn(THE_OPERATOR)
    requeue = {"requeue": True}
    async with (
        asyncio.timeout(5),
        room.following(agent("alice")) as alices,
        room.following(agent("bob")) as bobs,
    ):
        await room.call(agent("alice"), ALICE, names.AGENT_INTERFACE, "HarnessConnected", "b", True)
        issuing = asyncio.create_task(
            room.call(principal, ALICE, names.AGENT_INTERFACE, "CancelTurn", "a{sv}", requeue)
        )
        issued = decode(CommandIssued, (await anext(alices)).args)
        assert issued.verb is CommandVerb.CANCEL
        assert issued.arguments == CommandArguments(requeue=True, by=by)
        answer = (ALICE, names.AGENT_INTERFACE, "CommandDone", "ta{sv}", issued.id)
        for other in (agent("bob"), THE_MANAGER, THE_OPERATOR, DASHBOARD):
            with pytest.raises(AccessDenied):
                await room.call(other, *answer, {"text": "Nothing was cut off."})
        await room.call(agent("alice"), *answer, {"text": "It wrote a poem."})
        assert await issuing == ["It wrote a poem."]
        # Signals arrive in the order in which lifecycle sends them.
        room.backend.set("alice", "failed", result="signal", code=2, status=9)
        while (signal := await anext(bobs)).member != "Crashed":
            assert signal.member == "PropertiesChanged"


async def test_the_operator_alone_logs_an_agent_in(room: Room) -> None:
    await room.spawn(THE_OPERATOR)
    begin = (ALICE, names.AGENT_INTERFACE, "BeginLogin", "")
    enter = (ALICE, names.AGENT_INTERFACE, "EnterLoginCode", "ts", 7)
    cancel = (ALICE, names.AGENT_INTERFACE, "CancelLogin", "t", 7)
    for other in (agent("alice"), agent("bob"), THE_MANAGER):
        for refused in (begin, (*enter, "a-code"), cancel):
            with pytest.raises(AccessDenied):
                await room.call(other, *refused)
    address = "https://claude.ai/oauth/authorize?a=b"
    async with asyncio.timeout(5), room.following(agent("alice")) as alices:
        await room.call(agent("alice"), ALICE, names.AGENT_INTERFACE, "HarnessConnected", "b", True)

        async def answered(call: tuple[Any, ...], **result: Any) -> tuple[CommandIssued, Any]:
            calling = asyncio.create_task(room.call(DASHBOARD, *call))
            issued = decode(CommandIssued, (await anext(alices)).args)
            done = (ALICE, names.AGENT_INTERFACE, "CommandDone", "ta{sv}", issued.id)
            await room.call(agent("alice"), *done, result)
            return issued, await calling

        issued, page = await answered(begin, login=7, address=address)
        assert (issued.verb, page) == (CommandVerb.LOGIN, [[7, address]])
        issued, said = await answered((*enter, "a-code"), text="alice is logged in.")
        assert issued.verb is CommandVerb.LOGIN_CODE
        assert (issued.arguments.value, issued.arguments.login) == ("a-code", 7)
        assert said == ["alice is logged in."]
        issued, _ = await answered(cancel, text="The login was cancelled.")
        assert (issued.verb, issued.arguments.login) == (CommandVerb.LOGIN_CANCEL, 7)
        with pytest.raises(InvalidArgument):
            await room.call(THE_OPERATOR, *enter, "a\ncode")


async def test_an_endpoint_that_leaves_the_bus_takes_the_harness_away(room: Room) -> None:
    await room.spawn(THE_OPERATOR)
    await room.call(agent("alice"), ALICE, names.AGENT_INTERFACE, "HarnessConnected", "b", True)
    async with asyncio.timeout(5), room.client.subscribe(path=ALICE) as signals:
        await room.leave(agent("alice"))
        async for signal in signals:
            if signal.args[1].get("TurnState") == "harness-away":
                break
    with pytest.raises(Unavailable, match="not connected"):
        await room.call(THE_OPERATOR, ALICE, names.AGENT_INTERFACE, "Compact")


@pytest.mark.parametrize(
    ("member", "value"), [("SetModel", "two words"), ("SetModel", "-p"), ("SetEffort", "No!")]
)
async def test_a_bad_model_or_effort_is_not_sent(room: Room, member: str, value: str) -> None:
    await room.spawn(THE_OPERATOR)
    with pytest.raises(InvalidArgument):
        await room.call(THE_OPERATOR, ALICE, names.AGENT_INTERFACE, member, "s", value)


async def test_destroying_removes_the_object(room: Room) -> None:
    await room.spawn(THE_OPERATOR)
    async with asyncio.timeout(5), room.client.subscribe(member="InterfacesRemoved") as removed:
        await room.call(
            THE_OPERATOR, names.LIFECYCLE_PATH, names.LIFECYCLE, "Destroy", "sb", "alice", True
        )
        async for signal in removed:
            if signal.args[0] == ALICE:
                break
    with pytest.raises(NotFound):
        await room.call(THE_OPERATOR, ALICE, names.AGENT_INTERFACE, "Start")


class Broker1(Interface, name=names.BROKER):
    """The members of the broker that lifecycle calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:  # noqa: N802
        self.calls.append((to, body, options))
        return 1

    @method(allow=EVERYBODY)
    async def UnregisterAgent(self, name: Str) -> None:  # noqa: N802
        raise NotFound("Nobody is called so.")

    @signal()
    def MessagesChanged(self, changes: list[MessageChange]) -> None: ...  # noqa: N802


async def test_the_broker_gets_the_message_as_its_contract_says(connect: Connect) -> None:
    server, client = await connect(), await connect()
    appeared = asyncio.Event()
    await client.on_owner(names.BROKER, came=lambda _owner: appeared.set())
    ours, broker = BusBroker(client), Broker1()
    notice = Notice("container-crash", "It crashed.", "key")
    with pytest.raises(Unavailable):
        await ours.send(notice)
    server.export(names.BROKER_PATH, broker)
    await server.own(names.BROKER)
    async with asyncio.timeout(5):
        await appeared.wait()
    await ours.send(notice)
    await ours.unregister("alice")
    options = {"kind": "container-crash", "dedupe_key": "key"}
    assert broker.calls == [("manager", "It crashed.", options)]


async def test_an_agent_that_cannot_be_woken_does_not_keep_the_others_asleep(
    connect: Connect,
) -> None:
    server, client = await connect(), await connect()
    ours, broker = BusBroker(client), Broker1()
    woken: set[str] = set()
    all_told = asyncio.Event()

    def told(name: str) -> None:
        woken.add(name)
        if len(woken) == len(AGENTS):
            all_told.set()
        raise RuntimeError(f"{name} cannot be started")

    server.export(names.BROKER_PATH, broker)
    await server.own(names.BROKER)
    for name in AGENTS:
        await ours.listen(name, partial(told, name))
    broker.MessagesChanged([_queued(number, name) for number, name in enumerate(AGENTS)])
    async with asyncio.timeout(5):
        await all_told.wait()


AGENTS = ("alice", "bob", "carol")


def _queued(number: int, recipient: str) -> MessageChange:
    return MessageChange(
        number, "dave", recipient, "message", MessageState.QUEUED, "hello", 5, 7, 0, False, 0
    )
