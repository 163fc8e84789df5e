"""A broker that can be killed, on the bus that it is told; everybody is the operator."""

import asyncio
import sys

from services.broker.__main__ import build
from services.config import Config
from wire import names
from wire.bus import Bus
from wire.testing import FixedPrincipals


async def main(address: str) -> None:
    bus = await Bus.connect(address, FixedPrincipals())
    await build(bus, Config())
    await bus.own(names.BROKER)
    print("ready", flush=True)
    await bus.disconnected


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
