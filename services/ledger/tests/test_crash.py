"""The ledger's process is killed under load: each request is counted, and counted once."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from services.config import LedgerConfig
from services.ledger.tests.conftest import Room
from wire.clients.ledger import LedgerClient
from wire.errors import Stopping, Timeout, Unavailable
from wire.fixtures import Connect
from wire.records.ledger import RequestOutcome, ReserveRequest, Settlement

ROOT = Path(__file__).parents[3]
STREAMS, EACH = 6, 40
KILLS_AT = (40, 120, 200)  # requests that have ended

T = TypeVar("T")


class Ledgers:
    """Processes of the ledger, one after the other, on the same store."""

    def __init__(self, address: str, state: Path) -> None:
        self._address = address
        self._state = state
        self._process: Process | None = None
        self.up = asyncio.Event()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.ledger.tests.child",
            self._address,
            cwd=ROOT,
            env=os.environ | {"STATE_DIRECTORY": str(self._state)},
            stdout=PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            assert await self._process.stdout.readline() == b"ready\n"
        self.up.set()

    async def kill(self) -> None:
        assert self._process is not None
        self.up.clear()
        self._process.send_signal(signal.SIGKILL)
        await self._process.communicate()

    async def repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until an answer comes, as a gateway does."""
        while True:
            await self.up.wait()
            try:
                return await call()
            except (Unavailable, Stopping, Timeout):
                continue


async def test_kills_under_load(bus_address: str, connect: Connect, tmp_path: Path) -> None:
    ledgers = Ledgers(bus_address, tmp_path)
    await ledgers.start()
    client = LedgerClient(await connect())
    used: dict[int, int] = {}
    ended = asyncio.Condition()

    async def stream(number: int) -> None:
        for turn in range(EACH):
            wanted = ReserveRequest("default", "claude-opus-4-5", 10, 1000, key=f"{number}-{turn}")
            request = await ledgers.repeat(lambda wanted=wanted: client.reserve(wanted))  # type: ignore[misc]
            tokens = random.randrange(1000)
            usage = Settlement(RequestOutcome.DONE, output_tokens=tokens)
            settle = lambda request=request, usage=usage: client.settle(request, usage)  # noqa: E731
            await ledgers.repeat(settle)
            async with ended:
                assert request not in used, "two requests had the same id"
                used[request] = tokens
                ended.notify_all()

    streams = [asyncio.create_task(stream(number)) for number in range(STREAMS)]
    for count in KILLS_AT:
        async with asyncio.timeout(60), ended:
            await ended.wait_for(lambda count=count: len(used) >= count)  # type: ignore[misc]
        await ledgers.kill()
        await ledgers.start()
    async with asyncio.timeout(60):
        await asyncio.gather(*streams)
    await ledgers.kill()

    room = Room(tmp_path / "ledger.sqlite", LedgerConfig())
    try:
        found = {one.id: one.output_tokens for one in await room.usage()}
        assert found == used
        for kind, name in (("agent", "alice"), ("hive", "hive"), ("credential", "default")):
            budget = room.budget(kind, name, "total")
            assert budget.spent_tokens == sum(used.values())
            assert budget.spent == 25 * sum(used.values())
            assert budget.reserved == 0
    finally:
        room.close()
