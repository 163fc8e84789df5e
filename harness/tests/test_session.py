"""The session, with a scripted client of the SDK in place of Claude Code."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import claude_agent_sdk
import pytest
from claude_agent_sdk import AssistantMessage, Message, RateLimitEvent, RateLimitInfo, ResultMessage

from harness.claude.failures import Failure, TurnError
from harness.claude.session import ClaudeSession


class Client:
    """A client that gives the same answer to each prompt."""

    def __init__(self, answer: list[Message]) -> None:
        self.answer = answer

    async def connect(self) -> None:
        pass

    async def query(self, messages: AsyncIterator[Any]) -> None:
        async for _ in messages:
            pass

    async def receive_messages(self) -> AsyncIterator[Message]:
        for message in self.answer:
            yield message

    async def disconnect(self) -> None:
        pass


async def failure_of(
    answer: list[Message], monkeypatch: pytest.MonkeyPatch, file: Path
) -> TurnError:
    monkeypatch.setattr(claude_agent_sdk, "ClaudeSDKClient", lambda _: Client(answer))
    options: Any = lambda _: None  # noqa: E731
    session = ClaudeSession(options, file)
    await session.open()
    with pytest.raises(TurnError) as caught:
        await session.turn("hello", 60.0, lambda _: None)
    return caught.value


def limited(until: float) -> RateLimitEvent:
    return RateLimitEvent(RateLimitInfo("rejected", int(until)), "u", "s")


def answered(error: Any = None) -> AssistantMessage:
    return AssistantMessage(content=[], model="m", error=error)


def failed() -> ResultMessage:
    return ResultMessage("success", 1, 1, True, 1, "s", result="no such thing")


async def test_a_limit_ends_with_the_models_next_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    until = int(time.time()) + 3600
    refused: list[Message] = [limited(until), answered("rate_limit")]
    failure = await failure_of([*refused, failed()], monkeypatch, tmp_path / "id")
    assert (failure.failure, failure.until) == (Failure.LIMIT, until)
    failure = await failure_of([*refused, answered(), failed()], monkeypatch, tmp_path / "id")
    assert (failure.failure, failure.until) == (Failure.REFUSED, 0.0)
