"""One request to a hostile server: HTTP/1.0, so that its answer ends with the connection.

There are no chunks, no redirects, no compression and no second answer. Sizes and times are bounded
here; the server's words are never part of an error.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from wire.errors import LimitExceeded, NotFound, Timeout, Unavailable

MAX_BODY: Final = 8 * 2**20
"""The bytes of an answer."""
MAX_LINE: Final = 2**20
"""The bytes of a line; an event of a stream is one line."""
MAX_HEAD: Final = 64
"""The lines before the body."""

LINES: Final = 20_000
"""The lines of a stream that are read in a second."""
BYTES: Final = 4 * 2**20
"""The bytes of a stream that are read in a second."""
BURST: Final = 4.0
"""The seconds whose lines and bytes are read at once."""

_LINE: Final = 64 * 1024
"""The bytes of a line before the body."""
_CHUNK: Final = 256 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])\b")


class Answer:
    """The body of an answer with the status 200."""

    def __init__(self, reader: asyncio.StreamReader, agent: str) -> None:
        self._reader = reader
        self._agent = agent

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            LimitExceeded: it has more than MAX_BODY bytes.
            OSError: the connection was lost.
        """
        found = bytearray()
        while piece := await self._reader.read(_CHUNK):
            found += piece
            if len(found) > MAX_BODY:
                raise LimitExceeded(
                    f"The harness of {self._agent} answered with more than {MAX_BODY // 2**20} "
                    "MiB; ask for less."
                )
        return bytes(found)

    async def lines(self, idle: float) -> AsyncIterator[bytes]:
        """Yield each line without its end; the iterator ends with the connection.

        Args:
            idle: the seconds within which each line must come.

        Raises:
            LimitExceeded: a line has more than MAX_LINE bytes.
            Timeout: no line has come in time.
            OSError: the connection was lost.
        """
        pace = _Pace()
        while True:
            async with asyncio.timeout(idle):
                line = await _line(self._reader, self._agent)
            if not line.endswith(b"\n"):
                return
            yield line.rstrip(b"\r\n")
            await pace.wait(len(line))


class _Pace:
    """The speed of reading: a flood of lines must not keep the reader's other work waiting."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._due = 0.0

    async def wait(self, size: int) -> None:
        """Let others work, and wait when more was read than the pace allows."""
        now = self._now()
        self._due = max(self._due, now - BURST) + 1 / LINES + size / BYTES
        # Nothing is lost: the server waits, because its socket is not read meanwhile.
        await asyncio.sleep(max(0.0, self._due - now))


@asynccontextmanager
async def request(
    connection: socket.socket, agent: str, target: str, seconds: float
) -> AsyncIterator[Answer]:
    """Ask for `target` over `connection`, which is closed afterwards.

    Args:
        connection: a connected socket that does not block.
        agent: the agent behind it, for errors.
        target: the path and the query, in ASCII.
        seconds: the time within which the body must begin.

    Raises:
        NotFound: the status is 404.
        LimitExceeded: the status is 503: the server has too many connections.
        Unavailable: any other status but 200, no HTTP, or a lost connection.
        Timeout: the body did not begin in time, or what the block awaits raised TimeoutError.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_LINE)
    except OSError as error:
        connection.close()
        raise lost(agent) from error
    try:
        async with asyncio.timeout(seconds):
            writer.write(f"GET {target} HTTP/1.0\r\nHost: agent\r\n\r\n".encode("ascii"))
            await writer.drain()
            _check(await _head(reader, agent), agent)
        yield Answer(reader, agent)
    except TimeoutError:
        raise Timeout(f"The harness of {agent} did not answer in time. Try again.") from None
    except OSError as error:
        raise lost(agent) from error
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def lost(agent: str) -> Unavailable:
    """Return the error for a connection that has ended too early."""
    return Unavailable(f"The connection to the harness of {agent} was lost. Try again.")


def too_long(agent: str) -> LimitExceeded:
    """Return the error for a line that is too long."""
    return LimitExceeded(
        f"The harness of {agent} sent a line of more than {MAX_LINE // 2**20} MiB. It may have "
        f"been replaced; `hivectl restart {agent}` starts it again."
    )


def confused(agent: str) -> Unavailable:
    """Return the error for an answer that is not as it should be."""
    return Unavailable(
        f"The harness of {agent} sent an answer that is not valid. It may have been replaced; "
        f"`hivectl restart {agent}` starts it again."
    )


async def _head(reader: asyncio.StreamReader, agent: str) -> int:
    """Read all that comes before the body; return the status."""
    status = _STATUS.match(await _short_line(reader, agent))
    if status is None:
        raise confused(agent)
    for _ in range(MAX_HEAD):
        if not (await _short_line(reader, agent)).rstrip(b"\r\n"):
            return int(status[1])
    raise confused(agent)


def _check(status: int, agent: str) -> None:
    match status:
        case 200:
            return
        case 404:
            raise NotFound(f"The harness of {agent} has no such turn, or does not show this.")
        case 503:
            raise LimitExceeded(
                f"The harness of {agent} has as many connections as it allows. Close another page "
                "or `hivectl watch` of this agent."
            )
    raise confused(agent)


async def _short_line(reader: asyncio.StreamReader, agent: str) -> bytes:
    line = await _line(reader, agent)
    if len(line) > _LINE:
        raise confused(agent)
    if not line.endswith(b"\n"):
        raise lost(agent)
    return line


async def _line(reader: asyncio.StreamReader, agent: str) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError:
        raise too_long(agent) from None
