"""The reactions of the real Claude Code to each scenario, on which the harness relies."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    RateLimitEvent,
    ResultMessage,
    SystemMessage,
    ToolResultBlock,
    UserMessage,
)

from sandbox.model import scenario
from sandbox.model.script import Script
from sandbox.model.server import application

SCENARIOS = Path(scenario.__file__).with_name("scenarios")

KEY = {"ANTHROPIC_API_KEY": "scripted"}
ACCOUNT = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-scripted"}

Ask = Callable[..., Any]


@pytest_asyncio.fixture
async def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ask]:
    """Return a function that has turns with a fresh Claude Code, and returns their messages."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC", "CLAUDE")):
            monkeypatch.delenv(name)
    app = application(Script(scenario.load(SCENARIOS)))
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    environment = {
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{runner.addresses[0][1]}",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }

    async def turns(
        *prompts: str, credentials: dict[str, str] = KEY, retries: int = 0, model: str | None = None
    ) -> list[Message]:
        options = ClaudeAgentOptions(
            system_prompt="Hyperhive agent: bob",
            tools=["Bash"],
            allowed_tools=["Bash"],
            permission_mode="dontAsk",
            setting_sources=[],
            cwd=tmp_path,
            model=model,
            env=environment | credentials | {"CLAUDE_CODE_MAX_RETRIES": str(retries)},
        )
        messages: list[Message] = []
        async with ClaudeSDKClient(options) as client:
            for prompt in prompts:
                await client.query(prompt)
                messages = [message async for message in client.receive_response()]
        return messages

    yield turns
    await runner.cleanup()


def result(messages: list[Message]) -> ResultMessage:
    [found] = [message for message in messages if isinstance(message, ResultMessage)]
    return found


def error(messages: list[Message]) -> str | None:
    """Return the kind of error in the last answer."""
    answers = [message for message in messages if isinstance(message, AssistantMessage)]
    return answers[-1].error


def systems(messages: list[Message], subtype: str) -> list[dict[str, Any]]:
    found = [message for message in messages if isinstance(message, SystemMessage)]
    return [message.data for message in found if message.subtype == subtype]


@pytest.mark.long
async def test_tools_in_parallel(ask: Ask) -> None:
    messages = await ask("play tools-in-parallel")
    results = [
        block
        for message in messages
        if isinstance(message, UserMessage) and isinstance(message.content, list)
        for block in message.content
        if isinstance(block, ToolResultBlock)
    ]
    assert len(results) == 3, "they come in any order"
    assert {"one", "two"} < {str(block.content) for block in results}
    assert {"one", "two"} < set(
        str(result(messages).result).removeprefix("All three: ").split("\n")
    )


@pytest.mark.parametrize(
    ("name", "kind", "status", "words"),
    [
        ("overloaded", "server_error", 529, "529"),
        ("rate-limit", "rate_limit", 429, "429"),
        ("usage-limit", "rate_limit", 429, "429"),
        ("bad-key", "authentication_failed", 401, "Invalid API key"),
        ("token-expired", "authentication_failed", 401, "401"),
        ("permission", "authentication_failed", 403, "403"),
        ("credit-balance", "billing_error", 400, "Credit balance is too low"),
        ("prompt-too-long", "invalid_request", 400, "Prompt is too long"),
    ],
)
@pytest.mark.long
async def test_failures(ask: Ask, name: str, kind: str, status: int, words: str) -> None:
    messages = await ask(f"play {name}")
    failed = result(messages)
    assert failed.is_error
    assert (error(messages), failed.api_error_status) == (kind, status)
    assert words in str(failed.result)


@pytest.mark.long
async def test_a_retry_is_told_at_once(ask: Ask) -> None:
    messages = await ask("play overloaded-once", retries=3)
    assert result(messages).result == "The load is gone."
    [retry] = systems(messages, "api_retry")
    assert (retry["error"], retry["error_status"], retry["attempt"]) == ("overloaded", 529, 1)
    messages = await ask("play rate-limit-for 3", retries=3)
    assert result(messages).result == "The limit has ended."
    assert systems(messages, "api_retry")[0]["error"] == "rate_limit"
    assert systems(messages, "api_retry")[0]["retry_delay_ms"] >= 3000, "Retry-After is obeyed"


async def test_an_account_is_told_when_its_limit_ends(ask: Ask) -> None:
    messages = await ask("play usage-limit", credentials=ACCOUNT, retries=3)
    [event] = [message for message in messages if isinstance(message, RateLimitEvent)]
    info = event.rate_limit_info
    assert (info.status, info.rate_limit_type) == ("rejected", "five_hour")
    assert info.resets_at is not None
    assert error(messages) == "rate_limit"
    assert not systems(messages, "api_retry"), "it is not tried again"
    assert "5-hour limit" in str(result(messages).result)


@pytest.mark.parametrize("name", ["cut-stream", "garbage-stream", "overloaded-in-the-stream"])
@pytest.mark.long
async def test_broken_streams_are_tried_again(ask: Ask, name: str) -> None:
    messages = await ask(f"play {name}", retries=3)
    assert not result(messages).is_error
    assert result(messages).result in ("This time it is whole.", "The load is gone.")


@pytest.mark.long
async def test_a_prompt_that_is_too_long_is_compacted(ask: Ask) -> None:
    messages = await ask("one", "two", "play prompt-too-long")
    assert result(messages).result == "Now it fits."
    [boundary] = systems(messages, "compact_boundary")
    assert boundary["compact_metadata"]["trigger"] == "auto"


@pytest.mark.long
async def test_models(ask: Ask) -> None:
    messages = await ask("play which-model", model="claude-haiku-5")
    assert result(messages).result == "I am claude-haiku-5."
    messages = await ask("play which-model", model="claude-gone-1")
    assert error(messages) == "model_not_found"
