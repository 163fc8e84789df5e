"""A turn, as observed from outside: its events and its figures."""

from typing import TYPE_CHECKING

from harness.jsonvalues import JsonObject
from harness.store import TurnStats, TurnStore

if TYPE_CHECKING:
    from claude_agent_sdk import AssistantMessage, ContentBlock, Message, ResultMessage


class Turn:
    """An observer of the messages of a turn."""

    def __init__(self, store: TurnStore, messages: list[int]) -> None:
        self._store = store
        self.stats = TurnStats(messages=messages)
        store.begin(messages)

    def observe(self, message: "Message") -> None:
        """Record a message of Claude Code."""
        from claude_agent_sdk import AssistantMessage, ResultMessage, SystemMessage, UserMessage

        match message:
            case AssistantMessage():
                self._answered(message)
                self._blocks(message.content)
            case UserMessage() if isinstance(message.content, list):
                self._blocks(message.content)
            case SystemMessage(subtype="init"):
                self._store.event("session", **_init(message.data))
            case ResultMessage():
                self._result(message)

    def end(self, outcome: str, error: str | None = None) -> None:
        """End the turn.

        Args:
            outcome: `done`, `failed` or `cancelled`.
            error: the reason, unless the turn is done.
        """
        self.stats.outcome, self.stats.error = outcome, error
        self._store.event("turn-end", outcome=outcome, error=error)
        self._store.end(self.stats)

    def _answered(self, message: "AssistantMessage") -> None:
        if not message.model.startswith("<"):  # <synthetic>: Claude Code itself wrote it
            self.stats.model = message.model
            self._store.model(message.model)
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
                    self._store.event("tool-use", id=block.id, tool=block.name, input=block.input)
                case ToolResultBlock():
                    self._store.event(
                        "tool-result",
                        id=block.tool_use_id,
                        content=block.content,
                        error=bool(block.is_error),
                    )

    def _result(self, message: "ResultMessage") -> None:
        usage, stats = message.usage or {}, self.stats
        stats.session, stats.steps = message.session_id, message.num_turns
        stats.cost_usd = message.total_cost_usd
        stats.input_tokens = _count(
            usage, "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"
        )
        stats.output_tokens = _count(usage, "output_tokens")
        denied = [str(denial.get("tool_name")) for denial in message.permission_denials or []]
        self._store.event(
            "result", text=message.result, error=message.is_error, denied_tools=denied
        )


def _count(usage: JsonObject, *keys: str) -> int:
    return sum(int(usage.get(key) or 0) for key in keys)


def _init(data: JsonObject) -> JsonObject:
    return {key: data.get(key) for key in ("session_id", "model", "tools", "mcp_servers")}
