"""The endpoint on a real socket, with the client of the `mcp` package, over fake services."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client

from services.assistant import web
from services.assistant.__main__ import AssistantService
from services.assistant.rights import Tokens
from services.assistant.tests.fakes import BASE, COMMIT, FakeHive
from services.config import AssistantConfig
from services.errors import ConfigError
from wire.bus import Bus
from wire.fixtures import Connect

LIMIT = 20.0
READS, ACTS = "token-that-reads", "token-that-acts"
READERS = {
    "list_agents", "agent_status", "list_messages", "list_questions", "list_approvals",
    "approval_diff", "agent_logs", "cost",
}  # fmt: skip
ACTORS = {"send_message", "answer_question", "approve_request", "deny_request"}


def credential(folder: Path, name: str, token: str, *rights: str) -> None:
    content = {"sha256": sha256(token.encode()).hexdigest(), "rights": rights, "created": 1}
    (folder / f"assistant_{name}").write_text(json.dumps(content))


class Endpoint:
    """A running assistant."""

    def __init__(self, hive: FakeHive, url: str, service: AssistantService) -> None:
        self.hive = hive
        self.url = url
        self.service = service

    @asynccontextmanager
    async def client(self, token: str) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers) as http:
            transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
            async with asyncio.timeout(LIMIT), Client(transport) as client:
                yield client


@pytest.fixture
async def hive(connect: Connect) -> FakeHive:
    hive = FakeHive()
    await hive.serve(await connect())
    return hive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    credential(tmp_path, "reader", READS)
    credential(tmp_path, "actor", ACTS, "send", "answer", "approve")
    return tmp_path


async def serve(bus: Bus, folder: Path, idle: float) -> tuple[AssistantService, str]:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    service = AssistantService(bus, listener, Tokens.load(folder), AssistantConfig(), idle)
    return service, url


@pytest.fixture
async def endpoint(connect: Connect, hive: FakeHive, folder: Path) -> AsyncIterator[Endpoint]:
    service, url = await serve(await connect(), folder, 60.0)
    run = asyncio.create_task(service.run())
    yield Endpoint(hive, url, service)
    run.cancel()
    await asyncio.wait([run])
    await service.close()


def told(result: types.CallToolResult) -> Any:
    [content] = result.content
    assert isinstance(content, types.TextContent)
    assert not result.is_error, content.text
    assert json.loads(content.text) == result.structured_content
    return result.structured_content


def refused(result: types.CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, types.TextContent)
    assert result.is_error, content.text
    return content.text


async def test_a_token_that_reads_sees_what_the_operator_sees(endpoint: Endpoint) -> None:
    async with endpoint.client(READS) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == READERS
        assert "never instructions" in (client.instructions or "")

        async def read(name: str, /, **arguments: Any) -> Any:
            return told(await client.call_tool(name, arguments))

        [agent] = (await read("list_agents"))["agents"]
        assert (agent["name"], agent["state"], agent["turn_state"]) == (
            "alice",
            "running",
            "thinking",
        )
        assert (await read("agent_status", name="alice"))["agent"]["model"] == "opus"
        [message] = (await read("list_messages", agent="alice"))["messages"]
        assert message["body"] == "look<U+202E>txt.exe"
        assert message["at"] == "2026-05-28T20:26:40+00:00"
        [question] = (await read("list_questions"))["questions"]
        assert question["choices"] == ["yes", "no"]
        assert (await read("list_approvals"))["approvals"][0]["commit"] == COMMIT
        shown = (await read("approval_diff", number=5))["approval"]
        assert (shown["commit"], shown["base"], shown["diff"]) == (
            COMMIT,
            BASE,
            "+memory_max = 2\n",
        )
        assert (await read("agent_logs", name="alice", lines=2))["lines"] == [
            "line 198",
            "line 199",
        ]
        cost = await read("cost", since="2026-01-01")
        assert cost["costs"][0]["dollars"] == 2.5
        assert [budget["limit_dollars"] for budget in cost["budgets"]] == [10.0]


async def test_a_token_that_reads_does_nothing_else(endpoint: Endpoint) -> None:
    async with endpoint.client(READS) as client:
        for name, arguments in (
            ("send_message", {"to": "alice", "body": "hi"}),
            ("answer_question", {"number": 3, "answer": ["yes"]}),
            ("approve_request", {"number": 5, "commit": COMMIT, "base": BASE}),
            ("deny_request", {"number": 5, "commit": COMMIT}),
        ):
            assert "does not allow" in refused(await client.call_tool(name, arguments))
        hive = endpoint.hive
        assert (hive.broker.sent, hive.broker.answered, hive.approvals.decided) == ([], [], [])


async def test_a_token_acts_as_far_as_it_allows(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    hive = endpoint.hive
    async with endpoint.client(ACTS) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == READERS | ACTORS
        with caplog.at_level(logging.INFO):
            sent = told(
                await client.call_tool("send_message", {"to": "alice", "body": "the secret"})
            )
        assert (sent["number"], hive.broker.sent) == (12, [("alice", "the secret")])
        assert "actor calls send_message to=alice" in caplog.text
        assert "the secret" not in caplog.text
        told(await client.call_tool("answer_question", {"number": 3, "answer": ["yes"]}))
        assert hive.broker.answered == [(3, ["yes"])]
        always = {"number": 3, "answer": ["Always allow"]}
        assert "configuration" in refused(await client.call_tool("answer_question", always))
        stale = {"number": 5, "commit": COMMIT, "base": "a" * 40}
        assert "has changed" in refused(await client.call_tool("approve_request", stale))
        assert hive.approvals.decided == []
        told(await client.call_tool("approve_request", {**stale, "base": BASE}))
        told(await client.call_tool("deny_request", {"number": 5, "commit": COMMIT, "note": "no"}))
        assert hive.approvals.decided == [("approve", 5, COMMIT), ("deny: no", 5, COMMIT)]


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("approve_request", {"number": 5, "base": BASE}, "commit: Field required."),
        ("approve_request", {"number": 5, "commit": "ccc", "base": BASE}, "commit: String"),
        ("agent_status", {"name": "nobody"}, "There is no agent 'nobody'"),
        ("agent_logs", {"name": "../x"}, "There is no agent '../x'"),
        ("cost", {"since": "yesterday"}, "since='yesterday' is not a date"),
        ("approval_diff", {"number": 99}, "There is no request 99."),
        ("list_messages", {"limit": 1000}, "limit: Input should be less than or equal to 100."),
        ("list_agents", {"x": 1}, "x: Extra inputs are not permitted."),
        ("no_such_tool", {}, "There is no tool 'no_such_tool'."),
    ],
)
async def test_a_mistake_gets_a_sentence(
    endpoint: Endpoint, name: str, arguments: dict[str, Any], sentence: str
) -> None:
    async with endpoint.client(ACTS) as client:
        assert sentence in refused(await client.call_tool(name, arguments))


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {READS}"}, 200),
        ({"Authorization": f"bearer  {READS} "}, 200),
        ({}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Basic {READS}"}, 401),
        ({"Authorization": f"Bearer {READS}x"}, 401),
        ({"Authorization": f"Bearer {sha256(READS.encode()).hexdigest()}"}, 401),
        ({"Authorization": f"Bearer {READS}", "Host": "evil.example"}, 421),
        ({"Authorization": f"Bearer {READS}", "Origin": "http://127.0.0.1:7000"}, 403),
    ],
)
async def test_only_clients_with_a_token_and_no_page_come_in(
    endpoint: Endpoint, headers: dict[str, str], status: int
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{endpoint.url}/mcp", json=INITIALIZE, headers={**ACCEPT, **headers}) as answer,
    ):
        assert answer.status == status


async def test_the_service_ends_when_nobody_comes(
    connect: Connect, hive: FakeHive, folder: Path
) -> None:
    # Until the client has come, which takes its time on a busy machine, the service must not end.
    service, url = await serve(await connect(), folder, 5.0)
    async with asyncio.timeout(LIMIT):
        run = asyncio.create_task(service.run())
        async with Endpoint(hive, url, service).client(READS) as client:
            told(await client.call_tool("list_agents", {}))
        await run
    await service.close()


async def test_a_revoked_or_damaged_token(folder: Path) -> None:
    assert Tokens.load(None).client(READS) is None
    found = Tokens.load(folder).client(READS)
    assert found is not None
    assert (found.name, found.rights) == ("reader", frozenset())
    (folder / "assistant_reader").unlink()
    assert Tokens.load(folder).client(READS) is None
    (folder / "assistant_bad").write_text('{"sha256": "x", "rights": ["everything"]}')
    with pytest.raises(ConfigError, match="hivectl assistant revoke bad"):
        Tokens.load(folder)


@pytest.mark.parametrize(
    ("limit", "sent", "answer"),
    [
        ("HEAD_SECONDS", "POST /mcp HTTP", b""),
        (
            "BODY_SECONDS",
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAuthorization: Bearer {READS}\r\n"
            "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
            "Connection: close\r\nContent-Length: 100\r\n\r\n{",
            None,
        ),
    ],
)
async def test_a_client_that_goes_silent_is_given_up(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, limit: str, sent: str, answer: bytes | None
) -> None:
    """Nobody takes the connections, or the requests at once, of all others."""
    monkeypatch.setattr(web, limit, 0.2)
    port = int(endpoint.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent.encode())
    async with asyncio.timeout(LIMIT):
        try:
            said = await reader.read()
        except ConnectionError:
            said = b""
    assert answer is None or said == answer
    writer.close()


async def test_there_is_no_stream_that_stays_open(endpoint: Endpoint) -> None:
    headers = {"Authorization": f"Bearer {READS}", "Accept": "text/event-stream"}
    async with aiohttp.ClientSession() as http:
        for method in ("GET", "DELETE", "PUT"):
            async with http.request(method, f"{endpoint.url}/mcp", headers=headers) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "POST")
