"""Stop an agent whose container has just begun to start.

Runs inside the sandbox, as root: `python stop_while_starting.py AGENT`, which is stopped. Prints
one JSON object: the milliseconds from the order to the end of lifecycle's job.
"""

import asyncio
import json
import sys
import time

from wire import names
from wire.bus import Bus

SYSTEMD = "org.freedesktop.systemd1"


async def main(agent: str) -> None:
    bus = await Bus.connect()
    unit = f"systemd-nspawn@{names.machine_name(agent)}.service"
    manager = [SYSTEMD, "/org/freedesktop/systemd1", f"{SYSTEMD}.Manager"]
    machined = "org.freedesktop.machine1.Manager"
    async with (
        bus.subscribe(interface=machined, member="MachineNew") as born,
        bus.subscribe(interface=names.LIFECYCLE, member="JobRemoved") as removed,
        asyncio.timeout(60),
    ):
        await bus.call(*manager, "StartUnit", "ss", unit, "replace")
        await anext(born)
        started = time.monotonic()
        job = await bus.call1(
            names.LIFECYCLE, names.agent_path(agent), names.AGENT_INTERFACE, "Stop"
        )
        async for ended in removed:
            if ended.args[1] == job:
                break
        print(json.dumps({"ms": round((time.monotonic() - started) * 1000)}))
    await bus.close()


asyncio.run(main(*sys.argv[1:]))
