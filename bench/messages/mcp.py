"""Agents as clients of their sockets, with raw MCP lines: the bench does not measure clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bench.messages.measure import Pair, opened

WAIT = 180
"""Seconds that a recv waits; the most that the endpoint accepts."""


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

    async def tool(self, name: str, **arguments: object) -> dict[str, Any]:
        """Call a tool; return its result."""
        result = await self._ask("tools/call", {"name": name, "arguments": arguments})
        if result.get("isError"):
            raise RuntimeError(f"{name}: {result['content'][0]['text']}")
        content: dict[str, Any] = result["structuredContent"]
        return content

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._calls += 1
        request = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}
        self._writer.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self._reader.readline())
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result


class Sender:
    """An agent that sends to one other."""

    def __init__(self, client: Client, to: str) -> None:
        self._client = client
        self._to = to

    async def send(self, body: str) -> None:
        """See measure.Sender."""
        await self._client.tool("send", to=self._to, body=body)


class Receiver:
    """An agent that waits for messages."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def receive(self) -> None:
        """See measure.Receiver."""
        while not (await self._client.tool("recv", wait_seconds=WAIT))["messages"]:
            pass

    async def finish(self) -> None:
        """See measure.Receiver."""
        while (await self._client.tool("recv", wait_seconds=0))["messages"]:
            pass


@asynccontextmanager
async def pairs(agents: Sequence[str]) -> AsyncIterator[list[Pair]]:
    """Pair the agents: the first of two sends, the second receives."""
    clients = {agent: await Client.connect(agent) for agent in agents}
    made = []
    for sender, receiver in zip(agents[::2], agents[1::2], strict=True):
        waiting = Receiver(clients[receiver])
        await waiting.finish()  # What an earlier run may have left.
        made.append(Pair(Sender(clients[sender], receiver), waiting))
    try:
        yield made
    finally:
        for client in clients.values():
            client.close()
