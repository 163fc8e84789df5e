"""The checks that every request passes (host, origin, session), and the headers of every answer."""

import logging
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from services.dashboard.http.sessions import SESSION_SECONDS, Sessions
from wire.errors import HiveError

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN_PATHS = frozenset({"/login", "/static/login.js", "/static/base.css", "/static/icon.svg"})
"""The paths that need no session; none of them says anything about the hive."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
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
    """Return an error as pages expect it: a sentence, and the error's name on the bus."""
    body = {"error": sentence, "name": f"org.hyperhive.Error.{name}"}
    return web.json_response(body, status=status)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to an answer; for `on_response_prepare`."""
    response.headers.update(HEADERS)
    response.headers.popall("Server", None)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a sentence; log an unexpected one and do not show it."""
    try:
        return await handler(request)
    except HiveError as error:
        kind = type(error).__name__
        return refusal(STATUS.get(kind, 500), str(error), kind)
    except web.HTTPRequestEntityTooLarge:
        return refusal(413, "This is too long: a message has at most 1 MiB.", "LimitExceeded")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return refusal(error.status, f"{error.reason}: {request.method} {request.path}", "NotFound")
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return refusal(
            500, "The dashboard failed. Run `journalctl -u hive-dashboard` to see why.", "Internal"
        )


class AccessControl:
    """The rules that decide which requests pass, as middlewares; and the session cookie."""

    def __init__(self, sessions: Sessions, port: int, allowed_hosts: Collection[str] = ()) -> None:
        """Control the access to one listener.

        Args:
            sessions: the sessions that may pass.
            port: the listener's port. It is part of the cookie's name, because browsers do not
                separate cookies by port, and two hives may run on one host.
            allowed_hosts: host names, without a port, by which a proxy reaches the listener.
        """
        self._sessions = sessions
        self._cookie = f"hyperhive-{port}"
        self._hosts = LOCAL_HOSTS | {host.lower() for host in allowed_hosts}

    def middlewares(self) -> list[Middleware]:
        """Return the middlewares, outermost first."""
        return [errors_as_json, self.require_own_origin, self.require_session]

    @web.middleware
    async def require_own_origin(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Refuse requests that another site made the browser send, or sent by DNS rebinding."""
        if _hostname(request.host) not in self._hosts:
            return refusal(
                403,
                "The dashboard does not serve this host name. Use 127.0.0.1 or localhost, or add "
                "the name to dashboard.allowed_hosts in /etc/hyperhive/hyperhive.toml.",
            )
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        # Any site may link to a page; everything else is for the dashboard's own pages.
        from_elsewhere = site not in ("same-origin", "none")
        is_page = request.method == "GET" and _is_page(request.path)
        if (from_elsewhere and not is_page) or not self._origin_fits(request):
            return refusal(403, "Only the dashboard's own pages may send this request.")
        return await handler(request)

    @staticmethod
    def _origin_fits(request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        if origin is None:
            return request.method in ("GET", "HEAD")
        return origin in (f"http://{request.host}", f"https://{request.host}")

    @web.middleware
    async def require_session(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests without a session; redirect a page to the login page."""
        if request.path in OPEN_PATHS or self.seconds_left(request) > 0:
            return await handler(request)
        if request.method == "GET" and _is_page(request.path):
            return web.Response(status=303, headers={"Location": "/login"})
        return refusal(401, "You are not logged in: run `hivectl login-link` on the hive's host.")

    def seconds_left(self, request: web.Request) -> float:
        """Return for how long the request's session is valid; 0 or less without one."""
        return self._sessions.seconds_left(self.session(request))

    def session(self, request: web.Request) -> str:
        """Return the session that the request carries, valid or not."""
        return request.cookies.get(self._cookie, "")

    def set_cookie(self, response: web.Response, session: str) -> None:
        """Give the browser its session. It is not `Secure`, because the loopback has no TLS."""
        response.set_cookie(
            self._cookie,
            session,
            max_age=SESSION_SECONDS,
            path="/",
            httponly=True,
            samesite="Strict",
        )

    def delete_cookie(self, response: web.Response) -> None:
        """Make the browser forget its session."""
        response.del_cookie(self._cookie, path="/", httponly=True, samesite="Strict")


def _is_page(path: str) -> bool:
    """Whether other sites may link to `path`; it shows nothing without a session."""
    return path in ("/", "/login") or path.startswith("/agents/")


def _hostname(host: str) -> str:
    """Return the name in a Host header, without the port; empty when the header has none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
