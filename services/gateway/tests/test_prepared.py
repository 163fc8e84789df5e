"""Requests that are prepared while the ledger is asked: nothing of them leaves before."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.gateway.api.upstream import LARGE
from services.gateway.tests.stage import LIMIT, Stage, stage
from services.gateway.tests.upstream import http, message
from wire.errors import BudgetExhausted, Unavailable
from wire.records.ledger import RequestOutcome

ANSWER = http(json.dumps(message()).encode())


@dataclass
class Wire:
    """An upstream that keeps each byte, and answers when it is told to."""

    port: int = 0
    came: bytes = b""
    connections: int = 0
    closed: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        self.changed.set()
        while data := await reader.read(65536):
            self.came += data
            self.changed.set()
        self.closed += 1
        self.changed.set()
        writer.close()

    async def until(self, *, bytes: int = 0, connections: int = 0, closed: int = 0) -> None:
        async with asyncio.timeout(LIMIT):
            while len(self.came) < bytes or self.connections < connections or self.closed < closed:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    for writer in made.writers:
        writer.close()


def begin(hive: Stage, words: int = 1) -> "asyncio.Task[tuple[int, str]]":
    """Send a request; return the task for its status and its text."""
    session = hive.session()
    content = [{"role": "user", "content": "word " * words}]
    asked = {"model": "claude-test-1", "max_tokens": 100, "messages": content}

    async def ask() -> tuple[int, str]:
        async with asyncio.timeout(LIMIT), session.post("/v1/messages", json=asked) as answer:
            return answer.status, await answer.text()

    return asyncio.create_task(ask())


@pytest.mark.parametrize("words", [1, LARGE // 5 + 1000])
async def test_no_byte_leaves_before_the_reservation(tmp_path: Path, words: int) -> None:
    async with wire() as up, stage(tmp_path, upstream=f"http://127.0.0.1:{up.port}") as hive:
        hive.ledger.slow = asyncio.Event()
        asking = begin(hive, words)
        await up.until(connections=1)  # it is prepared: there is a connection
        await hive.ledger.until_true(lambda: hive.ledger.reserved)
        for _ in range(100):
            await asyncio.sleep(0)
        assert up.came == b""
        hive.ledger.slow.set()
        await up.until(bytes=words * 5)
        assert up.came.startswith(b"POST /v1/messages HTTP/1.1\r\n")
        assert b"Transfer-Encoding" not in up.came
        up.writers[0].write(ANSWER)
        assert (await asking)[0] == 200
        # A call before and a call after it, and no more.
        assert (await hive.ledger.settlement()).outcome is RequestOutcome.DONE
        assert (len(hive.ledger.reserved), hive.ledger.tries) == (1, 1)


async def test_a_refused_request_sends_nothing(tmp_path: Path) -> None:
    async with wire() as up, stage(tmp_path, upstream=f"http://127.0.0.1:{up.port}") as hive:
        hive.ledger.refuse = [BudgetExhausted("the budget is used up") for _ in range(3)]
        for _ in range(3):
            status, text = await begin(hive)
            assert status == 402
            assert "the budget is used up" in text
        # Only the first one was prepared: an agent without a budget opens no connections.
        await up.until(closed=1)
        assert (up.connections, up.came) == (1, b"")
        assert hive.ledger.settled == {}
        asking = begin(hive)
        await up.until(connections=2)
        up.writers[1].write(ANSWER)
        assert (await asking)[0] == 200


async def test_a_client_that_goes_before_the_reservation_costs_nothing(tmp_path: Path) -> None:
    async with wire() as up, stage(tmp_path, upstream=f"http://127.0.0.1:{up.port}") as hive:
        hive.ledger.slow = asyncio.Event()
        asking = begin(hive)
        await up.until(connections=1)
        await hive.ledger.until_true(lambda: hive.ledger.reserved)
        asking.cancel()
        await up.until(closed=1)
        hive.ledger.slow.set()
        usage = await hive.ledger.settlement()
        assert (usage.outcome, usage.sent) == (RequestOutcome.REFUSED, 0)
        assert up.came == b""


async def test_a_ledger_that_is_killed_while_a_request_is_prepared(tmp_path: Path) -> None:
    async with wire() as up, stage(tmp_path, upstream=f"http://127.0.0.1:{up.port}") as hive:
        hive.ledger.refuse = [Unavailable("it was killed")]
        asking = begin(hive)
        await hive.ledger.until_true(lambda: hive.ledger.asked_in_vain)
        await up.until(closed=1)
        assert up.came == b""
        hive.ledger.come_back()
        await up.until(connections=2, bytes=1)
        up.writers[1].write(ANSWER)
        assert (await asking)[0] == 200
        [wanted] = hive.ledger.reserved.values()
        assert wanted.key == hive.ledger.asked_in_vain[0].key
