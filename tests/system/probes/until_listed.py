"""Wait until a list of an agent's network has, or no more has, an address.

Runs inside the sandbox, as root: `python until_listed.py AGENT LIST ADDRESS 1|0`. LIST is `deny`,
`allow` or `name_servers`. Prints the list as JSON.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus


async def main(agent: str, key: str, address: str, wanted: bool) -> None:
    bus = await Bus.connect()
    asked = (names.LIFECYCLE, names.agent_path(agent), names.PROPERTIES, "Get", "ss")
    async with asyncio.timeout(150), bus.subscribe(sender=names.LIFECYCLE) as signals:
        while True:
            network = await bus.call1(*asked, names.AGENT_INTERFACE, "Network")
            listed = network[key]
            if (address in listed) is wanted:
                break
            await anext(signals)
    print(json.dumps(listed))
    await bus.close()


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "1"))
