"""The paths of the journal: pages of lines, and a stream of those that come."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from services.dashboard.clients.logs import ContainerLogs, HostLogs
from services.dashboard.http import queries
from services.dashboard.http.event_streams import HEADERS, EventStreams
from services.dashboard.http.middleware import AccessControl
from services.dashboard.http.places import Places
from services.dashboard.state.tables import Row
from wire.errors import HiveError
from wire.records.lifecycle import LogFilter

MAX_STREAMS: Final = 12
"""The most streams at once: lifecycle holds a call for each."""

FULL: Final = "Too many pages follow the journal: close some, then try again."

WRITE_SECONDS: Final = 20.0
"""A page that reads nothing for so long is disconnected."""


class LogHandlers:
    """The handlers of the page `logs`."""

    def __init__(
        self,
        host: HostLogs,
        containers: ContainerLogs,
        access: AccessControl,
        streams: EventStreams,
    ) -> None:
        self._host = host
        self._containers = containers
        self._access = access
        self._streams = streams
        self._places = Places(MAX_STREAMS, FULL)

    def close(self) -> None:
        """End the streams: the dashboard stops."""
        self._places.end_all()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/api/logs", self.page), web.get("/api/logs/stream", self.stream)]

    async def page(self, request: web.Request) -> web.Response:
        """Answer with the newest lines, or with those before a line."""
        wanted = queries.read(request, queries.LogQuery)
        return web.json_response({"lines": await self._of(wanted).page(_filter(wanted))})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Stream the lines that come, as Server-Sent Events.

        A page that connects again names the last line that it has seen (Last-Event-ID).

        Raises:
            LimitExceeded: too many pages follow the journal.
        """
        wanted = queries.read(request, queries.LogQuery)
        after = request.headers.get("Last-Event-ID") or wanted.after or ""
        response = web.StreamResponse(headers=HEADERS)
        owner, seconds = self._access.owner(request), self._access.seconds_left(request)
        end = asyncio.timeout(seconds)
        try:
            async with end:
                with self._places.hold(end, owner), self._streams.places.hold(end, owner):
                    await response.prepare(request)
                    # The text is searched by the page: a call that finds nothing would search the
                    # same lines again and again.
                    following = _filter(wanted)._replace(after=after[:300], text="")
                    await self._write(response, self._of(wanted).follow(following))
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        return response

    def _of(self, wanted: queries.LogQuery) -> HostLogs | ContainerLogs:
        return self._containers if wanted.inside else self._host

    async def _write(
        self, response: web.StreamResponse, pages: AsyncGenerator[list[Row], None]
    ) -> None:
        try:
            async with aclosing(pages):
                async for lines in pages:
                    data = json.dumps({"lines": lines}, separators=(",", ":"))
                    last = f"id: {lines[-1]['cursor']}\n" if lines else ""
                    async with asyncio.timeout(WRITE_SECONDS):
                        await response.write(f"event: lines\n{last}data: {data}\n\n".encode())
        except HiveError as error:
            data = json.dumps({"error": str(error)})
            await response.write(f"event: away\ndata: {data}\n\n".encode())


def _filter(wanted: queries.LogQuery) -> LogFilter:
    return LogFilter(
        agent=wanted.agent,
        unit=wanted.unit,
        priority=wanted.priority,
        text=wanted.text,
        before=wanted.before,
        after=wanted.after,
    )
