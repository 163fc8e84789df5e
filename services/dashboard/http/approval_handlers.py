"""The paths of requests, configurations, deploys and kept data."""

from aiohttp import web

from services import agentfile
from services.dashboard.clients.configurations import Configurations, Saved, complaint
from services.dashboard.clients.services import agent_path
from services.dashboard.http import bodies, queries
from services.dashboard.state import shown
from wire.errors import InvalidArgument
from wire.records.approvals import Change


class ApprovalHandlers:
    """The handlers of the paths that concern the configurations of agents."""

    def __init__(self, configurations: Configurations) -> None:
        self._configurations = configurations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        request = r"/api/approvals/{id:\d{1,18}}"
        agent = "/api/agents/{name}"
        kept = "/api/tombstones"
        return [
            web.get("/api/approvals", self.requests),
            web.get(f"{request}/diff", self.diff),
            web.post(f"{request}/approve", self.approve),
            web.post(f"{request}/deny", self.deny),
            web.post(f"{request}/withdraw", self.withdraw),
            web.post("/api/spawn", self.spawn),
            web.get("/api/deploys", self.deploys),
            web.get(agent + r"/deploys/{id:\d{1,18}}/diff", self.deploy_diff),
            web.post(f"{agent}/revert", self.revert),
            web.get("/api/configuration/template", self.template),
            web.post("/api/configuration/check", self.check),
            web.get(f"{agent}/configuration", self.file),
            web.post(f"{agent}/configuration/compare", self.compare),
            web.post(f"{agent}/configuration", self.save),
            web.get(kept, self.tombstones),
            web.post(f"{kept}/{{name}}/revive", self.revive),
            web.post(f"{kept}/{{name}}/purge", self.purge),
        ]

    async def requests(self, request: web.Request) -> web.Response:
        """Answer with requests, newest first, those before the number `before`."""
        wanted = queries.read(request, queries.RequestsQuery)
        rows, more = await self._configurations.requests(wanted.before)
        return web.json_response({"approvals": rows, "more": more})

    async def diff(self, request: web.Request) -> web.Response:
        """Answer with the lines of the change that a request asks for, against `base`."""
        against = queries.read(request, queries.DiffQuery).base
        compared = await self._configurations.diff(_id(request), against)
        return web.json_response({**_lines(Change(*compared[:2])), "deployed": compared.deployed})

    async def approve(self, request: web.Request) -> web.Response:
        """Approve a request."""
        body = await bodies.read(request, bodies.Approval)
        await self._configurations.approve(_id(request), body.commit, body.base, now=body.now)
        return web.json_response({})

    async def deny(self, request: web.Request) -> web.Response:
        """Deny a request, with a note."""
        body = await bodies.read(request, bodies.Denial)
        await self._configurations.deny(_id(request), body.commit, body.note)
        return web.json_response({})

    async def withdraw(self, request: web.Request) -> web.Response:
        """Take a request back."""
        await self._configurations.withdraw(_id(request))
        return web.json_response({})

    async def spawn(self, request: web.Request) -> web.Response:
        """Create an agent with a configuration."""
        body = await bodies.read(request, bodies.Spawn)
        return _saved(await self._configurations.spawn(body.name, body.reason, body.config))

    async def deploys(self, request: web.Request) -> web.Response:
        """Answer with the newest deploys, those of `agent` or of all."""
        wanted = queries.read(request, queries.DeploysQuery)
        found = await self._configurations.deploys(wanted.agent or "", wanted.limit + 1)
        more = len(found) > wanted.limit
        return web.json_response({"deploys": found[: wanted.limit], "more": more})

    async def deploy_diff(self, request: web.Request) -> web.Response:
        """Answer with the lines of the change that a deploy made."""
        return web.json_response(
            _lines(await self._configurations.deploy_diff(_name(request), _id(request)))
        )

    async def revert(self, request: web.Request) -> web.Response:
        """Request that an agent goes back to an earlier deploy."""
        body = await bodies.read(request, bodies.Revert)
        name = _name(request)
        return web.json_response({"request": await self._configurations.revert(name, body.to)})

    async def template(self, _request: web.Request) -> web.Response:
        """Answer with the configuration that a new agent begins with."""
        return web.json_response({"text": agentfile.TEMPLATE})

    async def check(self, request: web.Request) -> web.Response:
        """Answer with the sentence about what is wrong with a file, empty if nothing is."""
        body = await bodies.read(request, bodies.EditedFile)
        return web.json_response({"error": shown.message(await complaint(body.path, body.text))})

    async def file(self, request: web.Request) -> web.Response:
        """Answer with a file of the deployed configuration: its text, and the lines to show."""
        path = queries.read(request, queries.FileQuery).path
        found = await self._configurations.file(_name(request), path)
        names = [shown.exactly(path) for path in found.files]
        return web.json_response(
            {**found._asdict(), "lines": shown.lines(found.text), "names": names}
        )

    async def compare(self, request: web.Request) -> web.Response:
        """Answer with the lines of the change that the operator is about to make."""
        body = await bodies.read(request, bodies.EditedFile)
        change = await self._configurations.compare(_name(request), body.path, body.text)
        return web.json_response(_lines(change))

    async def save(self, request: web.Request) -> web.Response:
        """Change a file of the deployed configuration, and deploy that."""
        body = await bodies.read(request, bodies.Configuration)
        saved = await self._configurations.save(
            _name(request), body.path, body.text, body.base, body.reason, now=body.now
        )
        return _saved(saved)

    async def tombstones(self, _request: web.Request) -> web.Response:
        """Answer with the destroyed agents whose data are kept."""
        return web.json_response({"tombstones": await self._configurations.tombstones()})

    async def revive(self, request: web.Request) -> web.Response:
        """Begin to create a destroyed agent again."""
        await self._configurations.revive(_name(request))
        return web.json_response({})

    async def purge(self, request: web.Request) -> web.Response:
        """Begin to delete the data of a destroyed agent, whose name the body repeats."""
        name = _name(request)
        typed = (await bodies.read(request, bodies.Typed)).name
        if typed != name:
            raise InvalidArgument(f"{typed[:40]!r} is not the name: type {name}.")
        await self._configurations.purge(name)
        return web.json_response({})


def _lines(change: Change) -> dict[str, object]:
    return {"diff": shown.lines(change.diff), "base": change.base}


def _saved(saved: Saved) -> web.Response:
    return web.json_response({"request": saved.request, "said": shown.message(saved.said)})


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    agent_path(name)
    return name
