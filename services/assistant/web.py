"""The application behind the socket: tokens, the one path, and the end of an idle service."""

import asyncio
import json
from collections.abc import Collection
from typing import Final

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.assistant.rights import Client, Tokens
from services.assistant.server import CLIENT

PATH: Final = "/mcp"
MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes of a request: the longest message that the broker takes, however JSON escapes it."""
MAX_REQUESTS: Final = 64
"""Requests at once."""
HEAD_SECONDS: Final = 10.0
"""The time in which a connection must send the head of its first request. Anybody on this host can
connect, and a connection that is open takes a file descriptor."""
BODY_SECONDS: Final = 30.0
"""The time without a part of a body after which its request is given up."""

_REFUSED: Final = (
    "Send a token in the header `Authorization: Bearer TOKEN`. `hivectl assistant create NAME` "
    "makes one."
)


def security(allowed_hosts: Collection[str]) -> TransportSecuritySettings:
    """Return the check of `Host` and `Origin`, against pages that a browser has open.

    No page of a browser is a client, so no origin passes.
    """
    named = [host for name in allowed_hosts for host in (name, f"{name}:*")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=["127.0.0.1:*", "[::1]:*", "localhost:*", *named],
        allowed_origins=[],
    )


class Idle:
    """Knows when no request has been served for a while."""

    def __init__(self, seconds: float) -> None:
        """Count from now on; `seconds` without a request make it idle."""
        self._seconds = seconds
        self._running = 0
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    @property
    def running(self) -> int:
        """The requests that are served now."""
        return self._running

    async def wait(self) -> None:
        """Return when it is idle."""
        await self._over.wait()

    def __enter__(self) -> None:
        self._running += 1
        if self._timer is not None:
            self._timer.cancel()

    def __exit__(self, *_error: object) -> None:
        self._running -= 1
        if not self._running:
            self._wait()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._over.set)


class Connection(H11Protocol):
    """A connection, which is ended when no request comes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, and not for ever."""
        super().connection_made(transport)
        self._limit = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._limit.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.abort()


class Application:
    """Hands the requests of known clients to the MCP server."""

    def __init__(self, tokens: Tokens, manager: StreamableHTTPSessionManager, idle: Idle) -> None:
        self._tokens = tokens
        self._served: ASGIApp = manager.handle_request
        self._idle = idle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return  # the server has no other kind: see `lifespan` and `ws` in __main__
        with self._idle:
            client = self._client(scope)
            if scope["path"] != PATH:
                await _refuse(send, 404, f"There is no such path; use {PATH}.")
            elif client is None:
                await _refuse(send, 401, _REFUSED)
            elif scope["method"] != "POST":
                # A stream would never tell anything: each request stands alone.
                await _refuse(send, 405, "Send requests of MCP with POST.")
            elif self._idle.running > MAX_REQUESTS:
                await _refuse(send, 503, "Too many requests are running. Try again.")
            else:
                scope[CLIENT] = client
                await self._served(scope, _impatient(receive), send)

    def _client(self, scope: Scope) -> Client | None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return None
        scheme, _, token = given[0].decode("latin-1").partition(" ")
        return self._tokens.client(token.strip()) if scheme.lower() == "bearer" else None


def _impatient(receive: Receive) -> Receive:
    """Return `receive`, which takes a client that sends no more of its body for one that left."""
    has_all = False

    async def part() -> Message:
        nonlocal has_all
        if has_all:
            return await receive()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                message = await receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        has_all = not message.get("more_body", False)
        return message

    return part


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    if status == 405:
        headers.append((b"allow", b"POST"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
