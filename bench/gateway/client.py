"""A client of the Messages API that only takes the time: as little as possible lies between."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Final

from bench.gateway.upstream import STAMP

_SENT: Final = re.compile(STAMP + rb"(\d+)\}")
_END: Final = b"0\r\n\r\n"

BETWEEN: Final = 0.05
"""Seconds between two streams of a connection."""

APART: Final = 0.0137
"""Seconds between the beginnings of two connections."""

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@dataclass
class Times:
    """The times of some streams, in milliseconds."""

    first: list[float] = field(default_factory=list)
    """From the request to the first byte of the answer."""
    token: list[float] = field(default_factory=list)
    """From the upstream's write of a token to its arrival."""


def request(size: int, tokens: int) -> bytes:
    """Return a request for so many tokens, with a body of about `size` bytes."""
    content = [{"role": "user", "content": "word " * (size // 5)}]
    body = json.dumps(
        {"model": "claude-bench", "max_tokens": tokens, "stream": True, "messages": content}
    ).encode()
    return (
        b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: hive.internal\r\nx-api-key: placeholder\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )


async def stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, times: Times
) -> None:
    """Send a request, and take the times of its stream."""
    began = monotonic_ns()
    writer.write(data)
    rest = await reader.read(65536)
    times.first.append((monotonic_ns() - began) / 1e6)
    if not rest.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the request failed: {rest[:300]!r}")
    first = True
    while not rest.endswith(_END):
        piece = await reader.read(65536)
        now = monotonic_ns()
        if not piece:
            raise RuntimeError("the stream broke off")
        if not first:
            times.token += [(now - int(sent)) / 1e6 for sent in _SENT.findall(piece)]
        first = False  # with the first piece after the head came the beginning of the message
        rest = rest[-len(_END) :] + piece


async def streams(connect: Connect, data: bytes, count: int, rounds: int) -> Times:
    """Send `rounds` requests on each of `count` connections at once; one before is not counted."""
    times = Times()

    async def one(number: int) -> None:
        # Agents do not ask in the same millisecond, and these would after each stream.
        await asyncio.sleep(number * APART)
        reader, writer = await connect()
        try:
            await stream(reader, writer, data, Times())  # connections are made meanwhile
            for _ in range(rounds):
                # Claude Code takes longer between two requests.
                await asyncio.sleep(BETWEEN)
                await stream(reader, writer, data, times)
        finally:
            writer.close()

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(one(number))
    return times
