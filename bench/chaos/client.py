"""A client of the hive, in a process that may be killed: `python -m bench.chaos.client KIND SEED`.

`sender` sends as the operator what its standard input says, again and again under one dedupe key
until it is answered; `reader` receives the operator's messages; `raw` holds messages of alice on
her socket, and sends as her. Each writes down its actions as JSON lines, before and after each:
these lines survive the client.
"""

import asyncio
import json
import os
import random
import sys
import time
import zlib
from collections.abc import Callable, Coroutine
from typing import Final

from bench.messages.mcp import Client
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.errors import HiveError, RemoteError
from wire.records.broker import AskOptions, RemindOptions, SendOptions

AGENT: Final = "alice"
THINKING: Final = 1.0
"""The most seconds that a message is held."""
PAUSE: Final = 0.5
"""Seconds before a failed call is tried again: systemd limits the rate of starts."""

ORDERS: Final[dict[str, dict[str, object]]] = {
    "Send": {"to": "bob"},
    "Ask": {"to": "operator", "options": ["yes", "no"]},
    "Remind": {"after_seconds": 2},
}
TEXTS: Final = {"Send": "body", "Ask": "question", "Remind": "text"}
"""Arguments of alice's tools, and the name of the text in each."""


def note(kind: str, **values: object) -> None:
    """Write one line, in one write, so that only the last line can be incomplete."""
    line = json.dumps({"note": kind, "at": time.time_ns(), **values})
    os.write(1, line.encode() + b"\n")


async def sender(chance: random.Random) -> None:
    """Send what comes in, side by side; now and then repeat what was answered."""
    bus, loop = await Bus.connect(), asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with asyncio.TaskGroup() as sends:
        while line := await lines.readline():
            order = json.loads(line)
            for _ in range(chance.choices((1, 2), (9, 1))[0]):
                sends.create_task(say(bus, order))


async def say(bus: Bus, order: dict[str, str]) -> None:
    """Send, ask or set a reminder, until that has returned an id."""
    what, key, to, body = order["what"], order["key"], order["to"], order["body"]
    broker, brief = BrokerClient(bus), zlib.crc32(key.encode()) % 4 == 0
    while True:
        note("sending", what=what, key=key, body=body)
        try:
            match what:
                case "Send":
                    id = await broker.send(to, body, SendOptions(dedupe_key=key))
                case "Ask":
                    ttl = 1 if brief else 3600
                    asked = AskOptions(choices=["yes", "no"], ttl_s=ttl, dedupe_key=key)
                    id = await broker.ask(to, body, asked)
                case _:
                    after = 1 if brief else 3
                    wanted = RemindOptions(after_s=after, dedupe_key=key)
                    id = await broker.remind(0, body, wanted)
        except (HiveError, RemoteError) as error:
            note("failed", key=key, error=repr(error))
            await asyncio.sleep(PAUSE)
        else:
            note("sent", what=what, key=key, body=body, id=id)
            return


async def reader(chance: random.Random) -> None:
    """Receive, hold, and acknowledge or give back; or hang up while holding."""
    bus = await Bus.connect()
    while True:
        try:
            await read(bus, chance)
        except (HiveError, RemoteError) as error:
            note("failed", error=repr(error))
            await asyncio.sleep(PAUSE)


async def read(bus: Bus, chance: random.Random) -> None:
    broker = BrokerClient(bus)
    messages = await broker.receive(chance.randint(1, 4), 5000)
    for message in messages:
        note("seen", id=message.id, count=message.redeliveries, body=message.body)
    if not messages:
        return
    await asyncio.sleep(chance.uniform(0, THINKING))
    ids, what = [message.id for message in messages], chance.random()
    if what < 0.1:
        await broker.release(ids)
    elif what < 0.15:
        sys.exit(0)
    else:
        note("acknowledging", ids=ids)
        await broker.acknowledge(ids)
        note("acknowledged", ids=ids)


async def raw(chance: random.Random) -> None:
    """Hold alice's messages, side by side with her harness, on a connection of its own."""
    client = await Client.connect(AGENT)
    for number in range(chance.randint(3, 30)):
        answer = await client.tool("recv", max=chance.randint(1, 2), wait_seconds=5)
        for message in answer["messages"]:
            id, count = message["id"], message["redeliveries"]
            note("seen", id=id, count=count, body=message["body"])
        await asyncio.sleep(chance.uniform(0, THINKING))
        what = chance.choices(("Send", "Ask", "Remind", ""), (1, 1, 1, 7))[0]
        if what:
            key = f"chaos {os.getpid()} {time.time_ns()} {number}"
            note("sending", what=what, key=key, body=key)
            answer = await client.tool(what.lower(), **ORDERS[what], **{TEXTS[what]: key})
            note("sent", what=what, key=key, body=key, id=next(iter(answer.values())))


KINDS: Final[dict[str, Callable[[random.Random], Coroutine[object, None, None]]]] = {
    "sender": sender,
    "reader": reader,
    "raw": raw,
}

if __name__ == "__main__":
    try:
        asyncio.run(KINDS[sys.argv[1]](random.Random(sys.argv[2])))
    except (OSError, ValueError, RuntimeError) as error:  # the connection is gone
        note("gone", error=repr(error))
