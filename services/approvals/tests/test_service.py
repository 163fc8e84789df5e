"""The whole room on a private bus, between a lifecycle and a broker that record their calls."""

import asyncio
import os
import signal as signals
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.approvals.__main__ import build
from services.approvals.tests.bus_services import Broker, Lifecycle, export
from services.config import ApprovalsConfig, Config
from services.quarantine.tests.worktree import WorkTree
from wire import names
from wire.bus import Bus
from wire.clients.approvals import ApprovalsClient
from wire.errors import AccessDenied, AlreadyExists, Conflict, InvalidArgument, NotFound
from wire.principal import THE_MANAGER, Kind, Principal, agent
from wire.records.approvals import (
    ApplyRequestOptions,
    ApprovalFilter,
    ApprovalKind,
    ApprovalOptions,
    ApprovalState,
    Deploy,
    SpawnRequestOptions,
)
from wire.records.broker import SendOptions
from wire.signals import SignalStream
from wire.testing import FixedPrincipals
from wire.types import Typed

Connect = Callable[[], Awaitable[Bus]]
ALL = ApprovalFilter()


class Hive(NamedTuple):
    """Lifecycle, the broker and a client of approvals on one bus."""

    hive: Bus
    client: Bus
    lifecycle: Lifecycle
    broker: Broker

    async def ask(self, member: str, signature: str, *args: Any) -> Any:
        reply = await self.client.call(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, member, signature, *args
        )
        return reply[0] if reply else None

    async def yes(self, number: int, *, now: bool = False) -> str:
        """Approve a request as it is shown now."""
        [request] = await self.approvals.list_approvals(ApprovalFilter(id=number))
        method = self.approvals.approve_now if now else self.approvals.approve
        return await method(number, request.commit, ApprovalOptions())

    async def states(self) -> list[str]:
        return [request.state for request in await self.approvals.list_approvals(ALL)]

    @property
    def approvals(self) -> ApprovalsClient:
        """Approvals, as the client calls it."""
        return ApprovalsClient(self.client)


@pytest.fixture
async def hive(connect: Connect) -> Hive:
    bus = await connect()
    lifecycle, broker = Lifecycle(), Broker()
    export(bus, lifecycle, broker)
    await bus.own(names.LIFECYCLE)
    await bus.own(names.BROKER)
    return Hive(bus, await connect(), lifecycle, broker)


@pytest.fixture
def room(
    hive: Hive, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    state = tmp_path / "approvals"
    state.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(state))

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        bus = await connect()
        service = await build(bus, Config(approvals=ApprovalsConfig(max_pending=2)))
        await bus.own(names.APPROVALS)
        await service.start()
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
        assert (
            await hive.approvals.request_spawn("alice", "docs", SpawnRequestOptions("# x\n")) == 1
        )
        assert await _next(stream) == ("ApprovalAdded", ["alice", 1, "spawn"])
        assert "+# x" in (await hive.approvals.diff(1)).diff
        del principals.known[hive.client.unique_name]
    # Identities of callers are cached for as long as the connections last.
    async with room(), hive.client.subscribe(interface=names.APPROVALS) as stream:
        pending = ApprovalFilter(state=ApprovalState.PENDING)
        [request] = await hive.approvals.list_approvals(pending)
        commit = request.commit
        assert (request.id, request.kind, request.agent) == (1, ApprovalKind.SPAWN, "alice")
        assert (request.reason, request.requested_by) == ("docs", "manager")
        assert await hive.yes(1) == names.job_path(1)
        assert hive.lifecycle.orders == [("spawn", "alice", commit)]
        for state in ("approved", "building"):
            assert await _next(stream) == ("ApprovalResolved", ["alice", 1, state])
        hive.lifecycle.end()
        assert await _next(stream) == ("ApprovalResolved", ["alice", 1, "deployed"])
        [deploy] = await hive.approvals.deploy_log("alice", 10)
        assert deploy == Deploy(deploy.at, "alice", commit, 1, "manager", "docs")
        to, body, options = await hive.broker.next()
    assert (to, options) == (
        "manager",
        SendOptions(kind="approval-resolved", dedupe_key="approval-1"),
    )
    assert "alice is running" in body


async def test_from_a_commit_to_deployed_and_back(
    hive: Hive, room: Callable[[], Any], tmp_path: Path
) -> None:
    async with room(), hive.client.subscribe(interface=names.APPROVALS) as stream:
        applied = tmp_path / "git/applied/bob-2"
        with pytest.raises(NotFound, match="bob-2 has no tag deployed/7"):
            await hive.approvals.revert("bob-2", "deployed/7")
        tree = WorkTree(tmp_path / "git/proposed/bob-2")
        tree.git("remote", "add", "applied", str(applied))
        tree.git("fetch", "-q", "applied")
        tree.git("reset", "-q", "--hard", "applied/main")
        initial = tree.git("rev-parse", "HEAD")
        commit = tree.commit({"agent.toml": 'model = "small"\n'})
        assert (
            await hive.approvals.request_apply(
                "bob-2", commit[:7], "Smaller", ApplyRequestOptions()
            )
            == 1
        )
        assert await _next(stream) == ("ApprovalAdded", ["bob-2", 1, "apply"])
        tree.remove()
        assert '+model = "small"' in (await hive.approvals.diff(1)).diff
        await hive.yes(1, now=True)
        assert hive.lifecycle.orders == [("deploy", "bob-2", commit, "True")]
        hive.lifecycle.end()
        while await _next(stream) != ("ApprovalResolved", ["bob-2", 1, "deployed"]):
            pass
        assert set(look(applied, "tag", "--points-at", "main").split()) == {
            "proposal/1", "approved/1", "building/1", "deployed/1"
        }  # fmt: skip
        assert await hive.approvals.revert("bob-2", "deployed/0") == 2
        await hive.yes(2)
        assert hive.lifecycle.orders[1] == ("deploy", "bob-2", initial, "False")
        hive.lifecycle.end("failed", "It does not build.\nline 50")
        while await _next(stream) != ("ApprovalResolved", ["bob-2", 2, "failed"]):
            pass
        assert "line 50" in (await _until(hive, "it failed"))
        assert look(applied, "tag", "-l", "--format=%(contents)", "failed/2").startswith(
            "It does not build.\nline 50"
        )
        assert look(applied, "rev-parse", "main") == commit
        await hive.approvals.revert("bob-2", "deployed/0")
        await hive.approvals.withdraw(3)
        assert await hive.states() == ["deployed", "failed", "withdrawn"]
        log = await hive.approvals.deploy_log("", 10)
        assert [(d.agent, d.commit, d.approval) for d in log] == [
            ("bob-2", commit, 1),
            ("bob-2", initial, 0),
        ]


def look(repository: Path, *arguments: str) -> str:
    command = ["git", f"--git-dir={repository}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def _until(hive: Hive, words: str) -> str:
    while True:
        body = (await hive.broker.next())[1]
        if words in body:
            return body


async def test_a_denial_reaches_the_manager(hive: Hive, room: Callable[[], Any]) -> None:
    async with room():
        await hive.approvals.request_spawn("alice", "docs", SpawnRequestOptions())
        [request] = await hive.approvals.list_approvals(ALL)
        await hive.approvals.deny(1, request.commit, "too many already")
        assert (await hive.broker.next())[1].endswith("was denied: too many already")
        for member, arguments in (
            ("Approve", ("tsa{sv}", 1, request.commit, {})),
            ("ApproveNow", ("tsa{sv}", 1, request.commit, {})),
            ("Withdraw", ("t", 1)),
            ("Deny", ("tss", 1, request.commit, "")),
        ):
            with pytest.raises(Conflict, match="already denied"):
                await hive.ask(member, *arguments)
        with pytest.raises(NotFound):
            await hive.ask("Approve", "tsa{sv}", 2**64 - 1, request.commit, {})


async def test_bad_requests_are_answered_with_their_error(
    hive: Hive, room: Callable[[], Any]
) -> None:
    async with room():
        for name in ("../x", "Alice", "a" * 10, "system"):
            with pytest.raises(InvalidArgument):
                await hive.approvals.request_spawn(name, "docs", SpawnRequestOptions())
        with pytest.raises(AlreadyExists):
            await hive.approvals.request_spawn("bob-2", "docs", SpawnRequestOptions())
        bad: list[tuple[Any, ...]] = [
            ("RequestSpawn", "ssa{sv}", "alice", "docs", {"config": 7}),
            ("RequestSpawn", "ssa{sv}", "alice", "docs", {"model": "x"}),
            ("RequestSpawn", "ssa{sv}", "alice", "docs", {"config": "packages = 7"}),
            ("RequestApply", "sssa{sv}", "bob-2", "c0ffee7", "x", {"revert": 1}),
            ("RequestApply", "sssa{sv}", "bob-2", "main", "x", {}),
            ("Approve", "tsa{sv}", 1, "c0ffee7", {}),
            ("Approve", "tsa{sv}", 1, "", {}),
            ("Approve", "tsa{sv}", 1, "c" * 40, {"commit": "c" * 40}),
            ("ApproveNow", "tsa{sv}", 1, "C" * 40, {"base": 1}),
            ("Deny", "tss", 1, "c0ffee7", "no"),
            ("DeployLog", "su", "", 0),
            ("DeployLog", "su", "../x", 1),
        ]
        bad += [
            ("List", "a{sv}", wanted)
            for wanted in (
                {"color": "red"},
                {"state": "open"},
                {"state": 3},
                {"agent": 3},
                {"id": 0},
                {"id": "1"},
                {"limit": 0},
                {"limit": True},
                {"state": Typed("as", ["pending"])},
            )
        ]
        for member, *arguments in bad:
            with pytest.raises(InvalidArgument):
                await hive.ask(member, *arguments)
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
        await hive.approvals.request_spawn("carol", "docs", SpawnRequestOptions())
        calls: list[tuple[Any, ...]] = [
            ("Approve", "tsa{sv}", 1, "c" * 40, {}),
            ("ApproveNow", "tsa{sv}", 1, "c" * 40, {}),
            ("Deny", "tss", 1, "c" * 40, ""),
        ]
        if who != THE_MANAGER:
            calls += [
                ("RequestSpawn", "ssa{sv}", "dave", "docs", {}),
                ("RequestApply", "sssa{sv}", "bob-2", "c0ffee7", "docs", {}),
                ("Revert", "ss", "bob-2", "deployed/0"),
                ("Withdraw", "t", 1),
                ("Diff", "t", 1),
                ("DeployLog", "su", "", 1),
                ("List", "a{sv}", {}),
            ]
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
        await hive.approvals.request_spawn("alice", "docs", SpawnRequestOptions())
        await hive.yes(1)
        hive.lifecycle.asked.clear()
    async with room():
        await asyncio.wait_for(hive.lifecycle.asked.wait(), 5)
        hive.lifecycle.end("failed", "no room")
        assert "no room" in (await hive.broker.next())[1]
        assert await hive.states() == ["failed"]
    assert len(hive.lifecycle.orders) == 2
    assert hive.lifecycle.orders[0] == hive.lifecycle.orders[1]


async def test_a_lifecycle_that_comes_back_is_asked_anew(
    hive: Hive, room: Callable[[], Any], connect: Connect
) -> None:
    async with room():
        await hive.approvals.request_spawn("alice", "docs", SpawnRequestOptions())
        await hive.yes(1)
        await hive.hive.close()
        bus, lifecycle, broker = await connect(), Lifecycle(), Broker()
        export(bus, lifecycle, broker)
        await bus.own(names.BROKER)
        await bus.own(names.LIFECYCLE)
        await asyncio.wait_for(lifecycle.asked.wait(), 5)
        lifecycle.end()
        assert "alice is running" in (await broker.next())[1]


def _start(bus_address: str, state: Path) -> Awaitable[asyncio.subprocess.Process]:
    return asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.approvals",
        env={
            "PATH": os.environ["PATH"],
            "DBUS_SYSTEM_BUS_ADDRESS": bus_address,
            "STATE_DIRECTORY": str(state / "approvals"),
        },
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_damaged_store_ends_the_process_with_a_sentence(
    bus_address: str, tmp_path: Path
) -> None:
    (tmp_path / "approvals").mkdir()
    store = tmp_path / "approvals/approvals.sqlite"
    store.write_bytes(b"garbage " * 1000)
    process = await _start(bus_address, tmp_path)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 78
    assert b"Restore it from a backup" in err
    assert b"Traceback" not in err
    assert store.read_bytes() == b"garbage " * 1000
    assert os.listdir(store.parent) == [store.name]  # noqa: PTH208


async def test_the_process_owns_its_name_and_ends_on_sigterm(
    bus_address: str, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "approvals").mkdir()
    bus = await connect()
    async with bus.subscribe(member="NameOwnerChanged", arg0=names.APPROVALS) as stream:
        process = await _start(bus_address, tmp_path)
        await _next(stream)
        process.send_signal(signals.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, err
