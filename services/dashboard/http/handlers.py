"""The paths and their handlers. They decide nothing: see middleware, sessions and clients."""

from pathlib import Path

from aiohttp import web

from services.dashboard.clients.actions import OperatorActions
from services.dashboard.clients.agent_details import AgentDetails
from services.dashboard.clients.services import agent_path
from services.dashboard.http import bodies, openapi, pages
from services.dashboard.http.agent_handlers import AgentHandlers
from services.dashboard.http.answers import add_headers, refusal
from services.dashboard.http.approval_handlers import ApprovalHandlers
from services.dashboard.http.connection import METRICS, REFUSED, Reason
from services.dashboard.http.control_handlers import ControlHandlers
from services.dashboard.http.event_streams import EventStreams
from services.dashboard.http.hook_handlers import HookHandlers
from services.dashboard.http.ledger_handlers import LedgerHandlers
from services.dashboard.http.log_handlers import LogHandlers
from services.dashboard.http.login_handlers import LoginHandlers
from services.dashboard.http.message_handlers import MessageHandlers
from services.dashboard.http.metrics import Metrics
from services.dashboard.http.middleware import AccessControl
from services.dashboard.http.project_handlers import ProjectHandlers
from services.dashboard.http.push_handlers import PushHandlers
from services.dashboard.http.session_handlers import SessionHandlers
from services.dashboard.http.terminal_handlers import TerminalHandlers
from services.dashboard.preview.links import PreviewLinks
from services.dashboard.state import shown
from services.dashboard.state.rows import question_text
from services.dashboard.state.tables import Tables
from services.dashboard.terminal.terminals import Terminals

TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".html": "text/html",
    ".webmanifest": "application/manifest+json",
    ".png": "image/png",
}

PARTS = "messages|questions|deploys|usage|logs|egress"

REFUSALS = {
    Reason.MALFORMED: (400, "InvalidArgument", "This is not a well-formed HTTP/1.1 request."),
    Reason.TOO_LONG: (
        431,
        "LimitExceeded",
        "This request's address, headers or cookies are too long.",
    ),
    Reason.NO_LENGTH: (
        411,
        "InvalidArgument",
        "A body needs Content-Length, not Transfer-Encoding.",
    ),
}


class Handlers:
    """The handlers, and the application that they make."""

    def __init__(
        self,
        access: AccessControl,
        logins: LoginHandlers,
        settings: SessionHandlers,
        push: PushHandlers,
        tables: Tables,
        streams: EventStreams,
        actions: OperatorActions,
        details: AgentDetails,
        agents: AgentHandlers,
        control: ControlHandlers,
        approvals: ApprovalHandlers,
        projects: ProjectHandlers,
        messages: MessageHandlers,
        metrics: Metrics,
        previews: PreviewLinks,
        terminals: Terminals,
        ledger: LedgerHandlers,
        logs: LogHandlers,
        hooks: HookHandlers,
    ) -> None:
        self._access = access
        self._logins = logins
        self._settings = settings
        self._push = push
        self._tables = tables
        self._streams = streams
        self._actions = actions
        self._details = details
        self._agents = agents
        self._control = control
        self._approvals = approvals
        self._projects = projects
        self._messages = messages
        self._metrics = metrics
        self._previews = previews
        self._terminals = terminals
        self._ledger = ledger
        self._logs = logs
        self._hooks = hooks
        self._files, self._version = pages.load(), pages.version_of()
        self._document: openapi.Json = {}

    def application(self) -> web.Application:
        """Return the application: middlewares, headers and routes."""
        app = web.Application(
            middlewares=self._access.middlewares(), client_max_size=bodies.MAX_BODY
        )
        app.on_response_prepare.append(add_headers)
        message = r"/api/messages/{id:\d{1,18}}"
        question = r"/api/questions/{id:\d{1,18}}"
        service = "/api/services/{name:broker|lifecycle|approvals|ledger|projects}"
        app.add_routes(
            [
                web.get("/", self.main_page),
                *(web.get(f"/{name}", self.section_page) for name in pages.SECTIONS),
                web.get("/agents/{name}", self.agent_page),
                web.get(r"/agents/{name}/turns/{turn:\d{1,15}}", self.turn_page),
                web.get("/agents/{name}/configuration", self.configuration_page),
                web.get(r"/changes/{id:\d{1,15}}", self.change_page),
                web.get("/login", self.login_page),
                web.get("/static/{name}", self.static),
                web.get("/worker.js", self.worker),
                web.get("/manifest.webmanifest", self.manifest),
                web.get(f"{REFUSED}{{reason:{'|'.join(Reason)}}}", self.refused),
                web.get(METRICS, self.metrics),
                web.get("/api/openapi.json", self.openapi),
                web.get("/api/state", self.state),
                web.get("/api/events", self.events),
                web.post("/api/messages", self.send),
                web.get(message, self.message),
                web.post(f"{message}/read", self.mark_read),
                web.post(f"{message}/requeue", self.requeue),
                web.post(f"{message}/drop", self.drop),
                web.get(question, self.question),
                web.post(f"{question}/answer", self.answer),
                web.get(f"/api/agents/{{name}}/{{part:{PARTS}}}", self.agent_details),
                web.post("/api/agents/{name}/wake", self.wake),
                web.post("/api/agents/{name}/egress", self.answer_egress),
                web.post("/api/agents/{name}/preview", self.preview),
                web.post(f"{service}/refresh", self.refresh),
            ]
        )
        app.add_routes(self._agents.routes())
        app.add_routes(self._control.routes())
        app.add_routes(self._logins.routes())
        app.add_routes(self._settings.routes())
        app.add_routes(self._push.routes())
        app.add_routes(self._ledger.routes())
        app.add_routes(self._logs.routes())
        app.add_routes(self._approvals.routes())
        app.add_routes(self._projects.routes())
        page = self._files["terminal.html"]
        app.add_routes(TerminalHandlers(self._access, self._terminals, page).routes())
        app.add_routes(self._messages.routes())
        app.add_routes(self._hooks.routes())
        return app

    def _file(self, name: str) -> web.Response:
        data = self._files.get(name)
        if data is None:
            raise web.HTTPNotFound
        return web.Response(body=data, content_type=TYPES[Path(name).suffix], charset="utf-8")

    async def main_page(self, _request: web.Request) -> web.Response:
        """Serve the main page: a shell, whose script loads the content with the session."""
        return self._file("index.html")

    async def section_page(self, request: web.Request) -> web.Response:
        """Serve the page of a section."""
        return self._file(f"{request.path[1:]}.html")

    async def agent_page(self, request: web.Request) -> web.Response:
        """Serve the page of one agent; its script finds out whether the agent exists.

        The page wakes a sleeping agent, but not when another site has led to it: such a site would
        decide what runs.
        """
        agent_path(request.match_info["name"])
        page = self._file("agent.html")
        page.body = pages.marked_if_linked(request, self._files["agent.html"])
        return page

    async def turn_page(self, request: web.Request) -> web.Response:
        """Serve the page of one turn; its script finds out whether the turn exists."""
        agent_path(request.match_info["name"])
        return self._file("turn.html")

    async def change_page(self, _request: web.Request) -> web.Response:
        """Serve the page of one change; its script finds out whether the change exists."""
        return self._file("change.html")

    async def configuration_page(self, request: web.Request) -> web.Response:
        """Serve the page of an agent's configuration."""
        agent_path(request.match_info["name"])
        return self._file("configuration.html")

    async def login_page(self, _request: web.Request) -> web.Response:
        """Serve the login page: how to get a link, and a script that posts the link's token.

        It is the same for everybody. The token is in the fragment of a link, which a browser does
        not send: it is in no log of a proxy, and a preview or a prefetch does not use it up.
        """
        return self._file("login.html")

    async def static(self, request: web.Request) -> web.Response:
        """Serve a script, a style sheet or the icon."""
        name = request.match_info["name"]
        return self._file(name if not name.endswith(".html") else "")

    async def worker(self, _request: web.Request) -> web.Response:
        """Serve the script that shows notifications: it may act for the directory it is in."""
        return self._file("worker.js")

    async def manifest(self, _request: web.Request) -> web.Response:
        """Serve the description by which a phone installs the dashboard."""
        return self._file("manifest.webmanifest")

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer with the metrics of the hive, for Prometheus."""
        return await self._metrics.answer()

    async def refused(self, request: web.Request) -> web.Response:
        """Answer in the place of a request that `Connection` has refused."""
        status, name, sentence = REFUSALS[Reason(request.match_info["reason"])]
        return refusal(status, sentence, name)

    async def openapi(self, request: web.Request) -> web.Response:
        """Answer with the OpenAPI document of this interface."""
        self._document = self._document or openapi.document(request.app)
        return web.json_response(self._document)

    async def state(self, _request: web.Request) -> web.Response:
        """Answer with all tables, the number of the last change in them, and the version.

        A page of another version, from before an update, loads itself again.
        """
        return web.json_response({**self._tables.snapshot(), "version": self._version})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream the changes, with the tails of the agents for which the page asks."""
        return await self._streams.serve(
            request,
            self._access.owner(request),
            self._access.seconds_left(request),
            self._agents.tails(request),
        )

    async def send(self, request: web.Request) -> web.Response:
        """Send a message as the operator."""
        body = await bodies.read(request, bodies.Message)
        return web.json_response(
            {"id": await self._actions.send(body.to, body.body, body.in_reply_to)}
        )

    async def message(self, request: web.Request) -> web.Response:
        """Answer with the whole body of a message; the state has only its beginning."""
        body = await self._actions.body(_id(request))
        return web.json_response({"body": shown.message(body)})

    async def mark_read(self, request: web.Request) -> web.Response:
        """Remove a message from the operator's inbox."""
        await self._actions.acknowledge(_id(request))
        return web.json_response({})

    async def requeue(self, request: web.Request) -> web.Response:
        """Queue a dead letter again."""
        await self._actions.requeue(_id(request))
        return web.json_response({})

    async def drop(self, request: web.Request) -> web.Response:
        """Give up a dead letter."""
        await self._actions.drop(_id(request))
        return web.json_response({})

    async def question(self, request: web.Request) -> web.Response:
        """Answer with the whole text of a question; the state has only its beginning."""
        question = await self._actions.question(_id(request))
        return web.json_response({"question": question_text(question)})

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a question in the operator's name."""
        body = await bodies.read(request, bodies.Answer)
        await self._actions.answer(_id(request), body.answer, own=body.own)
        return web.json_response({})

    async def agent_details(self, request: web.Request) -> web.Response:
        """Answer with one part of an agent's details."""
        name, part = request.match_info["name"], request.match_info["part"]
        return web.json_response({part: await self._details.part(name, part)})

    async def wake(self, request: web.Request) -> web.Response:
        """Start an agent if it sleeps: somebody has opened its page."""
        return web.json_response({"woken": await self._details.wake(request.match_info["name"])})

    async def answer_egress(self, request: web.Request) -> web.Response:
        """Answer about a host that was refused to an agent."""
        body = await bodies.read(request, bodies.EgressAnswer)
        saved = await self._actions.answer_egress(
            request.match_info["name"], body.host, body.port, body.answer
        )
        return web.json_response(saved._asdict())

    async def preview(self, request: web.Request) -> web.Response:
        """Answer with an address that shows a port of an agent, once, within a minute."""
        name = request.match_info["name"]
        agent_path(name)
        port = (await bodies.read(request, bodies.Preview)).port
        session, origin = self._access.session(request), request.headers["Origin"]
        return web.json_response({"url": self._previews.url(name, port, session, origin)})

    async def refresh(self, request: web.Request) -> web.Response:
        """Ask a service for its state again."""
        await self._actions.refresh(request.match_info["name"])
        return web.json_response({})


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])
