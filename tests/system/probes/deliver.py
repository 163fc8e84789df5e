"""Write to an agent, and wait until its harness has the message.

Runs inside the sandbox, as root: `python deliver.py AGENT TEXT`. Prints one JSON object: its id.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus


async def main(agent: str, text: str) -> None:
    bus = await Bus.connect()
    broker = (names.BROKER, names.BROKER_PATH, names.BROKER)
    async with (
        asyncio.timeout(90),
        bus.subscribe(interface=names.BROKER, member="MessageDelivered", arg0=agent) as delivered,
    ):
        number = await bus.call1(*broker, "Send", "ssa{sv}", agent, text, {})
        async for event in delivered:
            if event.args[1] == number:
                break
    print(json.dumps({"id": number}))
    await bus.close()


asyncio.run(main(*sys.argv[1:]))
