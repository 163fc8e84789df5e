"""The paths of the page of settings: sessions and passkeys."""

from typing import Final

from aiohttp import web

from services.dashboard.http import bodies, roles
from services.dashboard.http.middleware import AccessControl
from services.dashboard.http.passkeys import Passkey, Passkeys
from services.dashboard.http.sessions import Login, Sessions
from services.dashboard.state import shown
from services.dashboard.state.tables import Row
from wire.errors import AccessDenied
from wire.records.dashboard import Role, Way

OF_PROXY: Final = (
    "The proxy has logged you in, and does so on each of your devices. A passkey would stay valid "
    "when dashboard.users no longer names you. Log in with `hivectl login-link` to make one."
)
"""The reason why a user of the proxy makes no passkey."""


class SessionHandlers:
    """The handlers of the paths below `/api/sessions` and `/api/passkeys`."""

    def __init__(self, access: AccessControl, sessions: Sessions, passkeys: Passkeys) -> None:
        self._access = access
        self._sessions = sessions
        self._passkeys = passkeys

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/sessions", self.list),
            web.post(r"/api/sessions/{id:\d{1,15}}/revoke", self.revoke),
            web.get("/api/passkeys", self.passkeys),
            web.post("/api/passkeys/begin", self.begin_passkey),
            web.post("/api/passkeys", self.register),
            web.post("/api/passkeys/remove", self.remove),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Answer with the sessions, the last used first."""
        own = self._access.session(request)
        rows = [
            row._asdict() | {"name": shown.message(row.name), "own": key == own}
            for key, row in self._sessions.rows()
        ]
        return web.json_response({"sessions": rows})

    async def revoke(self, request: web.Request) -> web.Response:
        """End a session, with its event streams and previews."""
        self._sessions.revoke(int(request.match_info["id"]))
        return web.json_response({})

    async def passkeys(self, request: web.Request) -> web.Response:
        """Answer with the own passkeys, and to an operator with all, the oldest first."""
        found = [one for one in self._passkeys.list() if self._may_see(request, one)]
        return web.json_response({"passkeys": [_row(one) for one in found]})

    async def begin_passkey(self, request: web.Request) -> web.Response:
        """Answer with a challenge for a new passkey, which gets the role of the session."""
        await bodies.read(request, bodies.Nothing)
        self._require_own_login(request)
        options = self._passkeys.begin_registration(request.headers["Origin"], self._role(request))
        return web.json_response({"options": options})

    async def register(self, request: web.Request) -> web.Response:
        """Keep a new passkey."""
        body = await bodies.read(request, bodies.NewPasskey)
        self._require_own_login(request)
        session = self._access.session(request)
        origin = request.headers["Origin"]
        made = self._passkeys.register(origin, body.credential, body.name, session)
        return web.json_response({"passkey": _row(made)})

    async def remove(self, request: web.Request) -> web.Response:
        """Forget a passkey, and end the sessions that it has begun."""
        key = (await bodies.read(request, bodies.OldPasskey)).id
        if not all(self._may_see(request, one) for one in self._passkeys.list() if one.id == key):
            raise AccessDenied(roles.refusal(self._role(request)))
        self._passkeys.remove(key)
        self._sessions.end_of_passkey(key)
        return web.json_response({})

    def _require_own_login(self, request: web.Request) -> None:
        """Refuse a passkey to a user of the proxy: it would outlive the user's entry there.

        Raises:
            AccessDenied: the proxy's user has begun the session.
        """
        if reason := no_passkey(self._access.login(request)):
            raise AccessDenied(reason)

    def _role(self, request: web.Request) -> Role:
        login = self._access.login(request)
        return Role.GUEST if login is None else login.role

    def _may_see(self, request: web.Request, passkey: Passkey) -> bool:
        """Whether a passkey is the own one, or the session is an operator's.

        A reviewer who could remove those of other reviewers would end their sessions.
        """
        login = self._access.login(request)
        if login is None or login.role is Role.OPERATOR:
            return login is not None
        return passkey.id == login.passkey or passkey.session == self._access.session(request)


def no_passkey(login: Login | None) -> str:
    """Return the reason why a session may make no passkey; empty: it may."""
    return OF_PROXY if login is not None and login.way is Way.PROXY else ""


def _row(passkey: Passkey) -> Row:
    return {
        "id": passkey.id,
        "name": shown.message(passkey.name),
        "role": passkey.role,
        "host": passkey.host,
        "made": int(passkey.made * 1_000_000),
        "used": int(passkey.used * 1_000_000),
    }
