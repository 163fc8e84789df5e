"""The spans of one turn, from the messages of Claude Code: figures and names, and no texts."""

import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from harness.events.turns import TurnStats
from harness.hive_client import Message as HiveMessage
from harness.hive_client import reportable_model
from harness.jsonvalues import JsonObject
from harness.telemetry.span import Span, new_trace, parse_traceparent

if TYPE_CHECKING:
    from claude_agent_sdk import AssistantMessage, Message, StreamEvent, SystemMessage

MAX_LINKS: Final = 32
MAX_MESSAGES: Final = 64
TOOL_ERROR: Final = "tool_error"
CUT_OFF: Final = "cut_off"
"""The error of what has not ended when its turn does."""


class TurnSpans:
    """The observer of one turn.

    Claude Code tells when it sends a request, and streams the answer, so that the times of answers
    are known; those of a subagent's answers are not streamed, and so have no spans. A tool's span
    begins when the model has written the call.

    Args:
        number: the harness's number of the turn.
        messages: the messages that began it. The first one that belongs to a trace has the turn in
            its trace; the spans of the others are linked.
        model: the model that is asked, or empty.
        send: called with each span that has ended.
    """

    def __init__(
        self,
        number: int,
        messages: Sequence[HiveMessage],
        model: str,
        send: Callable[[Span], None],
    ) -> None:
        self._send = send
        contexts = [m.traceparent for m in messages if parse_traceparent(m.traceparent)]
        trace, parent = parse_traceparent(contexts[0] if contexts else "") or (new_trace(), "")
        self.turn = Span("invoke_agent", trace, time.time(), parent, turn=number)
        self.turn.model = model
        self._add(messages, contexts[1:])
        self._requested: float | None = None
        self._chat: Span | None = None
        self._tools: dict[str, Span] = {}

    def urgent(self, messages: Sequence[HiveMessage]) -> None:
        """Link the spans of messages that were put into the running turn."""
        self._add(messages, [m.traceparent for m in messages if parse_traceparent(m.traceparent)])

    def observe(self, message: "Message") -> None:
        """Take note of a message of Claude Code."""
        from claude_agent_sdk import AssistantMessage, StreamEvent, SystemMessage, UserMessage

        match message:
            case StreamEvent() if message.parent_tool_use_id is None:
                self._stream(message)
            case SystemMessage():
                self._system(message)
            case AssistantMessage():
                self._answered(message)
                self._blocks(message.content, message.parent_tool_use_id)
            case UserMessage() if isinstance(message.content, list):
                self._blocks(message.content, message.parent_tool_use_id)

    def end(self, stats: TurnStats, error: str = "") -> None:
        """End the span of the turn, and the spans in it that have not ended.

        Args:
            stats: the figures of the turn.
            error: the kind of the failure, in a word; empty for none.
        """
        now = time.time()
        if self._chat is not None:
            self._end_chat(now, CUT_OFF)
        for span in self._tools.values():
            self._end(span, now, CUT_OFF)
        self._tools.clear()
        turn = self.turn
        turn.outcome = stats.outcome
        turn.session = _word(stats.session)
        turn.answered_by = reportable_model(stats.model) or ""
        turn.input_tokens = stats.input_tokens or 0
        turn.output_tokens = stats.output_tokens or 0
        turn.cache_read_tokens = stats.cache_read_tokens or 0
        turn.cache_write_tokens = stats.cache_write_tokens or 0
        turn.cost_usd = max(0.0, stats.cost_usd or 0.0)
        self._end(turn, now, error)

    def _add(self, messages: Sequence[HiveMessage], links: Sequence[str]) -> None:
        turn = self.turn
        own = parse_traceparent(turn.traceparent)
        new = [link for link in links if link not in turn.links and parse_traceparent(link) != own]
        turn.links = [*turn.links, *new][:MAX_LINKS]
        turn.messages = [*turn.messages, *(m.id for m in messages)][:MAX_MESSAGES]

    def _end(self, span: Span, now: float, error: str) -> None:
        # A clock that was set back makes no span that ends before it begins.
        span.ended = max(span.started, now)
        span.error = _word(error)
        self._send(span)

    # --- answers of the model ----------------------------------------------------------------

    def _system(self, message: "SystemMessage") -> None:
        match message.subtype:
            case "init":
                self.turn.model = reportable_model(str(message.data.get("model") or "")) or ""
                self.turn.session = _word(message.data.get("session_id"))
            case "status" if message.data.get("status") == "requesting":
                self._requested = time.time()
            case "api_retry":
                kind = message.data.get("error_status") or message.data.get("error") or "error"
                self._failed(str(kind))

    def _stream(self, message: "StreamEvent") -> None:
        event = message.event
        match event.get("type"):
            case "message_start":
                self._begin_chat(event.get("message") or {})
            case "message_delta" if self._chat is not None:
                delta = event.get("delta") or {}
                self._chat.finish = _word(delta.get("stop_reason"))
                self._chat.output_tokens = _count(event.get("usage") or {}, "output_tokens")
            case "message_stop" if self._chat is not None:
                self._end_chat(time.time(), "")

    def _begin_chat(self, answer: JsonObject) -> None:
        now = time.time()
        if self._chat is not None:
            self._end_chat(now, CUT_OFF)
        usage = answer.get("usage") or {}
        chat = self._new("chat", now if self._requested is None else self._requested)
        chat.answered_by = reportable_model(str(answer.get("model") or "")) or ""
        chat.answer = _id(answer.get("id"))
        chat.cache_read_tokens = _count(usage, "cache_read_input_tokens")
        chat.cache_write_tokens = _count(usage, "cache_creation_input_tokens")
        cached = chat.cache_read_tokens + chat.cache_write_tokens
        chat.input_tokens = _count(usage, "input_tokens") + cached
        self._chat, self._requested = chat, None

    def _end_chat(self, now: float, error: str) -> None:
        chat, self._chat = self._chat, None
        if chat is not None:
            self._end(chat, now, error)

    def _answered(self, message: "AssistantMessage") -> None:
        if message.error and message.parent_tool_use_id is None:
            self._failed(message.error)

    def _failed(self, error: str) -> None:
        """End the answer that failed; a request without any answer has a span, too."""
        now = time.time()
        if self._chat is None and self._requested is not None:
            self._chat = self._new("chat", self._requested)
        self._requested = None
        self._end_chat(now, error)

    # --- tools -------------------------------------------------------------------------------

    def _blocks(self, blocks: Sequence[object], inside: str | None) -> None:
        from claude_agent_sdk import ToolResultBlock, ToolUseBlock

        for block in blocks:
            match block:
                case ToolUseBlock():
                    span = self._new("execute_tool", time.time())
                    if inside in self._tools:  # a subagent's call, below the call of the subagent
                        span.parent = self._tools[inside].span
                    span.tool = re.sub(r"[^A-Za-z0-9_.:/-]", "-", block.name)[:128]
                    span.call = _id(block.id)
                    self._tools[block.id] = span
                case ToolResultBlock() if block.tool_use_id in self._tools:
                    span = self._tools.pop(block.tool_use_id)
                    self._end(span, time.time(), TOOL_ERROR if block.is_error else "")

    def _new(self, operation: str, started: float) -> Span:
        turn = self.turn
        span = Span(operation, turn.trace, max(started, turn.started), turn.span, turn=turn.turn)
        span.session = turn.session
        if operation == "chat":
            span.model = turn.model
        return span


def _word(value: object) -> str:
    """Return a value as a word that the hive takes."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", str(value or ""))[:64]


def _id(value: object) -> str:
    return re.sub(r"[^A-Za-z0-9_.:-]", "_", str(value or ""))[:128]


def _count(usage: JsonObject, key: str) -> int:
    value = usage.get(key)
    return max(0, value) if isinstance(value, int) else 0
