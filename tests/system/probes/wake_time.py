"""Write to an agent the moment it is in a state, and time until its harness has the message.

Runs inside the sandbox, as root: `python wake_time.py AGENT STATE MEMBER`, MEMBER being `Send` or
`Ask`. Prints one JSON object: milliseconds from the call until the broker says that the
message is leased.
"""

import asyncio
import json
import sys
import time

from wire import names
from wire.bus import Bus
from wire.clients.broker import message_changes
from wire.records.broker import MessageState


async def main(agent: str, wanted: str, member: str) -> None:
    bus = await Bus.connect()
    path = names.agent_path(agent)
    async with (
        asyncio.timeout(120),
        bus.subscribe(sender=names.LIFECYCLE, path=path) as changes,
        bus.subscribe(interface=names.BROKER, member="MessagesChanged") as signals,
    ):
        while await state(bus, path) != wanted:
            await anext(changes)
        began = time.monotonic()
        await bus.call(
            names.BROKER,
            names.BROKER_PATH,
            names.BROKER,
            member,
            "ssa{sv}",
            agent,
            "are you up?",
            {},
        )
        async for message in message_changes(signals):
            if message.recipient == agent and message.state is not MessageState.QUEUED:
                break
        elapsed = time.monotonic() - began
    print(json.dumps({"ms": round(elapsed * 1000, 1)}))
    await bus.close()


async def state(bus: Bus, path: str) -> str:
    value = await bus.call1(
        names.LIFECYCLE, path, names.PROPERTIES, "Get", "ss", names.AGENT_INTERFACE, "State"
    )
    return str(value)


asyncio.run(main(*sys.argv[1:]))
