"""Wait until none of some agents is stale, by lifecycle's signals.

Runs inside the sandbox, as root: `python until_current.py AGENT...`. Prints their names as JSON.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus


async def main(*agents: str) -> None:
    bus = await Bus.connect()
    async with asyncio.timeout(90), bus.subscribe(sender=names.LIFECYCLE) as signals:
        while await stale(bus) & {names.agent_path(agent) for agent in agents}:
            await anext(signals)
    print(json.dumps(agents))
    await bus.close()


async def stale(bus: Bus) -> set[str]:
    """Return the paths of the stale agents."""
    objects = await bus.call1(
        names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
    )
    return {
        path
        for path, shown in objects.items()
        if names.AGENT_INTERFACE in shown and shown[names.AGENT_INTERFACE]["Stale"]
    }


asyncio.run(main(*sys.argv[1:]))
