"""Write to an agent, and wait until its harness has the message.

Runs inside the sandbox, as root: `python deliver.py AGENT TEXT`. Prints one JSON object: its id.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient, message_changes
from wire.records.broker import MessageState, SendOptions


async def main(agent: str, text: str) -> None:
    bus = await Bus.connect()
    async with (
        asyncio.timeout(90),
        bus.subscribe(interface=names.BROKER, member="MessagesChanged") as signals,
    ):
        number = await BrokerClient(bus).send(agent, text, SendOptions())
        async for change in message_changes(signals):
            if change.id == number and change.state is not MessageState.QUEUED:
                break
    print(json.dumps({"id": number}))
    await bus.close()


asyncio.run(main(*sys.argv[1:]))
