"""The MCP server in this process: the tools todo, list_turns and whoami."""

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from harness.config import Config
from harness.events.turns import Turns
from harness.hive_client import ConnectionLostError, HiveClient, ToolError
from harness.jsonvalues import Json, JsonObject
from harness.tools.todo import MAX_ITEMS, MAX_TEXT, Progress, TodoError, TodoList, parsed

if TYPE_CHECKING:
    from claude_agent_sdk import McpSdkServerConfig

NAME: Final = "hyperhive"
"""The name of the server; extra servers cannot have it."""

MAX_TURNS: Final = 50

_TURN_KEYS: Final = (
    *("id", "started", "seconds", "outcome", "error", "woken_by", "model", "cost_usd"),
    *("context_tokens", "tool_calls"),
)

Handler = Callable[[JsonObject], Awaitable[JsonObject]]

_TODO: Final = (
    "Your list of steps. It survives compaction, a new session and restarts, and the operator "
    "sees it on your page. Without arguments it returns the list; `items` replaces the whole "
    "list. Use it for work of more than three steps: mark the step that you work on `doing`, "
    "and mark it `done` when it is finished. Replace the list by an empty one when the work "
    "is over."
)

_LIST_TURNS: Final = (
    "Return your last turns, newest first, each with the messages that woke you, its start "
    "(seconds since 1970), duration, outcome and cost. Use it when you do not remember whether "
    "you did something before."
)

_WHOAMI: Final = (
    "Return your name, role and model, the limits of your container, the hosts that you may reach, "
    "and the operator's name and pronouns."
)


class OwnTools:
    """The tools of one agent."""

    def __init__(self, config: Config, hive: HiveClient, turns: Turns, todo: TodoList) -> None:
        self._config = config
        self._hive = hive
        self._turns = turns
        self._todo = todo

    def server(self) -> "McpSdkServerConfig":
        """Return the server for one Claude Code process."""
        from claude_agent_sdk import create_sdk_mcp_server, tool

        item = {
            "type": "object",
            "properties": {
                "text": {"type": "string", "maxLength": MAX_TEXT},
                "state": {"enum": [state.value for state in Progress]},
            },
            "required": ["text"],
        }
        items = {"type": "array", "maxItems": MAX_ITEMS, "items": item}
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_TURNS, "default": 10}
        tools = [
            tool("todo", _TODO, _object(items=items))(_answered(self._run_todo)),
            tool("list_turns", _LIST_TURNS, _object(limit=limit))(_answered(self._list_turns)),
            tool("whoami", _WHOAMI, _object())(_answered(self._whoami)),
        ]
        return create_sdk_mcp_server(NAME, "1", tools)

    async def _run_todo(self, arguments: JsonObject) -> JsonObject:
        if arguments.get("items") is not None:
            self._todo.replace(parsed(arguments["items"]))
        return self._todo.shown()

    async def _list_turns(self, arguments: JsonObject) -> JsonObject:
        limit = arguments.get("limit", 10)
        count = min(max(limit, 1), MAX_TURNS) if isinstance(limit, int) else 10
        rows = self._turns.page(None, count)
        return {"turns": [{key: row.get(key) for key in _TURN_KEYS} for row in rows]}

    async def _whoami(self, arguments: JsonObject) -> JsonObject:
        config = self._config
        operator = {"name": config.operator_name, "pronouns": config.operator_pronouns}
        return {
            "name": config.name,
            "role": "manager" if config.manager else "agent",
            "operator": {key: value for key, value in operator.items() if value},
            **await self._hive.describe(),
        }


def _object(**properties: Json) -> JsonObject:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _answered(handler: Handler) -> Callable[[Any], Awaitable[JsonObject]]:
    """Return the handler in the form of the SDK; its errors are results that the model reads."""

    async def run(arguments: Any) -> JsonObject:
        try:
            data = await handler(arguments if isinstance(arguments, dict) else {})
        except (TodoError, ToolError, ConnectionLostError) as exc:
            return {"content": [{"type": "text", "text": str(exc)}], "is_error": True}
        return {"content": [{"type": "text", "text": json.dumps(data, ensure_ascii=False)}]}

    return run
