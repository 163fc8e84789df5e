"""Kill the init of a container, and time how long the manager's inbox takes to have the crash.

Runs inside the sandbox, as root: `python crash_latency.py AGENT`. Prints one JSON object:
milliseconds from the kill to the broker's signal about the message, and the message.
"""

import asyncio
import json
import os
import signal
import sys
import time

from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient, message_changes
from wire.records.broker import MessageFilter


async def main(agent: str) -> None:
    bus = await Bus.connect()
    machine = await bus.call1(
        "org.freedesktop.machine1",
        "/org/freedesktop/machine1",
        "org.freedesktop.machine1.Manager",
        "GetMachine",
        "s",
        names.machine_name(agent),
    )
    leader = await bus.call1(
        "org.freedesktop.machine1",
        machine,
        names.PROPERTIES,
        "Get",
        "ss",
        "org.freedesktop.machine1.Machine",
        "Leader",
    )
    async with bus.subscribe(interface=names.BROKER, member="MessagesChanged") as signals:
        started = time.monotonic()
        os.kill(leader, signal.SIGKILL)
        async with asyncio.timeout(30):
            async for change in message_changes(signals):
                if (change.recipient, change.kind) == (names.MANAGER, "container-crash"):
                    break
        elapsed = time.monotonic() - started
    wanted = MessageFilter(recipient=names.MANAGER, kind="container-crash")
    [message] = await BrokerClient(bus).list_messages(wanted, 1)
    assert message.id == change.id
    print(json.dumps({"ms": round(elapsed * 1000, 1), "body": message.body}))
    await bus.close()


asyncio.run(main(sys.argv[1]))
