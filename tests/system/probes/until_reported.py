"""Wait until the harnesses of some agents have reported, by lifecycle's signals.

Runs inside the sandbox, as root: `python until_reported.py AGENT...`. Prints their names as JSON.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus

UNKNOWN = ("no-report", "offline", "harness-away")


async def main(*agents: str) -> None:
    bus = await Bus.connect()
    async with asyncio.timeout(120), bus.subscribe(sender=names.LIFECYCLE) as signals:
        while not await reported(bus) >= {names.agent_path(agent) for agent in agents}:
            await anext(signals)
    print(json.dumps(agents))
    await bus.close()


async def reported(bus: Bus) -> set[str]:
    """Return the paths of the agents whose harness has reported."""
    objects = await bus.call1(
        names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
    )
    agents = {path: shown.get(names.AGENT_INTERFACE) for path, shown in objects.items()}
    return {path for path, agent in agents.items() if agent and agent["TurnState"] not in UNKNOWN}


asyncio.run(main(*sys.argv[1:]))
