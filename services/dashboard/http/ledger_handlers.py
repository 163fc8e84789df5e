"""The paths of what the ledger knows: costs, requests to the model API, and reached hosts."""

from aiohttp import web

from services.dashboard.clients.costs import Costs
from services.dashboard.clients.egress import EgressHosts
from services.dashboard.http import queries


class LedgerHandlers:
    """The handlers of the pages `cost` and `network`."""

    def __init__(self, costs: Costs, egress: EgressHosts) -> None:
        self._costs = costs
        self._egress = egress

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/api/costs", self.costs),
            web.get("/api/requests", self.requests),
            web.get("/api/egress", self.egress),
        ]

    async def costs(self, request: web.Request) -> web.Response:
        """Answer with the sums of the last days."""
        wanted = queries.read(request, queries.CostQuery)
        return web.json_response(
            await self._costs.sums(wanted.days, wanted.agent, wanted.credential)
        )

    async def requests(self, request: web.Request) -> web.Response:
        """Answer with a page of requests to the model API."""
        wanted = queries.read(request, queries.RequestQuery)
        found = await self._costs.requests(wanted.agent, wanted.credential, wanted.before)
        return web.json_response({"requests": found})

    async def egress(self, request: web.Request) -> web.Response:
        """Answer with the hosts that agents have reached or were refused."""
        wanted = queries.read(request, queries.EgressQuery)
        found = await self._egress.hosts(wanted.agent, wanted.state, wanted.hours)
        return web.json_response({"hosts": found})
