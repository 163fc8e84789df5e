"""A client of the hive, in a process that may be killed: `python -m bench.chaos.client KIND SEED`.

`sender` sends as the operator what its standard input says, again and again under one dedupe key
until it is answered; `reader` receives the operator's messages; `raw` holds messages of alice on
her socket, and sends as her. Each writes down its actions as notes, before and after each.
"""

import asyncio
import os
import random
import sys
import time
import zlib
from collections.abc import Callable, Coroutine
from typing import Final

from bench.chaos.notes import Call, Kind, Note, Order
from bench.messages.mcp import Client
from services.endpoint.jsonvalues import JsonObject
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.errors import HiveError, RemoteError
from wire.records.broker import AskOptions, ReleaseOptions, RemindOptions, SendOptions

AGENT: Final = "alice"
THINKING: Final = 1.0
"""The most seconds that a message is held."""
PAUSE: Final = 0.5
"""Seconds before a failed call is tried again: systemd limits the rate of starts."""

ARGUMENTS: Final[dict[Call, JsonObject]] = {
    Call.SEND: {"to": "bob"},
    Call.ASK: {"to": "operator", "options": ["yes", "no"]},
    Call.REMIND: {"after_seconds": 2},
}
TEXTS: Final = {Call.SEND: "body", Call.ASK: "question", Call.REMIND: "text"}
"""Arguments of alice's tools, and the name of the text in each."""


def write(note: Note) -> None:
    """Write one line, in one write, so that only the last line can be incomplete."""
    os.write(1, note.line())


def now() -> int:
    """Return the time in ns."""
    return time.time_ns()


async def sender(chance: random.Random) -> None:
    """Send what comes in, side by side; now and then repeat what was answered."""
    bus, loop = await Bus.connect(), asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with asyncio.TaskGroup() as sends:
        while line := await lines.readline():
            order = Order.read(line)
            for _ in range(chance.choices((1, 2), (9, 1))[0]):
                sends.create_task(say(bus, order))


async def say(bus: Bus, order: Order) -> None:
    """Send, ask or set a reminder, until that has returned an id."""
    call, key, body = order.call, order.key, order.body
    broker, brief = BrokerClient(bus), zlib.crc32(key.encode()) % 4 == 0
    while True:
        write(Note(Kind.SENDING, now(), call=call, key=key, body=body))
        try:
            match call:
                case Call.SEND:
                    id = await broker.send(order.to, body, SendOptions(dedupe_key=key))
                case Call.ASK:
                    ttl = 1 if brief else 3600
                    asked = AskOptions(choices=["yes", "no"], ttl_s=ttl, dedupe_key=key)
                    id = await broker.ask(order.to, body, asked)
                case Call.REMIND:
                    after = 1 if brief else 3
                    wanted = RemindOptions(after_s=after, dedupe_key=key)
                    id = await broker.remind(0, body, wanted)
        except (HiveError, RemoteError) as error:
            write(Note(Kind.FAILED, now(), key=key, error=repr(error)))
            # A call that fails at once, because a service is down, would fail again at once.
            await asyncio.sleep(PAUSE)
        else:
            write(Note(Kind.SENT, now(), [id], call=call, key=key, body=body))
            return


async def reader(chance: random.Random) -> None:
    """Receive, hold, and acknowledge or give back; or hang up while holding."""
    bus = await Bus.connect()
    while True:
        try:
            await read(bus, chance)
        except (HiveError, RemoteError) as error:
            write(Note(Kind.FAILED, now(), error=repr(error)))
            # A call that fails at once, because a service is down, would fail again at once.
            await asyncio.sleep(PAUSE)


async def read(bus: Bus, chance: random.Random) -> None:
    broker = BrokerClient(bus)
    messages = await broker.receive(chance.randint(1, 4), 5000)
    for message in messages:
        seen = Note(Kind.SEEN, now(), [message.id], count=message.redeliveries, body=message.body)
        write(seen)
    if not messages:
        return
    # An agent holds a message while it thinks.
    await asyncio.sleep(chance.uniform(0, THINKING))
    ids, end = [message.id for message in messages], chance.random()
    if end < 0.1:
        write(Note(Kind.RELEASING, now(), ids))
        await broker.release(ids, ReleaseOptions())
    elif end < 0.15:
        write(Note(Kind.LEAVING, now(), ids))
        sys.exit(0)
    else:
        write(Note(Kind.ACKNOWLEDGING, now(), ids))
        await broker.acknowledge(ids)
        write(Note(Kind.ACKNOWLEDGED, now(), ids))


async def raw(chance: random.Random) -> None:
    """Hold alice's messages, side by side with her harness, on a connection of its own."""
    client = await Client.connect(AGENT)
    held: list[int] = []
    for number in range(chance.randint(3, 30)):
        received = await client.receive(chance.randint(1, 2), 5)
        held = [message.id for message in received]
        for message in received:
            seen = Note(Kind.SEEN, now(), [message.id], message.redeliveries, body=message.body)
            write(seen)
        # An agent holds a message while it thinks.
        await asyncio.sleep(chance.uniform(0, THINKING))
        [call] = chance.choices((*Call, None), (1, 1, 1, 7))
        if call is not None:
            key = f"chaos {os.getpid()} {time.time_ns()} {number}"
            write(Note(Kind.SENDING, now(), call=call, key=key, body=key))
            arguments: JsonObject = {**ARGUMENTS[call], TEXTS[call]: key}
            answer = await client.tool(call.lower(), arguments)
            [id] = answer.values()
            assert isinstance(id, int)
            write(Note(Kind.SENT, now(), [id], call=call, key=key, body=key))
    write(Note(Kind.LEAVING, now(), held))


KINDS: Final[dict[str, Callable[[random.Random], Coroutine[object, None, None]]]] = {
    "sender": sender,
    "reader": reader,
    "raw": raw,
}

if __name__ == "__main__":
    try:
        asyncio.run(KINDS[sys.argv[1]](random.Random(sys.argv[2])))
    except (OSError, ValueError, RuntimeError) as error:  # the connection is gone
        write(Note(Kind.GONE, now(), error=repr(error)))
