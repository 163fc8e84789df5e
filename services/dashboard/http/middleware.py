"""The checks that every request passes: host, origin and session."""

import asyncio
import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from services.config import DashboardConfig
from services.dashboard.http import roles
from services.dashboard.http.answers import STATUS, page_refusal, refusal
from services.dashboard.http.browsers import short_name
from services.dashboard.http.connection import HOOKS, METRICS, REFUSED, SESSION_HEADER, TERMINALS
from services.dashboard.http.pages import is_page
from services.dashboard.http.places import Owner
from services.dashboard.http.proxy import Proxy
from services.dashboard.http.sessions import Login, Origin, Sessions, digest
from wire.errors import HiveError
from wire.records.dashboard import Role, Way

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOCAL_HOSTS = frozenset({"127.0.0.1", "::1"})
LOCALHOST = "localhost"
"""A name of two addresses. Another program may listen on the one that the dashboard does not use,
and its page would have the same origin. So the dashboard redirects to its own address."""

_PLAIN: Final = re.compile(r"/[A-Za-z0-9/_-]{0,40}")
"""The addresses that a sentence names: they have no room for words."""


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a sentence; log an unexpected one and do not show it.

    Somebody who has opened an address gets a page with the sentence; a script gets JSON.
    """
    refuse = page_refusal if _opens_page(request) else refusal
    try:
        return await handler(request)
    except HiveError as error:
        kind = type(error).__name__
        return refuse(STATUS.get(kind, 500), str(error), kind)
    except web.HTTPRequestEntityTooLarge:
        return refuse(413, "This is too long: a message has at most 1 MiB.", "LimitExceeded")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        if _opens_page(request) and error.status == 404:
            return refuse(404, _no_page(request.path), "NotFound")
        return refuse(error.status, f"{error.reason}: {request.method} {request.path}", "NotFound")
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return refuse(
            500, "The dashboard failed. Run `journalctl -u hive-dashboard` to see why.", "Internal"
        )


class AccessControl:
    """The rules that decide which requests pass, as middlewares.

    A page sends its session in a header. Only scripts of the dashboard's own origin (scheme, host
    and port) have the session, and no browser lets a page of another origin set the header. The
    requests of other pages carry nothing that the dashboard would accept.
    """

    def __init__(
        self,
        sessions: Sessions,
        address: str,
        allowed_hosts: Collection[str] = (),
        metrics_token: str | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """Control the access to one listener.

        Args:
            sessions: the sessions that may pass.
            address: the address of the listener.
            allowed_hosts: host names, without a port, by which a proxy reaches the listener.
            metrics_token: the token that reads the metrics; None: only a session does.
            proxy: the proxy in front of the listener; by default there is none.
        """
        self.proxy = proxy or Proxy(DashboardConfig())
        self._metrics_token = metrics_token
        self._sessions = sessions
        self._address = address
        self.on_session: Callable[[asyncio.BaseTransport | None], None] = lambda transport: None
        """Called with the connection of each request that has a valid session, or a ticket."""
        self._hosts = LOCAL_HOSTS | {address} | {host.lower() for host in allowed_hosts}

    def middlewares(self) -> list[Middleware]:
        """Return the middlewares, outermost first."""
        return [errors_as_json, self.require_own_origin, self.require_session, self.require_role]

    @web.middleware
    async def require_own_origin(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Refuse requests that another site made the browser send, or sent by DNS rebinding."""
        name, port = _name_and_port(request.host)
        if name not in self._hosts:
            if name == LOCALHOST and request.method == "GET" and is_page(request.path):
                return self._redirect(port, request.path_qs)
            return refusal(
                403,
                f"The dashboard does not serve this host name. Use {self._address}, or add the "
                "name to dashboard.allowed_hosts in /etc/hyperhive/hyperhive.toml.",
            )
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        # Any site may link to a page; everything else is for the dashboard's own pages.
        from_elsewhere = site not in ("same-origin", "none")
        opens_page = request.method == "GET" and is_page(request.path)
        if (from_elsewhere and not opens_page) or not self._origin_fits(request):
            return refusal(403, "Only the dashboard's own pages may send this request.")
        return await handler(request)

    def _redirect(self, port: str, path: str) -> web.Response:
        """Lead to the same page at the listener's address; the browser keeps the fragment."""
        host = f"[{self._address}]" if ":" in self._address else self._address
        return web.Response(status=307, headers={"Location": f"http://{host}{port}{path}"})

    @staticmethod
    def _origin_fits(request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        if origin is None:
            # A forge is not a browser, and names none.
            return request.method in ("GET", "HEAD") or _is_hook(request)
        return origin in (f"http://{request.host}", f"https://{request.host}")

    @web.middleware
    async def require_session(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests without a session, unless the answer is the same for everybody."""
        if _is_open(request):
            return await handler(request)
        if self.login(request) is not None:
            self._sessions.touch(self.session(request))
            self.on_session(request.transport)
            return await handler(request)
        if request.path == METRICS:
            if self._may_read_metrics(request):
                return await handler(request)
            return refusal(
                401,
                "Send the token of /etc/hyperhive/credentials/dashboard/metrics, as the header "
                "`Authorization: Bearer TOKEN`, or a session of the dashboard.",
            )
        return refusal(401, "You are not logged in: run `hivectl login-link` on the hive's host.")

    @web.middleware
    async def require_role(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests that the role of the session may not make."""
        login, resource = self.login(request), request.match_info.route.resource
        if login is None or resource is None or _is_open(request):
            return await handler(request)
        upgrade = "Upgrade" in request.headers
        wanted = roles.needed(request.method, resource.canonical, upgrade=upgrade)
        if roles.covers(login.role, wanted):
            return await handler(request)
        return refusal(403, roles.refusal(login.role))

    def _may_read_metrics(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        wanted = self._metrics_token
        if wanted is None or scheme.lower() != "bearer":
            return False
        sent = token.strip().encode(errors="surrogateescape")
        return hmac.compare_digest(sent, wanted.encode())

    def login(self, request: web.Request) -> Login | None:
        """Return the valid session that the request carries.

        A session that the proxy's user has begun is good for this user alone, in the same role.
        """
        login = self._sessions.find(self.session(request))
        if login is not None and login.way is Way.PROXY:
            user = self.proxy.user(request)
            if user != login.name or self.proxy.role(user) is not login.role:
                return None
        return login

    def owner(self, request: web.Request) -> Owner:
        """Return for whom the answer to a request is, which holds a place."""
        session, login = self.session(request), self.login(request)
        if login is None:
            return Owner(session, session, Role.GUEST)
        user = f"{login.way} {login.passkey or login.name}"
        return Owner(session, session if login.way is Way.LINK else user, login.role)

    def seconds_left(self, request: web.Request) -> float:
        """Return for how long the request's session is valid; 0 or less without one."""
        return self._sessions.seconds_left(self.session(request))

    def session(self, request: web.Request) -> str:
        """Return the key of the session that the request carries, valid or not."""
        return digest(request.headers.get(SESSION_HEADER, ""))

    def origin(self, request: web.Request) -> Origin:
        """Return where a request comes from, for the list of sessions."""
        return Origin(
            self.proxy.address(request), short_name(request.headers.get("User-Agent", ""))
        )


def _is_open(request: web.Request) -> bool:
    """Whether a request needs no session: a login, or a GET that says nothing about the hive."""
    if request.path == "/login" or request.path.startswith("/login/") or _is_hook(request):
        return True
    # The path of a terminal has a ticket, which is the right to open it.
    is_file = is_page(request.path) or request.path.startswith(("/static/", REFUSED, TERMINALS))
    return is_file and request.method in ("GET", "HEAD")


def _is_hook(request: web.Request) -> bool:
    """Whether a request is a webhook of a forge, which its signature admits."""
    return request.method == "POST" and request.path.startswith(HOOKS)


def _no_page(path: str) -> str:
    """Return the sentence for an unknown address.

    Any site may link to one, so no words of it become the dashboard's.
    """
    return f"There is no page at {path if _PLAIN.fullmatch(path) else 'this address'}."


def _opens_page(request: web.Request) -> bool:
    return request.method in ("GET", "HEAD") and is_page(request.path)


def _name_and_port(host: str) -> tuple[str, str]:
    """Split a Host header into the name and `:PORT`; both are empty when it is not valid."""
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname or "", "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "", ""
