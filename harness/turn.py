"""One turn as it is seen from outside: events for the record, and its numbers."""

from typing import TYPE_CHECKING, Any

from harness.record import Record, Stats

if TYPE_CHECKING:
    from claude_agent_sdk import AssistantMessage, Message, ResultMessage


class Turn:
    """Follows the messages of a turn."""

    def __init__(self, record: Record, messages: list[int]) -> None:
        self._record = record
        self.stats = Stats(messages=messages)
        record.begin(messages)

    def seen(self, message: "Message") -> None:
        """Records a message of Claude Code."""
        from claude_agent_sdk import AssistantMessage, ResultMessage, SystemMessage, UserMessage

        match message:
            case AssistantMessage():
                self._answered(message)
                self._blocks(message.content)
            case UserMessage() if isinstance(message.content, list):
                self._blocks(message.content)
            case SystemMessage(subtype="init"):
                self._record.event("session", **_init(message.data))
            case ResultMessage():
                self._result(message)

    def end(self, outcome: str, error: str | None = None) -> None:
        """The turn is over: `done`, `failed` or `cancelled`."""
        self.stats.outcome, self.stats.error = outcome, error
        self._record.event("turn-end", outcome=outcome, error=error)
        self._record.end(self.stats)

    def _answered(self, message: "AssistantMessage") -> None:
        if not message.model.startswith("<"):  # <synthetic> is Claude Code talking to itself
            self.stats.model = message.model
            self._record.model(message.model)
        usage = message.usage or {}
        read = _count(usage, "input_tokens", "cache_read_input_tokens")
        context = read + _count(usage, "cache_creation_input_tokens", "output_tokens")
        if read:
            self.stats.context_tokens = context

    def _blocks(self, blocks: list[Any]) -> None:
        from claude_agent_sdk import TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock

        for block in blocks:
            match block:
                case TextBlock():
                    self._record.event("text", text=block.text)
                case ThinkingBlock():
                    self._record.event("thinking", text=block.thinking)
                case ToolUseBlock():
                    self._record.event("tool-use", id=block.id, tool=block.name, input=block.input)
                case ToolResultBlock():
                    self._record.event(
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
        self._record.event(
            "result", text=message.result, error=message.is_error, denied_tools=denied
        )


def _count(usage: dict[str, Any], *keys: str) -> int:
    return sum(int(usage.get(key) or 0) for key in keys)


def _init(data: dict[str, Any]) -> dict[str, Any]:
    return {key: data.get(key) for key in ("session_id", "model", "tools", "mcp_servers")}
