"""The paths of projects, and of the changes that agents hand back."""

from aiohttp import web

from services.dashboard.clients.projects import Projects
from services.dashboard.http import bodies, queries
from wire.records.changes import ChangeDiffOptions, ChangeFilter, CommentOptions, LineComment


class ProjectHandlers:
    """The handlers of the paths that concern projects and changes."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        project = "/api/projects/{project}"
        change = r"/api/changes/{id:\d{1,18}}"
        return [
            web.get(project, self.project),
            web.post(f"{project}/fetch", self.fetch),
            web.post(f"{project}/cancel-fetch", self.cancel_fetch),
            web.get("/api/changes", self.changes),
            web.get(change, self.change),
            web.get(f"{change}/diff", self.diff),
            web.post(f"{change}/comment", self.comment),
            web.post(f"{change}/approve", self.approve),
            web.post(f"{change}/request-changes", self.request_changes),
            web.post(f"{change}/deny", self.deny),
        ]

    async def project(self, request: web.Request) -> web.Response:
        """Answer with the branches of a project."""
        return web.json_response(await self._projects.project(request.match_info["project"]))

    async def fetch(self, request: web.Request) -> web.Response:
        """Begin to fetch a project."""
        await self._projects.fetch(request.match_info["project"])
        return web.json_response({})

    async def cancel_fetch(self, request: web.Request) -> web.Response:
        """End the fetch of a project."""
        await self._projects.cancel_fetch(request.match_info["project"])
        return web.json_response({})

    async def changes(self, request: web.Request) -> web.Response:
        """Answer with the newest changes, also those that have ended."""
        wanted = queries.read(request, queries.ChangesQuery)
        # A filter for a state takes final ones by itself.
        found = await self._projects.changes(
            ChangeFilter(
                project=wanted.project,
                agent=wanted.agent,
                state=wanted.state,
                closed=True,
                limit=wanted.limit + 1,
            )
        )
        more = len(found) > wanted.limit
        return web.json_response({"changes": found[: wanted.limit], "more": more})

    async def change(self, request: web.Request) -> web.Response:
        """Answer with a change, its revisions and its comments."""
        return web.json_response(await self._projects.change(_id(request)))

    async def diff(self, request: web.Request) -> web.Response:
        """Answer with the lines, files and commits of a change, and whether it merges."""
        wanted = queries.read(request, queries.ChangeDiffQuery)
        options = ChangeDiffOptions(
            revision=wanted.revision,
            since=wanted.since,
            commit=wanted.commit,
            path=wanted.path,
            functions=bool(wanted.functions),
        )
        return web.json_response(await self._projects.diff(_id(request), options))

    async def comment(self, request: web.Request) -> web.Response:
        """Comment on a change, or on a file or line of it."""
        body = await bodies.read(request, bodies.ChangeComment)
        options = CommentOptions(body.revision, body.path, body.line)
        await self._projects.comment(_id(request), body.text, options)
        return web.json_response({})

    async def approve(self, request: web.Request) -> web.Response:
        """Approve a change as the page showed it, or try again to publish it."""
        body = await bodies.read(request, bodies.ChangeApproval)
        await self._projects.approve(_id(request), body.commit, body.base, body.how)
        return web.json_response({})

    async def request_changes(self, request: web.Request) -> web.Response:
        """Give a change back to its agent, with all comments in one message."""
        body = await bodies.read(request, bodies.ChangesWanted)
        comments = [LineComment(one.path, one.line, one.text) for one in body.comments]
        await self._projects.request_changes(_id(request), body.commit, body.note, comments)
        return web.json_response({})

    async def deny(self, request: web.Request) -> web.Response:
        """Deny a change as the page showed it, with a note."""
        body = await bodies.read(request, bodies.Denial)
        await self._projects.deny(_id(request), body.commit, body.note)
        return web.json_response({})


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])
