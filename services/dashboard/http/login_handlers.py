"""The paths of logins: with a link, a passkey, or the proxy's user; and the logout."""

from aiohttp import web

from services.dashboard.http import bodies
from services.dashboard.http.answers import refusal
from services.dashboard.http.failures import Failures
from services.dashboard.http.middleware import AccessControl
from services.dashboard.http.passkeys import Passkeys, host_for_passkeys
from services.dashboard.http.session_handlers import no_passkey
from services.dashboard.http.sessions import Sessions
from services.dashboard.state import shown
from wire.errors import AccessDenied, InvalidArgument
from wire.records.dashboard import Way

USED_LINK = (
    "This link was already used, or is older than 15 minutes. Run `hivectl login-link` again."
)
NO_USER = (
    "The proxy names no user to the dashboard: see dashboard.user_header and "
    "dashboard.trusted_proxies in hyperhive.toml(5)."
)


class LoginHandlers:
    """The handlers of the paths below `/login`, and of those about the own session."""

    def __init__(
        self, access: AccessControl, sessions: Sessions, passkeys: Passkeys, failures: Failures
    ) -> None:
        self._access = access
        self._sessions = sessions
        self._passkeys = passkeys
        self._failures = failures

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/login", self.with_link),
            web.get("/login/ways", self.ways),
            web.post("/login/proxy", self.with_proxy),
            web.post("/login/passkey/begin", self.begin_passkey),
            web.post("/login/passkey", self.with_passkey),
            web.post("/logout", self.logout),
            web.get("/api/session", self.session),
        ]

    async def ways(self, request: web.Request) -> web.Response:
        """Answer with the ways to log in besides a link; everybody may ask."""
        user, origin = self._access.proxy.user(request), f"//{request.host}"
        return web.json_response(
            {"user": shown.message(user), "passkeys": bool(self._passkeys.of_host(origin))}
        )

    async def with_link(self, request: web.Request) -> web.Response:
        """Begin a session for a valid token, and answer with its secret."""
        token = (await bodies.read(request, bodies.Login)).token
        session = self._sessions.redeem(token, self._access.origin(request))
        if session is None:
            return await self._refuse(401, USED_LINK)
        return self._begun(session)

    async def with_proxy(self, request: web.Request) -> web.Response:
        """Begin a session for the user whom the proxy names."""
        await bodies.read(request, bodies.Nothing)
        user = self._access.proxy.user(request)
        role = self._access.proxy.role(user)
        if role is None:
            sentence = (
                f"The user {user!r} has no role: see dashboard.users in hyperhive.toml(5)."
                if user
                else NO_USER
            )
            return await self._refuse(403, sentence)
        origin = self._access.origin(request)
        return self._begun(self._sessions.begin(role, Way.PROXY, origin, name=user))

    async def begin_passkey(self, request: web.Request) -> web.Response:
        """Answer with a challenge for a passkey."""
        await bodies.read(request, bodies.Nothing)
        return web.json_response({"options": self._passkeys.begin_login(request.headers["Origin"])})

    async def with_passkey(self, request: web.Request) -> web.Response:
        """Begin a session for the answer of a passkey."""
        credential = (await bodies.read(request, bodies.LoginPasskey)).credential
        try:
            passkey = self._passkeys.verify(request.headers["Origin"], credential)
        except AccessDenied as error:
            return await self._refuse(401, str(error))
        origin = self._access.origin(request)
        return self._begun(
            self._sessions.begin(
                passkey.role, Way.PASSKEY, origin, name=passkey.name, passkey=passkey.id
            )
        )

    async def logout(self, request: web.Request) -> web.Response:
        """End the session, with its event streams and previews."""
        self._sessions.end(self._access.session(request))
        return web.json_response({})

    async def session(self, request: web.Request) -> web.Response:
        """Answer with the session that the middleware has found, and its role."""
        login = self._access.login(request)
        if login is None:
            raise web.HTTPUnauthorized
        why = no_passkey(login) or _no_passkeys(request)
        return web.json_response({"role": login.role, "id": login.id, "passkeys": why})

    async def _refuse(self, status: int, sentence: str) -> web.Response:
        await self._failures.failed()
        return refusal(status, sentence)

    def _begun(self, secret: str) -> web.Response:
        """Return the answer to a login: the secret of the new session, and its role."""
        return web.json_response({"session": secret, "role": self._sessions.role_of(secret)})


def _no_passkeys(request: web.Request) -> str:
    """Return the reason why browsers have no passkeys for the host name; empty: they have some."""
    try:
        host_for_passkeys(f"//{request.host}")
    except InvalidArgument as error:
        return str(error)
    return ""
