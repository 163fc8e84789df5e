"""The present activity of a running turn, in a few words."""

import time
from typing import TYPE_CHECKING, Final

from harness.jsonvalues import JsonObject
from harness.lines import one_line

if TYPE_CHECKING:
    from claude_agent_sdk import Message

MAX_DETAIL: Final = 120

_TELLING: Final = ("command", "file_path", "pattern", "url", "to", "question", "description")
"""The arguments that describe a call of a tool best."""


class Activity:
    """The activity of one turn, from the messages of Claude Code."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._tools: dict[str, str] = {}
        self._calls = 0
        self._words = ""

    def observe(self, message: "Message") -> None:
        """Take note of a message."""
        from claude_agent_sdk import (
            AssistantMessage,
            TextBlock,
            ToolResultBlock,
            ToolUseBlock,
            UserMessage,
        )

        if not isinstance(message, AssistantMessage | UserMessage):
            return
        for block in message.content if isinstance(message.content, list) else ():
            match block:
                case ToolUseBlock():
                    self._calls += 1
                    self._tools[block.id] = _described(block.name, block.input)
                case ToolResultBlock():
                    self._tools.pop(block.tool_use_id, None)
                case TextBlock() if isinstance(message, AssistantMessage):
                    self._words = block.text

    @property
    def now(self) -> str:
        """The tools that run now; empty while the model answers."""
        return ", ".join(self._tools.values())

    def cut_off(self, doing: str = "while the model answered") -> str:
        """Return a sentence for the operator, about the turn that was cut off at this moment.

        Args:
            doing: what it did if no tool ran.
        """
        seconds = time.monotonic() - self._began
        calls = f"{self._calls} {'call' if self._calls == 1 else 'calls'} of tools"
        doing = f"while it ran {self.now}" if self._tools else doing
        said = f'; it had said: "{one_line(self._words, MAX_DETAIL)}"' if self._words else ""
        return f"The turn was cut off after {seconds:.0f} s and {calls}, {doing}{said}."


def _described(name: str, given: JsonObject) -> str:
    short = name.removeprefix("mcp__")
    for key in _TELLING:
        if isinstance(value := given.get(key), str) and value:
            return f"{short}: {one_line(value, MAX_DETAIL)}"
    return short
