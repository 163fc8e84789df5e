"""The measurement, the same for every broker: a pair hands messages over, one at a time."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

BODY: Final = "x" * 200
"""The text of a message, about as long as agents write."""

PAUSE: Final = 0.005
"""Seconds between two samples, so that the receiver waits again and has to wake."""

WARM_UP: Final = 50


class Sender(Protocol):
    """A sender of messages."""

    async def send(self, body: str) -> None:
        """Send `body`; it is durable when this returns."""


class Receiver(Protocol):
    """A receiver of messages."""

    async def receive(self) -> None:
        """Acknowledge the previous message, and wait for the next."""

    async def finish(self) -> None:
        """Acknowledge the last message; return when that is done."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A sender and the receiver of its messages."""

    sender: Sender
    receiver: Receiver


async def latencies(pair: Pair, samples: int) -> list[float]:
    """Return milliseconds from the sender's first byte until the waiting receiver has it all."""
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
            # The receiver must wait again, and be woken.
            await asyncio.sleep(PAUSE)
            began = time.perf_counter()
            await pair.sender.send(BODY)
            took.append((await arrivals.get() - began) * 1000)
    return took[WARM_UP:]


async def rate(pairs: Sequence[Pair], messages: int) -> float:
    """Return the messages in a second, from the first send to the last acknowledgement.

    Each pair hands over `messages`, all pairs at once. A sender continues when its last message
    is durable and received, so this measures hand-overs and not the filling of a queue.
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
    """Open a connection of a client, with smaller reads than asyncio's costly 256 KiB."""
    reader, writer = await connecting
    writer.transport.max_size = 64 * 1024  # type: ignore[attr-defined]
    return reader, writer


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of all `values` do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
