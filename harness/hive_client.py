"""The client of the hive: MCP on the agent's socket, with automatic reconnection."""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from harness.backoff import Backoff
from harness.inotify import wait_for_change
from harness.jsonrpc import ClosedError, Connection, RpcError, Socket, open_connection
from harness.jsonvalues import Json, JsonObject
from harness.lines import one_line

log = logging.getLogger(__name__)

CLIENT: Final = {"name": "hyperhive-harness", "version": "1"}
"""The hive shows the tools ack, release and report to a client with this name."""

COMMAND: Final = "notifications/hyperhive/command"

MAX_SENTENCE: Final = 500
"""Characters of the reason for a state or of the answer to a command."""

MAX_REASON: Final = 300
"""Characters of the reason for a release."""

PROTOCOL_VERSION: Final = "2025-11-25"

STABLE_SECONDS: Final = 5.0
"""After a connection that lasted this long, the client reconnects at once."""

HANDSHAKE_TIMEOUT: Final = 20.0
CALL_TIMEOUT: Final = 30.0
RECEIVE_SECONDS: Final = 180
"""Seconds that recv waits for a message; the hive allows no more."""


class ConnectionLostError(Exception):
    """There is no connection, or it ended before the answer came."""


class ToolError(Exception):
    """The hive answered with an error; the text is the hive's sentence."""


@dataclass(frozen=True)
class Message:
    """A message that is leased to this agent."""

    id: int
    sender: str
    to: str
    kind: str
    body: str
    redeliveries: int
    urgent: bool
    in_reply_to: int | None
    earlier_life: bool = False
    interrupt: bool = False
    traceparent: str = ""
    """The span that sent it, as in W3C Trace Context; empty outside of a trace."""


@dataclass(frozen=True)
class Command:
    """A command to this agent; docs/turn-loop.md lists the verbs.

    `by` is the one who gave it: operator, manager, or system for the hive itself.
    """

    id: int
    verb: str
    requeue: bool = False
    value: str = field(default="", repr=False)  # it may be the code of a login
    login: int = 0
    by: str = "operator"


@dataclass(frozen=True)
class Report:
    """The report of the harness to the hive; None leaves a value as it was.

    Times are in seconds since 1970, and 0 is none.
    """

    turn_state: str | None = None
    reason: str | None = None
    until: int | None = None
    activity: str | None = None
    model: str | None = None
    """The model that answered last."""
    model_setting: str | None = None
    """The model for which the turns ask; empty for Claude Code's own choice."""
    effort: str | None = None
    context_tokens: int | None = None
    context_limit: int | None = None
    logged_in: bool | None = None
    session: str | None = None
    credential: str | None = None
    """The kind of credentials, a Source: agents with the hive's key share the limits of it."""
    provider_limit_until: int | None = None
    in_turn: bool | None = None
    """Whether a turn runs, whatever the turn state."""


def reportable_model(name: str | None) -> str | None:
    """Return the name of a model as the hive takes it: it refuses a report with another name."""
    return re.sub(r"[^A-Za-z0-9_.:/@\[\]-]", "-", name)[:128].lstrip("_.:/@[]-") if name else None


class HiveClient:
    """The client of the hive's tools; `run` keeps it connected.

    A lease ends with the connection that received it. `generation` counts the connections, so it
    tells whether messages that were leased earlier are still leased.

    Args:
        path: the agent's socket.
        first: a connection that is open already.
        on_command: called with each command to this agent.
    """

    def __init__(
        self,
        path: Path,
        first: Socket | None = None,
        on_command: Callable[[Command], None] | None = None,
    ) -> None:
        self._path = path
        self._first = first
        self.on_command = on_command
        self._connection: Connection | None = None
        self._changed = asyncio.Condition()
        self._tools: frozenset[str] = frozenset()
        self.generation = 0

    async def run(self) -> None:
        """Connect, wait for the end of the connection, and connect again, until cancelled."""
        loop, backoff = asyncio.get_running_loop(), Backoff(0.05, 5.0)
        while True:
            began = loop.time()
            try:
                socket = self._first or await connect(self._path)
                self._first = None
                await self._serve(socket)
                reason = "closed by the hive"
            except OSError as exc:
                reason = str(exc)
            log.warning("the connection to the hive is lost: %s", reason)
            if loop.time() - began >= STABLE_SECONDS:
                backoff.succeeded()
                continue
            # Refused, or closed at once: a new socket in the directory ends the wait early.
            await wait_for_change(self._path.parent, backoff.failed())

    async def _serve(self, socket: Socket) -> None:
        """Serve a connection, from the handshake to its end."""
        async with open_connection(socket, self._notified) as opened:
            if not await _handshake(opened):
                return
            self._tools = await _tools(opened)
            await self._set_connection(opened)
            try:
                await opened.closed.wait()
            finally:
                await self._set_connection(None)

    def _notified(self, method: str, params: JsonObject) -> None:
        if method != COMMAND or self.on_command is None:
            return
        number, verb, value = params.get("id"), params.get("verb"), params.get("value")
        login = params.get("login", 0)
        if not isinstance(number, int) or not isinstance(verb, str) or not isinstance(login, int):
            log.error("the hive sent a command without id or verb")
            return
        text = "" if value is None else str(value)
        by = str(params.get("by") or "operator")  # older hives do not say it
        self.on_command(Command(number, verb, params.get("requeue") is True, text, login, by))

    async def _set_connection(self, opened: Connection | None) -> None:
        async with self._changed:
            self._connection = opened
            self.generation += opened is not None
            self._changed.notify_all()

    async def connected(self, after: int = 0) -> int:
        """Wait for a connection of a generation later than `after`; return its generation."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._connection is not None and self.generation > after
            )
            return self.generation

    async def receive(self, maximum: int, *, urgent_only: bool = False) -> list[Message]:
        """Lease up to `maximum` messages; wait up to RECEIVE_SECONDS for the first.

        Avoid cancelling this call: messages that the hive leases meanwhile stay leased until the
        connection ends.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        more: JsonObject = {"urgent_only": True} if urgent_only else {}
        data = await self._call(
            "recv",
            RECEIVE_SECONDS + CALL_TIMEOUT,
            wait_seconds=RECEIVE_SECONDS,
            max=maximum,
            **more,
        )
        return [_message(item) for item in data.get("messages", [])]

    async def acknowledge(self, ids: list[int], *, cancelled: bool = False) -> None:
        """Acknowledge the messages.

        Args:
            ids: the messages.
            cancelled: whether their turn was cancelled.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        more: JsonObject = {"cancelled": True} if cancelled else {}
        await self._call("ack", CALL_TIMEOUT, ids=ids, **more)

    async def release(self, ids: list[int], *, reason: str = "", uncounted: bool = False) -> None:
        """Queue the messages again.

        Args:
            ids: the messages.
            reason: why their turn failed; the sender of a dead letter is told.
            uncounted: whether this is not an attempt, because the messages are not the cause.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        more: JsonObject = {"uncounted": True} if uncounted else {}
        if reason:
            more["reason"] = one_line(reason, MAX_REASON)
        await self._call("release", CALL_TIMEOUT, ids=ids, **more)

    async def command_done(
        self, number: int, *, text: str = "", error: str = "", login: int = 0, address: str = ""
    ) -> None:
        """Answer a command with a sentence for the operator: either a text or an error.

        Args:
            number: the command.
            text: the result of the command.
            error: the reason why it was not carried out.
            login: the number of the login that was begun.
            address: the address of its page.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        answer: JsonObject = (
            {"error": one_line(error, MAX_SENTENCE)}
            if error
            else {"text": one_line(text, MAX_SENTENCE)}
        )
        if address:
            answer |= {"login": login, "address": address}
        await self._call("command_done", CALL_TIMEOUT, id=number, **answer)

    def offers(self, tool: str) -> bool:
        """Return whether the hive has this tool for the harness."""
        return tool in self._tools

    async def describe(self) -> JsonObject:
        """Return the model, the limits and the network of this agent, as the hive has them.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        return await self._call("describe", CALL_TIMEOUT)

    async def open_threads(self) -> dict[str, int]:
        """Return how many threads of each kind are open.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        counts = (await self._call("get_open_threads", CALL_TIMEOUT, limit=0)).get("counts")
        return counts if isinstance(counts, dict) else {}

    async def record_turn(self, turn: JsonObject) -> None:
        """Record a turn that is over.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        await self._call("record_turn", CALL_TIMEOUT, **turn)

    async def trace(self, traceparent: str) -> None:
        """Say to which span the agent's messages belong from now on; empty after a turn.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        await self._call("trace", CALL_TIMEOUT, traceparent=traceparent)

    async def record_spans(self, spans: list[JsonObject]) -> None:
        """Hand over spans that have ended.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        await self._call("record_spans", CALL_TIMEOUT, spans=spans)

    async def ask_permission(
        self,
        call: str,
        text: str,
        choices: list[str],
        *,
        multi: bool = False,
        rule: str | None = None,
        seconds: int | None = None,
    ) -> int:
        """Ask the operator about a tool call that waits; return the question's id.

        Args:
            call: the key of the call; while a question with this key is open, its id is returned.
            text: the question.
            choices: the possible answers.
            multi: whether several of them may be given.
            rule: the rule that the choice "Always allow" stands for.
            seconds: the time after which the question expires.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        more: JsonObject = {"rule": rule} if rule else {}
        if seconds is not None:
            more["ttl_seconds"] = seconds
        data = await self._call(
            "ask_permission",
            CALL_TIMEOUT,
            call=call,
            question=text,
            options=choices,
            multi=multi,
            **more,
        )
        return int(data["question"])

    async def cancel_permission(self, number: int) -> None:
        """Cancel a question of `ask_permission`.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        await self._call("cancel_permission", CALL_TIMEOUT, id=number)

    async def report(self, report: Report) -> None:
        """Report the state of the harness.

        Raises:
            ConnectionLostError: the connection ended.
            ToolError: the hive answered with an error.
        """
        given = {key: value for key, value in asdict(report).items() if value is not None}
        await self._call("report", CALL_TIMEOUT, **given)

    async def _call(self, tool: str, timeout: float, **arguments: Json) -> JsonObject:
        connection = self._connection
        if connection is None:
            raise ConnectionLostError("not connected")
        try:
            async with asyncio.timeout(timeout):
                result = await connection.request(
                    "tools/call", {"name": tool, "arguments": arguments}
                )
        except TimeoutError:
            # A later answer could carry leases that nobody knows of: start with a new connection.
            connection.closed.set()
            raise ConnectionLostError(f"no answer to {tool} within {timeout:.0f} s") from None
        except ClosedError as exc:
            raise ConnectionLostError(str(exc)) from None
        except RpcError as exc:
            raise ToolError(str(exc)) from None
        text = "\n".join(str(part.get("text", "")) for part in result.get("content", []))
        if result.get("isError"):
            raise ToolError(text)
        return _data(result.get("structuredContent"), text)


async def connect(path: Path) -> Socket:
    """Connect to the agent's socket.

    Raises:
        OSError: there is no such socket, or nobody listens.
    """
    return await asyncio.open_unix_connection(str(path))


async def _handshake(connection: Connection) -> bool:
    """Shake hands; return whether the hive took part."""
    hello = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": CLIENT}
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT):
            await connection.request("initialize", hello)
            await connection.notify("notifications/initialized")
    except TimeoutError:
        log.warning("the hive does not answer: no handshake within %.0f s", HANDSHAKE_TIMEOUT)
    except (ClosedError, RpcError) as exc:
        log.warning("the hive refused the handshake: %s", exc)
    else:
        return True
    return False


async def _tools(connection: Connection) -> frozenset[str]:
    """Return the names of the hive's tools; a hive of an earlier version has fewer."""
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT):
            listed = await connection.request("tools/list", {})
    except (TimeoutError, ClosedError, RpcError) as exc:
        log.warning("the hive does not list its tools: %s", exc)
        return frozenset()
    return frozenset(str(tool.get("name")) for tool in listed.get("tools", []))


async def succeeds(call: Callable[[], Awaitable[None]], failure: str) -> bool:
    """Make a call, and log its failure as `failure`; return whether it succeeded."""
    try:
        await call()
    except (ConnectionLostError, ToolError) as exc:
        log.warning("%s: %s", failure, exc)
        return False
    return True


def _data(structured: Json, text: str) -> JsonObject:
    if isinstance(structured, dict):
        return structured
    with suppress(ValueError):
        data = json.loads(text)
        if isinstance(data, dict):
            return data
    return {}


def _message(item: JsonObject) -> Message:
    reply = item.get("in_reply_to")
    return Message(
        id=int(item["id"]),
        sender=str(item.get("from", "")),
        to=str(item.get("to", "")),
        kind=str(item.get("kind", "message")),
        body=str(item.get("body", "")),
        redeliveries=int(item.get("redeliveries", 0)),
        urgent=bool(item.get("urgent", False)),
        in_reply_to=int(reply) if reply else None,
        earlier_life=bool(item.get("earlier_life", False)),
        interrupt=bool(item.get("interrupt", False)),
        traceparent=str(item.get("traceparent", "")),
    )
