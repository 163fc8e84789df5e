"""Wait until an agent is in a state, by lifecycle's signals.

Runs inside the sandbox, as root: `python until_state.py AGENT STATE [PROPERTY]`, the property being
State unless another one is named. Prints the state as JSON.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus


async def main(agent: str, wanted: str, key: str = "State") -> None:
    bus = await Bus.connect()
    async with asyncio.timeout(90), bus.subscribe(sender=names.LIFECYCLE) as signals:
        while await state(bus, agent, key) != wanted:
            await anext(signals)
    print(json.dumps(wanted))
    await bus.close()


async def state(bus: Bus, agent: str, key: str) -> str:
    objects = await bus.call1(
        names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
    )
    shown = objects.get(names.agent_path(agent), {}).get(names.AGENT_INTERFACE, {})
    return str(shown.get(key, ""))


asyncio.run(main(*sys.argv[1:]))
