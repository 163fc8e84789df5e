"""One run of Claude Code: the prompts of a turn or of a compaction, and their answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.jsonvalues import JsonObject

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeSDKClient, Message, ResultMessage

    Observer = Callable[[Message], None]
    """Called with every message of Claude Code."""

NEXT_RUN: Final = 10.0
"""Seconds in which Claude Code goes on with a prompt that came too late for the running answer."""

_ABORTED: Final = ("aborted_streaming", "aborted_tools")


@dataclass(frozen=True)
class Outcome:
    """The end of a turn.

    Attributes:
        result: The last result.
        interrupted: Whether the turn was interrupted and did not go on.
    """

    result: "ResultMessage"
    interrupted: bool


@dataclass
class Run:
    """The prompts that were sent, and the state of their answers.

    Attributes:
        is_turn: Whether this is a turn, which takes further prompts; else it is a compaction.
        sent: The ids of the prompts.
        seen: The ids of the prompts that the model has read.
        writing: How many prompts are being sent; the run does not end meanwhile.
        cancelled: Whether the next result ends the run, whatever was not read.
        answering: Whether an answer is being given.
        error: Claude Code's name for the error of the last answer, if there was one.
        limit_until: The time at which a limit ends, in seconds since 1970; 0 if none is in force.
        result: The last result.
        over: Set when the run has ended.
        clock: The time limit.
        left: The seconds that were left when the clock was stopped; None while it runs.
    """

    is_turn: bool = True
    sent: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    writing: int = 0
    cancelled: bool = False
    answering: bool = True
    error: str | None = None
    limit_until: float = 0.0
    result: "ResultMessage | None" = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    clock: asyncio.Timeout | None = None
    left: float | None = None

    @property
    def unseen(self) -> frozenset[str]:
        """The prompts that the model has not read."""
        return frozenset(self.sent - self.seen)

    @property
    def outcome(self) -> Outcome | None:
        """The end of the run; None if no result has come."""
        return Outcome(self.result, _aborted(self.result)) if self.result else None

    def pause_clock(self) -> bool:
        """Stop the clock of the time limit; return whether there is one."""
        if self.clock is None or self.clock.expired():
            return False
        if self.left is None and (when := self.clock.when()) is not None:
            self.left = when - asyncio.get_running_loop().time()
            self.clock.reschedule(None)
        return True

    def resume_clock(self) -> None:
        """Let the clock of the time limit run again."""
        if self.clock is None or self.left is None or self.over.is_set():
            return
        left, self.left = self.left, None
        self.clock.reschedule(asyncio.get_running_loop().time() + left)

    async def read(self, client: "ClaudeSDKClient", observe: "Observer") -> None:
        """Read messages until the answer to all prompts has ended."""
        messages = aiter(client.receive_messages())
        while True:
            try:
                async with asyncio.timeout(None if self.answering else NEXT_RUN):
                    message = await anext(messages)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if self.answering:
                    raise
                return  # a prompt was lost: it stays unseen
            observe(message)
            if self._ends_with(message):
                return

    def _ends_with(self, message: "Message") -> bool:
        """Take note of a message; return whether it ends the run."""
        from claude_agent_sdk import AssistantMessage, RateLimitEvent, ResultMessage

        self.answering = True
        match message:
            case AssistantMessage():
                self.error = message.error
                if not message.error:  # the model answers: what was refused before is over
                    self.limit_until = 0.0
                self.seen.update(message.user_message_uuids or ())
            case RateLimitEvent() if message.rate_limit_info.status == "rejected":
                self.limit_until = float(message.rate_limit_info.resets_at or 0)
            case ResultMessage():
                self.result = message
                self.seen.update(message.user_message_uuids or ())
                self.answering = False
                failed = message.is_error and not _aborted(message)
                return failed or self.cancelled or not (self.unseen or self.writing)
        return False


async def write(client: "ClaudeSDKClient", text: str, number: str, *, verbatim: bool) -> None:
    """Send a prompt.

    Args:
        client: the client.
        text: the text. Verbatim, no @path and no /command in it has an effect: others wrote it.
        number: the id of the prompt, by which results name it.
        verbatim: whether to send it verbatim.
    """

    async def messages() -> AsyncIterator[JsonObject]:
        yield {
            "type": "user",
            "message": {"role": "user", "content": text},
            "parent_tool_use_id": None,
            "uuid": number,
            **({"client_composed": True} if verbatim else {}),
        }

    await client.query(messages())


def _aborted(result: "ResultMessage") -> bool:
    return result.terminal_reason in _ABORTED
