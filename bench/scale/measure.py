"""The rules of the broker on two stores, in turn, so that a disturbance affects both."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final

from bench.scale.fill import COMMON
from services.broker.__main__ import compose
from services.broker.deadlines.clock import HostClock
from services.broker.messages.inbox import Holder
from services.broker.messages.invocations import Invocations
from services.broker.storage.database import Database
from services.config import BrokerConfig
from wire.principal import THE_MANAGER, THE_OPERATOR, Principal, agent
from wire.records.broker import Thread

PAGE: Final = 100
BODY: Final = "the figures of this week are in the shared folder, have a look " * 4
WARM_UP: Final = 10
LIMITS: Final = BrokerConfig(
    agent_messages_per_hour=10**8, agent_bytes_per_hour=10**11, loop_messages=0
)
WORKER: Final = agent("a07")

Call = Callable[[], Awaitable[object]]


class NoRequests:
    """Approvals without pending requests."""

    async def pending(self, limit: int) -> list[Thread]:
        """See PendingRequests."""
        return []


async def measure(few: Path, many: Path, samples: int) -> dict[str, tuple[float, float]]:
    """Return the median milliseconds of each call on the one store and on the other."""
    async with _calls(few) as short, _calls(many) as long:
        return {what: await _in_turn(short[what], long[what], samples) for what in short}


async def _in_turn(one: Call, other: Call, samples: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM_UP + samples):
        for call, taken in zip((one, other), times, strict=True):
            began = time.perf_counter()
            await call()
            if number >= WARM_UP:
                taken.append((time.perf_counter() - began) * 1000)
    return median(times[0]), median(times[1])


@asynccontextmanager
async def _calls(path: Path) -> AsyncIterator[Mapping[str, Call]]:
    """Return the calls to measure, on the store at `path`."""
    database = Database.open(path)
    parts = compose(database, LIMITS, Invocations(), NoRequests(), HostClock())
    broker, history = parts.broker, parts.history
    await broker.recover()
    holder = Holder("bench", asyncio.get_running_loop().create_future())
    numbers = count()

    async def send() -> None:
        await broker.send(THE_MANAGER, WORKER.name, f"{BODY}{next(numbers)}", {})

    async def receive() -> None:
        messages = await broker.receive(WORKER, holder, 1, 0)
        await broker.acknowledge(WORKER, holder.name, [message.id for message in messages])

    def page(who: Principal, **wanted: str) -> Call:
        return lambda: history.list_messages(who, wanted, PAGE)

    try:
        yield {
            "Send": send,
            "Receive and Acknowledge": receive,
            f"the newest {PAGE} messages": page(THE_OPERATOR),
            f"the newest {PAGE} of an agent": page(THE_OPERATOR, agent=WORKER.name),
            f"the newest {PAGE}, asked by the agent": page(WORKER),
            f"a search that finds {PAGE}": page(THE_OPERATOR, text=COMMON),
            "a search that finds nothing": page(THE_OPERATOR, text="quokka"),
        }
    finally:
        await parts.close()
