"""The paths by which the operator changes an agent: its container, jobs, limits and budget."""

from aiohttp import web

from services.dashboard.clients.agent_control import VERBS, AgentControl
from services.dashboard.http import bodies
from wire.errors import InvalidArgument
from wire.records.ledger import BudgetLimits
from wire.records.lifecycle import ResourceChanges


class ControlHandlers:
    """The handlers of the paths below `/api/agents/NAME` that change the agent."""

    def __init__(self, control: AgentControl) -> None:
        self._control = control

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        agent = "/api/agents/{name}"
        return [
            web.post(f"{agent}/{{verb:{'|'.join(VERBS)}}}", self.change),
            web.post(f"{agent}/unhold", self.unhold),
            web.post(r"/api/jobs/{id:\d{1,9}}/cancel", self.cancel_job),
            web.post(f"{agent}/destroy", self.destroy),
            web.post(f"{agent}/limits", self.set_limits),
            web.post(f"{agent}/budget", self.set_budget),
        ]

    async def change(self, request: web.Request) -> web.Response:
        """Change an agent, or begin to."""
        await self._control.change(_name(request), request.match_info["verb"])
        return web.json_response({})

    async def cancel_job(self, request: web.Request) -> web.Response:
        """Cancel a job on an agent."""
        await self._control.cancel_job(int(request.match_info["id"]))
        return web.json_response({})

    async def unhold(self, request: web.Request) -> web.Response:
        """Deliver an agent's messages again."""
        await self._control.unhold(_name(request))
        return web.json_response({})

    async def destroy(self, request: web.Request) -> web.Response:
        """Begin to end an agent whose name the body repeats."""
        body = await bodies.read(request, bodies.Destroy)
        name = _name(request)
        if body.name != name:
            raise InvalidArgument(f"{body.name[:40]!r} is not the name of the agent: type {name}.")
        await self._control.destroy(name, purge=body.purge)
        return web.json_response({})

    async def set_limits(self, request: web.Request) -> web.Response:
        """Change an agent's limits on the host."""
        body = await bodies.read(request, bodies.Limits)
        await self._control.set_limits(_name(request), ResourceChanges(**body.model_dump()))
        return web.json_response({})

    async def set_budget(self, request: web.Request) -> web.Response:
        """Change the limits of an agent's cost."""
        body = await bodies.read(request, bodies.Budget)
        await self._control.set_budget(_name(request), BudgetLimits(**body.model_dump()))
        return web.json_response({})


def _name(request: web.Request) -> str:
    return request.match_info["name"]
