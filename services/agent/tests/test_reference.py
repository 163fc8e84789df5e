"""The endpoint against the client of the `mcp` package, with every version that one speaks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp.types
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client, ClientSession
from mcp.shared.message import SessionMessage
from mcp.types import version

from services.agent.tests.hive import Hive

LINE = 64 * 1024 * 1024


@asynccontextmanager
async def transport(path: Path) -> AsyncIterator[Any]:
    """Lines over the unix socket, as the package's stdio transport has them over pipes."""
    stream = await anyio.connect_unix(path)
    lines = BufferedByteReceiveStream(stream)
    to_client, incoming = anyio.create_memory_object_stream[Any](0)
    outgoing, from_client = anyio.create_memory_object_stream[Any](0)

    async def read() -> None:
        async with to_client:
            try:
                while True:
                    line = await lines.receive_until(b"\n", LINE)
                    message = mcp.types.jsonrpc_message_adapter.validate_json(line)
                    await to_client.send(SessionMessage(message))
            except (anyio.IncompleteRead, anyio.ClosedResourceError):
                return

    async def write() -> None:
        async with from_client:
            async for item in from_client:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stream.send(text.encode() + b"\n")

    async with anyio.create_task_group() as tasks, stream:
        tasks.start_soon(read)
        tasks.start_soon(write)
        yield incoming, outgoing
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("mode", ["legacy", "auto", *version.MODERN_PROTOCOL_VERSIONS])
async def test_the_client_in_each_of_its_modes(hive: Hive, mode: str) -> None:
    expected = version.LATEST_HANDSHAKE_VERSION if mode == "legacy" else "2026-07-28"
    async with Client(transport(hive.path), mode=mode) as client:
        assert client.protocol_version == expected
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"send", "recv", "list_agents"}
        sent = await client.call_tool("send", {"to": "bob", "body": "hi"})
        assert sent.structured_content == {"id": 1}
        await hive.broker.queue(9)
        got = await client.call_tool("recv", {"wait_seconds": 5})
        assert got.structured_content["messages"][0]["id"] == 9
        wrong = await client.call_tool("send", {"to": "bob"})
        assert wrong.is_error
    await hive.broker.until(lambda: hive.broker.released == [9])


@pytest.mark.parametrize("wanted", version.HANDSHAKE_PROTOCOL_VERSIONS)
async def test_every_version_of_the_handshake(hive: Hive, wanted: str) -> None:
    async with (
        transport(hive.path) as (incoming, outgoing),
        ClientSession(incoming, outgoing) as session,
    ):
        request = mcp.types.InitializeRequest(
            params=mcp.types.InitializeRequestParams(
                protocol_version=wanted,
                capabilities=mcp.types.ClientCapabilities(),
                client_info=mcp.types.Implementation(name="hyperhive-harness", version="1"),
            )
        )
        result = await session.send_request(request, mcp.types.InitializeResult)
        assert result.protocol_version == wanted
        session.adopt(result)
        await session.send_notification(mcp.types.InitializedNotification())
        tools = {tool.name for tool in (await session.list_tools()).tools}
        assert tools == {"recv", "ack", "release", "report"}
        answer = await session.call_tool("report", {"turn_state": "idle"})
        assert not getattr(answer, "is_error", True)
    assert hive.agents["alice"].reports.get_nowait() == {"turn_state": "idle"}
