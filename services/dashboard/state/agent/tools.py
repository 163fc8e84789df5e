"""The calls of tools: a title, and blocks with their arguments."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final, TypeAlias

from services.dashboard.state.agent.checks import (
    MAX_ITEMS,
    MAX_NAME,
    cut,
    name,
)
from services.dashboard.state.agent.texts import Texts
from services.dashboard.state.tables import Json
from wire.agent_web.edits import PATHS, TOOLS, changes, path_of
from wire.agent_web.values import text
from wire.names import OWN_TOOLS

TITLE: Final = 200

Data: TypeAlias = Mapping[str, object]
"""An object of JSON, unchecked."""

Described: TypeAlias = tuple[str, list[Json]]
"""The title of a call, which is one line, and its blocks."""


def shown_name(tool: str) -> Json:
    """Return the name of a tool as pages show it.

    The hive's own tools have long names. They become short ones with a space, which no other name
    of a tool has.
    """
    own = tool.startswith(OWN_TOOLS) and " " not in tool
    return name(
        f"hive {tool.removeprefix(OWN_TOOLS)}" if own else tool.replace(" ", "\N{OPEN BOX}")
    )


def counts(tools: Mapping[str, int]) -> list[Json]:
    """Return the tools with their numbers of calls, most called first."""
    found = sorted(tools.items(), key=_most)
    return [{"tool": shown_name(tool), "calls": calls} for tool, calls in found[:MAX_ITEMS]]


def describe(tool: str, arguments: Data, texts: Texts) -> Described:
    """Return the title and the blocks of a call of `tool`."""
    return _TOOLS.get(tool.removeprefix(OWN_TOOLS), _any)(arguments, texts)


def _bash(arguments: Data, texts: Texts) -> Described:
    command = text(arguments.get("command"))
    title = _first_line(command)
    return title, [texts.code(command, "command")] if command != title else []


def _edit(arguments: Data, texts: Texts) -> Described:
    found = list(islice(changes(arguments), MAX_ITEMS + 1))
    texts.cut = len(found) > MAX_ITEMS
    return _path(arguments), [texts.diff(change) for change in found[:MAX_ITEMS]]


def _file(arguments: Data, texts: Texts) -> Described:
    return _path(arguments), _rest(arguments, texts, without=PATHS)


def _pattern(arguments: Data, texts: Texts) -> Described:
    title = _first_line(text(arguments.get("pattern")))
    return title, _rest(arguments, texts, without=("pattern",))


def _send(arguments: Data, texts: Texts) -> Described:
    body = texts.prose(text(arguments.get("body")), "message")
    rest = _rest(arguments, texts, without=("to", "body"))
    return f"to {_first_line(text(arguments.get('to')))}", [body, *rest]


def _any(arguments: Data, texts: Texts) -> Described:
    return "", _rest(arguments, texts)


_TOOLS: Final[Mapping[str, Callable[[Data, Texts], Described]]] = {
    "Bash": _bash,
    **dict.fromkeys(TOOLS, _edit),
    "Read": _file,
    "Glob": _pattern,
    "Grep": _pattern,
    "send": _send,
}


def _rest(arguments: Data, texts: Texts, without: Iterable[str] = ()) -> list[Json]:
    """Return the other arguments as one block; no block without any."""
    kept = [(key, value) for key, value in arguments.items() if key not in without]
    if not kept:
        return []
    lines = [f"{cut(key, MAX_NAME)}: {text(value)}" for key, value in kept[:MAX_ITEMS]]
    return [texts.code("\n".join(lines), "arguments")]


def _path(arguments: Data) -> str:
    return _first_line(path_of(arguments))


def _first_line(whole: str) -> str:
    return cut(whole.strip().partition("\n")[0], TITLE)


def _most(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]
