"""Listen to the signals of the hive's services, as any user of the host.

Runs inside the sandbox, as the user under test: `python -c SOURCE`. Prints `listening`. When its
standard input ends, it prints the members of all signals that it received as a JSON array.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus

SERVICES = (names.BROKER, names.LIFECYCLE, names.APPROVALS)


async def main() -> None:
    bus = await Bus.connect()
    heard: set[str] = set()
    for service in SERVICES:
        await bus.on_signal(lambda signal: heard.add(signal.member), sender=service)
    print("listening", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    # Signals that were sent before this answer are delivered before it.
    await bus.call1("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId")
    print(json.dumps(sorted(heard)))
    await bus.close()


asyncio.run(main())
