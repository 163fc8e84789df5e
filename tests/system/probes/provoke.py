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
from wire.clients.broker import BrokerClient, message_changes
from wire.records.broker import MessageFilter

LIMIT = 90.0


async def main(agent: str, state: str, command: str) -> None:
    bus = await Bus.connect()
    async with (
        bus.subscribe(interface=names.BROKER, member="MessagesChanged") as messages,
        bus.subscribe(
            path=names.agent_path(agent), interface=names.PROPERTIES, member="PropertiesChanged"
        ) as changes,
    ):
        shell = await asyncio.create_subprocess_shell(command)
        async with asyncio.timeout(LIMIT):
            async for message in message_changes(messages):
                if (message.recipient, message.kind) == (names.MANAGER, "container-crash"):
                    break
            async for event in changes:
                _interface, changed, _invalidated = event.args
                if changed.get("State") == state:
                    break
        await shell.wait()
    wanted = MessageFilter(after=message.id - 1, before=message.id + 1)
    [crash] = await BrokerClient(bus).list_messages(wanted, 1)
    print(json.dumps({"body": crash.body}))
    await bus.close()


asyncio.run(main(*sys.argv[1:]))
