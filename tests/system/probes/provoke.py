"""Do something to a container, and wait for the message and the state that follow.

Runs inside the sandbox, as root: `python provoke.py AGENT STATE COMMAND`. Runs COMMAND in a shell,
waits for the message about AGENT's container in the manager's inbox, then until AGENT is in STATE.
Prints one JSON object: the message.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus

LIMIT = 90.0


async def main(agent: str, state: str, command: str) -> None:
    bus = await Bus.connect()
    async with (
        bus.subscribe(interface=names.BROKER, member="MessageQueued", arg0=names.MANAGER) as queued,
        bus.subscribe(
            path=names.agent_path(agent), interface=names.PROPERTIES, member="PropertiesChanged"
        ) as changes,
    ):
        shell = await asyncio.create_subprocess_shell(command)
        async with asyncio.timeout(LIMIT):
            async for event in queued:
                _to, number, _sender, kind = event.args
                if kind == "container-crash":
                    break
            async for event in changes:
                _interface, changed, _invalidated = event.args
                if changed.get("State") == state:
                    break
        await shell.wait()
    broker = (names.BROKER, names.BROKER_PATH, names.BROKER)
    messages = await bus.call1(*broker, "ListMessages", "a{sv}u", {"to": names.MANAGER}, 10)
    [body] = [message[4] for message in messages if message[0] == number]
    print(json.dumps({"body": body}))
    await bus.close()


asyncio.run(main(*sys.argv[1:]))
