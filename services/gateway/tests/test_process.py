"""The gateway as a process of its own, with the real Claude Code and a scripted model."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from sandbox.model import scenario
from sandbox.model.script import Script
from sandbox.model.server import application
from services.gateway.tests.process import GatewayProcess, gateway, ledger_on
from services.gateway.tests.stage import KEY, write_settings
from services.gateway.tests.upstream import (
    BEGIN,
    END,
    STREAM_HEAD,
    TEXT,
    Sent,
    chunk,
    delta,
    hang,
    http,
    message,
    saying,
    upstream,
)
from wire import names
from wire.errors import BudgetExhausted
from wire.fixtures import Connect
from wire.records.ledger import RequestOutcome

LIMIT = 60.0
PLACEHOLDER = "placeholder"


def claude() -> Path:
    """Return the program that the SDK brings."""
    spec = find_spec("claude_agent_sdk")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "_bundled" / "claude"


@pytest.fixture
async def model() -> AsyncIterator[str]:
    """Run the scripted model; return its address."""
    runner = web.AppRunner(
        application(Script(scenario.load(Path(__file__).with_name("scenario.toml")))),
        shutdown_timeout=0.1,
        handler_cancellation=True,
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def settings(folder: Path, **values: object) -> None:
    (folder / "settings").mkdir(exist_ok=True)
    write_settings(folder / "settings", **values)


async def ask(process: GatewayProcess, prompt: str, **environment: str) -> tuple[int, str]:
    """Let Claude Code answer a prompt; return its status and what it said."""
    home = process.folder / "home"
    home.mkdir(exist_ok=True)
    running = await asyncio.create_subprocess_exec(
        claude(),
        "-p",
        prompt,
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ANTHROPIC_UNIX_SOCKET": str(process.folder / "api.sock"),
            "ANTHROPIC_BASE_URL": "http://hive.internal",
            "ANTHROPIC_API_KEY": PLACEHOLDER,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "DISABLE_AUTOUPDATER": "1",
            **environment,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LIMIT):
            said, _ = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    return running.returncode or 0, said.decode()


async def test_claude_answers_through_the_gateway(
    connect: Connect, bus_address: str, tmp_path: Path, model: str
) -> None:
    settings(tmp_path, upstream=model)
    async with (
        ledger_on(await connect()) as ledger,
        gateway(bus_address, tmp_path) as process,
    ):
        status, said = await ask(process, "What is six times seven?")
        assert (status, "42" in said) == (0, True), said
        usage = await ledger.settlement()
        assert usage.outcome is RequestOutcome.DONE
        assert usage.input_tokens > 0
        assert usage.output_tokens > 0
        wanted = ledger.reserved[1]
        assert wanted.output_tokens >= 1024
        assert wanted.input_tokens >= usage.input_tokens


@pytest.mark.long
async def test_the_key_of_claude_is_a_placeholder(
    connect: Connect, bus_address: str, tmp_path: Path
) -> None:
    async with upstream(saying(http(b"{}", status="400 Bad Request"))) as up:
        settings(tmp_path, upstream=up.url)
        async with (
            ledger_on(await connect()),
            gateway(bus_address, tmp_path) as process,
        ):
            await ask(process, "Hello")
        sent = up.sent[0]
        assert sent.first == "POST /v1/messages?beta=true HTTP/1.1"
        assert sent.all("x-api-key") == [KEY]
        assert PLACEHOLDER not in str(sent.headers)
        assert KEY not in process.log.read_text()


@pytest.mark.parametrize(
    "act", [saying(b""), saying(b"garbage\r\n\r\n"), saying(http(b"<html>", kind="text/html"))]
)
@pytest.mark.long
async def test_claude_shows_a_broken_upstream(
    connect: Connect, bus_address: str, tmp_path: Path, act: object
) -> None:
    async with upstream(act) as up:  # type: ignore[arg-type]
        settings(tmp_path, upstream=up.url)
        async with (
            ledger_on(await connect()) as ledger,
            gateway(bus_address, tmp_path) as process,
        ):
            status, said = await ask(process, "Hello")
            assert status
            assert "Hyperhive: " in said
            await ledger.until_true(lambda: len(ledger.settled) == len(ledger.reserved) > 1)


@pytest.mark.long
async def test_claude_goes_on_after_a_stream_that_broke_off(
    connect: Connect, bus_address: str, tmp_path: Path
) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
        if len(up.sent) == 1:
            writer.write(STREAM_HEAD + chunk(BEGIN + delta("Half an ans")))
        elif json.loads(sent.body).get("stream"):
            writer.write(STREAM_HEAD + chunk(BEGIN + TEXT + END) + b"0\r\n\r\n")
        else:  # Claude Code tries again without a stream
            writer.write(http(json.dumps(message()).encode()))
        writer.close()

    async with upstream(act) as up:
        settings(tmp_path, upstream=up.url)
        async with (
            ledger_on(await connect()) as ledger,
            gateway(bus_address, tmp_path) as process,
        ):
            status, said = await ask(process, "What is six times seven?")
            assert (status, "Hello." in said) == (0, True), said
            assert (await ledger.settlement(1)).outcome is RequestOutcome.BROKEN
            assert (await ledger.settlement(2)).outcome is RequestOutcome.DONE


@pytest.mark.long
async def test_claude_shows_that_a_budget_is_used_up_and_does_not_try_again(
    connect: Connect, bus_address: str, tmp_path: Path, model: str
) -> None:
    settings(tmp_path, upstream=model)
    async with (
        ledger_on(await connect()) as ledger,
        gateway(bus_address, tmp_path) as process,
    ):
        ledger.refuse += [BudgetExhausted("The budget of alice is used up until 18:00.")] * 9
        status, said = await ask(process, "Hello")
        assert status
        assert "Hyperhive: The budget of alice is used up until 18:00." in said
        assert len(ledger.refuse) == 8, "Claude Code tried again"
        assert not ledger.settled


async def test_a_stop_finishes_what_is_under_way_and_settles_it(
    connect: Connect, bus_address: str, tmp_path: Path
) -> None:
    go = asyncio.Event()

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
        await go.wait()
        writer.write(http(json.dumps({"type": "error"}).encode(), status="529 Overloaded"))

    async with upstream(act) as up:
        settings(tmp_path, upstream=up.url)
        async with (
            ledger_on(await connect()) as ledger,
            gateway(bus_address, tmp_path) as process,
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(tmp_path / "api.sock"))
            ) as session,
        ):
            body = {"model": "m", "max_tokens": 1}
            asking = asyncio.create_task(session.post("http://x/v1/messages", json=body))
            await up.asked.wait()
            process.process.terminate()
            go.set()
            async with asyncio.timeout(LIMIT):
                async with await asking as answer:
                    assert answer.status == 529
                assert await process.process.wait() == 0
            assert ledger.settled[1].outcome is RequestOutcome.FAILED


async def test_a_kill_leaves_the_reservation_to_the_ledger(
    connect: Connect, bus_address: str, tmp_path: Path
) -> None:
    async with upstream(hang) as up:
        settings(tmp_path, upstream=up.url)
        async with (
            ledger_on(await connect()) as ledger,
            gateway(bus_address, tmp_path) as process,
        ):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "api.sock"))
            body = b'{"model":"m","max_tokens":1}'
            head = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
            async with asyncio.timeout(LIMIT):
                await up.asked.wait()
                process.process.send_signal(signal.SIGKILL)
                await process.process.wait()
                await up.gone.wait()
                assert await reader.read(-1) == b""
            writer.close()
            assert (len(ledger.reserved), ledger.settled) == (1, {})


async def test_the_proxy_of_the_process(connect: Connect, bus_address: str, tmp_path: Path) -> None:
    settings(tmp_path, egress=["*", "localhost:80"])
    async with (
        ledger_on(await connect()) as ledger,
        gateway(bus_address, tmp_path) as process,
    ):
        for target, status, words in (
            ("example.org:22", 403, "no rule"),
            ("localhost:80", 403, "not an address of the public internet"),  # the real resolver
            ("does-not-exist.invalid:443", 502, "the name"),
        ):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "proxy.sock"))
            writer.write(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
            async with asyncio.timeout(LIMIT):
                answer = (await reader.read(-1)).decode()
            writer.close()
            assert answer.startswith(f"HTTP/1.1 {status} "), answer
            assert words in answer
        assert ledger.checked == [("example.org", 22, "")]
        process.process.terminate()
        await process.process.wait()
        assert {(r.host, r.outcome) for r in ledger.egress} == {
            ("localhost", "refused"),
            ("does-not-exist.invalid", "failed"),
        }
        assert "Traceback" not in process.log.read_text()


@pytest.mark.parametrize("arguments", [[], ["Alice"], ["alice", "bob"], ["operator"]])
async def test_it_needs_an_agent_and_its_sockets(arguments: list[str]) -> None:
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.gateway", *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, said = await running.communicate()
    assert running.returncode
    assert b"usage: systemctl start hive-api@NAME.socket" in said
    assert names.gateway_unit("alice") == "hive-gateway@alice.service"
