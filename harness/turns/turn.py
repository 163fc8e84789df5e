"""A turn, as observed from outside: its events and its figures."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.events.store import EventStore
from harness.events.turns import Cause, TurnStats
from harness.hive_client import Message as HiveMessage
from harness.jsonvalues import Json, JsonObject

if TYPE_CHECKING:
    from claude_agent_sdk import (
        AssistantMessage,
        ContentBlock,
        Message,
        RateLimitInfo,
        ResultMessage,
        StreamEvent,
        SystemMessage,
    )

    from harness.telemetry.telemetry import Telemetry


class Turn:
    """An observer of the messages of a turn."""

    def __init__(
        self,
        store: EventStore,
        messages: Sequence[HiveMessage],
        telemetry: "Telemetry | None" = None,
    ) -> None:
        self._store = store
        self._began = time.monotonic()
        self.stats = TurnStats()
        self.number = store.begin([Cause(m.id, m.sender, m.kind) for m in messages])
        self._spans = telemetry.begin(self.number, messages) if telemetry else None

    def woken(self, messages: Sequence[HiveMessage], prompt: str) -> None:
        """Record the prompt that starts the turn."""
        self._store.event("wake", messages=_causes(messages), prompt=prompt)

    def urgent(self, messages: Sequence[HiveMessage], prompt: str) -> None:
        """Record urgent messages that reached the running turn."""
        self._store.event("urgent", messages=_causes(messages), prompt=prompt)
        if self._spans:
            self._spans.urgent(messages)

    def observe(self, message: "Message") -> None:
        """Record a message of Claude Code."""
        from claude_agent_sdk import (
            AssistantMessage,
            RateLimitEvent,
            ResultMessage,
            StreamEvent,
            SystemMessage,
            UserMessage,
        )

        if self._spans:
            self._spans.observe(message)
        match message:
            case StreamEvent():
                self._stream(message)
            case AssistantMessage():
                self._answered(message)
                self._blocks(message.content)
            case UserMessage() if isinstance(message.content, list):
                self._blocks(message.content)
            case SystemMessage():
                self._system(message)
            case RateLimitEvent():
                self._limit(message.rate_limit_info)
            case ResultMessage():
                self._result(message)

    def end(self, outcome: str, error: str | None = None, kind: str = "") -> None:
        """End the turn.

        Args:
            outcome: `done`, `failed` or `cancelled`.
            error: the reason, unless the turn is done.
            kind: the kind of the failure, in a word.
        """
        stats = self.stats
        stats.outcome, stats.error = outcome, error
        self._store.event(
            "turn-end",
            outcome=outcome,
            error=error,
            seconds=round(time.monotonic() - self._began, 3),
            cost_usd=stats.cost_usd,
        )
        self._store.end(stats)
        if self._spans:
            self._spans.end(stats, "" if error is None else kind or outcome)

    def _milliseconds(self) -> int:
        return round((time.monotonic() - self._began) * 1000)

    def _stream(self, message: "StreamEvent") -> None:
        if message.parent_tool_use_id is not None:
            return
        if self.stats.first_token_ms is None and message.event.get("type") != "message_start":
            self.stats.first_token_ms = self._milliseconds()
        if message.event.get("type") in ("message_start", "content_block_start"):
            self._store.begin_block()
        delta = message.event.get("delta")
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                self._store.partial("text", text)
            case {"type": "thinking_delta", "thinking": str(text)}:
                self._store.partial("thinking", text)

    def _system(self, message: "SystemMessage") -> None:
        data = message.data
        match message.subtype:
            case "init":
                if self._store.session(_init(data)):
                    for server in _servers(data):
                        if server["status"] not in ("connected", "pending"):
                            self._store.event(
                                "server-failed", name=server["name"], error=server["status"]
                            )
            case "status" if data.get("status") == "requesting":
                if self.stats.first_request_ms is None:
                    self.stats.first_request_ms = self._milliseconds()
            case "permission_denied":
                # Permissions records the denials of the operator: Claude Code does not tell them.
                tool = str(data.get("tool_name"))
                self._store.event("denied", tool=tool, reason="it is not among the allowed tools")
            case "compact_boundary":
                details = data.get("compact_metadata") or {}
                self._store.event(
                    "compacted",
                    trigger=details.get("trigger"),
                    before=details.get("pre_tokens"),
                    after=details.get("post_tokens"),
                )

    def _limit(self, limit: "RateLimitInfo") -> None:
        if limit.status != "allowed":
            kind = (limit.rate_limit_type or "usage").replace("_", " ")
            word = "is used up" if limit.status == "rejected" else "is nearly used up"
            self._store.event("limit", until=limit.resets_at or 0, text=f"the {kind} limit {word}")

    def _answered(self, message: "AssistantMessage") -> None:
        if self.stats.first_token_ms is None:
            self.stats.first_token_ms = self._milliseconds()
        if message.model.startswith("<"):  # <synthetic>: Claude Code itself wrote it
            return
        if message.parent_tool_use_id is not None:
            return
        self.stats.model = message.model
        usage = message.usage or {}
        read = _count(usage, "input_tokens", "cache_read_input_tokens")
        context = read + _count(usage, "cache_creation_input_tokens", "output_tokens")
        if read:
            self.stats.context_tokens = context

    def _blocks(self, blocks: "list[ContentBlock]") -> None:
        from claude_agent_sdk import TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock

        for block in blocks:
            match block:
                case TextBlock():
                    self._store.event("text", text=block.text)
                case ThinkingBlock():
                    self._store.event("thinking", text=block.thinking)
                case ToolUseBlock():
                    self.stats.tools[block.name] = self.stats.tools.get(block.name, 0) + 1
                    self._store.event("tool-use", id=block.id, tool=block.name, input=block.input)
                case ToolResultBlock():
                    self._store.event(
                        "tool-result",
                        id=block.tool_use_id,
                        content=block.content,
                        error=bool(block.is_error),
                    )

    def _result(self, message: "ResultMessage") -> None:
        """Record a result; a turn that an urgent message has interrupted has two."""
        usage, stats = message.usage or {}, self.stats
        read = _count(usage, "cache_read_input_tokens")
        written = _count(usage, "cache_creation_input_tokens")
        stats.session = message.session_id
        stats.steps = (stats.steps or 0) + message.num_turns
        stats.cache_read_tokens = (stats.cache_read_tokens or 0) + read
        stats.cache_write_tokens = (stats.cache_write_tokens or 0) + written
        given = _count(usage, "input_tokens") + read + written
        stats.input_tokens = (stats.input_tokens or 0) + given
        stats.output_tokens = (stats.output_tokens or 0) + _count(usage, "output_tokens")
        stats.cost_usd = self._cost(message)
        stats.session_cost_usd = message.total_cost_usd
        stats.denied += len(message.permission_denials or [])
        self._store.event("result", text=message.result, error=message.is_error)

    def _cost(self, message: "ResultMessage") -> float | None:
        """Return the cost of this turn: Claude Code tells that of the whole session.

        It continues that sum when it resumes a session that it has closed in order, and begins with
        0 when it was killed.
        """
        total = message.total_cost_usd
        if total is None:
            return None
        before = self._store.turns.session_cost(message.session_id) or 0.0
        tokens = (self.stats.input_tokens or 0) + (self.stats.output_tokens or 0)
        if total < before or _tokens_of_session(message) <= tokens:
            return total
        return total - before


def _tokens_of_session(message: "ResultMessage") -> int:
    keys = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    return sum(_count(dict(usage), *keys) for usage in (message.model_usage or {}).values())


def _causes(messages: Sequence[HiveMessage]) -> list[JsonObject]:
    return [Cause(m.id, m.sender, m.kind).json() for m in messages]


def _count(usage: JsonObject, *keys: str) -> int:
    return sum(int(usage.get(key) or 0) for key in keys)


def _init(data: JsonObject) -> JsonObject:
    return {
        "session_id": data.get("session_id"),
        "model": data.get("model"),
        "tools": data.get("tools"),
        "mcp_servers": _servers(data),
    }


def _servers(data: JsonObject) -> list[JsonObject]:
    servers: Json = data.get("mcp_servers")
    return [
        {"name": str(server.get("name")), "status": str(server.get("status"))}
        for server in (servers if isinstance(servers, list) else [])
        if isinstance(server, dict)
    ]
