"""A broker to kill, on the bus at a given address; every caller is the operator."""

import asyncio
import sys

from services.broker.__main__ import build
from services.config import Config
from wire import names
from wire.bus import Bus
from wire.testing import FixedPrincipals


async def main(address: str) -> None:
    bus = await Bus.connect(address, FixedPrincipals())
    service = await build(bus, Config())
    await bus.own(names.BROKER)
    print("ready", flush=True)
    running = asyncio.create_task(service.run())
    await asyncio.wait((running, bus.disconnected), return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
