"""Run a command, and wait until a unit is inactive.

Runs inside the sandbox, as root: `python until_inactive.py UNIT COMMAND...`. Prints one JSON
object: the milliseconds that both took.
"""

import asyncio
import json
import sys
import time

from wire import names
from wire.bus import Bus

SYSTEMD = "org.freedesktop.systemd1"


async def main(unit: str, *command: str) -> None:
    bus = await Bus.connect()
    manager = [SYSTEMD, "/org/freedesktop/systemd1", f"{SYSTEMD}.Manager"]
    await bus.call(*manager, "Subscribe")
    path = await bus.call1(*manager, "LoadUnit", "s", unit)
    async with bus.subscribe(path=path, member="PropertiesChanged") as changes:
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(*command)
        assert await process.wait() == 0
        get = [SYSTEMD, path, names.PROPERTIES, "Get", "ss", f"{SYSTEMD}.Unit", "ActiveState"]
        async with asyncio.timeout(30):
            while await bus.call1(*get) != "inactive":
                await anext(changes)
        print(json.dumps({"ms": round((time.monotonic() - started) * 1000)}))
    await bus.close()


asyncio.run(main(*sys.argv[1:]))
