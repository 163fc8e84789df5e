"""A tool call in the words of a question: its key, its text, and the rule that would allow it."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.jsonvalues import Json, JsonObject

if TYPE_CHECKING:
    from claude_agent_sdk import PermissionUpdate

MAX_FIRST: Final = 30_000
"""Characters of the argument that says what the call does. It is shown whole, or the call is
refused: nobody can decide about a call that nobody can read."""

MAX_OTHER: Final = 4000
"""Characters of any other argument; the rest is left out, and the text says so."""

MAX_ARGUMENTS: Final = 50

_FIRST: Final = {
    "Bash": ("command",),
    "Edit": ("file_path", "old_string", "new_string"),
    "NotebookEdit": ("notebook_path", "new_source"),
    "WebFetch": ("url", "prompt"),
    "WebSearch": ("query",),
    "Write": ("file_path", "content"),
}
"""The arguments to show first; the first of them says what the call does."""

_RULE: Final = re.compile(r"[A-Za-z][\w-]{0,127}(\([^()\x00-\x1f]{1,256}\))?", re.ASCII)
"""The rules that agent.toml accepts."""


@dataclass(frozen=True)
class Call:
    """A call of a tool.

    Attributes:
        tool: The name of the tool.
        input: Its arguments.
        suggestions: The rules that Claude Code suggests for such calls.
        reason: Claude Code's reason to ask, in addition to the rules; may be empty.
    """

    tool: str
    input: JsonObject
    suggestions: "Sequence[PermissionUpdate]" = ()
    reason: str = ""

    @property
    def key(self) -> str:
        """A key that only a call with the same tool and the same arguments has."""
        return key_of(self.tool, self.input)

    @property
    def rule(self) -> str | None:
        """The rule that would allow such calls; None if no rule says what it would allow.

        A command is taken word for word, without any placeholder: Claude Code suggests rules for
        the parts of a command that no rule allows, and they would allow other commands with such
        a part. For other tools its suggestion comes first.
        """
        rules = [
            rule
            for update in self.suggestions
            if update.type == "addRules" and update.behavior == "allow"
            for rule in update.rules or ()
        ]
        content: str | None = None
        if self.tool == "Bash":
            content = str(self.input.get("command", "")).strip()
            if not content or "*" in content or not content.isprintable():
                return None
        elif len(rules) == 1 and rules[0].tool_name == self.tool:
            content = rules[0].rule_content
        rule = self.tool if content is None else f"{self.tool}({content})"
        return rule if _RULE.fullmatch(rule) else None

    @property
    def hidden(self) -> str:
        """The reason why the call cannot be shown; empty if it can."""
        for name in self._ordered()[:1]:
            length = len(_shown(self.input[name]))
            if length > MAX_FIRST:
                return (
                    f"its argument {name!r} has {length} characters, and the operator could not "
                    f"read more than {MAX_FIRST}"
                )
        return ""

    @property
    def text(self) -> str:
        """The call in words: the tool, then each argument, the most important one first.

        Arguments are indented, so none of them can look like another line of the text.
        """
        lines = [f"May I use {_line(self.tool)}?"]
        names = self._ordered()
        for at, name in enumerate(names[:MAX_ARGUMENTS]):
            value = _shown(self.input[name])
            most = MAX_FIRST if at == 0 else MAX_OTHER
            left_out = len(value) - most
            lines += ["", f"{_line(name)}:", *_indented(value[:most])]
            if left_out > 0:
                lines.append(f"[{left_out} more characters are not shown]")
        if len(names) > MAX_ARGUMENTS:
            lines += ["", f"[{len(names) - MAX_ARGUMENTS} more arguments are not shown]"]
        if self.reason:
            lines += ["", "Claude Code asks because:", *_indented(self.reason[:MAX_OTHER])]
        return encodable("\n".join(lines))

    @property
    def summary(self) -> str:
        """The most important argument on one line of at most 200 characters."""
        first = " ".join(_shown(self.input[name]) for name in self._ordered()[:1])
        return encodable(_line(first)[:200])

    def _ordered(self) -> list[str]:
        first = [name for name in _FIRST.get(self.tool, ()) if name in self.input]
        return [*first, *(name for name in self.input if name not in first)]


def key_of(*parts: Json) -> str:
    """Return a key of these parts: 32 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def names_tool(rule: str, tool: str) -> bool:
    """Return whether a permission rule is about `tool`, for all calls or for some."""
    name = rule.partition("(")[0]
    return name == tool or (name.startswith("mcp__") and tool.startswith(f"{name}__"))


def encodable(text: str) -> str:
    """Return `text` without the halves of characters that JSON and D-Bus cannot carry, and NUL."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _line(text: str) -> str:
    return " ".join(text.split())


def _indented(text: str) -> Iterator[str]:
    return (f"    {line}" for line in text.splitlines() or [""])
