"""Kill a service of the hive, and wait until the bus knows that it is gone.

Runs inside the sandbox, as root: `python kill_service.py UNIT NAME`. Prints null as JSON.
"""

import asyncio
import sys

from wire.bus import Bus

DAEMON = "org.freedesktop.DBus"


async def main(unit: str, name: str) -> None:
    bus = await Bus.connect()
    changes = {"sender": DAEMON, "member": "NameOwnerChanged", "arg0": name}
    async with asyncio.timeout(30), bus.subscribe(**changes) as owners:
        kill = ("systemctl", "kill", "--signal=KILL", unit)
        process = await asyncio.create_subprocess_exec(*kill)
        await process.wait()
        async for change in owners:
            _name, before, _after = change.args
            if before:
                break
    print("null")
    await bus.close()


asyncio.run(main(*sys.argv[1:]))
