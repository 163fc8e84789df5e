"""Sharp edges of dbus-next, numbered as in wire/README.md: the socket, time limits, the end."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from dbus_next import Message, MessageType
from dbus_next.aio import MessageBus

from wire import errors, message
from wire.bus import Bus
from wire.connection import connect as connection_to
from wire.fixtures import Connect
from wire.testing import daemon_pid, private_bus
from wire.tests.lamp import NAME, PATH, Lamp1, hang_up

COUNT = 3000
TEXT = "x" * 2048
SOCKET_BUFFER = int(Path("/proc/sys/net/core/wmem_default").read_text())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def may_unshare() -> bool:
    return subprocess.run(["unshare", "--user", "true"], check=False).returncode == 0


async def received(server: Bus, client: Bus, lamp: Lamp1, emit_all: object) -> list[int]:
    """Return the levels that arrive while `emit_all` runs."""
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
    pid = await daemon_pid(server)
    assert COUNT * len(TEXT) > 4 * SOCKET_BUFFER, "all of it fits into a socket"

    def emit_all_while_paused() -> None:
        os.kill(pid, signal.SIGSTOP)
        for level in range(COUNT):
            lamp.Broken(TEXT, level)
        asyncio.get_running_loop().call_later(0.05, os.kill, pid, signal.SIGCONT)

    assert await received(server, client, lamp, emit_all_while_paused) == list(range(COUNT))


async def test_edge_05_a_call_has_a_time_limit(connect: Connect) -> None:
    server, client = await connect(), await connect()
    server.export(PATH, Lamp1())
    await server.own(NAME)
    with pytest.raises(errors.Timeout, match=r"did not answer Wait within 0\.05 s"):
        await client.call(NAME, PATH, NAME, "Wait", timeout=0.05)


async def test_edge_05_a_call_that_was_given_up_leaves_nothing_behind(
    connect: Connect, bus_address: str
) -> None:
    server = await connect()
    server.export(PATH, Lamp1())
    await server.own(NAME)
    connection = await connection_to(bus_address, lambda received: None)
    with pytest.raises(errors.Timeout):
        await connection.ask(message.call(NAME, PATH, NAME, "Wait", "", []), 0.05)
    assert connection.waiting == 0
    connection.close()


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
    daemon = await daemon_pid(client)
    call = asyncio.create_task(client.call(NAME, PATH, NAME, "Wait"))
    async with client.subscribe(member="Broken") as signals, asyncio.timeout(10):
        await lamp.waiting.wait()
        os.kill(daemon, signal.SIGKILL)
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
    pid = await daemon_pid(server)
    async with client.subscribe(member="Broken") as signals, asyncio.timeout(30):
        os.kill(pid, signal.SIGSTOP)
        for level in range(COUNT):
            lamp.Broken(TEXT, level)
        closing = asyncio.create_task(server.close())
        asyncio.get_running_loop().call_later(0.05, os.kill, pid, signal.SIGCONT)
        before = open_descriptors()
        await closing
        assert open_descriptors() == before - 1
        assert [(await anext(signals)).args[1] for _ in range(COUNT)] == list(range(COUNT))
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
    hang_up(hostile)
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


async def test_edge_08_data_is_answered_with_data(tmp_path: Path) -> None:
    said: list[bytes] = []
    ended = asyncio.Event()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (b"DATA\r\n", b"OK 1234deadbeef\r\n"):
            said.append(await reader.readline())
            writer.write(answer)
        said.append(await reader.readline())
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_unix_server(ask, tmp_path / "bus"), asyncio.timeout(5):
        with pytest.raises(errors.Unavailable):
            await Bus.connect(f"unix:path={tmp_path / 'bus'}")
        await ended.wait()
    assert [line.removeprefix(b"\0") for line in said] == [
        b"AUTH EXTERNAL\r\n",
        b"DATA\r\n",
        b"BEGIN\r\n",
    ]


def test_edge_19_a_bus_is_made_inside_the_running_loop() -> None:
    async def once() -> None:
        async with private_bus() as address:
            bus = await Bus.connect(address)
            await bus.close()

    asyncio.run(once())
    asyncio.run(once())


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
