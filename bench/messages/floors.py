"""Floors of a hand-over: a bare call over a bus, and a bare commit to a disk."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.messages.measure import BODY, WARM_UP
from wire.bus import Bus
from wire.interface import Interface, method
from wire.principal import EVERYBODY
from wire.testing import FixedPrincipals, private_bus
from wire.types import Str

NAME: Final = "org.hyperhive.Bench1"
PATH: Final = "/org/hyperhive/Bench1"


class Echo(Interface, name=NAME):
    """An interface that returns its argument, with dbus-next on both sides as in the hive."""

    @method(allow=EVERYBODY)
    async def Echo(  # noqa: N802 - a member of the bus
        self, text: Str
    ) -> Str:
        """Return the same text."""
        return text


async def serve(address: str) -> None:
    """Serve the bare call until the bus goes away."""
    bus = await Bus.connect(address, FixedPrincipals())
    bus.export(PATH, Echo())
    await bus.own(NAME)
    print("ready", flush=True)
    await bus.disconnected


@asynccontextmanager
async def echo() -> AsyncIterator[Bus]:
    """Run a bus daemon, an echo in a process of its own, and a connection to call it."""
    # It complains that the sandbox lets it have no more descriptors, which it does not need.
    async with private_bus(stderr=asyncio.subprocess.DEVNULL) as address:
        command = [sys.executable, "-m", "bench.messages.floors", address]
        pipe = asyncio.subprocess.PIPE
        server = await asyncio.create_subprocess_exec(*command, stdout=pipe)
        assert server.stdout is not None
        await server.stdout.readline()
        bus = await Bus.connect(address)
        try:
            yield bus
        finally:
            await bus.close()
            server.terminate()
            await server.communicate()


async def call(bus: Bus) -> None:
    """Make one bare call."""
    await bus.call(NAME, PATH, NAME, "Echo", "s", BODY)


async def round_trips(bus: Bus, samples: int) -> list[float]:
    """Return the milliseconds of bare calls, one at a time."""
    took = []
    for _ in range(WARM_UP + samples):
        began = time.perf_counter()
        await call(bus)
        took.append((time.perf_counter() - began) * 1000)
    return took[WARM_UP:]


async def calls_a_second(bus: Bus, in_flight: int, calls: int) -> float:
    """Return the bare calls in a second, `in_flight` at a time."""

    async def some() -> None:
        for _ in range(calls // in_flight):
            await call(bus)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(some())
    return calls // in_flight * in_flight / (time.perf_counter() - began)


def commits(folder: Path, samples: int) -> list[float]:
    """Return the milliseconds of durable commits of one row."""
    db = sqlite3.connect(folder / "floor.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, body TEXT)")
    took = []
    for _ in range(WARM_UP + samples):
        began = time.perf_counter()
        db.execute("INSERT INTO message (body) VALUES (?)", (BODY,))
        took.append((time.perf_counter() - began) * 1000)
    db.close()
    return took[WARM_UP:]


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
