"""The client's side of JSON-RPC, with a peer whose answers a test chooses."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.jsonrpc import ClosedError, Connection, RpcError, open_connection

Answer = Callable[[dict[str, Any]], bytes]


def result(request: dict[str, Any], **values: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": values}).encode() + b"\n"


@asynccontextmanager
async def connected(folder: Path, answer: Answer) -> AsyncIterator[Connection]:
    """Open a connection whose peer writes `answer` to each request, or closes if it is empty."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if not (said := answer(json.loads(line))):
                break
            writer.write(said)
        writer.close()

    path = str(folder / "socket")
    server = await asyncio.start_unix_server(serve, path)
    async with (
        asyncio.timeout(30),
        open_connection(await asyncio.open_unix_connection(path)) as made,
    ):
        yield made
    server.close()


async def test_answers_come_in_any_order(tmp_path: Path) -> None:
    held: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> bytes:
        held.append(request)
        return b"\n" if len(held) < 3 else b"".join(result(one, to=one["id"]) for one in held[::-1])

    async with connected(tmp_path, answer) as made:
        asked: list[Awaitable[dict[str, Any]]] = [made.request("which", {}) for _ in range(3)]
        assert await asyncio.gather(*asked) == [{"to": 1}, {"to": 2}, {"to": 3}]


async def test_what_json_cannot_carry_is_not_waited_for(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> bytes:
        seen.append(request)
        return result(request)

    async with connected(tmp_path, answer) as made:
        await made.request("x", {"text": "half \ud83d, whole \U0001f600"})
        assert seen[0]["params"] == {"text": "half ?, whole \U0001f600"}
        with pytest.raises(RpcError, match="JSON"):
            await made.request("x", {"number": float("nan")})


async def test_a_request_of_the_hive_is_answered_and_is_no_answer(tmp_path: Path) -> None:
    answers: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> bytes:
        if "method" not in request:
            answers.append(request)
            return result({"id": 1}, fine=True) if len(answers) == 2 else b"\n"
        asked = [{"jsonrpc": "2.0", "id": 1, "method": name} for name in ("ping", "other")]
        return b"".join(json.dumps(one).encode() + b"\n" for one in asked)

    async with connected(tmp_path, answer) as made:
        assert await made.request("x", {}) == {"fine": True}
    assert answers[0]["result"] == {}
    assert answers[1]["error"]["code"] == -32601


async def test_a_line_that_is_nested_too_deep_does_not_end_the_connection(tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> bytes:
        return b"[" * 100_000 + b"]" * 100_000 + b"\n" + result(request, fine=True)

    async with connected(tmp_path, answer) as made:
        assert await made.request("x", {}) == {"fine": True}


async def test_a_refusal_is_its_sentence(tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> bytes:
        error = {"code": -32602, "message": "There is no tool x."}
        return json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}).encode() + b"\n"

    async with connected(tmp_path, answer) as made:
        with pytest.raises(RpcError, match=r"^There is no tool x\.$"):
            await made.request("tools/call", {})


async def test_who_waits_hears_that_the_connection_has_ended(tmp_path: Path) -> None:
    async with connected(tmp_path, lambda request: b"") as made:
        with pytest.raises(ClosedError):
            await made.request("tools/call", {})
        assert made.closed.is_set()
        with pytest.raises(ClosedError):
            await made.request("tools/call", {})


async def test_what_is_no_answer_is_passed_over(tmp_path: Path) -> None:
    nonsense = b'garbage\n[]\n"text"\n{"id": [1]}\n{"id": 77, "result": {}}\n{"method": "ping"}\n'

    async with connected(tmp_path, lambda request: nonsense + result(request)) as made:
        assert await made.request("ping", {}) == {}


async def test_a_result_that_is_no_object_is_refused(tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> bytes:
        return json.dumps({"id": request["id"], "result": 5}).encode() + b"\n"

    async with connected(tmp_path, answer) as made:
        with pytest.raises(RpcError, match="no result"):
            await made.request("ping", {})


async def test_a_line_may_be_long(tmp_path: Path) -> None:
    body = "x" * 3 * 2**20
    async with connected(tmp_path, lambda request: result(request, body=body)) as made:
        assert await made.request("recv", {}) == {"body": body}


def test_what_takes_long_to_load_is_not_loaded_before_a_turn() -> None:
    """They would cost a second of each start, and 40 MB of each idle agent."""
    heavy = {"mcp", "pydantic", "claude_agent_sdk"}
    show = f"import sys, harness.__main__; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
