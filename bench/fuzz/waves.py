"""Waves of hostile clients, all at once; after each of them the endpoint must be as before.

The waves of a seed are the same each time, apart from the interleaving.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from bench.fuzz.grammar import Grammar
from services.endpoint.jsonvalues import JsonObject
from services.endpoint.mcp.jsonrpc import Code
from services.endpoint.server import MAX_CONNECTIONS
from services.endpoint.tests.fakes import FakeBroker
from services.endpoint.tests.play import READ_LIMIT, End, ViolationError, play
from services.endpoint.tests.process import EndpointProcess
from wire.errors import Conflict, LimitExceeded, NotFound

LIMIT: Final = 60.0
CLIENTS: Final = 8
LINES: Final = 150
"""The most clients of a wave, and lines of a client."""

_PING: Final = b'{"jsonrpc":"2.0","id":"canary","method":"ping"}\n'
_HELLO: Final = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}\n'
)
_JOB: Final = (
    b'{"jsonrpc":"2.0","id":2,"method":"tools/call",'
    b'"params":{"name":"start","arguments":{"name":"alice"}}}\n'
)
_ERRORS: Final = (None, None, None, NotFound("gone"), Conflict("busy"), LimitExceeded("x" * 200))


@dataclass
class Target:
    """The endpoint that is attacked, and the broker behind it."""

    process: EndpointProcess
    broker: FakeBroker
    seed: int
    lines: int = 0
    pings: int = 0
    slowest_ping: float = 0.0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _next_id: Iterator[int] = field(default_factory=lambda: iter(range(1, 2**53)))

    async def wave(self, number: int) -> None:
        """Run one wave. Raises ViolationError, or TimeoutError when a lease is not given back."""
        chance = random.Random(f"{self.seed} {number}")
        await self._prepare(chance)
        match chance.randrange(60):
            case 0:
                await self._crowd(chance)
            case 1:
                await self._hoard(chance)
            case _:
                await self._clients(chance)
        await self.broker.until(lambda: not self.broker.leased)
        await self._honest()
        self._forget()

    async def _prepare(self, chance: random.Random) -> None:
        """Put some messages into the inbox; sometimes make the broker refuse all sends."""
        self.broker.error = chance.choice(_ERRORS)
        for _ in range(chance.randrange(5)):
            size = 2**20 if chance.random() < 0.01 else chance.choice([1, 10, 1000])
            await self.broker.queue(next(self._next_id), chance.choice("xé\\") * size)

    def _forget(self) -> None:
        for record in (self.broker.sent, self.broker.calls, self.broker.queued):
            record.clear()
        for numbers in (self.broker.acknowledged, self.broker.released):
            numbers.clear()
        self.broker.receivers.clear()

    async def _clients(self, chance: random.Random) -> None:
        """Run some clients that read the answers, and check them with the oracle."""
        async with asyncio.TaskGroup() as group:
            playing = [
                group.create_task(
                    play(self.process.path, self._chunks(_own(chance)), chance.choice(list(End)))
                )
                for _ in range(chance.randint(1, CLIENTS))
            ]
        self.lines += sum(task.result() for task in playing)

    async def _crowd(self, chance: random.Random) -> None:
        """Open more connections than allowed: some are refused, and all close suddenly."""
        grammar = Grammar(chance)
        async with asyncio.TaskGroup() as group:
            for _ in range(MAX_CONNECTIONS + 20):
                lines = [grammar.hello(), *(grammar.line() for _ in range(3))]
                group.create_task(self._careless(b"\n".join([*lines, b""])))
                self.lines += len(lines)
        await self._room()

    async def _hoard(self, chance: random.Random) -> None:
        """Send more half lines than may be held, all of which end at some time."""
        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                half = b'{"jsonrpc":"2.0","id":1,"x":"' + b"x" * chance.randrange(2**20, 2**21)
                group.create_task(self._careless(half + b'"}\n'))
                self.lines += 1
        await self._room()

    async def _honest(self) -> None:
        """Check that an honest client is served, once those before are gone altogether."""
        reader, writer = await asyncio.open_unix_connection(self.process.path)
        async with asyncio.timeout(LIMIT):
            writer.write(_HELLO)
            await reader.readline()
            answer: JsonObject = {"error": {"code": Code.BUSY}}
            while answer.get("error", {}).get("code") == Code.BUSY:
                writer.write(_JOB)
                answer = json.loads(await reader.readline())
        writer.transport.abort()
        if "result" not in answer or "isError" in answer["result"]:
            raise ViolationError(f"an honest client was answered {answer!r}")

    async def _careless(self, data: bytes) -> None:
        """Write `data`, read one line of the answers, and close."""
        try:
            async with asyncio.timeout(LIMIT):
                reader, writer = await asyncio.open_unix_connection(
                    self.process.path, limit=READ_LIMIT
                )
                writer.write(data)
                answer = json.loads(await reader.readline())
        except ConnectionError:
            return  # refused with a line that was not read in time
        except TimeoutError:
            raise ViolationError("one of many connections was not answered") from None
        writer.transport.abort()
        if answer["jsonrpc"] != "2.0":
            raise ViolationError(f"this is not an answer: {answer!r}")

    async def _room(self) -> None:
        """Return when a new connection is served: closed ones are noticed one by one."""
        async with asyncio.timeout(LIMIT):
            while "error" in (await _ask_once(self.process)):
                pass

    def _chunks(self, chance: random.Random) -> Iterator[bytes]:
        """Yield the bytes that one client writes, cut anywhere, sometimes without the end."""
        grammar = Grammar(chance)
        lines = [grammar.line() for _ in range(chance.randint(1, LINES))]
        if chance.random() < 0.95:
            lines.insert(0, grammar.hello())
        written = b"\n".join([*lines, b""])
        if chance.random() < 0.2:
            written = written[: chance.randrange(len(written))]
        at = 0
        while at < len(written):
            size = chance.choice([1, 7, 100, 4096, 65536, 2**20])
            self._moved.set()
            yield written[at : at + size]
            at += size

    @asynccontextmanager
    async def canary(self) -> AsyncIterator[None]:
        """Ask all the time on one connection, which must be answered all the time."""
        reader, writer = await asyncio.open_unix_connection(self.process.path)
        singing = asyncio.create_task(self._sing(reader, writer))
        try:
            yield
            if singing.done():
                singing.result()
        finally:
            singing.cancel()
            await asyncio.gather(singing, return_exceptions=True)
            writer.transport.abort()

    async def _sing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = perf_counter()
            writer.write(_PING)
            async with asyncio.timeout(LIMIT):
                if b'"result":{}' not in await reader.readline():
                    raise ViolationError("the canary was not answered")
            self.pings += 1
            self.slowest_ping = max(self.slowest_ping, perf_counter() - asked)
            self._moved.clear()
            await self._moved.wait()


def _own(chance: random.Random) -> random.Random:
    """Return a generator for one client, which draws of the others do not affect."""
    return random.Random(chance.random())


async def _ask_once(process: EndpointProcess) -> JsonObject:
    reader, writer = await asyncio.open_unix_connection(process.path)
    writer.write(_PING)
    answer: JsonObject = json.loads(await reader.readline())
    writer.transport.abort()
    return answer
