"""A port of an agent's container on this host: bytes in both directions, and what goes wrong."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from hivectl.exit_codes import CommandError, Exit
from hivectl.host.forward import MAX_CONNECTIONS, forwarding
from hivectl.tests.conftest import TIME_LIMIT, Hivectl
from hivectl.tests.fake_hive import FakeHive
from wire.errors import Unavailable
from wire.records.lifecycle import AgentState, Network, NetworkMode
from wire.web_socket import connect_port


@pytest.fixture
async def container(tmp_path: Path) -> AsyncIterator[Path]:
    """Serve port 3000 of alice: each connection is answered by its own words, in capitals."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write((await reader.read()).upper())
            await writer.drain()
        writer.close()

    (tmp_path / "alice").mkdir()
    server = await asyncio.start_unix_server(answer, tmp_path / "alice/port-3000.sock")
    yield tmp_path
    server.close()


@asynccontextmanager
async def forwarded(directory: Path, said: list[str]) -> AsyncIterator[int]:
    async with forwarding(0, lambda: connect_port("alice", 3000, directory), said.append) as port:
        yield port


async def say(port: int, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words)
    writer.write_eof()
    answer = b""
    # A connection that is closed unread is reset.
    with suppress(ConnectionResetError):
        async with asyncio.timeout(TIME_LIMIT):
            answer = await reader.read()
    writer.close()
    return answer


async def test_bytes_go_both_ways_and_each_side_ends_its_own(container: Path) -> None:
    said: list[str] = []
    async with forwarded(container, said) as port:
        words = b"a" * 3_000_000
        answers = await asyncio.gather(say(port, b"hello"), say(port, words), say(port, b""))
    assert list(answers) == [b"HELLO", words.upper(), b""]
    assert said == []


async def test_a_port_that_is_not_offered_ends_the_connection_with_a_sentence(
    container: Path,
) -> None:
    said: list[str] = []
    async with forwarded(container, said) as port:
        (container / "alice/port-3000.sock").unlink()
        assert await say(port, b"hello") == b""
    assert len(said) == 1
    assert said[0].startswith("Port 3000 of alice is not offered")


async def test_a_port_that_is_taken_is_named(container: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} of .* Give another") as raised:
            async with forwarding(port, lambda: connect_port("alice", 3000), print):
                pass
    assert raised.value.code == Exit.CONFLICT


async def test_connections_are_bounded_and_end_with_it(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process has both ends of both sockets, and a process may have only 1024 files.
    most = MAX_CONNECTIONS // 4
    monkeypatch.setattr("hivectl.host.forward.MAX_CONNECTIONS", most)
    opened: list[asyncio.StreamWriter] = []
    async with forwarded(container, []) as port:
        readers = []
        for _ in range(most):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            readers.append(reader)
            opened.append(writer)
        # The last of them is served, so all are.
        async with asyncio.timeout(TIME_LIMIT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.append(writer)
            assert await reader.read() == b""
    async with asyncio.timeout(TIME_LIMIT):
        assert await asyncio.gather(*(reader.read() for reader in readers)) == [b""] * len(readers)
    for writer in opened:
        writer.close()
    # A socket that is still open when the loop ends is a warning, in whichever test comes next.
    await asyncio.gather(*(writer.wait_closed() for writer in opened), return_exceptions=True)


async def test_the_command_leads_to_the_port_until_ctrl_c(
    container: Path, environment: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        local = free.getsockname()[1]
    command = ("-m", "hivectl.tests.launcher", "forward", "alice", "3000", "--local", str(local))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdout=asyncio.subprocess.PIPE,
        env=environment | {"WEB_DIRECTORY": str(container)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIME_LIMIT):
            line = (await process.stdout.readline()).decode()
            assert line == (
                f"http://127.0.0.1:{local} is forwarded to port 3000 of alice; Ctrl-C ends this\n"
            )
            assert await say(local, b"hello") == b"HELLO"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == Exit.INTERRUPTED
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_cannot_be_forwarded(
    container: Path, environment: dict[str, str], hivectl: Hivectl
) -> None:
    environment["WEB_DIRECTORY"] = str(container)
    ran = await hivectl("forward", "alice", "4000")
    assert (ran.code, ran.err.startswith("hivectl: Port 4000 of alice")) == (Exit.UNAVAILABLE, True)
    for wrong in (["Alice", "3000"], ["alice", "0"], ["alice", "65536"], ["../alice", "3000"]):
        assert (await hivectl("forward", *wrong)).code == Exit.USAGE


async def test_the_reason_is_said_for_which_a_port_is_not_offered(
    hive: FakeHive, environment: dict[str, str], tmp_path: Path, hivectl: Hivectl
) -> None:
    environment["WEB_DIRECTORY"] = str(tmp_path)
    alice = hive.lifecycle.agents["alice"]
    ran = await hivectl("forward", "alice", "3000")
    assert "its network is that of the host" in ran.err
    own = Network([], [], [], filtered=True, mode=NetworkMode.GATEWAY, ports=(3001, 8080))
    alice.show(network=own)
    ran = await hivectl("forward", "alice", "3000")
    assert ran.code == Exit.UNAVAILABLE
    assert "`ports` in its agent.toml has 3001, 8080. Add 3000 there." in ran.err
    alice.show(state=AgentState.STOPPED)
    ran = await hivectl("forward", "alice", "3001")
    assert "alice is stopped. Start it: hivectl start alice." in ran.err
    ran = await hivectl("forward", "nobody", "3000")
    assert (ran.code, "There is no agent 'nobody'" in ran.err) == (Exit.NOT_FOUND, True)


def test_a_hostile_directory_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    with socket.socket(socket.AF_UNIX) as secret:
        secret.bind(str(tmp_path / "secret.sock"))
        secret.listen()
        (tmp_path / "alice/port-3000.sock").symlink_to(tmp_path / "secret.sock")
        with pytest.raises(Unavailable):
            connect_port("alice", 3000, tmp_path)
