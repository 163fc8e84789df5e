"""The connection to the host: an MCP client on the agent socket that comes back by itself."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.backoff import Backoff
from harness.rpc import Connection, GoneError, RpcError, Socket, connection
from harness.watch import wait_for_change

log = logging.getLogger(__name__)

CLIENT: Final = {"name": "hyperhive-harness", "version": "1"}
"""The endpoint shows acknowledge, release and report to a client with this name."""

VERSION: Final = "2025-11-25"
"""Of the protocol."""

LASTED: Final = 5.0
"""A connection that lived this many seconds is worth reconnecting to at once."""

GREETING: Final = 20.0
CALL: Final = 30.0
RECEIVE: Final = 180


class ConnectionGoneError(Exception):
    """There is no connection, or it went away before the answer came."""


class ToolError(Exception):
    """The host answered with an error; the text is its sentence."""


@dataclass(frozen=True)
class Message:
    """A leased message of this agent's inbox."""

    id: int
    sender: str
    to: str
    kind: str
    body: str
    redeliveries: int
    urgent: bool
    in_reply_to: int | None
    earlier_life: bool = False


class HiveClient:
    """Calls tools of the host; `run` keeps the connection up.

    A lease lives as long as the connection that it was received on, so `generation` (it
    counts connections) tells whether what was leased before is still leased.
    """

    def __init__(self, path: Path, first: Socket | None = None) -> None:
        self._path = path
        self._first = first
        self._connection: Connection | None = None
        self._changed = asyncio.Condition()
        self.generation = 0

    async def run(self) -> None:
        """Connects, waits for the end of the connection, connects again; until cancelled."""
        loop, backoff = asyncio.get_running_loop(), Backoff(0.05, 5.0)
        while True:
            began = loop.time()
            try:
                socket = self._first or await connect(self._path)
                self._first = None
                await self._serve(socket)
                reason = "closed by the host"
            except OSError as exc:
                reason = str(exc)
            log.warning("the connection to the hive is gone: %s", reason)
            if loop.time() - began >= LASTED:
                backoff.succeeded()
                continue
            # Refused, or dropped at once: a new socket in the directory ends the wait early.
            await wait_for_change(self._path.parent, backoff.failed())

    async def _serve(self, socket: Socket) -> None:
        """One connection, from greeting to end."""
        async with connection(socket) as made:
            if not await _greet(made):
                return
            await self._set_connection(made)
            try:
                await made.gone.wait()
            finally:
                await self._set_connection(None)

    async def _set_connection(self, made: Connection | None) -> None:
        async with self._changed:
            self._connection = made
            self.generation += made is not None
            self._changed.notify_all()

    async def connected(self, after: int = 0) -> int:
        """Waits until there is a connection later than generation `after`; answers its own."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._connection is not None and self.generation > after
            )
            return self.generation

    async def receive(self, maximum: int) -> list[Message]:
        """Leases up to `maximum` messages; waits up to 180 s for one. Do not cancel it lightly:
        what the host leased meanwhile stays leased until the connection ends.

        Raises:
            ConnectionGoneError, ToolError
        """
        data = await self._call("recv", RECEIVE + CALL, wait_seconds=RECEIVE, max=maximum)
        return [_message(item) for item in data.get("messages", [])]

    async def acknowledge(self, ids: list[int]) -> None:
        """The messages are done with. Raises ConnectionGoneError or ToolError."""
        await self._call("ack", CALL, ids=ids)

    async def release(self, ids: list[int]) -> None:
        """The messages are queued again. Raises ConnectionGoneError or ToolError."""
        await self._call("release", CALL, ids=ids)

    async def report(self, **fields: Any) -> None:
        """Tells the host turn_state, model, context_tokens, logged_in; whichever is given."""
        await self._call("report", CALL, **fields)

    async def _call(self, tool: str, limit: float, **arguments: Any) -> dict[str, Any]:
        made = self._connection
        if made is None:
            raise ConnectionGoneError("not connected")
        try:
            async with asyncio.timeout(limit):
                result = await made.request("tools/call", {"name": tool, "arguments": arguments})
        except TimeoutError:
            # An answer that comes later would be a lease that nobody knows of: start afresh.
            made.gone.set()
            raise ConnectionGoneError(f"no answer to {tool} within {limit:.0f} s") from None
        except GoneError as exc:
            raise ConnectionGoneError(str(exc)) from None
        except RpcError as exc:
            raise ToolError(str(exc)) from None
        text = "\n".join(str(part.get("text", "")) for part in result.get("content", []))
        if result.get("isError"):
            raise ToolError(text)
        return _data(result.get("structuredContent"), text)


async def connect(path: Path) -> Socket:
    """A connection to the agent socket. Raises OSError."""
    return await asyncio.open_unix_connection(str(path))


async def _greet(made: Connection) -> bool:
    """The handshake; answers whether the other side took part in it."""
    hello = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": CLIENT}
    try:
        async with asyncio.timeout(GREETING):
            await made.request("initialize", hello)
            await made.notify("notifications/initialized")
    except TimeoutError:
        log.warning("the endpoint does not answer: no greeting within %.0f s", GREETING)
    except (GoneError, RpcError) as exc:
        log.warning("the endpoint did not take the greeting: %s", exc)
    else:
        return True
    return False


async def insist(call: Callable[[], Awaitable[None]], what: str) -> bool:
    """Makes a call whose failure only has to be told; answers whether it worked."""
    try:
        await call()
    except (ConnectionGoneError, ToolError) as exc:
        log.warning("%s: %s", what, exc)
        return False
    return True


def _data(structured: Any, text: str) -> dict[str, Any]:
    if isinstance(structured, dict):
        return structured
    with suppress(ValueError):
        data = json.loads(text)
        if isinstance(data, dict):
            return data
    return {}


def _message(item: dict[str, Any]) -> Message:
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
    )
