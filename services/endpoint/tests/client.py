"""A raw client of the agent's socket."""

import asyncio
import json
from typing import Any

LIMIT = 30.0
"""Seconds until a test that waits fails."""


class Client:
    """A client that sends and receives lines of JSON-RPC, without checks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.next_id = 0

    async def send(self, data: bytes | dict[str, Any]) -> None:
        if isinstance(data, dict):
            data = json.dumps(data).encode() + b"\n"
        self.writer.write(data)
        async with asyncio.timeout(LIMIT):
            await self.writer.drain()

    async def line(self) -> Any:
        """Return the next answer, or None at the end."""
        async with asyncio.timeout(LIMIT):
            line = await self.reader.readline()
        return json.loads(line) if line else None

    async def post(self, method: str, params: dict[str, Any] | None = None) -> int:
        self.next_id += 1
        await self.send(
            {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params or {}}
        )
        return self.next_id

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> Any:
        id = await self.post(method, params)
        answer = await self.line()
        assert answer is not None, "the connection was closed"
        assert answer["id"] == id
        return answer.get("result") or answer["error"] if "error" in answer else answer["result"]

    async def initialize(self, client: str = "test") -> "Client":
        await self.ask(
            "initialize", {"protocolVersion": "2025-11-25", "clientInfo": {"name": client}}
        )
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return self

    async def call(self, tool: str, /, **arguments: Any) -> Any:
        return await self.ask("tools/call", {"name": tool, "arguments": arguments})

    async def start(self, tool: str, /, **arguments: Any) -> int:
        return await self.post("tools/call", {"name": tool, "arguments": arguments})

    async def recv(self, **arguments: Any) -> list[int]:
        answer = await self.call("recv", **arguments)
        return [message["id"] for message in answer["structuredContent"]["messages"]]

    async def close(self) -> None:
        self.writer.close()
