"""Time a spawn from the order to the harness's READY.

Runs inside the sandbox, as root: `python spawn_time.py AGENT`. Prints one JSON object: milliseconds
from the call of Spawn to the signal that its job is done, and the job's result.
"""

import asyncio
import json
import sys
import time

from wire import names
from wire.bus import Bus

LIFECYCLE = (names.LIFECYCLE, names.LIFECYCLE_PATH, names.LIFECYCLE)


async def main(agent: str) -> None:
    bus = await Bus.connect()
    async with bus.subscribe(interface=names.LIFECYCLE, member="JobRemoved") as removed:
        started = time.monotonic()
        job = await bus.call1(*LIFECYCLE, "Spawn", "sa{sv}", agent, {})
        async with asyncio.timeout(60):
            async for event in removed:
                _number, path, _agent, _verb, result, error = event.args
                if path == job:
                    break
        elapsed = time.monotonic() - started
    print(json.dumps({"ms": round(elapsed * 1000), "result": result, "error": error}))
    await bus.close()


asyncio.run(main(sys.argv[1]))
