"""The calls to the ledger alone, without a gateway, beside a bare call on the same bus."""

import asyncio
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from bench.gateway.parts import process
from bench.messages import floors
from wire.bus import Bus
from wire.clients.ledger import LedgerClient
from wire.records.ledger import RequestOutcome, ReserveRequest, Settlement

BETWEEN: Final = 0.05
"""Seconds between two calls of a connection: a call that follows another at once finds all code in
the caches of the processor, and those of an agent do not."""
LASTS: Final = 0.5
"""Seconds from a reservation to its settlement."""


@dataclass
class Calls:
    """The milliseconds of some calls."""

    bare: list[float] = field(default_factory=list)
    reserve: list[float] = field(default_factory=list)
    crowded: list[float] = field(default_factory=list)
    """Reserve, while other gateways reserve and settle, too."""


async def measured(address: str, *, samples: int, gateways: int) -> Calls:
    """Measure the bare call and Reserve in turn, and Reserve of many gateways at once."""
    calls = Calls()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(process("bench.messages.floors", address))
        buses = [await Bus.connect(address) for _ in range(gateways)]
        for bus in buses:
            stack.push_async_callback(bus.close)
        clients = [LedgerClient(bus) for bus in buses]
        for number in range(samples + 3):
            await asyncio.sleep(BETWEEN)  # as an agent does
            began = perf_counter()
            await floors.call(buses[0])
            calls.bare += [1e3 * (perf_counter() - began)] if number >= 3 else []
            await asyncio.sleep(BETWEEN)  # as an agent does
            took, id = await _reserve(clients[0])
            calls.reserve += [took] if number >= 3 else []
            await _settle(clients[0], id)

        async def agent(number: int, client: LedgerClient) -> None:
            await asyncio.sleep(number * LASTS / gateways)  # not in step
            for _ in range(max(3, samples // 10)):
                took, id = await _reserve(client)
                calls.crowded.append(took)
                await asyncio.sleep(LASTS)  # the answer comes
                await _settle(client, id)

        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                group.create_task(agent(number, client))
    return calls


async def _reserve(client: LedgerClient) -> tuple[float, int]:
    wanted = ReserveRequest("default", "claude-opus-4-5", 50_000, 1000, key=uuid.uuid4().hex)
    began = perf_counter()
    id = await client.reserve(wanted)
    return 1e3 * (perf_counter() - began), id


async def _settle(client: LedgerClient, id: int) -> None:
    await client.settle(id, Settlement(RequestOutcome.DONE, status=200, output_tokens=100))
