"""What every request has to pass: host, origin, login; and the headers every answer carries."""

import logging
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from wire.errors import HiveError

from .logins import SESSION_SECONDS, Logins

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN_PATHS = frozenset({"/login", "/static/login.js", "/static/base.css", "/static/icon.svg"})
"""What is answered without a login; none of it says anything about the hive."""

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
"""HTTP status of each error in org.hyperhive.Error; any other one is a 500."""


def refusal(status: int, sentence: str, name: str = "AccessDenied") -> web.Response:
    """An error as the page reads it: a sentence, and the name it has on the bus."""
    body = {"error": sentence, "name": f"org.hyperhive.Error.{name}"}
    return web.json_response(body, status=status)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: no answer leaves without the security headers."""
    response.headers.update(HEADERS)
    response.headers.popall("Server", None)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure becomes a sentence; what nobody expected is logged and not shown."""
    try:
        return await handler(request)
    except HiveError as error:
        kind = type(error).__name__
        return refusal(STATUS.get(kind, 500), str(error), kind)
    except web.HTTPRequestEntityTooLarge:
        return refusal(413, "That is too long: a message has at most 1 MiB.", "LimitExceeded")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return refusal(error.status, f"{error.reason}: {request.method} {request.path}", "NotFound")
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return refusal(
            500, "The dashboard failed; `journalctl -u hive-dashboard` says how.", "Internal"
        )


class Guard:
    """The rules of who is let through; its methods are middlewares and what handlers ask."""

    def __init__(self, logins: Logins, port: int, allowed_hosts: Collection[str] = ()) -> None:
        """Guard one listener.

        Args:
            logins: the sessions.
            port: of the listener. It is part of the cookie's name, because browsers do not
                keep cookies apart by port, and two hives may run on one host.
            allowed_hosts: names, without a port, that a proxy in front of us goes by.
        """
        self._logins = logins
        self._cookie = f"hyperhive-{port}"
        self._hosts = LOCAL_HOSTS | {host.lower() for host in allowed_hosts}

    def middlewares(self) -> list[Middleware]:
        """In the order to be passed."""
        return [errors, self.same_place, self.logged_in]

    @web.middleware
    async def same_place(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what another site made the browser send, or sent by way of its own name."""
        if _hostname(request.host) not in self._hosts:
            return refusal(
                403,
                "This name is not the dashboard's. Use 127.0.0.1 or localhost, or add the name "
                "to dashboard.allowed_hosts in /etc/hyperhive/hyperhive.toml.",
            )
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        # A person may follow a link to a page from anywhere; all else is for our own pages only.
        from_elsewhere = site not in ("same-origin", "none")
        is_page = request.method == "GET" and _is_page(request.path)
        if (from_elsewhere and not is_page) or not self._origin_fits(request):
            return refusal(403, "Only the dashboard's own pages may do this.")
        return await handler(request)

    @staticmethod
    def _origin_fits(request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        if origin is None:
            return request.method in ("GET", "HEAD")
        return origin in (f"http://{request.host}", f"https://{request.host}")

    @web.middleware
    async def logged_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse whoever has no session, wherever to; a page sends them to the login page."""
        if request.path in OPEN_PATHS or self.session_ends_in(request) > 0:
            return await handler(request)
        if request.method == "GET" and _is_page(request.path):
            return web.Response(status=303, headers={"Location": "/login"})
        return refusal(401, "You are not logged in: run `hivectl login-link` on the hive's host.")

    def session_ends_in(self, request: web.Request) -> float:
        """Seconds that the request's session is good for; 0 or less without one."""
        return self._logins.session_ends_in(self.session(request))

    def session(self, request: web.Request) -> str:
        """The session the request carries, good or not."""
        return request.cookies.get(self._cookie, "")

    def welcome(self, response: web.Response, session: str) -> None:
        """Give the browser its session. Not `Secure`: on loopback there is no TLS."""
        response.set_cookie(
            self._cookie, session, max_age=SESSION_SECONDS, path="/", httponly=True,
            samesite="Strict",
        )  # fmt: skip

    def farewell(self, response: web.Response) -> None:
        """Take the session away from the browser."""
        response.del_cookie(self._cookie, path="/", httponly=True, samesite="Strict")


def _is_page(path: str) -> bool:
    """Whether a person may come to `path` from anywhere; it shows nothing without a session."""
    return path in ("/", "/login") or path.startswith("/agents/")


def _hostname(host: str) -> str:
    """The name in a Host header, without the port; empty when there is none to be found."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
