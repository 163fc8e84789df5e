"""The endpoint with the client of the `mcp` package, in every version that the client supports."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
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

from services.endpoint.tests.stage import Hive

LINE = 64 * 1024 * 1024


@asynccontextmanager
async def transport(path: Path) -> AsyncIterator[Any]:
    """Open a transport of lines over the unix socket, like the package's stdio transport."""
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


Call = Callable[[str, dict[str, Any]], Awaitable[Any]]

TALK: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "send": ({"to": "*", "body": "hi"}, {"id": 1}),
    "ask": ({"question": "?", "options": ["a", "b"], "ttl_seconds": 9}, {"question": 1}),
    "answer": ({"id": 1, "answer": ["a", "b"]}, {"question": 1}),
    "remind": ({"text": "x", "at": "2030-01-31T08:00:00Z"}, {"reminder": 3}),
    "cancel": ({"kind": "reminder", "id": 3}, {"cancelled": {"kind": "reminder", "id": 3}}),
    "get_open_threads": ({}, {"counts": {}, "threads": []}),
    "list_agents": ({}, {}),
    "request_egress": ({"host": "a.b", "port": 22, "reason": "x"}, {"allowed": False}),
    "submit_change": (
        {"project": "website", "commit": "0123abc", "title": "More", "replaces": "c3"},
        {"change": "c7"},
    ),
    "update_change": ({"id": "c7", "commit": "0123abc"}, {"change": "c7", "revision": 2}),
    "withdraw_change": ({"id": "c7"}, {"change": "c7", "state": "withdrawn"}),
    "list_changes": ({"project": "website"}, {}),
    "get_change": ({"id": "c7", "path": "a"}, {"id": "c7", "merges": False}),
    "comment_on_change": ({"id": "c7", "text": "Why?", "line": 3}, {"change": "c7"}),
    "unsend": ({"id": 7}, {}),
    "recv": ({"wait_seconds": 0, "max": 32}, {"messages": []}),
}
"""The tools of all agents: valid arguments, and a part of the expected answer."""

MANAGER = TALK | {
    "request_spawn": ({"name": "bob", "reason": "work"}, {"request": 1}),
    "request_apply_commit": (
        {"agent": "alice", "commit": "0123abc", "description": "more", "revert": True},
        {"request": 2},
    ),
    "withdraw_request": ({"id": 2}, {"request": 2, "state": "withdrawn"}),
    "start": ({"name": "alice"}, {"result": "done"}),
    "kill": ({"name": "alice"}, {"result": "done"}),
    "restart": ({"name": "alice"}, {"result": "done"}),
    "update": ({"name": "alice"}, {"result": "done"}),
    "cancel_turn": ({"name": "alice"}, {"result": "cancelled"}),
    "get_logs": ({"name": "alice", "lines": 1}, {"lines": ["line 0 of alice"]}),
}


async def every_tool(
    names: set[str], call: Call, tools: dict[str, tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    """Call each of `tools`, which must be all tools, with valid and with invalid arguments."""
    assert names == tools.keys()
    for name, (arguments, answer) in tools.items():
        result = await call(name, arguments)
        assert not result.is_error, (name, result)
        structured = json.loads(result.content[0].text)
        assert answer.items() <= structured.items(), name
        assert result.structured_content in (structured, None), name
        wrong = await call(name, {"no_such_argument": 1})
        assert wrong.is_error, name
        assert "no_such_argument" in wrong.content[0].text, name


async def in_each_mode(hive: Hive, mode: str, tools: Any) -> None:
    expected = version.LATEST_HANDSHAKE_VERSION if mode == "legacy" else "2026-07-28"
    async with Client(transport(hive.path), mode=mode) as client:
        assert client.protocol_version == expected
        names = {tool.name for tool in (await client.list_tools()).tools}
        await every_tool(names, client.call_tool, tools)
        await hive.broker.queue(9)
        got = await client.call_tool("recv", {"wait_seconds": 5})
        assert got.structured_content["messages"][0]["id"] == 9
    await hive.broker.until(lambda: hive.broker.released == [9])


MODES = ["legacy", "auto", *version.MODERN_PROTOCOL_VERSIONS]


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_s_client_in_each_of_its_modes(hive: Hive, mode: str) -> None:
    await in_each_mode(hive, mode, TALK)


@pytest.mark.parametrize("mode", MODES)
async def test_the_manager_s_client_in_each_of_its_modes(managers_hive: Hive, mode: str) -> None:
    await in_each_mode(managers_hive, mode, MANAGER)


@asynccontextmanager
async def session_of(path: Path, client: str, wanted: str) -> AsyncIterator[ClientSession]:
    """Open a session with a handshake that asks for the version `wanted`."""
    async with (
        transport(path) as (incoming, outgoing),
        ClientSession(incoming, outgoing) as session,
    ):
        request = mcp.types.InitializeRequest(
            params=mcp.types.InitializeRequestParams(
                protocol_version=wanted,
                capabilities=mcp.types.ClientCapabilities(),
                client_info=mcp.types.Implementation(name=client, version="1"),
            )
        )
        result = await session.send_request(request, mcp.types.InitializeResult)
        assert result.protocol_version == wanted
        session.adopt(result)
        await session.send_notification(mcp.types.InitializedNotification())
        yield session


@pytest.mark.parametrize("wanted", version.HANDSHAKE_PROTOCOL_VERSIONS)
async def test_every_version_of_the_handshake(managers_hive: Hive, wanted: str) -> None:
    async with session_of(managers_hive.path, "test", wanted) as session:
        names = {tool.name for tool in (await session.list_tools()).tools}
        await every_tool(names, session.call_tool, MANAGER)


@pytest.mark.parametrize("wanted", version.HANDSHAKE_PROTOCOL_VERSIONS)
async def test_every_version_of_the_harness_s_handshake(hive: Hive, wanted: str) -> None:
    async with session_of(hive.path, "hyperhive-harness", wanted) as session:
        tools = {tool.name for tool in (await session.list_tools()).tools}
        assert tools >= {"recv", "ack", "release", "report"}
        answer = await session.call_tool("report", {"turn_state": "idle"})
        assert not getattr(answer, "is_error", True)
    assert hive.agents["alice"].reports.get_nowait() == {"turn_state": "idle"}
