"""The paths of terminals: the page, the ticket, and the web socket that carries one."""

from contextlib import suppress

from aiohttp import WSMsgType, web

from services.dashboard.clients.services import agent_path
from services.dashboard.http.answers import HEADERS
from services.dashboard.http.connection import TERMINALS
from services.dashboard.http.middleware import AccessControl
from services.dashboard.http.pages import marked_if_linked
from services.dashboard.terminal import frames
from services.dashboard.terminal.terminals import Terminals
from wire.errors import AccessDenied, HiveError, InvalidArgument

POLICY = HEADERS["Content-Security-Policy"].replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)
"""The content security policy of the page with a terminal. Its library writes style sheets for the
colours of cells; nothing of a container becomes one."""


class TerminalHandlers:
    """The handlers of terminals."""

    def __init__(self, access: AccessControl, terminals: Terminals, page: bytes) -> None:
        """Serve terminals.

        Args:
            access: knows the session of a request.
            terminals: the terminals.
            page: the HTML of the page.
        """
        self._access = access
        self._terminals = terminals
        self._html = page

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/agents/{name}/terminal", self.page),
            web.get("/api/agents/{name}/terminal", self.offered),
            web.post("/api/agents/{name}/terminal", self.ticket),
            web.get(TERMINALS + "{ticket:[A-Za-z0-9_-]{20,100}}", self.carry),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """Serve the page of a terminal; its script opens the terminal.

        When another site has led to it, the operator's press opens the terminal.
        """
        agent_path(request.match_info["name"])
        return web.Response(
            body=marked_if_linked(request, self._html),
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": POLICY},
        )

    async def offered(self, request: web.Request) -> web.Response:
        """Answer whether terminals are on."""
        agent_path(request.match_info["name"])
        return web.json_response({"offered": self._terminals.allowed})

    async def ticket(self, request: web.Request) -> web.Response:
        """Answer with the path of a web socket for one terminal; it is valid for half a minute."""
        name = request.match_info["name"]
        agent_path(name)
        session = self._access.session(request)
        login = self._access.login(request)
        who = "nobody" if login is None else f"session {login.id} {login.name}".strip()
        secret = self._terminals.issue(name, session, who)
        return web.json_response({"path": f"{TERMINALS}{secret}"})

    async def carry(self, request: web.Request) -> web.StreamResponse:
        """Carry a terminal over a web socket."""
        if "Origin" not in request.headers:
            raise AccessDenied("Only a page of the dashboard may open a terminal.")
        ticket = self._terminals.redeem(request.match_info["ticket"])
        if ticket is None:
            raise AccessDenied("This ticket has been used, or is older than half a minute.")
        self._access.on_session(request.transport)
        page = web.WebSocketResponse(
            max_msg_size=frames.MAX_TEXT, compress=False, heartbeat=30.0, timeout=2.0
        )
        if not page.can_prepare(request):
            raise InvalidArgument("A terminal needs a web socket.")
        await page.prepare(request)
        try:
            why = await self._terminals.serve(ticket, _Page(page))
        except HiveError as error:
            why = str(error)
        with suppress(ConnectionError):
            await page.send_json({"ended": why})
        await page.close()
        return page


class _Page:
    """A page at the other end of a web socket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def draw(self, data: bytes) -> None:
        """Send output."""
        await self._socket.send_bytes(data)

    async def receive(self) -> bytes | str | None:
        """Return the next message; None at the end."""
        message = await self._socket.receive()
        if message.type is WSMsgType.BINARY:
            data: bytes = message.data
            return data
        if message.type is WSMsgType.TEXT:
            text: str = message.data
            return text
        return None
