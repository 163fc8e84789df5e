"""The paths by which a browser asks for notifications, and the script that shows them."""

from aiohttp import web

from services.config import PUSHED
from services.dashboard.http import bodies
from services.dashboard.http.middleware import AccessControl
from services.dashboard.http.push_targets import PushTargets


class PushHandlers:
    """The handlers of the paths below `/api/push`."""

    def __init__(self, access: AccessControl, targets: PushTargets) -> None:
        self._access = access
        self._targets = targets

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/push", self.state),
            web.post("/api/push", self.set),
            web.post("/api/push/remove", self.remove),
        ]

    async def state(self, request: web.Request) -> web.Response:
        """Answer with the public key, and the events of which this browser wants to know."""
        events = self._targets.events_of(self._access.session(request))
        return web.json_response(
            {"key": self._targets.public_key(), "events": events, "all": list(PUSHED)}
        )

    async def set(self, request: web.Request) -> web.Response:
        """Send notifications to this browser, until its session ends."""
        body = await bodies.read(request, bodies.PushSubscription)
        session = self._access.session(request)
        self._targets.set(session, body.endpoint, body.p256dh, body.auth, body.events)
        return web.json_response({})

    async def remove(self, request: web.Request) -> web.Response:
        """Send no notifications to this browser any more."""
        await bodies.read(request, bodies.Nothing)
        self._targets.end(self._access.session(request))
        return web.json_response({})
