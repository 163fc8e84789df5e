"""Wait until the filter of an agent's container has, or no more has, an entry for an address.

Runs inside the sandbox, as root: `python until_denied.py AGENT ADDRESS 1|0`. Prints the denied
networks as JSON.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus


async def main(agent: str, address: str, wanted: bool) -> None:
    bus = await Bus.connect()
    asked = (names.LIFECYCLE, names.agent_path(agent), names.PROPERTIES, "Get", "ss")
    async with asyncio.timeout(150), bus.subscribe(sender=names.LIFECYCLE) as signals:
        while True:
            network = await bus.call1(*asked, names.AGENT_INTERFACE, "Network")
            denied = network["deny"]
            if (address in denied) is wanted:
                break
            await anext(signals)
    print(json.dumps(denied))
    await bus.close()


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "1"))
