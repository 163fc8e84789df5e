"""The path of the webhooks of forges: open to everybody, and bounded.

The dashboard has no secret of a webhook, and reads nothing of its body: the service of projects
checks the signature.
"""

import asyncio
from typing import Final

from aiohttp import web

from services.dashboard.clients.webhooks import Webhooks
from services.dashboard.http.failures import Failures
from wire.errors import AccessDenied, LimitExceeded, Unavailable
from wire.records.projects import MAX_HOOK, HookHeaders

SECONDS: Final = 20.0
"""Seconds in which a webhook must have arrived and been passed on."""

MOST: Final = 16
"""Webhooks that arrive at once. The oldest makes way for the next: nobody keeps a forge out by
sending slowly."""

_LATE: Final = (
    "Too many webhooks arrived at once, or this one was not whole in time. Send it again."
)


class HookHandlers:
    """The handler of webhooks."""

    def __init__(self, webhooks: Webhooks, failures: Failures) -> None:
        """Prepare to receive webhooks.

        Args:
            webhooks: passes them on.
            failures: delays the answers to webhooks without a right signature.
        """
        self._webhooks = webhooks
        self._failures = failures
        self._arriving: dict[asyncio.Timeout, None] = {}
        # One webhook at a time: many at once keep no service busy with signatures.
        self._turn = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.post("/hooks/{project}", self.receive)]

    async def receive(self, request: web.Request) -> web.Response:
        """Fetch a project at once: its forge has signed this webhook."""
        try:
            await self._pass_on(request)
        except AccessDenied:
            await self._failures.failed()
            raise
        return web.json_response({})

    async def _pass_on(self, request: web.Request) -> None:
        if (request.content_length or 0) > MAX_HOOK:
            raise LimitExceeded(
                f"A webhook has at most {MAX_HOOK // 1024} KiB. Nothing is lost: projects are "
                "fetched regularly, too."
            )
        headers = HookHeaders(*[request.headers.get(_header(one)) for one in HookHeaders._fields])
        try:
            async with asyncio.timeout(SECONDS) as end:
                self._make_room()
                self._arriving[end] = None
                try:
                    body = await request.read()
                    async with self._turn:
                        await self._webhooks.receive(request.match_info["project"], headers, body)
                finally:
                    self._arriving.pop(end, None)
        except TimeoutError:
            raise Unavailable(_LATE) from None

    def _make_room(self) -> None:
        if len(self._arriving) >= MOST:
            oldest = next(iter(self._arriving))
            del self._arriving[oldest]
            if not oldest.expired():  # otherwise it is ending already
                oldest.reschedule(asyncio.get_running_loop().time())


def _header(field: str) -> str:
    """Return the name of the header that a field of HookHeaders has."""
    return field.replace("_", "-")
