"""The whole room on a private bus, between a lifecycle and a broker that record their calls."""

import asyncio
import os
import signal as signals
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.approvals.interface import Approvals1
from services.approvals.service import build
from services.config import ApprovalsConfig, Config
from wire import names
from wire.bus import Bus
from wire.errors import AccessDenied, AlreadyExists, Conflict, InvalidArgument, NotFound
from wire.interface import Interface, method, prop, signal
from wire.principal import EVERYBODY, THE_MANAGER, Kind, Principal, agent
from wire.signals import SignalStream
from wire.testing import FixedPrincipals
from wire.types import Dict, ObjectPath, Str, Typed, UInt32, UInt64

Connect = Callable[[], Awaitable[Bus]]


class Agent(Interface, name=names.AGENT_INTERFACE):
    def __init__(self, name: str) -> None:
        self._name = name

    @prop(const=True)
    def Name(self) -> Str:  # noqa: N802
        return self._name


class Lifecycle(Interface, name=names.LIFECYCLE):
    def __init__(self) -> None:
        self.spawned: list[str] = []
        self.error: Exception | None = None
        self.asked = asyncio.Event()

    @method(allow=EVERYBODY)
    async def Spawn(self, name: Str, options: Dict) -> ObjectPath:  # noqa: N802
        if self.error:
            raise self.error
        self.spawned.append(name)
        self.asked.set()
        return names.job_path(len(self.spawned))

    def end(self, agent: str, result: str = "done", error: str = "") -> None:
        number = len(self.spawned)
        self.JobRemoved(number, names.job_path(number), agent, "spawn", result, error)

    @signal()
    def JobRemoved(  # noqa: N802
        self, id: UInt32, job: ObjectPath, agent: Str, verb: Str, result: Str, error: Str
    ) -> None: ...


class Broker(Interface, name=names.BROKER):
    def __init__(self) -> None:
        self.sent: asyncio.Queue[tuple[str, str, dict[str, Any]]] = asyncio.Queue()

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:  # noqa: N802
        self.sent.put_nowait((to, body, options))
        return 1

    async def next(self) -> tuple[str, str, dict[str, Any]]:
        return await asyncio.wait_for(self.sent.get(), 5)


class Hive(NamedTuple):
    """Two neighbours, and what a client on the bus may ask approvals."""

    hive: Bus
    client: Bus
    lifecycle: Lifecycle
    broker: Broker

    async def ask(self, member: str, signature: str, *args: Any) -> Any:
        reply = await self.client.call(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, member, signature, *args
        )
        return reply[0] if reply else None

    async def states(self) -> list[str]:
        return [fields[6] for fields in await self.ask("List", "a{sv}", {})]


@pytest.fixture
async def hive(connect: Connect) -> Hive:
    bus = await connect()
    lifecycle, broker = Lifecycle(), Broker()
    bus.export_object_manager(names.LIFECYCLE_PATH)
    bus.export(names.LIFECYCLE_PATH, lifecycle)
    bus.export(names.BROKER_PATH, broker)
    bus.export(names.agent_path("bob-2"), Agent("bob-2"))
    await bus.own(names.LIFECYCLE)
    await bus.own(names.BROKER)
    return Hive(bus, await connect(), lifecycle, broker)


@pytest.fixture
def room(
    hive: Hive, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        bus = await connect()
        service = await build(bus, Config(approvals=ApprovalsConfig(max_pending=2)))
        await bus.own(names.APPROVALS)
        task = asyncio.create_task(service.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            await service.close()
            await bus.close()

    return run


async def _next(stream: SignalStream) -> tuple[str, list[Any]]:
    async with asyncio.timeout(5):
        async for s in stream:
            return s.member, s.args
    raise AssertionError("the stream ended")


async def test_from_request_to_spawned(
    hive: Hive, room: Callable[[], Any], principals: FixedPrincipals
) -> None:
    async with room(), hive.client.subscribe(interface=names.APPROVALS) as stream:
        principals.known[hive.client.unique_name] = THE_MANAGER
        assert await hive.ask("RequestSpawn", "ss", "alice", "docs") == 1
        assert await _next(stream) == ("ApprovalAdded", ["alice", 1, "spawn"])
        del principals.known[hive.client.unique_name]
    # Who a caller is is remembered for as long as the connections last.
    async with room(), hive.client.subscribe(interface=names.APPROVALS) as stream:
        [fields] = await hive.ask("List", "a{sv}", {"state": "pending"})
        assert fields[:5] == [1, "spawn", "alice", "docs", "manager"]
        assert await hive.ask("Approve", "t", 1) == names.job_path(1)
        assert await _next(stream) == ("ApprovalResolved", ["alice", 1, "approved"])
        hive.lifecycle.end("alice")
        assert await _next(stream) == ("ApprovalResolved", ["alice", 1, "spawned"])
        to, body, options = await hive.broker.next()
    assert (to, options) == (
        "manager",
        {"kind": "approval-resolved", "dedupe_key": "approval-1"},
    )
    assert "alice is there now" in body


async def test_a_denial_reaches_the_manager(hive: Hive, room: Callable[[], Any]) -> None:
    async with room():
        await hive.ask("RequestSpawn", "ss", "alice", "docs")
        await hive.ask("Deny", "ts", 1, "too many already")
        assert (await hive.broker.next())[1].endswith("was denied: too many already")
        for member, arguments in (("Approve", ("t", 1)), ("Deny", ("ts", 1, ""))):
            with pytest.raises(Conflict, match="denied already"):
                await hive.ask(member, *arguments)
        with pytest.raises(NotFound):
            await hive.ask("Approve", "t", 2**64 - 1)


async def test_bad_requests_are_answered_with_their_error(
    hive: Hive, room: Callable[[], Any]
) -> None:
    async with room():
        for name in ("../x", "Alice", "a" * 10, "system"):
            with pytest.raises(InvalidArgument):
                await hive.ask("RequestSpawn", "ss", name, "docs")
        with pytest.raises(AlreadyExists):
            await hive.ask("RequestSpawn", "ss", "bob-2", "docs")
        for wanted in (
            {"color": "red"},
            {"state": "open"},
            {"state": 3},
            {"agent": 3},
            {"limit": 0},
            {"limit": True},
            {"state": Typed("as", ["pending"])},
        ):
            with pytest.raises(InvalidArgument):
                await hive.ask("List", "a{sv}", wanted)
        assert await hive.states() == []


@pytest.mark.parametrize(
    "who", [agent("alice"), Principal(Kind.SERVICE, "lifecycle"), None, THE_MANAGER]
)
async def test_only_the_operator_says_yes_or_no(
    hive: Hive, room: Callable[[], Any], principals: FixedPrincipals, who: Any, connect: Connect
) -> None:
    other = await connect()
    principals.known[other.unique_name] = who
    async with room():
        await hive.ask("RequestSpawn", "ss", "carol", "docs")
        calls: list[tuple[Any, ...]] = [("Approve", "t", 1), ("Deny", "ts", 1, "")]
        if who != THE_MANAGER:
            calls += [("RequestSpawn", "ss", "dave", "docs"), ("List", "a{sv}", {})]
        for member, *arguments in calls:
            with pytest.raises(AccessDenied):
                await other.call(
                    names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, member, *arguments
                )
        assert await hive.states() == ["pending"]


async def test_a_restart_between_yes_and_the_end_orders_anew(
    hive: Hive, room: Callable[[], Any]
) -> None:
    async with room():
        await hive.ask("RequestSpawn", "ss", "alice", "docs")
        await hive.ask("Approve", "t", 1)
        hive.lifecycle.asked.clear()
    async with room():
        await asyncio.wait_for(hive.lifecycle.asked.wait(), 5)
        hive.lifecycle.end("alice", "failed", "no room")
        assert "no room" in (await hive.broker.next())[1]
        assert await hive.states() == ["failed"]
    assert hive.lifecycle.spawned == ["alice", "alice"]


async def test_a_lifecycle_that_comes_back_is_asked_anew(
    hive: Hive, room: Callable[[], Any], connect: Connect
) -> None:
    async with room():
        await hive.ask("RequestSpawn", "ss", "alice", "docs")
        await hive.ask("Approve", "t", 1)
        await hive.hive.close()
        bus, lifecycle, broker = await connect(), Lifecycle(), Broker()
        bus.export_object_manager(names.LIFECYCLE_PATH)
        bus.export(names.LIFECYCLE_PATH, lifecycle)
        bus.export(names.BROKER_PATH, broker)
        await bus.own(names.BROKER)
        await bus.own(names.LIFECYCLE)
        await asyncio.wait_for(lifecycle.asked.wait(), 5)
        lifecycle.end("alice")
        assert "alice is there now" in (await broker.next())[1]


def _start(bus_address: str, state: Path) -> Awaitable[asyncio.subprocess.Process]:
    return asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.approvals",
        env={
            "PATH": os.environ["PATH"],
            "DBUS_SYSTEM_BUS_ADDRESS": bus_address,
            "STATE_DIRECTORY": str(state),
        },
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_damaged_store_ends_the_process_with_a_sentence(
    bus_address: str, tmp_path: Path
) -> None:
    store = tmp_path / "approvals.sqlite"
    store.write_bytes(b"garbage " * 1000)
    process = await _start(bus_address, tmp_path)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 78
    assert b"Restore it from a backup" in err
    assert b"Traceback" not in err
    assert store.read_bytes() == b"garbage " * 1000
    assert os.listdir(tmp_path) == [store.name]  # noqa: PTH208


async def test_the_process_owns_its_name_and_ends_on_sigterm(
    bus_address: str, connect: Connect, tmp_path: Path
) -> None:
    bus = await connect()
    async with bus.subscribe(member="NameOwnerChanged", arg0=names.APPROVALS) as stream:
        process = await _start(bus_address, tmp_path)
        await _next(stream)
        process.send_signal(signals.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, err


def test_the_interface_is_what_the_contract_says() -> None:
    assert set(Approvals1.methods) == {"RequestSpawn", "Approve", "Deny", "List"}
    assert Approvals1.methods["List"].result == "a(tssssxssx)"
