"""The paths of one agent's page: its events, turns and figures, and commands to its harness."""

from collections.abc import AsyncGenerator, Awaitable, Callable

from aiohttp import web

from services.dashboard.clients.actions import OperatorActions
from services.dashboard.clients.agent_tails import AgentTails
from services.dashboard.clients.agent_turns import AgentTurns
from services.dashboard.clients.harnesses import EVENTS, Harnesses
from services.dashboard.clients.services import agent_path
from services.dashboard.http import bodies
from services.dashboard.http.exports import Exports
from services.dashboard.state import shown
from services.dashboard.state.tables import Row
from wire.errors import InvalidArgument
from wire.turn_export import Form

MAX_NUMBER = 2**53 - 1

MAX_TAILS = 32
"""The tails of one event stream, which all tabs of a browser share."""


class AgentHandlers:
    """The handlers of the paths below `/api/agents/NAME` that concern its turns."""

    def __init__(
        self,
        harnesses: Harnesses,
        turns: AgentTurns,
        tails: AgentTails,
        actions: OperatorActions,
        exports: Exports,
    ) -> None:
        self._harnesses = harnesses
        self._turns = turns
        self._tails = tails
        self._actions = actions
        self._exports = exports

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        agent = "/api/agents/{name}"
        turn = agent + r"/turns/{turn:\d{1,15}}"
        return [
            web.get(f"{agent}/events", self.events),
            web.get(agent + r"/events/{seq:\d{1,15}}", self.event),
            web.get(f"{agent}/turns", self.turns),
            web.get(turn, self.turn),
            web.get(f"{turn}/export", self.export),
            web.get(f"{agent}/days", self.days),
            web.get(f"{agent}/todo", self.todo),
            web.post(f"{agent}/cancel", self.cancel),
            web.post(agent + "/{verb:compact|new-session}", self.command),
            web.post(f"{agent}/login", self.begin_login),
            web.post(f"{agent}/login/code", self.enter_login_code),
            web.post(f"{agent}/login/cancel", self.cancel_login),
            web.post(agent + "/{setting:model|effort}", self.set),
        ]

    def tails(self, request: web.Request) -> dict[str, AsyncGenerator[Row, None]]:
        """Return the tails that a request for changes names: `tail=NAME` or `tail=NAME:SEQ`.

        Raises:
            InvalidArgument: SEQ is not the number of an event, or there are too many tails.
        """
        wanted: dict[str, int | None] = {}
        for one in request.query.getall("tail", []):
            name, colon, after = one.partition(":")
            agent_path(name)
            wanted[name] = _checked("tail", after) if colon else None
        if len(wanted) > MAX_TAILS:
            raise InvalidArgument(f"There are {len(wanted)} tails; a stream has {MAX_TAILS}.")
        return {name: self._tails.follow(name, after) for name, after in wanted.items()}

    async def events(self, request: web.Request) -> web.Response:
        """Answer with events before `before` or after `after`, of the turn `turn` or of all."""
        limit = _number(request, "limit")
        found = await self._harnesses.events(
            self._running(request),
            EVENTS if limit is None else max(1, min(limit, EVENTS)),
            before=_number(request, "before"),
            after=_number(request, "after"),
            turn=_number(request, "turn"),
        )
        return web.json_response(found._asdict())

    async def event(self, request: web.Request) -> web.Response:
        """Answer with a whole event; lists and tails have the beginnings of its texts."""
        seq = int(request.match_info["seq"])
        name = self._running(request)
        return web.json_response({"event": await self._harnesses.event(name, seq)})

    async def turns(self, request: web.Request) -> web.Response:
        """Answer with the newest turns, newest first."""
        return web.json_response({"turns": await self._turns.turns(_name(request))})

    async def turn(self, request: web.Request) -> web.Response:
        """Answer with one turn."""
        number = int(request.match_info["turn"])
        return web.json_response({"turn": await self._turns.turn(_name(request), number)})

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Stream a turn as a file, in the form `form`: lines of JSON, or one page."""
        name, number = self._running(request), int(request.match_info["turn"])
        form = request.query.get("form", Form.JSONL)
        if form not in list(Form):
            raise InvalidArgument(f"form={form[:32]!r} is not one of: {', '.join(Form)}.")
        return await self._exports.serve(request, self._harnesses.export(name, number, Form(form)))

    async def days(self, request: web.Request) -> web.Response:
        """Answer with the figures of the last days."""
        return web.json_response({"days": await self._turns.days(_name(request))})

    async def todo(self, request: web.Request) -> web.Response:
        """Answer with the agent's own list of steps."""
        return web.json_response({"todo": await self._harnesses.todo(self._running(request))})

    def _running(self, request: web.Request) -> str:
        """Return the name of an agent that has a harness: the ledger knows former ones, too."""
        name = _name(request)
        self._tails.require(name)
        return name

    async def cancel(self, request: web.Request) -> web.Response:
        """Interrupt the agent's turn."""
        body = await bodies.read(request, bodies.Cancel)
        return _said(await self._actions.cancel_turn(_name(request), requeue=body.requeue))

    async def command(self, request: web.Request) -> web.Response:
        """Compact the agent's context, or begin a new session."""
        actions: dict[str, Callable[[str], Awaitable[str]]] = {
            "compact": self._actions.compact,
            "new-session": self._actions.new_session,
        }
        return _said(await actions[request.match_info["verb"]](_name(request)))

    async def set(self, request: web.Request) -> web.Response:
        """Change the agent's model or effort."""
        body = await bodies.read(request, bodies.Setting)
        actions: dict[str, Callable[[str, str], Awaitable[str]]] = {
            "model": self._actions.set_model,
            "effort": self._actions.set_effort,
        }
        change = actions[request.match_info["setting"]]
        return _said(await change(_name(request), body.value.strip()))

    async def begin_login(self, request: web.Request) -> web.Response:
        """Begin a login of the agent, and answer with the address of its page."""
        login, address = await self._actions.begin_login(_name(request))
        return web.json_response({"login": login, "address": address})

    async def enter_login_code(self, request: web.Request) -> web.Response:
        """Enter the code of a login page; it is in no answer and in no log."""
        body = await bodies.read(request, bodies.LoginCode)
        code = body.code.strip()
        return _said(await self._actions.enter_login_code(_name(request), body.login, code))

    async def cancel_login(self, request: web.Request) -> web.Response:
        """End a login of the agent."""
        body = await bodies.read(request, bodies.RunningLogin)
        return _said(await self._actions.cancel_login(_name(request), body.login))


def _said(sentence: str) -> web.Response:
    """Return a sentence of the agent's harness, as pages show it."""
    return web.json_response({"said": shown.message(sentence)})


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    agent_path(name)
    return name


def _number(request: web.Request, key: str) -> int | None:
    """Return a number of the query; None without it.

    Raises:
        InvalidArgument: it is not a number that an event or a turn can have.
    """
    value = request.query.get(key)
    return None if value is None else _checked(key, value)


def _checked(key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 16 and int(value) <= MAX_NUMBER):
        raise InvalidArgument(f"{key}={value[:32]!r} is not a number from 0 to {MAX_NUMBER}.")
    return int(value)
