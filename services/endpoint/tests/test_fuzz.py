"""Some thousand hostile lines against the real process; bench/fuzz has a million more.

The inputs are the same each time, so that a failure belongs to the change that caused it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.endpoint.tests.client import LIMIT
from services.endpoint.tests.fakes import FakeBroker
from services.endpoint.tests.oracle import ANYBODY, NOBODY, Verdict, verdict
from services.endpoint.tests.play import End, ViolationError, play
from services.endpoint.tests.process import FAULTS, MIB, EndpointProcess, endpoint, services
from services.endpoint.tools.table import TOOLS
from wire.testing import private_bus

MAX_MEMORY: Final = 150 * MIB
"""MemoryMax= of the unit."""

_RECEIVING: Final = [tool for tool in TOOLS if tool.name in ("recv", "ack", "release")]
"""The tools that lease, acknowledge and release messages."""

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from([2**63, -(2**63), 10**400, "\0", "\u2028", "x" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
_ids = st.integers(0, 3) | st.sampled_from(["a", "", 2**63 - 1, -1, "x" * 256])
_bad_ids: st.SearchStrategy[Any] = st.sampled_from([None, True, 1.5, [], {}, 2**63, "x" * 257])


@st.composite
def _calls(draw: st.DrawFn) -> dict[str, Any]:
    """A call of a tool; two thirds of the calls have valid arguments."""
    tool = draw(st.sampled_from(TOOLS) | st.sampled_from(_RECEIVING))
    properties = tool.describe()["inputSchema"]["properties"]
    arguments: Any = {name: draw(_likely(name)) for name in properties if draw(st.booleans())}
    match draw(st.integers(0, 8)):
        case 0:
            arguments = draw(_json)
        case 1:
            arguments["surprise"] = draw(_json)
        case 2:
            arguments |= {name: draw(_json) for name in properties}
    return {"name": tool.name, "arguments": arguments}


def _likely(name: str) -> st.SearchStrategy[Any]:
    """Return values that fit this argument, or another one."""
    if name in ("wait_seconds", "max"):
        return st.integers(0, 3)
    if name == "ids":
        return st.lists(st.integers(1, 4), max_size=5)
    return st.sampled_from(["alice", "bob", "idle", 1, 3600, True, ["a", "b"], "/state/x"])


_requests = st.builds(
    lambda id, method, params: {"jsonrpc": "2.0", "id": id, "method": method, "params": params},
    _ids | _bad_ids,
    st.sampled_from(["initialize", "ping", "tools/list", "server/discover", "prompts/list"]),
    st.sampled_from(
        [
            {},
            None,
            {"protocolVersion": "2025-11-25", "clientInfo": {"name": "hyperhive-harness"}},
            {"protocolVersion": "2024-11-05", "clientInfo": {"name": "x"}},
            {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
            {"_meta": {"io.modelcontextprotocol/protocolVersion": "1999-01-01"}},
        ]
    )
    | _json,
)
_tool_calls = st.builds(
    lambda id, params: {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params},
    _ids,
    _calls(),
)
_notifications = st.builds(
    lambda method, id: {"jsonrpc": "2.0", "method": method, "params": {"requestId": id}},
    st.sampled_from(["notifications/cancelled", "notifications/initialized", "ping"]),
    _ids | _bad_ids,
)
_frames = st.one_of(_tool_calls, _tool_calls, _requests, _notifications, _json).map(
    lambda frame: json.dumps(frame).encode()
)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A frame with some bytes removed and others inserted."""
    frame = draw(_frames)
    at, length = draw(st.integers(0, len(frame))), draw(st.integers(0, 10))
    return frame[:at] + draw(st.binary(max_size=6)) + frame[at + length :]


_oddities = st.sampled_from(
    [
        *(b"", b" \r", b"\xff\xfe", b"[" * 40 + b"]" * 40, b"[" * 100_000, b'{"a":' * 50),
        *(b'"' * 20_000, b"9" * 5000, b"-", b"1e999", b'{"jsonrpc":"2.0","id":1e3}'),
        *(b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', b"x" * (2 * MIB + 70_000)),
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
    ]
)
_hello = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "clientInfo": {"name": "test"}},
    }
).encode()
_sessions = st.lists(
    st.one_of(_frames, _frames, _damaged(), st.binary(max_size=60), _oddities),
    min_size=4,
    max_size=25,
)


@dataclass
class Target:
    """The real process, its broker, and the event loop of the broker."""

    runner: asyncio.Runner
    process: EndpointProcess
    broker: FakeBroker


@pytest.fixture(scope="module", params=["manager", pytest.param("alice", marks=pytest.mark.long)])
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """Run the endpoint of each kind of agent; check afterwards that it still works."""
    folder = tmp_path_factory.mktemp("fuzz")
    with asyncio.Runner() as runner:
        stage = _stage(folder, request.param)
        process, broker = runner.run(stage.__aenter__())
        yield Target(runner, process, broker)
        runner.run(stage.__aexit__(None, None, None))


@asynccontextmanager
async def _stage(folder: Path, agent: str) -> AsyncIterator[tuple[EndpointProcess, FakeBroker]]:
    async with (
        private_bus() as address,
        services(address) as broker,
        endpoint(address, folder, agent) as process,
    ):
        yield process, broker
        assert process.alive
        assert process.peak() < MAX_MEMORY
        await broker.until(lambda: not broker.leased)
        log = process.log.read_text()
    assert not FAULTS.search(log), log


@settings(
    max_examples=40,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # add Phase.shrink to see a small example
    suppress_health_check=list(HealthCheck),
)
@given(
    sessions=st.lists(_sessions, min_size=2, max_size=4),
    end=st.sampled_from(End),
    cut=st.integers(1, 3000),
    messages=st.integers(1, 3),
)
def test_each_line_is_answered_once_and_the_others_go_on(
    target: Target, sessions: list[list[bytes]], end: End, cut: int, messages: int
) -> None:
    target.runner.run(_attack(target, sessions, end, cut, messages))


async def _attack(
    target: Target, sessions: list[list[bytes]], end: End, cut: int, messages: int
) -> None:
    broker = target.broker
    for id in range(messages):
        await broker.queue(id + 1)
    async with asyncio.TaskGroup() as group:
        for session in sessions:
            written = b"\n".join([_hello, *session, b""])
            chunks = [written[at : at + cut] for at in range(0, len(written), max(cut, 1))]
            group.create_task(play(target.process.path, chunks[:2000], end))
    # Another connection still works, and nothing is held for connections that have ended.
    await play(target.process.path, [_hello + b"\n"], End.ASK)
    await broker.until(lambda: not broker.leased)
    broker.queued.clear()
    broker.sent.clear()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', Verdict((("int", 1),))),
        (b'{"jsonrpc":"2.0","id":"1"}', Verdict((("str", "1"),))),
        (b'{"jsonrpc":"2.0","id":1,"x":"\\ud800"}', Verdict((("int", 1),))),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', Verdict((("float", 1.5),))),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', Verdict((NOBODY,))),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', Verdict()),
        (b'{"jsonrpc":"2.0","method":"x"}', Verdict()),
        (b"[" * 33 + b"]" * 33, Verdict((ANYBODY,))),
        (b"{", Verdict((ANYBODY,))),
    ],
)
def test_the_oracle_knows_json_rpc(line: bytes, expected: Verdict) -> None:
    assert verdict(line) == expected


@pytest.mark.parametrize(
    "answers",
    [
        b"",
        b'{"jsonrpc":"2.0","id":1,"result":{}}\n' * 2,
        b'{"jsonrpc":"2.0","id":2,"result":{}}\n',
        b'{"jsonrpc":"2.0","id":1}\n',
        b"nonsense\n",
    ],
)
async def test_the_player_notices_wrong_answers(tmp_path: Path, answers: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answers)
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s"), asyncio.timeout(LIMIT):
        with pytest.raises(ViolationError):
            await play(tmp_path / "s", [b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'], End.HALF)
