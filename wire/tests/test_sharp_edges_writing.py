"""Sharp edges of dbus-next, numbered as in wire/README.md: the socket, time limits, the end."""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from dbus_next import Message, MessageType
from dbus_next.aio import MessageBus

from wire import errors
from wire.bus import Bus
from wire.connection import BareExternal
from wire.fixtures import Connect
from wire.tests.lamp import NAME, PATH, Lamp1

COUNT = 3000
TEXT = "x" * 2048


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def daemon_pid(bus: Bus) -> int:
    credentials = bus._connection._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("iII", credentials)[0]
    return pid


def may_unshare() -> bool:
    return subprocess.run(["unshare", "--user", "true"], check=False).returncode == 0


async def received(server: Bus, client: Bus, lamp: Lamp1, emit_all: object) -> list[int]:
    """The levels that arrive while `emit_all` runs."""
    async with client.subscribe(member="Broken") as signals:
        emit_all()  # type: ignore[operator]
        async with asyncio.timeout(30):
            return [(await anext(signals)).args[1] for _ in range(COUNT)]


async def test_edge_01_a_full_socket_loses_nothing(connect: Connect) -> None:
    server, client = await connect(), await connect()
    lamp = Lamp1()
    server.export(PATH, lamp)

    def emit_all() -> None:
        for level in range(COUNT):
            lamp.Broken(TEXT, level)

    assert await received(server, client, lamp, emit_all) == list(range(COUNT))
    assert not server.disconnected.done()


async def test_edge_01_a_paused_bus_is_waited_for(connect: Connect) -> None:
    server, client = await connect(), await connect()
    lamp = Lamp1()
    server.export(PATH, lamp)
    pid = daemon_pid(server)
    waited: list[bool] = []

    def emit_all_while_paused() -> None:
        os.kill(pid, signal.SIGSTOP)
        for level in range(COUNT):
            lamp.Broken(TEXT, level)
        asyncio.get_running_loop().call_later(0.05, go_on)

    def go_on() -> None:
        waited.append(bool(server._connection._writer._waiting))
        os.kill(pid, signal.SIGCONT)

    assert await received(server, client, lamp, emit_all_while_paused) == list(range(COUNT))
    assert waited == [True]


async def test_edge_05_a_call_has_a_time_limit(connect: Connect) -> None:
    server, client = await connect(), await connect()
    server.export(PATH, Lamp1())
    await server.own(NAME)
    with pytest.raises(errors.Timeout, match=r"did not answer Wait within 0\.05 s"):
        await client.call(NAME, PATH, NAME, "Wait", timeout=0.05)
    assert not client._connection._pending


async def test_edge_05_a_call_on_a_closed_bus_fails_at_once(connect: Connect) -> None:
    client = await connect()
    await client.close()
    with pytest.raises(errors.Unavailable, match="closed"):
        await client.call(NAME, PATH, NAME, "Wait")


async def test_edge_05_a_lost_bus_ends_what_waits_for_it(connect: Connect) -> None:
    server, client = await connect(), await connect()
    lamp = Lamp1()
    server.export(PATH, lamp)
    await server.own(NAME)
    call = asyncio.create_task(client.call(NAME, PATH, NAME, "Wait"))
    async with client.subscribe(member="Broken") as signals, asyncio.timeout(10):
        await lamp.waiting.wait()
        os.kill(daemon_pid(client), signal.SIGKILL)
        with pytest.raises(errors.Unavailable, match="lost"):
            await call
        with pytest.raises(errors.Unavailable, match="lost"):
            await anext(signals)
        assert isinstance(await client.disconnected, EOFError)
        await server.disconnected


async def test_edge_06_close_sends_everything_and_closes_the_socket(connect: Connect) -> None:
    server, client = await connect(), await connect()
    lamp = Lamp1()
    server.export(PATH, lamp)
    pid = daemon_pid(server)
    async with client.subscribe(member="Broken") as signals, asyncio.timeout(30):
        os.kill(pid, signal.SIGSTOP)
        for level in range(COUNT):
            lamp.Broken(TEXT, level)
        closing = asyncio.create_task(server.close())
        asyncio.get_running_loop().call_later(0.05, os.kill, pid, signal.SIGCONT)
        await closing
        assert [(await anext(signals)).args[1] for _ in range(COUNT)] == list(range(COUNT))
    assert server._connection._sock.fileno() == -1
    assert server._connection._stream.closed
    assert await server.disconnected is None


async def test_edge_06_connections_leave_no_descriptor_behind(bus_address: str) -> None:
    before = open_descriptors()
    for _ in range(20):
        bus = await Bus.connect(bus_address)
        await bus.close()
    with pytest.raises(errors.Unavailable):
        await Bus.connect("unix:path=/nonexistent/bus")
    assert open_descriptors() == before


async def test_edge_07_nobody_can_send_us_descriptors(connect: Connect, bus_address: str) -> None:
    server = await connect()
    server.export(PATH, Lamp1())
    await server.own(NAME)
    hostile = await MessageBus(bus_address, negotiate_unix_fd=True).connect()
    before = open_descriptors()
    call = Message(NAME, PATH, NAME, "Echo", signature="h", body=[0], unix_fds=[0])
    reply = await hostile.call(call)
    assert reply is not None
    assert reply.message_type is MessageType.ERROR
    assert open_descriptors() == before
    hostile.disconnect()
    hostile._stream.close()
    hostile._sock.close()
    assert not server.disconnected.done()


async def test_edge_08_another_user_namespace_is_let_in(bus_address: str) -> None:
    script = textwrap.dedent(
        """
        import asyncio, os, sys
        from wire.bus import Bus
        async def main():
            bus = await Bus.connect(sys.argv[1])
            print(os.getuid(), bus.unique_name)
            await bus.close()
        asyncio.run(main())
        """
    )
    if not may_unshare():
        pytest.skip("this machine does not let us make a user namespace")
    other = await asyncio.create_subprocess_exec(
        *("unshare", "--user", sys.executable, "-c", script, bus_address),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    output, _ = await other.communicate()
    uid, name = output.decode().split()
    assert int(uid) != os.getuid()
    assert name.startswith(":1.")


def test_edge_08_data_is_answered_with_data() -> None:
    authentication = BareExternal()
    assert authentication._authentication_start() == "AUTH EXTERNAL"
    assert authentication._receive_line("DATA") == "DATA"
    assert authentication._receive_line("OK 1234deadbeef") == "BEGIN"
    with pytest.raises(errors.AccessDenied, match="REJECTED"):
        authentication._receive_line("REJECTED EXTERNAL")


async def test_edge_19_a_bus_is_made_inside_the_running_loop(connect: Connect) -> None:
    bus = await connect()
    assert bus._connection._loop is asyncio.get_running_loop()


async def test_edge_19_a_name_is_never_queued_for(connect: Connect) -> None:
    first, second = await connect(), await connect()
    await first.own(NAME)
    with pytest.raises(errors.Conflict, match="Another connection owns"):
        await second.own(NAME)
    gone = second.watch_sender(first.unique_name)
    await first.close()
    await gone
    with pytest.raises(errors.Unavailable):
        await second.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetNameOwner",
                          "s", NAME)  # fmt: skip
