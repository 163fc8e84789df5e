"""The HTTP side: paths and what they answer. Decides nothing; see guard, logins and actions."""

from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from . import forms
from .about import agent_path
from .guard import Guard, add_headers, refusal
from .logins import Logins
from .stream import Streams
from .tables import Tables

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".html": "text/html",
}

PARTS = "messages|questions|deploys|usage|logs"

GONE = "This link has been used, or is older than 15 minutes. Run `hivectl login-link` again."


class Actions(Protocol):
    """What the operator can do from the page; every method raises the HiveError of its failure."""

    async def send(self, to: str, body: str, in_reply_to: int | None) -> int:
        """Send a message as the operator; the answer is its id."""

    async def body(self, message: int) -> str:
        """The whole body of a message."""

    async def acknowledge(self, message: int) -> None:
        """Mark a message to the operator as read."""

    async def requeue(self, message: int) -> None:
        """Have a dead letter handed out again."""

    async def drop(self, message: int) -> None:
        """Give a dead letter up."""

    async def question(self, question: int) -> str:
        """The whole text of a question."""

    async def answer(self, question: int, answer: list[str]) -> None:
        """Answer a question."""

    async def agent(self, name: str, verb: str) -> None:
        """Begin to start, kill or restart an agent."""

    async def approve(self, approval: int, *, now: bool) -> None:
        """Approve a request, also in the middle of the agent's turn if `now`."""

    async def diff(self, approval: int) -> str:
        """What a request changes, as a unified diff."""

    async def deny(self, approval: int, note: str) -> None:
        """Deny a request, saying why."""

    async def refresh(self, service: str) -> None:
        """Ask a service that was away for its state again."""


class Agents(Protocol):
    """What is asked about one agent; every method raises the HiveError of its failure."""

    async def part(self, name: str, part: str) -> Any:
        """`messages`, `questions`, `deploys`, `usage` or `logs` of an agent, as JSON has it."""

    async def wake(self, name: str) -> bool:
        """Start an agent if it sleeps; says whether it did."""


class Site:
    """The handlers, and the application they make."""

    def __init__(
        self, guard: Guard, logins: Logins, tables: Tables, streams: Streams, actions: Actions,
        agents: Agents,
    ) -> None:  # fmt: skip
        self._guard = guard
        self._logins = logins
        self._tables = tables
        self._streams = streams
        self._actions = actions
        self._agents = agents
        self._files = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.is_file()}

    def application(self) -> web.Application:
        """Everything under one roof: guard, headers, paths."""
        app = web.Application(
            middlewares=self._guard.middlewares(), client_max_size=forms.MAX_REQUEST
        )
        app.on_response_prepare.append(add_headers)
        app.add_routes(
            [
                web.get("/", self.page),
                web.get("/agents/{name}", self.agent_page),
                web.get("/login", self.login_page),
                web.post("/login", self.login),
                web.post("/logout", self.logout),
                web.get("/static/{name}", self.static),
                web.get("/api/session", self.whoami),
                web.get("/api/state", self.state),
                web.get("/api/events", self.events),
                web.post("/api/messages", self.send),
                web.get(r"/api/messages/{id:\d{1,18}}", self.message),
                web.post(r"/api/messages/{id:\d{1,18}}/read", self.mark_read),
                web.post(r"/api/messages/{id:\d{1,18}}/requeue", self.requeue),
                web.post(r"/api/messages/{id:\d{1,18}}/drop", self.drop),
                web.get(r"/api/questions/{id:\d{1,18}}", self.question),
                web.post(r"/api/questions/{id:\d{1,18}}/answer", self.answer),
                web.get(f"/api/agents/{{name}}/{{part:{PARTS}}}", self.part),
                web.post("/api/agents/{name}/wake", self.wake),
                web.post("/api/agents/{name}/{verb:start|kill|restart}", self.agent),
                web.get(r"/api/approvals/{id:\d{1,18}}/diff", self.diff),
                web.post(r"/api/approvals/{id:\d{1,18}}/approve", self.approve),
                web.post(r"/api/approvals/{id:\d{1,18}}/deny", self.deny),
                web.post(
                    "/api/services/{name:broker|lifecycle|approvals}/refresh", self.refresh
                ),
            ]
        )  # fmt: skip
        return app

    def _file(self, name: str) -> web.Response:
        data = self._files.get(name)
        if data is None:
            raise web.HTTPNotFound
        return web.Response(
            body=data, content_type=TYPES[Path(name).suffix], charset="utf-8"
        )  # fmt: skip

    async def page(self, _request: web.Request) -> web.Response:
        """The dashboard."""
        return self._file("index.html")

    async def agent_page(self, request: web.Request) -> web.Response:
        """The page of one agent; whether there is one, its script finds out."""
        agent_path(request.match_info["name"])
        return self._file("agent.html")

    async def login_page(self, _request: web.Request) -> web.Response:
        """The same page for everybody: how to get a link, and a script that posts its token.

        The link itself changes nothing, so that a preview or a prefetch does not use it up.
        """
        return self._file("login.html")

    async def static(self, request: web.Request) -> web.Response:
        """A script, a style or the icon."""
        name = request.match_info["name"]
        return self._file(name if not name.endswith(".html") else "")

    async def login(self, request: web.Request) -> web.Response:
        """A session for a good token."""
        session = self._logins.redeem((await forms.read(request, forms.Login)).token)
        if session is None:
            return refusal(401, GONE)
        response = web.json_response({})
        self._guard.welcome(response, session)
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """End the session and whatever streams on it."""
        session = self._guard.session(request)
        self._logins.end(session)
        self._streams.end(session)
        response = web.json_response({})
        self._guard.farewell(response)
        return response

    async def whoami(self, _request: web.Request) -> web.Response:
        """Answers only to a session, so the login page can see that there is one."""
        return web.json_response({})

    async def state(self, _request: web.Request) -> web.Response:
        """Everything now, and the number of the last change in it."""
        return web.json_response(self._tables.snapshot())

    async def events(self, request: web.Request) -> web.StreamResponse:
        """The changes, live."""
        return await self._streams.serve(
            request, self._guard.session(request), self._guard.session_ends_in(request)
        )

    async def send(self, request: web.Request) -> web.Response:
        """Send a message as the operator."""
        form = await forms.read(request, forms.Message)
        return web.json_response(
            {"id": await self._actions.send(form.to, form.body, form.in_reply_to)}
        )

    async def message(self, request: web.Request) -> web.Response:
        """The whole body of a message that the state holds the beginning of."""
        return web.json_response({"body": await self._actions.body(_id(request))})

    async def mark_read(self, request: web.Request) -> web.Response:
        """Take a message out of the operator's inbox."""
        await self._actions.acknowledge(_id(request))
        return web.json_response({})

    async def requeue(self, request: web.Request) -> web.Response:
        """Have a dead letter handed out again."""
        await self._actions.requeue(_id(request))
        return web.json_response({})

    async def drop(self, request: web.Request) -> web.Response:
        """Give a dead letter up."""
        await self._actions.drop(_id(request))
        return web.json_response({})

    async def question(self, request: web.Request) -> web.Response:
        """The whole text of a question that the state holds the beginning of."""
        return web.json_response({"question": await self._actions.question(_id(request))})

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a question in the operator's name."""
        form = await forms.read(request, forms.Answer)
        await self._actions.answer(_id(request), form.answer)
        return web.json_response({})

    async def agent(self, request: web.Request) -> web.Response:
        """Begin to start, kill or restart an agent."""
        await self._actions.agent(request.match_info["name"], request.match_info["verb"])
        return web.json_response({})

    async def part(self, request: web.Request) -> web.Response:
        """What is asked about one agent when somebody looks at it."""
        name, part = request.match_info["name"], request.match_info["part"]
        return web.json_response({part: await self._agents.part(name, part)})

    async def wake(self, request: web.Request) -> web.Response:
        """Start an agent if it sleeps: somebody has opened its page."""
        return web.json_response({"woken": await self._agents.wake(request.match_info["name"])})

    async def approve(self, request: web.Request) -> web.Response:
        """Approve a request."""
        form = await forms.read(request, forms.Approval)
        await self._actions.approve(_id(request), now=form.now)
        return web.json_response({})

    async def diff(self, request: web.Request) -> web.Response:
        """What a request changes."""
        return web.json_response({"diff": await self._actions.diff(_id(request))})

    async def deny(self, request: web.Request) -> web.Response:
        """Deny a request, with a note."""
        form = await forms.read(request, forms.Denial)
        await self._actions.deny(_id(request), form.note)
        return web.json_response({})

    async def refresh(self, request: web.Request) -> web.Response:
        """Ask a service for its state again."""
        await self._actions.refresh(request.match_info["name"])
        return web.json_response({})


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])
