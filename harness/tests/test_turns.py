"""Turns of the real Claude Code, with a fake hive and a scripted model."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness.tests import greeter
from harness.tests.conftest import Harness, ended
from harness.tests.hive import Hive
from sandbox.model import conversation


async def test_a_turn_calls_tools_and_is_acknowledged(harness: Harness, hive: Hive) -> None:
    number = await hive.push("tell alice hello")
    await harness.start()
    await harness.noted("READY=1")
    await hive.until(lambda: hive.acknowledged == [number])
    assert hive.sent == [{"to": "alice", "body": "hello", "in_reply_to": number}]
    assert ("hyperhive-harness", "send") not in [(who, tool) for who, tool, _ in hive.calls]
    await hive.until(lambda: hive.reports[-1].get("turn_state") == "idle" and len(hive.reports) > 2)
    states = [report["turn_state"] for report in hive.reports]
    assert "thinking" in states
    assert hive.reports[0]["logged_in"] is True, "there are credentials before the first turn"
    assert hive.reports[-1]["logged_in"] is True
    assert hive.reports[-1]["context_tokens"] > 0
    model = hive.reports[-1]["model"]
    assert model.startswith("claude-")
    kinds = [k for (k,) in harness.rows("hyperhive-events.sqlite", "SELECT type FROM events")]
    assert kinds[:3] == ["wake", "state", "session"]
    assert kinds[kinds.index("result") :][:3] == ["result", "turn-end", "state"]
    assert kinds.count("tool-use") == kinds.count("tool-result") == 2
    assert "42" in str(harness.rows("hyperhive-events.sqlite", "SELECT data FROM events"))
    [row] = harness.rows(
        "hyperhive-turn-stats.sqlite",
        "SELECT outcome, messages, model, tool_calls, first_request_ms, first_token_ms,"
        " input_tokens, output_tokens, cost_usd, seconds FROM turns",
    )
    assert row[:4] == ("done", f"[{number}]", model, 2)
    assert 0 < row[4] < row[5] < row[9] * 1000
    assert all(figure > 0 for figure in row[6:])
    assert "WATCHDOG=1" in harness.notes


async def test_claude_stays_between_turns_and_is_resumed_later(
    harness: Harness, hive: Hive
) -> None:
    await harness.start(session_idle=4.0)
    first = await hive.push("hello")
    await hive.until(lambda: first in hive.acknowledged)
    pid = harness.claude()
    second = await hive.push("hello again")
    await hive.until(lambda: second in hive.acknowledged)
    assert harness.claude() == pid
    descriptor = os.pidfd_open(pid)
    await ended(descriptor)
    session = (harness.state / "hyperhive-session-id").read_text()
    third = await hive.push("and once more")
    await hive.until(lambda: third in hive.acknowledged)
    assert harness.claude() != pid
    assert (harness.state / "hyperhive-session-id").read_text() == session


@pytest.mark.long
async def test_an_outage_of_the_model_keeps_the_messages(harness: Harness, hive: Hive) -> None:
    number = await hive.push("fail once")
    await harness.start()
    await hive.until(lambda: hive.state == "rate-limited")
    later = await hive.push("hello")
    await hive.until(lambda: hive.acknowledged == [number, later])
    assert hive.called("release") == 0
    assert hive.called("recv") >= 2
    prompts = harness.rows(
        "hyperhive-events.sqlite", "SELECT data FROM events WHERE type = 'wake' ORDER BY id"
    )
    assert "could not be reached" not in prompts[0][0]
    assert "could not be reached" in prompts[1][0]
    assert "redelivered=" not in prompts[1][0]
    rows = harness.rows("hyperhive-turn-stats.sqlite", "SELECT outcome FROM turns ORDER BY id")
    assert rows == [("failed",), ("done",), ("done",)]


@pytest.mark.long
async def test_what_an_outage_kept_goes_with_the_connection(harness: Harness, hive: Hive) -> None:
    number = await hive.push("fail once")
    await harness.start()
    await hive.until(lambda: hive.state == "rate-limited")
    await hive.stop()
    assert [message["redeliveries"] for message in hive.queued] == [1]
    await hive.start()
    await hive.until(lambda: hive.acknowledged == [number])
    prompts = harness.rows(
        "hyperhive-events.sqlite", "SELECT data FROM events WHERE type = 'wake' ORDER BY id"
    )
    assert [r"redelivered=\"1 times\"" in prompt for (prompt,) in prompts] == [False, True]


@pytest.mark.long
async def test_what_an_outage_kept_is_given_back_at_the_end(harness: Harness, hive: Hive) -> None:
    number = await hive.push("bad key")
    await harness.start()
    await hive.until(lambda: hive.state == "needs-login")
    assert await harness.stop(limit=10.0) == 0
    assert hive.called("release") == 1
    assert [message["id"] for message in hive.queued] == [number]


@pytest.mark.long
async def test_a_request_that_the_model_cannot_take_is_given_back(
    harness: Harness, hive: Hive
) -> None:
    number = await hive.push("too much")
    await harness.start()
    await hive.until(lambda: hive.called("release") == 1)
    await hive.until(lambda: hive.acknowledged == [number])


@pytest.mark.long
async def test_two_failures_in_a_row_begin_a_new_session(harness: Harness, hive: Hive) -> None:
    first = await hive.push("hello")
    await harness.start()
    await hive.until(lambda: hive.acknowledged == [first])
    session = (harness.state / "hyperhive-session-id").read_text()
    number = await hive.push("wait for go")
    for failures in (1, 2):
        await hive.until(lambda n=failures: len(hive.sent) == n)  # type: ignore[misc]
        os.kill(harness.claude(), signal.SIGKILL)
        await hive.until(lambda n=failures: hive.called("release") == n)  # type: ignore[misc]
    (harness.state / "go").touch()
    await hive.until(lambda: hive.acknowledged == [first, number])
    assert (harness.state / "hyperhive-session-id").read_text() != session


@pytest.mark.long
async def test_a_refused_key_needs_a_login(harness: Harness, hive: Hive) -> None:
    await hive.push("bad key")
    await harness.start()
    await hive.until(lambda: hive.state == "needs-login")
    assert hive.reports[-1]["logged_in"] is False
    assert hive.called("release") == 0


async def test_without_credentials_no_turn_is_run(harness: Harness, hive: Hive) -> None:
    number = await hive.push("hello")
    await harness.start(api="none")
    await hive.until(lambda: hive.state == "needs-login")
    assert hive.called("recv") == 0
    (harness.root / ".claude" / ".credentials.json").write_text("{}")
    await hive.until(lambda: hive.called("recv") == 1)
    assert hive.acknowledged != [number]


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.long
async def test_credentials_of_the_gateway_end_the_wait(
    harness: Harness, hive: Hive, linked: bool
) -> None:
    number = await hive.push("hello")
    given = {}
    if linked:  # as in a NixOS system, whose own directory does not change
        (harness.root / "etc").mkdir()
        (harness.root / "etc/harness.json").symlink_to(harness.root / "harness.json")
        given["HIVE_CONFIG"] = str(harness.root / "etc/harness.json")
    await harness.start(given, api="none")
    await hive.until(lambda: hive.state == "needs-login")
    file = harness.root / "harness.json"
    new = harness.root / ".new"
    new.write_text(json.dumps({**json.loads(file.read_text()), "api": "gateway"}))
    new.rename(file)
    await hive.until(lambda: hive.acknowledged == [number])
    assert hive.reports[-1]["credential"] == "key"


@pytest.mark.long
async def test_a_killed_claude_is_started_again(harness: Harness, hive: Hive) -> None:
    number = await hive.push("wait for go")
    await harness.start()
    await hive.until(lambda: len(hive.sent) == 1)
    os.kill(harness.claude(), signal.SIGKILL)
    await hive.until(lambda: hive.called("release") == 1)
    (harness.state / "go").touch()
    await hive.until(lambda: hive.acknowledged == [number])
    assert [message["body"] for message in hive.sent][-1] == "over"


async def test_sigterm_in_a_turn_releases(harness: Harness, hive: Hive) -> None:
    number = await hive.push("work")
    await harness.start()
    await hive.until(lambda: len(hive.sent) == 1)
    claude = harness.claude()
    assert await harness.stop() == 0
    assert "STOPPING=1" in harness.notes
    assert hive.called("release") == 1
    assert [message["id"] for message in hive.queued] == [number]
    assert not _alive(claude)
    rows = harness.rows("hyperhive-turn-stats.sqlite", "SELECT outcome FROM turns")
    assert rows == [("cancelled",)]


async def test_sigterm_while_waiting_ends_at_once(harness: Harness, hive: Hive) -> None:
    await harness.start()
    await hive.until(lambda: hive.called("recv") == 1)
    assert await harness.stop(limit=10.0) == 0


async def test_kill_of_the_harness_redelivers(harness: Harness, hive: Hive) -> None:
    number = await hive.push("wait for go")
    await harness.start()
    await hive.until(lambda: len(hive.sent) == 1)
    await harness.stop(signal.SIGKILL)
    await hive.until(lambda: [m["redeliveries"] for m in hive.queued] == [1])
    (harness.state / "go").touch()
    await harness.start()
    await hive.until(lambda: hive.acknowledged == [number])


@pytest.mark.long
async def test_a_lost_connection_in_a_turn_costs_nothing(harness: Harness, hive: Hive) -> None:
    number = await hive.push("wait for go")
    await harness.start()
    await hive.until(lambda: len(hive.sent) == 1)
    await hive.stop()
    await hive.start()
    # The model's own connection is back too:
    await hive.until(lambda: _connected_again(hive))
    (harness.state / "go").touch()
    await hive.until(lambda: hive.acknowledged == [number])
    assert [message["body"] for message in hive.sent] == ["waiting", "over"]
    rows = harness.rows("hyperhive-turn-stats.sqlite", "SELECT outcome FROM turns")
    assert rows == [("done",)]


@pytest.mark.long
async def test_the_harness_waits_for_a_hive_that_is_down(harness: Harness, hive: Hive) -> None:
    await hive.stop()
    await harness.start()
    await hive.start()
    await harness.noted("READY=1")
    number = await hive.push("hello")
    await hive.until(lambda: hive.acknowledged == [number])
    await hive.stop()
    await hive.start()
    number = await hive.push("tell alice hello")
    await hive.until(lambda: number in hive.acknowledged)
    assert hive.sent[-1]["body"] == "hello"


@pytest.mark.long
async def test_a_connection_that_closes_in_the_handshake_is_tried_again(
    harness: Harness, hive: Hive
) -> None:
    hive.rude = True
    number = await hive.push("hello")
    await harness.start()
    await hive.until(lambda: len(hive.greeted) == 3)
    hive.rude = False
    await hive.until(lambda: hive.acknowledged == [number])
    assert harness.process is not None
    assert harness.process.returncode is None


@pytest.mark.long
async def test_a_turn_has_a_time_limit(harness: Harness, hive: Hive) -> None:
    await hive.push("work")
    await harness.start(turn_timeout=4.0)
    await hive.until(lambda: hive.called("release") == 1)
    assert hive.reasons == ["the turn took more than 4 s"]


async def test_a_tool_that_is_not_allowed_is_refused(harness: Harness, hive: Hive) -> None:
    number = await hive.push("fetch")
    await harness.start()
    await hive.until(lambda: hive.acknowledged == [number])
    results = harness.rows(
        "hyperhive-events.sqlite", "SELECT data FROM events WHERE type = 'tool-result'"
    )
    assert '"error": true' in results[0][0]


@pytest.mark.parametrize("kind", ["command", pytest.param("url", marks=pytest.mark.long)])
@pytest.mark.long
async def test_a_server_of_its_own_is_there(
    harness: Harness, hive: Hive, serve_greeter: Callable[[], Awaitable[str]], kind: str
) -> None:
    number = await hive.push("greet Ada")
    server = {"url": await serve_greeter(), "headers": {"X-Word": "Hi"}}
    if kind == "command":
        server = {"command": sys.executable, "args": [greeter.__file__], "env": {"WORD": "Hi"}}
    # A missing server, and one that never answers, do not disturb the others.
    silent = {"command": "tail", "args": ["-f", "/dev/null"]}
    servers = {"greeter": server, "missing": {"command": "/no/such/program"}, "silent": silent}
    quick = {"CLAUDE_CODE_MAX_RETRIES": "0", "MCP_TIMEOUT": "8000"}
    await harness.start(mcp_servers=servers, environment=quick)
    await hive.until(lambda: hive.acknowledged == [number])
    assert [message["body"] for message in hive.sent] == ["Hi, Ada!"]


@pytest.mark.long
async def test_an_agents_variables_reach_its_commands_and_servers_alone(
    harness: Harness, hive: Hive
) -> None:
    variables = {
        "WORD": "Good day",
        "SHELLOPTS": "xtrace",
        "PS4": "$(touch traced) ",
        "LD_PRELOAD": "/nowhere/preload.so",
        "NODE_OPTIONS": "--require=/nowhere/module.js",
        "BUN_OPTIONS": "--preload=/nowhere/module.js",
        "OPENSSL_CONF": "/nowhere/openssl.cnf",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "ANTHROPIC_MODEL": "another",
        "CLAUDE_CONFIG_DIR": "/nowhere",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    servers = {"greeter": {"command": sys.executable, "args": [greeter.__file__]}}
    await harness.start(command_environment=variables, mcp_servers=servers)
    for words, answer in (
        ("print WORD", "Good day"),
        ("print HTTP_PROXY", "http://127.0.0.1:9"),
        ("print CLAUDE_CONFIG_DIR", "/nowhere"),
        ("greet Ada", "Good day, Ada!"),
    ):
        number = await hive.push(words)
        await hive.until(lambda n=number: n in hive.acknowledged)  # type: ignore[misc]
        assert answer in hive.sent[-1]["body"]
    # A relay that starts after commands have run has none of their variables either.
    await hive.stop()
    await hive.start()
    number = await hive.push("print WORD")
    await hive.until(lambda: number in hive.acknowledged)
    lines = harness.processes("cmdline")
    having = [
        lines[pid][1]
        for pid, environ in harness.processes("environ").items()
        if any(f"{name}={value}" in environ for name, value in variables.items())
    ]
    assert having == [greeter.__file__]
    assert any("UNIX-CONNECT" in " ".join(line) for line in lines.values()), "there is no relay"


@pytest.mark.long
async def test_no_argument_tells_what_an_agent_is_told(
    harness: Harness, hive: Hive, serve_greeter: Callable[[], Awaitable[str]]
) -> None:
    """Every user of the host can read the arguments of every process."""
    web = {"url": await serve_greeter(), "headers": {"X-Word": "secret-header"}}
    silent = {"command": "tail", "args": ["-f", "/dev/null"], "env": {"A": "secret-of-server"}}
    await harness.start(
        prompt="secret-prompt",
        environment={"CLAUDE_CODE_MAX_RETRIES": "0", "MCP_TIMEOUT": "8000", "A": "secret-value"},
        command_environment={"B": "secret-variable"},
        mcp_servers={"greeter": web, "silent": silent},
        allowed_tools=["WebFetch(domain:secret.example)"],
    )
    number = await hive.push("greet Ada")
    await hive.until(lambda: number in hive.acknowledged)
    assert hive.sent[-1]["body"] == "secret-header, Ada!"
    lines = {pid: " ".join(line) for pid, line in harness.processes("cmdline").items()}
    assert "claude" in lines[harness.claude()]
    assert any("UNIX-CONNECT" in line for line in lines.values()), "there is no relay"
    assert [line for line in lines.values() if "secret" in line or "You are bob" in line] == []


@pytest.mark.long
async def test_a_resumed_session_has_the_new_prompt(
    harness: Harness, hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = []

    def read(request: dict[str, Any]) -> conversation.Conversation:
        systems.append(str(request["system"]))
        return original(request)

    original = conversation.read
    monkeypatch.setattr(conversation, "read", read)
    for prompt in ("You write poems.", "You write prose."):
        number = await hive.push("hello")
        await harness.start(prompt=prompt)
        await hive.until(lambda n=number: n in hive.acknowledged)  # type: ignore[misc]
        assert await harness.stop() == 0
    found = [re.findall("You write [a-z]+", system) for system in systems]
    assert found == [["You write poems"], ["You write prose"]]


@pytest.mark.long
async def test_the_manager_may_write_what_it_proposes(
    harness: Harness, hive: Hive, tmp_path: Path
) -> None:
    file = tmp_path / "agents/alice/agent.toml"
    number = await hive.push(f"configure {file}")
    await harness.start(manager=True)
    await hive.until(lambda: hive.acknowledged == [number])
    assert file.read_text() == "model = 'b'\n"


@pytest.mark.long
async def test_a_model_that_is_down_is_an_error(
    harness: Harness, hive: Hive, serve_model: Callable[..., Any]
) -> None:
    number = await hive.push("hello")
    await harness.start({"HIVE_API": str(harness.root / "nobody.sock")})
    await hive.until(lambda: hive.state == "error")
    await harness.stop()
    assert hive.called("release") == 1
    await harness.start()
    await hive.until(lambda: hive.acknowledged == [number])


async def test_a_bad_configuration_is_told(harness: Harness) -> None:
    await harness.start(turn_timeout="soon")
    assert harness.process is not None
    async with asyncio.timeout(60):
        assert await harness.process.wait() == 78
    assert "key 'turn_timeout' must be a number of seconds above 0" in harness.log()


def _connected_again(hive: Hive) -> bool:
    return len(hive.greeted) >= 4


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.long
async def test_the_cost_of_a_turn_is_not_that_of_its_session(harness: Harness, hive: Hive) -> None:
    """Claude Code tells the cost of the session; it goes on after a resume, not after a kill."""
    await harness.start()

    async def turn() -> None:
        number = await hive.push("hello")
        await hive.until(lambda: number in hive.acknowledged)

    for _ in range(3):
        await turn()
    os.kill(harness.claude(), signal.SIGKILL)
    await turn()
    await harness.stop()
    await harness.start()
    await turn()
    rows = harness.rows(
        "hyperhive-turn-stats.sqlite",
        "SELECT cost_usd, session_cost_usd, input_tokens FROM turns WHERE cost_usd > 0 ORDER BY id",
    )
    prices = [cost / tokens for cost, _, tokens in rows]
    assert len(rows) == 5
    # Each turn reads a little more: the cost of a token stays nearly the same.
    assert max(prices) < 1.5 * min(prices), rows
