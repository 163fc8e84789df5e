"""What is measured, the same way for every broker: a pair hands messages over, one at a time."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

BODY: Final = "x" * 200
"""About what agents tell each other."""

PAUSE: Final = 0.005
"""Seconds between two samples, so that the receiver waits again: a wake is what is measured."""

WARM_UP: Final = 50


class Sender(Protocol):
    """One who sends."""

    async def send(self, body: str) -> None:
        """Hand `body` over; it is durable when this returns."""


class Receiver(Protocol):
    """One who receives."""

    async def receive(self) -> None:
        """Acknowledge what came before, and wait for the next."""

    async def finish(self) -> None:
        """Acknowledge what came last; returns when that is done."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A sender, and who gets what it sends."""

    sender: Sender
    receiver: Receiver


async def latencies(pair: Pair, samples: int) -> list[float]:
    """Milliseconds from the sender's first byte until the waiting receiver has the message."""
    arrivals: asyncio.Queue[float] = asyncio.Queue()

    async def listen() -> None:
        for _ in range(WARM_UP + samples):
            await pair.receiver.receive()
            arrivals.put_nowait(time.perf_counter())
        await pair.receiver.finish()

    took = []
    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        for _ in range(WARM_UP + samples):
            await asyncio.sleep(PAUSE)
            began = time.perf_counter()
            await pair.sender.send(BODY)
            took.append((await arrivals.get() - began) * 1000)
    return took[WARM_UP:]


async def rate(pairs: Sequence[Pair], messages: int) -> float:
    """Messages in a second, from the first send to the last acknowledgement.

    Each pair hands over `messages`, all pairs at once. A sender goes on when its last message is
    durable and received, so what is measured is hand-overs and not the filling of a queue.
    """
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for pair in pairs:
            group.create_task(_hand_over(pair, messages))
    return len(pairs) * messages / (time.perf_counter() - began)


async def _hand_over(pair: Pair, messages: int) -> None:
    arrived = asyncio.Semaphore(0)

    async def listen() -> None:
        for _ in range(messages):
            await pair.receiver.receive()
            arrived.release()
        await pair.receiver.finish()

    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        for _ in range(messages):
            await pair.sender.send(BODY)
            await arrived.acquire()


async def opened(
    connecting: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of a client, with asyncio's costly 256 KiB a read made smaller."""
    reader, writer = await connecting
    writer.transport.max_size = 64 * 1024  # type: ignore[attr-defined]
    return reader, writer


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all `values` do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
