import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientError
from aiohttp.test_utils import TestClient, TestServer

from sandbox.model import scenario
from sandbox.model.script import Script
from sandbox.model.server import application

SCENARIO = """
default = "Hm."
[[rule]]
name = "call"
body = "call"
[[rule.step]]
text = "Let me see, this takes more than one delta."
tool = "Bash"
args = { command = "true" }
[[rule]]
name = "fail"
body = "fail"
step = [{ status = 529, text = "Too busy." }]
[[rule]]
name = "key limit"
body = "key limit"
step = [{ error = "rate-limit", resets_in = 7 }]
[[rule]]
name = "account limit"
body = "account limit"
step = [{ error = "rate-limit", limit = "five_hour", resets_in = 3600 }]
[[rule]]
name = "close"
body = "close"
step = [{ text = "This is closed too early, in the middle.", breaks = { after = 1 } }]
[[rule]]
name = "error"
body = "error"
[[rule.step]]
text = "This is closed too early, in the middle."
breaks = { after = 1, how = "error" }
[[rule]]
name = "stall"
body = "stall"
[[rule.step]]
text = "This is closed too early, in the middle."
breaks = { after = 1, how = "stall" }
[[rule]]
name = "think"
body = "think"
[[rule.step]]
thinking = "First I think about it."
text = "Then I talk."
usage = { cache_read_input_tokens = 5000 }
"""

Client = TestClient[Any, Any]


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    async with TestClient(TestServer(application(Script(scenario.load(path))))) as client:
        yield client


def request(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


async def test_a_stream_has_the_events_in_order(client: Client) -> None:
    async with client.post("/v1/messages?beta=true", json=request("call", stream=True)) as got:
        assert got.content_type == "text/event-stream"
        blocks = (await got.text()).strip().split("\n\n")
    events = [json.loads(block.split("\ndata: ")[1]) for block in blocks]
    assert [block.split("\n")[0] for block in blocks] == [f"event: {e['type']}" for e in events]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert [e["index"] for e in events if e["type"] == "content_block_start"] == [0, 1]
    assert [e["index"] for e in events if e["type"] == "content_block_stop"] == [0, 1]
    deltas = [e["delta"] for e in events if e["type"] == "content_block_delta"]
    text = [d["text"] for d in deltas if d["type"] == "text_delta"]
    args = [d["partial_json"] for d in deltas if d["type"] == "input_json_delta"]
    assert len(text) > 1
    assert "".join(text) == "Let me see, this takes more than one delta."
    assert json.loads("".join(args)) == {"command": "true"}
    start = next(e["content_block"] for e in events if e.get("index") == 1)
    assert (start["type"], start["name"], start["input"]) == ("tool_use", "Bash", {})
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


async def test_a_whole_message(client: Client) -> None:
    async with client.post("/v1/messages", json=request("hello")) as got:
        body = await got.json()
    assert body["content"] == [{"type": "text", "text": "Hm."}]
    assert (body["stop_reason"], body["model"], body["role"]) == ("end_turn", "m", "assistant")


async def test_failures_have_the_shape_of_the_api(client: Client) -> None:
    async with client.post("/v1/messages", json=request("fail")) as got:
        assert got.status == 529
        error = (await got.json())["error"]
    assert error == {"type": "overloaded_error", "message": "Too busy."}
    async with client.post("/v1/messages", json=request("key limit")) as got:
        assert got.status == 429
        assert got.headers["retry-after"] == "7"
        assert got.headers["anthropic-ratelimit-requests-remaining"] == "0"
    async with client.post("/v1/messages", json=request("account limit")) as got:
        reset = int(got.headers["anthropic-ratelimit-unified-reset"])
        assert 3500 < reset - time.time() < 3700
        assert got.headers["anthropic-ratelimit-unified-representative-claim"] == "five_hour"
        assert (await got.json())["error"]["type"] == "rate_limit_error"
    async with client.post("/v1/messages", data=b"{") as got:
        assert got.status == 400
    async with client.get("/nowhere") as got:
        assert got.status == 404
        assert (await got.json())["type"] == "error"


async def test_thinking_and_usage(client: Client) -> None:
    async with client.post("/v1/messages", json=request("think", stream=True)) as got:
        text = await got.text()
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    deltas = [e["delta"] for e in events if e["type"] == "content_block_delta" and e["index"] == 0]
    assert "".join(d.get("thinking", "") for d in deltas) == "First I think about it."
    assert deltas[-1]["type"] == "signature_delta"
    assert events[0]["message"]["usage"]["cache_read_input_tokens"] == 5000


async def test_a_stream_that_breaks(client: Client) -> None:
    async with client.post("/v1/messages", json=request("close", stream=True)) as got:
        with pytest.raises(ClientError):
            await got.text()
    async with client.post("/v1/messages", json=request("error", stream=True)) as got:
        last = (await got.text()).strip().split("\n\n")[-1]
    assert last.startswith("event: error\n")
    assert "overloaded_error" in last
    async with client.post("/v1/messages", json=request("stall", stream=True)) as got:
        while b"text_delta" not in await got.content.readline():
            pass
        rest = asyncio.create_task(got.content.read())
        done, _ = await asyncio.wait({rest}, timeout=0.2)
        assert not done
        rest.cancel()


async def test_the_journal_of_requests(client: Client) -> None:
    async with client.post("/v1/messages", json=request("call")):
        pass
    async with client.get("/requests") as got:
        [first] = await got.json()
    assert (first["rule"], first["answer"], first["model"]) == ("call", "Bash", "m")
    assert abs(first["at"] - time.time()) < 60
    waiting = asyncio.create_task(
        client.get(f"/requests?after={first['number']}&wait=60").__aenter__()
    )
    async with client.post("/v1/messages", json=request("fail")):
        pass
    [second] = await (await waiting).json()
    assert second["answer"] == "529"
    async with client.get("/requests?after=x") as got:
        assert got.status == 400


async def test_the_small_routes(client: Client) -> None:
    async with client.head("/") as got:
        assert got.status == 200
    async with client.post("/v1/messages/count_tokens", json=request("hello " * 100)) as got:
        assert (await got.json())["input_tokens"] > 100


async def test_an_unmatched_request_is_logged(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with client.post("/v1/messages", json=request("what now")):
        pass
    assert "no rule matches the prompt of an unknown agent: what now" in caplog.text


def test_the_process_tells_systemd_and_ends_at_sigterm(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        command = [sys.executable, "-m", "sandbox.model", "--port", "0"]
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            assert listener.recv(1024).startswith(b"READY=1")
            process.terminate()
            assert process.wait(timeout=20) == 0


def test_the_process_refuses_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("rules = []")
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.model", "--scenario", path],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 78
    assert done.stderr == f"{path}, key 'rules': is not a known key\n"
