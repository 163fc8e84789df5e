"""The headers of every answer, and the shape of errors."""

from aiohttp import web

from services.dashboard.http import pages
from wire.text.escaping import prose

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; "
        "trusted-types hyperhive-worker"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A page on another port of this host name shares no process with ours, and no document.domain.
    "Origin-Agent-Cluster": "?1",
}

STATUS = {
    "InvalidArgument": 400,
    "AccessDenied": 403,
    "NotFound": 404,
    "AlreadyExists": 409,
    "Conflict": 409,
    "LimitExceeded": 413,
    "Unavailable": 503,
    "Stopping": 503,
    "Timeout": 504,
}
"""The HTTP status of each error in org.hyperhive.Error; any other one is a 500."""


def refusal(status: int, sentence: str, name: str = "AccessDenied") -> web.Response:
    """Return an error as pages expect it: a sentence, and the error's name on the bus.

    The sentence may quote what an agent wrote; pages show it as it is sent.
    """
    body = {"error": prose(sentence), "name": f"org.hyperhive.Error.{name}"}
    return web.json_response(body, status=status)


def page_refusal(status: int, sentence: str, name: str = "AccessDenied") -> web.Response:
    """Return an error as a page, for somebody who has opened an address; `name` is not shown."""
    body = pages.error(prose(sentence))
    return web.Response(text=body, status=status, content_type="text/html", charset="utf-8")


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to an answer; for `on_response_prepare`.

    The connection of a refused web socket is closed: `Connection` looks at nothing after its head.
    An answer that has a header already keeps it: a file to save has a stricter policy.
    """
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.popall("Server", None)
    if "Upgrade" in request.headers and not isinstance(response, web.WebSocketResponse):
        response.force_close()
