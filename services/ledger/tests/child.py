"""A ledger to kill, on the bus at a given address; every caller is the gateway of alice."""

import asyncio
import sys

from services.config import Config
from services.ledger.__main__ import build
from wire import names
from wire.bus import Bus
from wire.principal import gateway
from wire.testing import FixedPrincipals


async def main(address: str) -> None:
    bus = await Bus.connect(address, FixedPrincipals(default=gateway("alice")))
    service = await build(bus, Config())
    await bus.own(names.LEDGER)
    await service.start()
    print("ready", flush=True)
    running = asyncio.create_task(service.run())
    await asyncio.wait((running, bus.disconnected), return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
