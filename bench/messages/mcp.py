"""Agents as clients of their sockets, with raw MCP lines: the bench does not measure clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from bench.messages.measure import Pair, opened
from services.endpoint.jsonvalues import JsonObject

WAIT: Final = 180
"""Seconds that a recv waits; the most that the endpoint accepts."""
MAX: Final = 8
"""The most messages of one recv."""


class Received(NamedTuple):
    """The part of a message from `recv` that the benches look at."""

    id: int
    redeliveries: int
    body: str


class Client:
    """One connection to the socket of an agent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._calls = 0

    @classmethod
    async def connect(cls, agent: str) -> "Client":
        """Connect and shake hands; the first connection starts the endpoint."""
        path = f"/run/hyperhive/agents/{agent}/mcp.sock"
        client = cls(*await opened(asyncio.open_unix_connection(path, limit=4 * 2**20)))
        await client._ask("initialize", {"protocolVersion": "2025-06-18"})
        return client

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def tool(self, name: str, arguments: JsonObject) -> JsonObject:
        """Call a tool; return its result."""
        result = await self._ask("tools/call", {"name": name, "arguments": arguments})
        if result.get("isError"):
            raise RuntimeError(f"{name}: {result['content'][0]['text']}")
        content: JsonObject = result["structuredContent"]
        return content

    async def receive(self, maximum: int, seconds: float) -> list[Received]:
        """Acknowledge what the last call returned, and wait for messages."""
        answer = await self.tool("recv", {"max": maximum, "wait_seconds": seconds})
        return [
            Received(message["id"], message["redeliveries"], message["body"])
            for message in answer["messages"]
        ]

    async def _ask(self, method: str, params: JsonObject) -> JsonObject:
        self._calls += 1
        request = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}
        self._writer.write(json.dumps(request).encode() + b"\n")
        answer: JsonObject = json.loads(await self._reader.readline())
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: JsonObject = answer["result"]
        return result


class Sender:
    """An agent that sends to one other."""

    def __init__(self, client: Client, to: str) -> None:
        self._client = client
        self._to = to

    async def send(self, body: str) -> None:
        """See measure.Sender."""
        await self._client.tool("send", {"to": self._to, "body": body})


class Receiver:
    """An agent that waits for messages."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def receive(self) -> None:
        """See measure.Receiver."""
        while not await self._client.receive(MAX, WAIT):
            pass

    async def finish(self) -> None:
        """See measure.Receiver."""
        while await self._client.receive(MAX, 0):
            pass


@asynccontextmanager
async def pairs(agents: Sequence[str]) -> AsyncIterator[list[Pair]]:
    """Pair the agents: the first of two sends, the second receives."""
    clients = {agent: await Client.connect(agent) for agent in agents}
    made = []
    for sender, receiver in zip(agents[::2], agents[1::2], strict=True):
        waiting = Receiver(clients[receiver])
        await waiting.finish()  # Messages that an earlier run may have left.
        made.append(Pair(Sender(clients[sender], receiver), waiting))
    try:
        yield made
    finally:
        for client in clients.values():
            client.close()
