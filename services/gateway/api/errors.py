"""Errors in the form of the Messages API, so that Claude Code shows their sentence."""

import json
from collections.abc import Mapping
from typing import Final

from aiohttp import web

TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
"""The error's type by its status; others are api_error."""

NO_RETRY: Final = {"x-should-retry": "false"}
"""The header by which Claude Code does not repeat the request."""


class ApiError(Exception):
    """An answer of the gateway itself in place of the upstream's."""

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """Return the answer."""
        return web.Response(
            status=self.status,
            body=body(self.status, str(self)),
            headers=self.headers | {"Content-Type": "application/json"},
        )


def body(status: int, sentence: str) -> bytes:
    """Return the body of an error."""
    error = {"type": TYPES.get(status, "api_error"), "message": f"Hyperhive: {sentence}"}
    return json.dumps({"type": "error", "error": error}).encode()


def event(sentence: str) -> bytes:
    """Return an error as the last event of a stream that has begun."""
    return b"event: error\ndata: " + body(500, sentence) + b"\n\n"


def full(connections: int) -> bytes:
    """Return the whole answer to a connection above the limit."""
    text = body(
        503,
        f"this agent already has {connections} connections to the Messages API. Close one first.",
    )
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        b"Retry-After: 2\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
    )
