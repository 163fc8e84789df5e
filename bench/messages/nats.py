"""NATS JetStream, doing the same: one stream in files, and a pull consumer for each receiver."""

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.messages.measure import Pair, opened
from bench.messages.server import running
from services.endpoint.jsonvalues import JsonObject

HOST: Final = "127.0.0.1"
_STREAM: Final = "hive"
_NEXT: Final = json.dumps({"batch": 1, "expires": 180 * 10**9})


class Client:
    """One connection, with the part of the protocol that is needed here."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, inbox: str) -> "Client":
        """Connect; answers come to the subject `inbox`, which no other connection uses."""
        client = cls(*await opened(asyncio.open_connection(HOST, port)))
        await client._reader.readline()
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        client._writer.write(f"CONNECT {json.dumps(options)}\r\nSUB {inbox} 1\r\n".encode())
        client.inbox = inbox
        return client

    inbox: str

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    def publish(self, subject: str, payload: str) -> None:
        """Send, with our inbox as the subject for an answer."""
        data = payload.encode()
        self._writer.write(b"PUB %s %s %d\r\n%s\r\n" % (
            subject.encode(), self.inbox.encode(), len(data), data))  # fmt: skip

    async def next(self) -> tuple[str, bytes]:
        """Return the next message to our inbox: its reply subject, and its payload."""
        while True:
            line = (await self._reader.readline()).split()
            match line[:1]:
                case [b"MSG" | b"HMSG" as kind]:
                    size = int(line[-1])
                    headers = int(line[-2]) if kind == b"HMSG" else 0
                    payload = (await self._reader.readexactly(size + 2))[:-2]
                    reply = line[3].decode() if len(line) > (4 if kind == b"MSG" else 5) else ""
                    if headers and size == headers:
                        raise RuntimeError(f"NATS: {payload.decode()}")
                    return reply, payload[headers:]
                case [b"PING"]:
                    self._writer.write(b"PONG\r\n")
                case [b"-ERR"] | []:
                    raise RuntimeError(f"NATS: {b' '.join(line).decode() or 'hung up'}")

    async def ask(self, subject: str, payload: str) -> JsonObject:
        """Call JetStream's interface."""
        self.publish(subject, payload)
        answer: JsonObject = json.loads((await self.next())[1])
        if "error" in answer:
            raise RuntimeError(f"NATS: {answer['error']}")
        return answer


class Sender:
    """Publishes to one subject; the stream answers when it has stored the message."""

    def __init__(self, client: Client, subject: str) -> None:
        self._client = client
        self._subject = subject

    async def send(self, body: str) -> None:
        """See measure.Sender."""
        await self._client.ask(self._subject, body)


class Receiver:
    """A pull consumer; `+NXT` acknowledges and requests the next message in one."""

    def __init__(self, client: Client, consumer: str) -> None:
        self._client = client
        self._consumer = consumer
        self._held = ""

    async def receive(self) -> None:
        """See measure.Receiver."""
        if self._held:
            self._client.publish(self._held, f"+NXT {_NEXT}")
        else:
            self._client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{_STREAM}.{self._consumer}", _NEXT)
        self._held, _ = await self._client.next()

    async def finish(self) -> None:
        """See measure.Receiver. The server confirms an acknowledgement that names an inbox."""
        if self._held:
            self._client.publish(self._held, "+ACK")
            await self._client.next()
            self._held = ""


def synced(folder: Path) -> bool:
    """Return whether this server can sync each message; before 2.10 it syncs every two minutes."""
    config = _config(folder, sync=True)
    done = subprocess.run(["nats-server", "-t", "-c", config], capture_output=True, check=False)
    return done.returncode == 0


def _free_port() -> int:
    """Return a port that nobody listens on: sandboxes share the machine's network."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _config(folder: Path, port: int = 0, *, sync: bool) -> str:
    path = folder / "nats.conf"
    always = "sync_interval: always" if sync else ""
    path.write_text(
        f'listen: "{HOST}:{port}"\njetstream {{\n store_dir: "{folder}/nats"\n {always}\n}}\n'
    )
    return str(path)


@asynccontextmanager
async def pairs(folder: Path, number: int) -> AsyncIterator[list[Pair]]:
    """Run a server that keeps its data in `folder`, and `number` pairs on it."""
    port = _free_port()
    config = _config(folder, port, sync=synced(folder))
    async with running("server is ready", "nats-server", "-c", config):
        clients = [await Client.connect(port, f"inbox-{i}") for i in range(2 * number)]
        stream = {"name": _STREAM, "subjects": ["to.*"], "storage": "file",
                  "retention": "workqueue"}  # fmt: skip
        await clients[0].ask(f"$JS.API.STREAM.CREATE.{_STREAM}", json.dumps(stream))
        made = []
        for i in range(number):
            sender, receiver = clients[2 * i : 2 * i + 2]
            consumer = {
                "durable_name": f"r{i}",
                "ack_policy": "explicit",
                "filter_subject": f"to.{i}",
            }
            await receiver.ask(
                f"$JS.API.CONSUMER.DURABLE.CREATE.{_STREAM}.r{i}",
                json.dumps({"stream_name": _STREAM, "config": consumer}),
            )
            made.append(Pair(Sender(sender, f"to.{i}"), Receiver(receiver, f"r{i}")))
        try:
            yield made
        finally:
            for client in clients:
                client.close()
