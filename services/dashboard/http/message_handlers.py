"""The paths of messages, questions and reminders that go beyond the tables."""

import re
from typing import Final

from aiohttp import web

from services.dashboard.clients.actions import OperatorActions
from services.dashboard.clients.history import MAX_ROWS, Found, MessageHistory
from services.dashboard.http import bodies
from services.dashboard.state import shown
from wire.errors import InvalidArgument
from wire.records.broker import MessageFilter, MessageState

TEXTS: Final = {"agent": "agent", "from": "sender", "to": "recipient", "kind": "kind"}
"""The fields of a filter that are names, by their keys in an address."""

NAME: Final = re.compile(r"[a-z0-9*-]{1,64}")
NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
NUMBERS: Final = ("before", "after", "since", "until")


class MessageHandlers:
    """The handlers of the history, and of what is done with several messages at once."""

    def __init__(self, history: MessageHistory, actions: OperatorActions) -> None:
        self._history = history
        self._actions = actions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        number = r"{id:\d{1,18}}"
        return [
            web.get("/api/history", self.history),
            web.get(f"/api/messages/{number}/thread", self.thread),
            web.post("/api/messages/read", self.mark_all_read),
            web.post(f"/api/questions/{number}/cancel", self.cancel_question),
            web.get(f"/api/reminders/{number}", self.reminder),
            web.post(f"/api/reminders/{number}/cancel", self.cancel_reminder),
        ]

    async def history(self, request: web.Request) -> web.Response:
        """Answer with the newest messages that match the filter of the address."""
        limit = _numbers(request).get("limit", MAX_ROWS)
        return _found(await self._history.page(_filter(request), max(1, limit)))

    async def thread(self, request: web.Request) -> web.Response:
        """Answer with the thread of a message."""
        return _found(await self._history.thread(_id(request)))

    async def mark_all_read(self, request: web.Request) -> web.Response:
        """Remove messages from the operator's inbox."""
        body = await bodies.read(request, bodies.Messages)
        await self._actions.acknowledge(*body.ids)
        return web.json_response({})

    async def cancel_question(self, request: web.Request) -> web.Response:
        """Cancel a question, of whomever it was asked."""
        await self._actions.cancel_question(_id(request))
        return web.json_response({})

    async def reminder(self, request: web.Request) -> web.Response:
        """Answer with the whole body of a reminder; the state has its beginning."""
        body = await self._actions.reminder(_id(request))
        return web.json_response({"body": shown.message(body)})

    async def cancel_reminder(self, request: web.Request) -> web.Response:
        """Cancel a reminder."""
        await self._actions.cancel_reminder(_id(request))
        return web.json_response({})


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _found(found: Found) -> web.Response:
    return web.json_response(found._asdict())


def _numbers(request: web.Request) -> dict[str, int]:
    """Return the numbers of an address. Raises InvalidArgument."""
    given = {key: request.query[key] for key in (*NUMBERS, "limit") if key in request.query}
    for key, value in given.items():
        if not NUMBER.fullmatch(value):
            raise InvalidArgument(f"{key}={value[:32]!r} is not a number of at most 18 digits.")
    return {key: int(value) for key, value in given.items()}


def _filter(request: web.Request) -> MessageFilter:
    """Return the filter of an address. Raises InvalidArgument."""
    query, texts = request.query, dict[str, str]()
    for key, field in TEXTS.items():
        if value := query.get(key, ""):
            if not NAME.fullmatch(value):
                raise InvalidArgument(f"{key}={value[:32]!r} is not a name.")
            texts[field] = value
    state = query.get("state") or None
    if state is not None and state not in list(MessageState):
        raise InvalidArgument(f"state={state[:32]!r} is not one of: {', '.join(MessageState)}.")
    numbers = _numbers(request)
    numbers.pop("limit", None)
    return MessageFilter(
        text=query.get("text", "").strip() or None,
        state=None if state is None else MessageState(state),
        **{key: numbers.get(key) for key in NUMBERS},
        **{field: texts.get(field) for field in TEXTS.values()},
    )
