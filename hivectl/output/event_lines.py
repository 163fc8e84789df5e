"""The events of an agent as lines of a terminal: the messages that woke it, its text, its tools.

The agent can write any text into an event: each line is escaped, and only the first columns, with
the time and a label, are ours. Long texts are folded to their first lines, and the last line says
how many are left out.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatchmethod
from typing import Final, NamedTuple

from hivectl.output.formats import count, moment_of, money, span
from hivectl.output.terminal import STATE_COLOURS, Output
from hivectl.output.text import literal, one_line, safe, wrap
from wire.agent_web import edits, values
from wire.agent_web.records import (
    Cancelled,
    Cause,
    Compacted,
    Data,
    Denied,
    Event,
    Limit,
    Note,
    Other,
    Permission,
    Result,
    ServerFailed,
    Session,
    State,
    StateChanged,
    Thought,
    ToolResult,
    ToolUse,
    TurnEnd,
    Wake,
    Written,
)
from wire.names import OPERATOR, OWN_TOOLS
from wire.records.broker import have_numbers

LABEL: Final = 9
"""The columns of the longest label."""
GUTTER: Final = 10 + LABEL
"""The columns before the text: those of the time and the label, with spaces."""
SOME: Final = 6
"""The lines that are shown of the output of a tool."""
MORE: Final = 16
"""The lines that are shown of a command or a diff."""
LONGEST: Final = 500
"""The characters that are shown of a line of a folded text."""
CALLS: Final = 256
"""The calls of tools whose names are remembered until they end."""
CAUSES: Final = 20
"""The messages that are named of those that woke an agent."""

_SEND: Final = f"{OWN_TOOLS}send"
"""The name that Claude Code gives the hive's tool."""
_MESSAGE: Final = re.compile(r"<message-([0-9a-f]+) [^<>]*>")
"""The line before a message in the prompt that the harness makes."""
_LEVELS: Final = {"error": "red", "warning": "yellow"}


class Line(NamedTuple):
    """A line of an entry, which is not escaped yet; one that is `exact` shows plain words only."""

    text: str
    colour: str = ""
    exact: bool = False


class Entry(NamedTuple):
    """One event: a label of ours, and lines."""

    label: str
    lines: Sequence[Line]
    colour: str = ""
    """The colour of the label."""


class EventLines:
    """The lines of one agent's events, which are given in their order."""

    def __init__(self, output: Output, *, full: bool = False) -> None:
        """Take the output; with `full`, nothing is folded."""
        self._output = output
        self._full = full
        self._tools: dict[str, str] = {}
        self._begun = ""

    def event(self, event: Event) -> list[str]:
        """Return the safe lines of an event; none for one that says nothing new."""
        begun, self._begun = self._begun, ""
        entry = self._entry(event.data)
        if entry is not None and entry.label == "turn" and event.turn is not None:
            head, *below = entry.lines
            entry = entry._replace(lines=[head._replace(text=f"{event.turn}{head.text}"), *below])
        if isinstance(event.data, Written) and begun and event.data.text.startswith(begun):
            rest = event.data.text[len(begun) :]
            entry = Entry("", _lines(rest)) if rest.strip() else None
        return [] if entry is None else self._shown(event.at, entry)

    def partial(self, kind: str, text: str) -> list[str]:
        """Return the safe lines that are complete of the text that the model is writing.

        On a terminal, a long line is complete row by row.

        Args:
            kind: `text`, or `thinking`, which is not shown.
            text: all of the text so far.
        """
        if kind != "text" or not text.startswith(self._begun):
            return []
        end = max(text.rfind("\n") + 1, len(self._begun))
        end += self._rows(text[end:])
        new, first = text[len(self._begun) : end], not self._begun
        if not new.strip():
            return []
        self._begun = text[:end]
        at, label = (time.time(), "text") if first else (None, "")
        return self._shown(at, Entry(label, _lines(new.removesuffix("\n"))))

    def _rows(self, text: str) -> int:
        """Return how many characters of a line that is being written fill whole rows."""
        if self._room is None or "\t" in text or safe(text) != text:
            return 0
        return sum(len(row) for row in list(wrap(text, self._room))[:-1])

    def state(self, state: State) -> list[str]:
        """Return the line of the state of the agent."""
        usage = [state.model] if state.model else []
        if state.context_tokens:
            limit = f" of {count(state.context_limit)}" if state.context_limit else ""
            usage.append(f"context {count(state.context_tokens)}{limit}")
        lines = [_state(state)]
        if usage:
            lines.append(Line(", ".join(usage), "dim", exact=True))
        if not state.stored:
            lines.append(Line("in memory only: events are lost when the harness ends", "yellow"))
        return self._shown(state.since or None, Entry("state", lines, "dim"))

    @property
    def _room(self) -> int | None:
        """The columns of the text; None if nothing is wrapped."""
        columns = self._output.columns
        return None if columns is None else max(columns - GUTTER, 20)

    @singledispatchmethod
    def _entry(self, data: Data) -> Entry | None:
        known = data.values if isinstance(data, Other) else {}
        return Entry("event", self._folded(values.text(known), SOME, "dim"), "dim")

    @_entry.register
    def _(self, data: StateChanged) -> Entry | None:
        # The begin and the end of a turn say the same.
        if data.state in ("idle", "thinking") and not data.reason and not self._full:
            return None
        return Entry("state", [_state(data)], "dim")

    @_entry.register
    def _(self, data: Wake) -> Entry:
        what = ": urgent, " if data.type == "urgent" else ": "
        lines = [Line(what + _causes(data.messages))]
        # The prompt begins with the same rules each time: the messages in it are the news.
        bodies = [] if self._full else list(_bodies(data.prompt))
        for text in bodies[:CAUSES] or [data.prompt]:
            lines += self._folded(text, SOME if bodies else 1, "" if bodies else "dim")
        return Entry("turn", lines, "bold")

    @_entry.register
    def _(self, data: Session) -> Entry:
        verb = "resumed" if data.resumed else "began"
        failed = [s.name for s in data.mcp_servers if s.status not in ("connected", "pending")]
        tools = len(data.tools)
        words = f"{verb}, {data.model}, {tools} tool{'' if tools == 1 else 's'}"
        lines = [Line(words, "dim", exact=True)]
        if failed:
            lines.append(Line(f"not connected: {', '.join(failed[:CAUSES])}", "red", exact=True))
        return Entry("session", lines, "dim")

    @_entry.register
    def _(self, data: Written) -> Entry | None:
        return Entry("text", _lines(data.text)) if data.text.strip() else None

    @_entry.register
    def _(self, data: Thought) -> Entry | None:
        return Entry("thinking", self._folded(data.text, 1, "dim"), "dim") if data.text else None

    @_entry.register
    def _(self, data: ToolUse) -> Entry:
        self._tools[data.id] = data.tool
        while len(self._tools) > CALLS:
            del self._tools[next(iter(self._tools))]
        return Entry("tool", list(self._call(data.tool, data.input)), "cyan")

    @_entry.register
    def _(self, data: ToolResult) -> Entry | None:
        tool = self._tools.pop(data.id, "")
        if tool == _SEND and not data.error and not self._full:
            return None  # the number of the message
        text = _result_text(data.content)
        lines = self._folded(text, SOME, "red" if data.error else "dim")
        return Entry("failed" if data.error else "result", lines, "red" if data.error else "dim")

    @_entry.register
    def _(self, data: Denied) -> Entry:
        return Entry("denied", [Line(f"{data.tool}: {data.reason}", "red")], "red")

    @_entry.register
    def _(self, data: Permission) -> Entry:
        words = f"{data.tool}: {data.summary}"
        if data.answer is not None:
            answer = _result_text(data.answer)
            return Entry("answered", [Line(f"{words}: {answer}")], "yellow")
        numbers = have_numbers(data.choices)
        choices = [
            Line(f"{n}  {choice}" if numbers else choice)
            for n, choice in enumerate(data.choices[:CAUSES], 1)
        ]
        return Entry("asks", [Line(words), *choices], "yellow")

    @_entry.register
    def _(self, data: ServerFailed) -> Entry:
        return Entry("failed", [Line(f"MCP server {data.name}: {data.error}", "red")], "red")

    @_entry.register
    def _(self, data: Compacted) -> Entry:
        sizes = f"{count(data.before)} tokens"
        if data.after:
            sizes += f" to {count(data.after)}"
        return Entry("compacted", [Line(f"{sizes} ({data.trigger})", "dim")], "dim")

    @_entry.register
    def _(self, data: Note) -> Entry:
        colour = _LEVELS.get(data.level, "dim")
        return Entry("note", self._folded(data.text, SOME, colour), colour)

    @_entry.register
    def _(self, data: Cancelled) -> Entry:
        return Entry("cancelled", [Line(f"by {data.by}: {data.text}", "yellow")], "yellow")

    @_entry.register
    def _(self, data: Limit) -> Entry:
        return Entry("limit", [Line(data.text + _until(data.until), "yellow")], "yellow")

    @_entry.register
    def _(self, data: Result) -> Entry | None:
        # The last text of the turn says the same, unless there was an error.
        text = data.error if isinstance(data.error, str) else data.text
        if not data.error or not text.strip():  # the end of a turn that was interrupted has none
            return None
        return Entry("failed", self._folded(text, SOME, "red"), "red")

    @_entry.register
    def _(self, data: TurnEnd) -> Entry:
        cost = money(round(data.cost_usd * 1e6))
        words = f" {data.outcome} after {span(round(data.seconds * 1e6))}, {cost}"
        lines = [Line(words, STATE_COLOURS.get(data.outcome, ""), exact=True)]
        return Entry("turn", [*lines, *self._folded(data.error, SOME, "red")], "bold")

    # --- calls of tools ----------------------------------------------------------------------

    def _call(self, tool: str, call: object) -> Iterator[Line]:
        """Yield the lines of a call: the tool and its main argument, then what it would change."""
        given = values.table(call)
        match tool:
            case "Bash":
                first, *rest = self._folded(_string(given, "command"), MORE, exact=True)
                yield first._replace(text=f"Bash {first.text}")
                yield from rest
            case _ if tool in edits.TOOLS:
                changes = list(edits.changes(given))
                added, removed = (sum(one.count(sign) for one in changes) for sign in "+-")
                path = edits.path_of(given)
                yield Line(f"{tool} {path} (+{added} -{removed})", exact=True)
                changed = [sign + text for one in changes for sign, text in one.lines()]
                for line in self._cut(changed, MORE):
                    yield Line(line, {"+": "green", "-": "red"}.get(line[:1], "dim"), exact=True)
            case _ if tool == _SEND:
                to, body = _string(given, "to"), _string(given, "body")
                yield Line(f"send to {to}", exact=True)
                # The operator reads this.
                yield from _lines(body) if to == OPERATOR else self._folded(body, 1)
            case _:
                name = tool.removeprefix(OWN_TOOLS)
                yield from self._folded(f"{name} {_arguments(given)}", SOME, exact=True)

    # --- texts -------------------------------------------------------------------------------

    def _folded(self, text: str, most: int, colour: str = "", exact: bool = False) -> list[Line]:
        """Return the first lines of `text`, and how many more there are."""
        lines = text.strip("\n").split("\n")
        return [Line(line, colour, exact) for line in self._cut(lines, most)] if text else []

    def _cut(self, lines: Sequence[str], most: int) -> list[str]:
        if self._full:
            return list(lines)
        # ASCII dots: an exact text has no other ones.
        shown = [line if len(line) <= LONGEST else f"{line[:LONGEST]}..." for line in lines[:most]]
        more = len(lines) - most
        if more > 0:
            rest = f"... {more} more line{'' if more == 1 else 's'}"
            shown = [f"{shown[0]} {rest}"] if most == 1 else [*shown, rest]
        return shown

    def _shown(self, at: float | None, entry: Entry) -> list[str]:
        """Return the lines of an entry, escaped, indented and wrapped."""
        clock = " " * 8 if at is None else f"{_clock(at):<8}"
        label = self._output.paint(f"{entry.label:<{LABEL}}", entry.colour)
        room = self._room
        found: list[str] = []
        for line in entry.lines or [Line("")]:
            rule = literal if line.exact else safe
            for text in rule(line.text, multiline=True).expandtabs().split("\n"):
                pieces = [text] if room is None else list(wrap(text, room))
                found += [self._output.paint(piece, line.colour) for piece in pieces]
        first, *rest = found
        return [
            f"{self._output.paint(clock, 'dim')} {label} {first}".rstrip(),
            *(f"{'':{GUTTER}}{text}".rstrip() for text in rest),
        ]


def _lines(text: str) -> list[Line]:
    return [Line(line) for line in text.strip("\n").split("\n")]


def _clock(at: float) -> str:
    moment = moment_of(at)
    return "-" if moment is None else moment.strftime("%H:%M:%S")


def _until(until: float) -> str:
    return f", until {_clock(until)}" if until else ""


def state_words(state: State | StateChanged) -> str:
    """Return a state, its reason and its end, which are the agent's own words."""
    words = f"{state.state}: {state.reason}" if state.reason else state.state
    return (words.removesuffix(".") if state.until else words) + _until(state.until)


def _state(state: State | StateChanged) -> Line:
    return Line(state_words(state), STATE_COLOURS.get(state.state, ""))


def _causes(messages: Sequence[Cause]) -> str:
    shown = [
        f"message {m.id} from {m.sender}" + ("" if m.kind == "message" else f" ({m.kind})")
        for m in messages[:CAUSES]
    ]
    if len(messages) > CAUSES:
        shown.append(f"{len(messages) - CAUSES} more")
    return ", ".join(shown) or "no message"


def _bodies(prompt: str) -> Iterator[str]:
    """Yield the messages in a prompt of the harness, in a time that is linear in its length."""
    end, body = "", list[str]()
    for line in prompt.split("\n"):
        if end and line == end:
            yield "\n".join(body)
            end = ""
        elif end:
            body.append(line)
        elif found := _MESSAGE.fullmatch(line):
            end, body = f"</message-{found[1]}>", []


def _result_text(content: object) -> str:
    """Return the text of a result: a text, or a list of blocks of which some are texts."""
    if not isinstance(content, list):
        return values.text(content)
    return "\n".join(_block_text(block) for block in content)


def _block_text(block: object) -> str:
    found = values.table(block)
    if isinstance(found.get("text"), str):
        return _string(found, "text")
    kind = found.get("type")
    return f"({kind})" if isinstance(kind, str) else values.text(block)


def _string(given: Mapping[str, object], key: str) -> str:
    found = given.get(key)
    return found if isinstance(found, str) else ""


def _arguments(given: Mapping[str, object]) -> str:
    return ", ".join(
        f"{key}={one_line(value) if isinstance(value, str) else values.text(value)}"
        for key, value in given.items()
    )
