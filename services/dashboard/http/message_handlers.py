"""The paths of messages, questions and reminders that go beyond the tables."""

from aiohttp import web

from services.dashboard.clients.actions import OperatorActions
from services.dashboard.clients.history import Found, MessageHistory
from services.dashboard.http import bodies, queries
from services.dashboard.state import shown
from wire.records.broker import MessageFilter


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
        query = queries.read(request, queries.HistoryQuery)
        wanted = MessageFilter(
            recipient=query.to,
            sender=query.sender,
            agent=query.agent,
            text=query.text.strip() or None,
            before=query.before,
            after=query.after,
            since=query.since,
            until=query.until,
            kind=query.kind,
            state=query.state,
        )
        return _found(await self._history.page(wanted, query.limit))

    async def thread(self, request: web.Request) -> web.Response:
        """Answer with the newest messages of the thread of a message."""
        query = queries.read(request, queries.ThreadQuery)
        return _found(await self._history.thread(_id(request), query.before, query.limit))

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
