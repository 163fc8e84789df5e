"""Wait until a request to approvals is in a state from which it goes no further, by its signals.

Runs inside the sandbox, as root: `python until_request.py ID`. Prints the state as JSON.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus

OPEN = ("pending", "approved", "building")


async def main(number: int) -> None:
    bus = await Bus.connect()
    async with asyncio.timeout(150), bus.subscribe(sender=names.APPROVALS) as signals:
        while (state := await state_of(bus, number)) in OPEN:
            await anext(signals)
    print(json.dumps(state))
    await bus.close()


async def state_of(bus: Bus, number: int) -> str:
    rows = await bus.call1(
        names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, "List", "a{sv}", {}
    )
    return next(str(row[7]) for row in rows if row[0] == number)


asyncio.run(main(int(sys.argv[1])))
