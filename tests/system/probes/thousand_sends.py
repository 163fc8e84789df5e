"""A thousand sends to the operator from several connections, the broker killed among them.

Runs inside the sandbox, as root. Prints a JSON object: the bodies of the sends that returned, and
what the operator then received, each with its redelivery count.
"""

import asyncio
import json
import os
import signal
import sys

from wire import names
from wire.bus import Bus

SENDS = 1000
CLIENTS = 8
BROKER = (names.BROKER, names.BROKER_PATH, names.BROKER)


async def main_pid(bus: Bus) -> int:
    pid = await bus.call1(
        "org.freedesktop.DBus",
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "GetConnectionUnixProcessID",
        "s",
        names.BROKER,
    )
    return int(pid)


async def send_all(client: int, returned: list[str], halfway: asyncio.Event) -> None:
    bus = await Bus.connect()
    for number in range(SENDS // CLIENTS):
        body = f"load-{client}-{number}"
        try:
            await bus.call(*BROKER, "Send", "ssa{sv}", names.OPERATOR, body, {})
        except Exception as error:
            print(f"{body}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        returned.append(body)
        if len(returned) >= SENDS // 2:
            halfway.set()
    await bus.close()


async def receive_all(bus: Bus) -> list[list[object]]:
    received: list[list[object]] = []
    while messages := await bus.call1(*BROKER, "Receive", "uu", 50, 0):
        received += [[m[4], m[6]] for m in messages if m[4].startswith("load-")]
        await bus.call(*BROKER, "Acknowledge", "at", [m[0] for m in messages])
    return received


async def main() -> None:
    bus = await Bus.connect()
    returned: list[str] = []
    halfway = asyncio.Event()
    killed = await main_pid(bus)
    async with asyncio.TaskGroup() as clients:
        for client in range(CLIENTS):
            clients.create_task(send_all(client, returned, halfway))
        await halfway.wait()
        os.kill(killed, signal.SIGKILL)
    received = await receive_all(bus)
    survivor = await main_pid(bus)
    print(json.dumps({"returned": returned, "received": received, "restarted": survivor != killed}))
    await bus.close()


asyncio.run(main())
