"""Kill the init of a container, and time how long the manager's inbox takes to have the crash.

Runs inside the sandbox, as root: `python crash_latency.py AGENT`. Prints one JSON object:
milliseconds from the kill to the broker's MessageQueued signal, and the message.
"""

import asyncio
import json
import os
import signal
import sys
import time

from wire import names
from wire.bus import Bus


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
    async with bus.subscribe(
        interface=names.BROKER, member="MessageQueued", arg0=names.MANAGER
    ) as queued:
        started = time.monotonic()
        os.kill(leader, signal.SIGKILL)
        async with asyncio.timeout(30):
            async for event in queued:
                _to, number, _sender, kind = event.args
                if kind == "container-crash":
                    break
        elapsed = time.monotonic() - started
    messages = await bus.call1(
        names.BROKER,
        names.BROKER_PATH,
        names.BROKER,
        "ListMessages",
        "a{sv}u",
        {"to": names.MANAGER, "kind": "container-crash"},
        1,
    )
    assert messages[-1][0] == number
    print(json.dumps({"ms": round(elapsed * 1000, 1), "body": messages[-1][4]}))
    await bus.close()


asyncio.run(main(sys.argv[1]))
