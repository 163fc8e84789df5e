"""The application behind the socket: tokens, the one path, and the end of an idle service."""

import asyncio
import json
from collections.abc import Collection
from typing import Final

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from services.assistant.rights import Client, Tokens
from services.assistant.server import CLIENT

PATH: Final = "/mcp"
MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes of a request: the longest message that the broker takes, however JSON escapes it."""
MAX_REQUESTS: Final = 64
"""Requests at once."""

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
                await _refuse(send, 404, f"There is nothing here; the path is {PATH}.")
            elif client is None:
                await _refuse(send, 401, _REFUSED)
            elif self._idle.running > MAX_REQUESTS:
                await _refuse(send, 503, "Too many requests run: try again.")
            else:
                scope[CLIENT] = client
                await self._served(scope, receive, send)

    def _client(self, scope: Scope) -> Client | None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return None
        scheme, _, token = given[0].decode("latin-1").partition(" ")
        return self._tokens.client(token.strip()) if scheme.lower() == "bearer" else None


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
