"""The server side of MCP on one connection: the handshake, and the methods.

Some versions begin with a handshake (initialize). In the newest there is none: each request carries
its version and its client's name in `_meta` (server/discover lists the versions).
"""

from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from services.endpoint.jsonvalues import Json, JsonObject
from services.endpoint.mcp.jsonrpc import Code, Request, RpcError
from services.endpoint.tools.arguments import Arguments
from services.endpoint.tools.table import tools_for
from services.endpoint.tools.tool import Audience, Tool, audience_of

HANDSHAKE_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Oldest first. A client that asks for an unknown version is offered the newest."""

ENVELOPE_VERSIONS: Final = ("2026-07-28",)

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"
SERVER_KEY: Final = "io.modelcontextprotocol/serverInfo"

SERVER: Final = {"name": "hyperhive", "title": "Hyperhive", "version": "0.1.0"}

INSTRUCTIONS: Final = (
    "You are the agent {name} of a hive. Use send to talk to the other agents, to the manager and"
    " to the operator (the person who runs the hive), and ask when you need an answer to go on."
    " Nobody reads what you write elsewhere."
)


def complete(result: JsonObject, envelope: bool) -> JsonObject:
    """Return `result` in the form of its request's protocol version."""
    if not envelope:
        return result
    return {**result, "resultType": "complete", "_meta": {SERVER_KEY: SERVER}}


def tool_error(text: str) -> JsonObject:
    """Return a tool's result that reports an error, so that the model can react to it."""
    return {"content": [{"type": "text", "text": text}], "isError": True}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call with checked arguments, to be run."""

    tool: Tool
    arguments: Arguments
    audience: Audience
    envelope: bool


@dataclass(frozen=True, slots=True)
class _Client:
    name: str
    envelope: bool


class Session:
    """The state of the protocol on one connection."""

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._client: _Client | None = None

    @property
    def is_harness(self) -> bool:
        """Whether the client has shaken hands as the harness."""
        client = self._client
        return client is not None and self._audience(client) is Audience.HARNESS

    @property
    def envelope(self) -> bool:
        """Whether the client has not shaken hands, so that each request has its envelope."""
        return self._client is None

    def answer(self, request: Request) -> JsonObject | ToolCall:
        """Return the result of `request`, or the tool call that produces it.

        Raises:
            RpcError: the protocol does not allow the request.
        """
        client = self._client_of(request)
        answer = self._answer(request, client)
        if isinstance(answer, ToolCall):
            return answer
        return complete(answer, envelope=client is not None and client.envelope)

    def _answer(self, request: Request, client: _Client | None) -> JsonObject | ToolCall:
        match request.method:
            case "initialize":
                return self._initialize(request.params)
            case "ping":
                return {}
            case "server/discover" if client and client.envelope:
                return self._discover()
            case "tools/list":
                return self._list(request.params, self._known(client))
            case "tools/call":
                return self._call(request.params, self._known(client))
        raise RpcError(Code.METHOD_NOT_FOUND, f"There is no method {request.method[:64]!r}.")

    def _initialize(self, params: JsonObject) -> JsonObject:
        if self._client is not None:
            raise RpcError(Code.INVALID_REQUEST, "This connection is already initialized.")
        wanted = params.get("protocolVersion")
        if not isinstance(wanted, str):
            raise RpcError(Code.INVALID_PARAMS, "initialize needs a protocolVersion.")
        self._client = _Client(_name(params.get("clientInfo")), envelope=False)
        return {
            "protocolVersion": wanted if wanted in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1],
            "capabilities": {"tools": {}},
            "serverInfo": SERVER,
            "instructions": INSTRUCTIONS.format(name=self._agent),
        }

    def _client_of(self, request: Request) -> _Client | None:
        """Return the client that the request's envelope names, or else the handshake's."""
        meta = request.params.get("_meta")
        if not isinstance(meta, dict) or VERSION_KEY not in meta:
            return self._client
        version = meta[VERSION_KEY]
        if not isinstance(version, str):
            raise RpcError(Code.INVALID_PARAMS, f"{VERSION_KEY} must be a string.")
        if version not in ENVELOPE_VERSIONS:
            raise RpcError(
                Code.UNSUPPORTED_VERSION,
                "Unsupported protocol version",
                data={"supported": list(ENVELOPE_VERSIONS), "requested": version[:64]},
            )
        return _Client(_name(meta.get(CLIENT_KEY)), envelope=True)

    def _known(self, client: _Client | None) -> _Client:
        if client is None:
            raise RpcError(Code.INVALID_REQUEST, "Send initialize first.")
        return client

    def _audience(self, client: _Client) -> Audience:
        return audience_of(self._agent, client.name)

    def _discover(self) -> JsonObject:
        return {
            "supportedVersions": list(ENVELOPE_VERSIONS),
            "capabilities": {"tools": {}},
            "instructions": INSTRUCTIONS.format(name=self._agent),
            **_UNCACHED,
        }

    def _list(self, params: JsonObject, client: _Client) -> JsonObject:
        if params.get("cursor") is not None:
            raise RpcError(Code.INVALID_PARAMS, "There is no such cursor: all tools fit one page.")
        tools = [tool.describe() for tool in tools_for(self._audience(client)).values()]
        return {"tools": tools, **(_UNCACHED if client.envelope else {})}

    def _call(self, params: JsonObject, client: _Client) -> JsonObject | ToolCall:
        audience = self._audience(client)
        tools = tools_for(audience)
        name = params.get("name")
        if not isinstance(name, str) or name not in tools:
            shown = repr(name[:64]) if isinstance(name, str) else "without a name"
            raise RpcError(
                Code.INVALID_PARAMS, f"Unknown tool {shown}. Your tools: {', '.join(tools)}."
            )
        arguments = params.get("arguments")
        try:
            checked = tools[name].arguments.model_validate({} if arguments is None else arguments)
        except ValidationError as error:
            # Not a protocol error: the model reads the result and corrects its call.
            return tool_error(_explain(tools[name], error))
        return ToolCall(tools[name], checked, audience, client.envelope)


_UNCACHED: Final = {"ttlMs": 0, "cacheScope": "private"}


def _name(client: Json) -> str:
    """Return the name that a client gives itself; empty if it gives none."""
    name = client.get("name") if isinstance(client, dict) else None
    return name if isinstance(name, str) else ""


def _explain(tool: Tool, error: ValidationError) -> str:
    """Describe the errors in the arguments, without repeating the arguments: they may be large."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    problems = [_problem(tool, fault) for fault in faults[:5]]
    return f"{tool.name} was not called. {'; '.join(problems)}. Call it again with these corrected."


def _problem(tool: Tool, fault: Json) -> str:
    where = ".".join(str(part)[:64] for part in fault["loc"])
    match fault["type"]:
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            known = ", ".join(tool.arguments.model_fields) or "no arguments"
            return f"there is no argument {where}; {tool.name} takes {known}"
    return f"{where or 'arguments'}: {fault['msg']}"
