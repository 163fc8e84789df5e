"""The input of a hostile agent: every line is answered, and everything else goes on."""

import asyncio
import json
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.endpoint.clients.services import Services
from services.endpoint.commands import Commands
from services.endpoint.delivery.inbox import Inbox
from services.endpoint.mcp import connection, lines
from services.endpoint.mcp.connection import MAX_IN_FLIGHT, MAX_LONG_CALLS
from services.endpoint.reports import Reports
from services.endpoint.server import MAX_CONNECTIONS
from services.endpoint.tests.client import LIMIT, Client
from services.endpoint.tests.stage import Hive
from services.endpoint.tools.tool import LongCall
from wire.errors import Unavailable
from wire.records.lifecycle import CommandResult


@pytest.fixture
async def bystander(hive: Hive) -> AsyncIterator[Client]:
    """Open another connection, which must still work after the test."""
    client = await hive.client()
    yield client
    assert (await client.call("send", to="bob", body="still here"))["structuredContent"]["id"]


async def error_of(client: Client, data: bytes) -> Any:
    await client.send(data)
    answer = await client.line()
    assert answer is not None
    return answer["error"]


def memory() -> int:
    """Return the resident bytes of this process."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"hello\n", -32700),
        (b'{"jsonrpc":"2.0",\n', -32700),
        (b"\xff\xfe\x00\n", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\xff"}}\n', -32700),
        (b"[" * 100_000 + b"\n", -32600),
        (b"[" * 1000 + b"]" * 1000 + b"\n", -32600),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]\n', -32600),
        (b"[]\n", -32600),
        (b"1\n", -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}\n', -32600),
        (b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}\n', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}\n', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"shutdown"}\n', -32601),
    ],
)
async def test_nonsense_is_answered_and_the_connection_goes_on(
    hive: Hive, bystander: Client, data: bytes, code: int
) -> None:
    client = await hive.client()
    assert (await error_of(client, data))["code"] == code
    assert await client.ask("ping") == {}


_BODIES = [
    b'"x \\ud83d"',
    b'"\\udc00\\ud83d"',
    b'"\xff\xfe"',
    b'"\xed\xa0\xbd"',
    b'"\x01"',
    b'"\\x"',
    b"1e999",
    b"NaN",
    b"-Infinity",
    b"9" * 5000,
    b"[" * 100 + b"]" * 100,
    b"[" + b'"",' * 10_000 + b"1]",
    b"[" + b"0," * 40_000 + b"0]",
    b'"unfinished',
    b"",
]
"""Arguments that JSON, or the endpoint, cannot carry."""


@pytest.mark.parametrize("body", _BODIES, ids=[str(body[:20]) for body in _BODIES])
async def test_a_call_with_any_argument_is_answered_with_its_id(
    hive: Hive, bystander: Client, body: bytes
) -> None:
    client = await hive.client()
    params = b'{"name":"send","arguments":{"to":"bob","id":7,"body":%b}}' % body
    calls = {
        21: b'{"jsonrpc":"2.0","id":21,"method":"tools/call","params":%b}\n' % params,
        22: b'{"method":"tools/call","params":%b,"jsonrpc":"2.0","id":22}\n' % params,
        "a b": b'{"jsonrpc":"2.0","method":"tools/call","id": "a b" ,"params":%b}\n' % params,
    }
    for id, call in calls.items():
        await client.send(call)
        answer = await client.line()
        assert answer["id"] == id
        assert answer["result"]["isError"], "the model reads it"
        assert "was not called" in answer["result"]["content"][0]["text"]
    assert hive.broker.sent == []


@pytest.mark.parametrize("id", ["1.5", str(2**63), "-1e3", '"' + "x" * 257 + '"', r'"\ud83d"'])
async def test_an_unusual_id_comes_back_as_it_was(hive: Hive, bystander: Client, id: str) -> None:
    client = await hive.client()
    await client.send(f'{{"jsonrpc":"2.0","id":{id},"method":"ping"}}\n'.encode())
    answer = await client.line()
    assert answer["id"] == json.loads(id)
    assert answer["error"]["code"] in (-32600, -32700)


async def test_each_request_of_a_batch_is_refused_with_its_id(
    hive: Hive, bystander: Client
) -> None:
    client = await hive.client()
    requests = [{"jsonrpc": "2.0", "id": id, "method": "ping"} for id in (31, 32)]
    notification = {"jsonrpc": "2.0", "method": "x"}
    await client.send(json.dumps([*requests, notification]).encode() + b"\n")
    assert [(await client.line())["id"] for _ in requests] == [31, 32]
    assert await client.ask("ping") == {}


async def test_the_last_of_two_ids_counts(hive: Hive, bystander: Client) -> None:
    client = await hive.client()
    await client.send(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}\n')
    assert (await client.line())["id"] == 2
    await client.send(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"\xff"}\n')
    assert (await client.line())["id"] == 2


async def test_a_request_without_an_end_of_line_is_answered(hive: Hive, bystander: Client) -> None:
    client = await hive.client()
    await client.send(b'{"jsonrpc":"2.0","id":41,"method":"ping"}')
    client.writer.write_eof()
    assert (await client.line())["id"] == 41


async def test_lines_over_the_budget_are_refused_one_by_one(hive: Hive, bystander: Client) -> None:
    client = await hive.connect()
    halves = [await hive.connect() for _ in range(8)]
    for half in halves:
        await half.send(b"x" * 2 * 2**20)
        await bystander.ask("ping")
    ping = '{{"jsonrpc":"2.0","id":{},"method":"ping"}}\n'
    ids = range(100, 2100)
    await client.send("".join(ping.format(id) for id in ids).encode())
    answers = [await client.line() for _ in ids]
    assert [answer["id"] for answer in answers] == list(ids)
    assert any("unfinished" in answer.get("error", {}).get("message", "") for answer in answers)
    for half in halves:
        half.writer.transport.abort()
    while "message" in await client.ask("ping"):  # until their ends have been noticed
        pass
    await (await hive.client()).ask("ping")


async def test_a_call_that_is_cancelled_from_inside_is_answered(
    hive: Hive, bystander: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(*args: Any, **options: Any) -> int:
        lost = asyncio.get_running_loop().create_future()
        lost.cancel()
        await lost
        return 0

    monkeypatch.setattr(Services, "send", cancelled)
    client = await hive.client()
    answer = await client.call("send", to="bob", body="x")
    assert "ended this call" in answer["content"][0]["text"]
    monkeypatch.undo()


@pytest.mark.parametrize("value", ["half \ud83d", float("nan")])
async def test_a_result_that_json_cannot_carry_is_answered(
    hive: Hive, bystander: Client, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    async def strange(*args: Any, **options: Any) -> Any:
        return value

    monkeypatch.setattr(Services, "send", strange)
    client = await hive.client()
    assert "content" in await client.call("send", to="bob", body="x")
    monkeypatch.undo()


async def test_a_body_of_10_mb_is_refused_and_the_connection_goes_on(
    hive: Hive, bystander: Client
) -> None:
    client = await hive.client()
    before = memory()
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    params = {"name": "send", "arguments": {"to": "bob", "body": "x" * 10_000_000}}
    last = {"params": params, "jsonrpc": "2.0", "id": 2, "method": "tools/call"}
    for message in ({**call, "params": params}, last):
        await client.send(message)
        answer = await client.line()
        assert answer["id"] == message["id"]
        assert answer["result"]["isError"]
        assert "1 MiB" in answer["result"]["content"][0]["text"]
    assert await client.ask("ping") == {}
    assert hive.broker.sent == []
    assert memory() - before < 50_000_000


async def test_a_body_of_1_mib_goes_through_escaped_or_not(hive: Hive) -> None:
    client = await hive.client()
    for body in ("x" * 2**20, "\n" * 2**20, "é" * 2**18):
        answer = await client.call("send", to="bob", body=body)
        assert "isError" not in answer
        assert hive.broker.sent[-1][1] == body


async def test_an_endless_line_holds_no_memory(hive: Hive, bystander: Client) -> None:
    client = await hive.client()
    chunk = b"x" * 1_000_000
    before = memory()
    for _ in range(60):
        await client.send(chunk)
    assert memory() - before < 20_000_000
    await client.send(b"\n")
    assert "too long" in (await client.line())["error"]["message"]
    assert await client.ask("ping") == {}


async def test_half_a_line_and_silence_or_the_end(hive: Hive, bystander: Client) -> None:
    silent, gone = await hive.client(), await hive.client()
    half = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send"'
    await silent.send(half)
    await gone.send(half)
    gone.writer.write_eof()
    assert (await gone.line())["id"] == 1, "it is not called, but answered"
    assert await gone.line() is None
    assert hive.broker.sent == []
    assert (await bystander.call("send", to="bob", body="x"))["structuredContent"] == {"id": 1}


async def test_half_lines_of_many_connections_stay_within_the_budget(
    hive: Hive, bystander: Client
) -> None:
    before = memory()
    clients = [await hive.connect() for _ in range(30)]
    refused = 0
    for client in clients:
        await client.send(b"x" * 2_000_000)
        await bystander.ask("ping")
    for client in clients:
        await client.send(b"\n")
        answer = await client.line()
        refused += "unfinished" in answer["error"]["message"]
        assert await client.ask("ping") == {}
    assert refused > 10
    assert memory() - before < 100_000_000


async def test_an_id_in_use_is_refused_and_the_first_call_goes_on(
    hive: Hive, bystander: Client
) -> None:
    client = await hive.client()
    id = await client.start("recv", wait_seconds=100)
    client.next_id -= 1
    await client.start("recv", wait_seconds=100)
    answer = await client.line()
    assert answer["id"] == id
    assert "still being answered" in answer["error"]["message"]
    await hive.broker.queue(1)
    assert (await client.line())["result"]["structuredContent"]["messages"]


async def test_calls_in_flight_are_limited(hive: Hive, bystander: Client) -> None:
    hive.broker.hold = asyncio.Event()
    client = await hive.client()
    for _ in range(MAX_IN_FLIGHT + 5):
        await client.start("send", to="bob", body="x")
    refused = [await client.line() for _ in range(5)]
    assert all("unanswered" in answer["error"]["message"] for answer in refused)
    hive.broker.hold.set()
    assert all(["result" in await client.line() for _ in range(MAX_IN_FLIGHT)])
    hive.broker.hold = None


async def test_long_waits_are_limited_for_all_connections_together(
    hive: Hive, bystander: Client
) -> None:
    clients = [await hive.client() for _ in range(MAX_LONG_CALLS[LongCall.MESSAGES] + 1)]
    for client in clients[:-1]:
        await client.start("recv", wait_seconds=100)
        assert await client.ask("ping") == {}
    refused = await clients[-1].ask(
        "tools/call", {"name": "recv", "arguments": {"wait_seconds": 100}}
    )
    assert "already waiting" in refused["message"]
    assert len(hive.broker.receivers) <= 1
    await clients[0].close()
    await clients[1].ask("ping")
    assert await clients[-1].recv() == []


@pytest.fixture
def many_files() -> Iterator[None]:
    """Raise the limit of open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_thousand_connections(hive: Hive, bystander: Client, many_files: None) -> None:
    socks: list[socket.socket] = []
    try:
        await _connect_a_thousand_times(hive, bystander, socks)
    finally:
        for sock in socks:
            sock.close()
    while hive.endpoint.connections > 1:
        assert await bystander.ask("ping") == {}
    assert await (await hive.client()).ask("ping") == {}


async def _connect_a_thousand_times(
    hive: Hive, bystander: Client, socks: list[socket.socket]
) -> None:
    refused = 0
    loop = asyncio.get_running_loop()
    for _ in range(1000):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        async with asyncio.timeout(LIMIT):
            while True:
                try:
                    sock.connect(str(hive.path))
                    break
                except BlockingIOError:  # the backlog is full: the endpoint takes its turn
                    await asyncio.sleep(0)
        socks.append(sock)
    # One is the bystander's.
    for sock in socks[MAX_CONNECTIONS - 1 :]:
        async with asyncio.timeout(LIMIT):
            line = await loop.sock_recv(sock, 4096)
        refused += json.loads(line)["error"]["code"] == -32000
        assert await loop.sock_recv(sock, 1) == b""
    assert refused == 1000 - MAX_CONNECTIONS + 1
    assert hive.endpoint.connections == MAX_CONNECTIONS
    assert await bystander.ask("ping") == {}


async def test_who_does_not_read_is_closed_and_holds_no_memory(
    hive: Hive, bystander: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines.LineWriter.__init__, "__kwdefaults__", {"send_timeout": 0.3})
    deaf = await hive.connect()
    loop = asyncio.get_running_loop()
    sock = deaf.writer.transport.get_extra_info("socket")
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
    own = socket.socket(fileno=os.dup(sock.fileno()))
    own.setblocking(False)
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n' * 1000
    before = memory()

    async def flood() -> None:
        while True:
            await loop.sock_sendall(own, ping)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(flood(), LIMIT)
    own.close()
    assert memory() - before < 20_000_000


async def test_a_large_answer_that_nobody_reads_is_released(
    hive: Hive, bystander: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines.LineWriter.__init__, "__kwdefaults__", {"send_timeout": 0.3})
    deaf = await hive.client()
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await hive.broker.queue(1, "x" * 2**20)
    await deaf.start("recv")
    await hive.broker.until(lambda: hive.broker.released == [1])
    assert hive.broker.acknowledged == []


_frames = st.one_of(
    st.binary(max_size=300).map(lambda data: data.replace(b"\n", b"")),
    st.builds(
        lambda method, params: json.dumps(
            {"jsonrpc": "2.0", "id": 5, "method": method, "params": params}
        ).encode(),
        st.sampled_from(["initialize", "ping", "tools/list", "tools/call", "server/discover", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["name", "arguments", "_meta", "protocolVersion", "to", "body", "ids"]
                    )
                    | st.text(max_size=5),
                    inner | st.sampled_from(["send", "recv", "2025-11-25", "2026-07-28"]),
                    max_size=4,
                )
            ),
            max_leaves=10,
        ),
    ),
)


@settings(
    max_examples=60,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.lists(_frames, max_size=12), min_size=8, max_size=12))
def test_fuzz_frames(batches: list[list[bytes]]) -> None:
    """Send some thousand frames; a ping is always answered afterwards."""
    asyncio.run(_fuzz([frame for batch in batches for frame in batch]))


async def _fuzz(frames: list[bytes]) -> None:
    async with _pipe() as client:
        for frame in frames:
            await client.send(frame + b"\n")
        await client.send(b'{"jsonrpc":"2.0","id":"last","method":"ping"}\n')
        while (answer := await client.line())["id"] != "last":
            assert "error" in answer or "result" in answer


@asynccontextmanager
async def _pipe() -> AsyncIterator[Client]:
    """Open a client whose tools all fail: fuzzing the protocol needs no bus."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    none = _NoServices()
    shared = connection.Shared(
        "alice",
        none,  # type: ignore[arg-type]
        none,  # type: ignore[arg-type]
        Reports(none.report),
        Commands(none),
    )
    served = asyncio.create_task(connection.Connection(shared, reader, writer).run())
    client = Client(*await asyncio.open_unix_connection(sock=ours))
    yield client
    client.writer.close()
    async with asyncio.timeout(LIMIT):
        await served
    assert shared.budget.held == 0
    assert set(shared.long_calls.values()) == {0}


class _NoServices:
    async def harness_connected(self, connected: bool) -> None:
        raise AssertionError("nobody tells lifecycle")

    async def command_done(self, id: int, result: CommandResult) -> None:
        raise Unavailable("no lifecycle")

    leases = Inbox(None).leases  # type: ignore[arg-type]

    async def release_all(self, holder: object) -> None: ...

    async def release(self, ids: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        async def fail(*args: Any) -> Any:
            raise Unavailable("no hive here")

        return fail
