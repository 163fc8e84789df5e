"""The programs of a container that lead to its loopback, and from it to other hosts."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from harness.port import Port

LIMIT = 20.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer all that comes, after its end."""
    writer.write(b"> " + await reader.read())
    writer.close()


class Forward:
    """A port that is passed on to a unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(path))
        self.listening.listen()

    def serve(self, number: int, idle: float = 60.0) -> "asyncio.Task[None]":
        return asyncio.create_task(Port(number, idle).serve(self.listening))

    async def ask(self, text: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(text)
        writer.write_eof()
        async with asyncio.timeout(LIMIT):
            answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def forward(tmp_path: Path) -> AsyncIterator[Forward]:
    forward = Forward(tmp_path / "port.sock")
    yield forward
    forward.listening.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_program_on_either_loopback_is_reached(forward: Forward, host: str) -> None:
    server = await asyncio.start_server(echo, host, 0)
    task = forward.serve(server.sockets[0].getsockname()[1])
    text = b"x" * 300_000
    assert await forward.ask(text) == b"> " + text
    assert await asyncio.gather(*(forward.ask(b"%d" % n) for n in range(20))) == [
        b"> %d" % n for n in range(20)
    ]
    task.cancel()
    await asyncio.wait({task})
    server.close()


async def test_a_port_on_which_nobody_listens_ends_the_connection(forward: Forward) -> None:
    free = socket.create_server(("127.0.0.1", 0))
    number = free.getsockname()[1]
    free.close()
    task = forward.serve(number)
    assert await forward.ask(b"hello") == b""
    task.cancel()
    await asyncio.wait({task})


async def test_it_ends_when_nobody_is_connected(forward: Forward) -> None:
    held = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.set()
        writer.write(await reader.read())
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    task = forward.serve(server.sockets[0].getsockname()[1], idle=0.05)
    reader, writer = await asyncio.open_unix_connection(str(forward.path))
    async with asyncio.timeout(LIMIT):
        await held.wait()
    done, _ = await asyncio.wait({task}, timeout=0.3)
    assert not done, "it has ended with a connection"
    writer.write(b"still here")
    writer.write_eof()
    async with asyncio.timeout(LIMIT):
        assert await reader.read() == b"still here"
        await task
    writer.close()
    server.close()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


class Gateway:
    """A gateway that gives one answer, and then echoes."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.path = path
        self.asked = b""
        self._answer = answer

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._one, str(self.path))

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(self._answer)
        if self._answer.startswith(b"HTTP/1.1 200"):
            writer.write(await reader.read())
        writer.close()


async def connect(path: Path, host: str, text: bytes) -> tuple[int | None, bytes, str]:
    """Run harness.connect; return its status, its output, and what it complains of."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "harness.connect", host, "22"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"HIVE_PROXY": str(path), "PYTHONPATH": ":".join(sys.path)},
    )
    async with asyncio.timeout(LIMIT):
        out, err = await process.communicate(text)
    return process.returncode, out, err.decode()


@pytest.mark.parametrize(
    ("host", "place"), [("github.com", b"github.com:22"), ("fd00::1", b"[fd00::1]:22")]
)
async def test_ssh_is_led_through_the_gateway(tmp_path: Path, host: str, place: bytes) -> None:
    gateway = Gateway(tmp_path / "proxy.sock", b"HTTP/1.1 200 Connection established\r\n\r\nSSH")
    server = await gateway.serve()
    text = b"\0\r\n\xff" * 50_000
    assert await connect(gateway.path, host, text) == (0, b"SSH" + text, "")
    assert gateway.asked == b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (place, place)
    server.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nNo, never.",
            "No, never.\n",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "The gateway answered 502.\n"),
        (
            b"SSH-2.0\r\n\r\n",
            "The gateway cannot be reached: it does not answer as a proxy does.\n",
        ),
        (b"", "The gateway cannot be reached: it does not answer as a proxy does.\n"),
    ],
)
async def test_a_refusal_is_shown(tmp_path: Path, answer: bytes, said: str) -> None:
    server = await Gateway(tmp_path / "proxy.sock", answer).serve()
    assert await connect(tmp_path / "proxy.sock", "a.b", b"") == (1, b"", said)
    server.close()


async def test_a_gateway_that_is_away_is_named(tmp_path: Path) -> None:
    status, _, said = await connect(tmp_path / "none.sock", "a.b", b"")
    assert status == 1
    assert said.startswith("The gateway cannot be reached: ")
