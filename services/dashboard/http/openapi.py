"""The OpenAPI document of the JSON interface, made from the routes and one table of shapes.

Paths, parameters and summaries come from the routes and their handlers; OPERATIONS adds the bodies,
the queries and the answers. A test holds OPERATIONS against the routes.
"""

import re
from collections.abc import Iterator, Mapping
from inspect import getdoc
from typing import Any, Final, NamedTuple

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.dashboard.http import bodies, queries
from services.dashboard.http.connection import HOOKS, SESSION_HEADER
from services.dashboard.http.shapes import (
    agents,
    configurations,
    logins,
    messages,
    projects,
    rows,
    shape,
)

Json = dict[str, Any]

STREAM: Final = "text/event-stream"
FILE: Final = "application/x-ndjson text/html"

_NUMBER: Final[Json] = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
_TAILS: Final[Json] = {"type": "array", "items": {"type": "string"}, "maxItems": 32}
_EVENTS: Final = {"before": _NUMBER, "after": _NUMBER, "turn": _NUMBER, "limit": _NUMBER}
_FORM: Final[Json] = {"type": "string", "enum": ["jsonl", "html"], "default": "jsonl"}
_NAME: Final[Json] = {"type": "string", "pattern": "^[a-z]([a-z0-9-]{0,7}[a-z0-9])?$"}
_PROJECT: Final[Json] = {"type": "string", "pattern": "^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$"}


class Operation(NamedTuple):
    """The shapes of one route."""

    answer: type[BaseModel] | str = shape.Nothing
    """The shape of a JSON answer, or the types of another one."""
    body: type[BaseModel] | None = None
    query: Mapping[str, Json] | type[BaseModel] = {}  # noqa: RUF012 - nothing changes it


_SAID: Final = Operation(shape.Said)
_AGENT: Final = "/api/agents/{name}"
_TURN: Final = f"{_AGENT}/turns/{{turn}}"

OPERATIONS: Final[Mapping[str, Operation]] = {
    "POST /login": Operation(logins.Begun, bodies.Login),
    "GET /login/ways": Operation(logins.Ways),
    "POST /login/proxy": Operation(logins.Begun, bodies.Nothing),
    "POST /login/passkey/begin": Operation(logins.Challenge, bodies.Nothing),
    "POST /login/passkey": Operation(logins.Begun, bodies.LoginPasskey),
    "POST /hooks/{project}": Operation(),
    "POST /logout": Operation(),
    "GET /api/openapi.json": Operation(shape.Shape),
    "GET /api/session": Operation(logins.OwnSession),
    "GET /api/sessions": Operation(logins.Sessions),
    "POST /api/sessions/{id}/revoke": Operation(),
    "GET /api/passkeys": Operation(logins.Passkeys),
    "POST /api/passkeys": Operation(logins.KeptPasskey, bodies.NewPasskey),
    "POST /api/passkeys/begin": Operation(logins.Challenge, bodies.Nothing),
    "POST /api/passkeys/remove": Operation(body=bodies.OldPasskey),
    "GET /api/push": Operation(logins.Push),
    "POST /api/push": Operation(body=bodies.PushSubscription),
    "POST /api/push/remove": Operation(body=bodies.Nothing),
    "GET /api/state": Operation(rows.State),
    "GET /api/events": Operation(STREAM, query={"tail": _TAILS}),
    "POST /api/messages": Operation(messages.Sent, bodies.Message),
    "POST /api/messages/read": Operation(body=bodies.Messages),
    "GET /api/messages/{id}": Operation(messages.WholeBody),
    "GET /api/messages/{id}/thread": Operation(messages.History, query=queries.ThreadQuery),
    "GET /api/history": Operation(messages.History, query=queries.HistoryQuery),
    "GET /api/reminders/{id}": Operation(messages.WholeBody),
    "POST /api/reminders/{id}/cancel": Operation(),
    "POST /api/messages/{id}/read": Operation(),
    "POST /api/messages/{id}/requeue": Operation(),
    "POST /api/messages/{id}/drop": Operation(),
    "GET /api/questions/{id}": Operation(messages.WholeQuestion),
    "POST /api/questions/{id}/answer": Operation(body=bodies.Answer),
    "POST /api/questions/{id}/cancel": Operation(),
    f"GET {_AGENT}/messages": Operation(messages.Messages),
    f"GET {_AGENT}/questions": Operation(messages.Questions),
    f"GET {_AGENT}/deploys": Operation(configurations.Deploys),
    f"GET {_AGENT}/usage": Operation(agents.Usage),
    f"GET {_AGENT}/logs": Operation(agents.Logs),
    f"GET {_AGENT}/egress": Operation(agents.Hosts),
    f"POST {_AGENT}/wake": Operation(agents.Woken),
    f"POST {_AGENT}/egress": Operation(configurations.Saved, bodies.EgressAnswer),
    f"POST {_AGENT}/preview": Operation(agents.Address, bodies.Preview),
    f"GET {_AGENT}/terminal": Operation(agents.Offered),
    f"POST {_AGENT}/terminal": Operation(agents.Ticket),
    f"POST {_AGENT}/start": Operation(),
    f"POST {_AGENT}/stop": Operation(),
    f"POST {_AGENT}/kill": Operation(),
    f"POST {_AGENT}/restart": Operation(),
    f"POST {_AGENT}/pause": Operation(),
    f"POST {_AGENT}/resume": Operation(),
    f"POST {_AGENT}/rebuild": Operation(),
    f"POST {_AGENT}/update": Operation(),
    f"POST {_AGENT}/unhold": Operation(),
    "POST /api/jobs/{id}/cancel": Operation(),
    f"POST {_AGENT}/destroy": Operation(body=bodies.Destroy),
    f"POST {_AGENT}/limits": Operation(body=bodies.Limits),
    f"POST {_AGENT}/budget": Operation(body=bodies.Budget),
    f"GET {_AGENT}/events": Operation(agents.Events, query=_EVENTS),
    f"GET {_AGENT}/events/{{seq}}": Operation(agents.Event),
    f"GET {_AGENT}/turns": Operation(agents.Turns),
    f"GET {_TURN}": Operation(agents.Turn),
    f"GET {_TURN}/export": Operation(FILE, query={"form": _FORM}),
    f"GET {_AGENT}/days": Operation(agents.Days),
    f"GET {_AGENT}/todo": Operation(agents.Todo),
    f"POST {_AGENT}/cancel": Operation(shape.Said, bodies.Cancel),
    f"POST {_AGENT}/compact": _SAID,
    f"POST {_AGENT}/new-session": _SAID,
    f"POST {_AGENT}/model": Operation(shape.Said, bodies.Setting),
    f"POST {_AGENT}/effort": Operation(shape.Said, bodies.Setting),
    f"POST {_AGENT}/login": Operation(agents.LoginPage),
    f"POST {_AGENT}/login/code": Operation(shape.Said, bodies.LoginCode),
    f"POST {_AGENT}/login/cancel": Operation(shape.Said, bodies.RunningLogin),
    "GET /api/costs": Operation(shape.Shape, query=queries.CostQuery),
    "GET /api/requests": Operation(shape.Shape, query=queries.RequestQuery),
    "GET /api/egress": Operation(shape.Shape, query=queries.EgressQuery),
    "GET /api/logs": Operation(shape.Shape, query=queries.LogQuery),
    "GET /api/logs/stream": Operation(STREAM, query=queries.LogQuery),
    "GET /api/approvals": Operation(configurations.Requests, query=queries.RequestsQuery),
    "GET /api/approvals/{id}/diff": Operation(configurations.Comparison, query=queries.DiffQuery),
    "POST /api/approvals/{id}/approve": Operation(body=bodies.Approval),
    "POST /api/approvals/{id}/deny": Operation(body=bodies.Denial),
    "POST /api/approvals/{id}/withdraw": Operation(),
    "GET /api/projects/{project}": Operation(projects.ProjectDetails),
    "POST /api/projects/{project}/fetch": Operation(),
    "POST /api/projects/{project}/cancel-fetch": Operation(),
    "GET /api/changes": Operation(projects.Changes, query=queries.ChangesQuery),
    "GET /api/changes/{id}": Operation(projects.ChangeDetails),
    "GET /api/changes/{id}/diff": Operation(projects.ChangeDiff, query=queries.ChangeDiffQuery),
    "POST /api/changes/{id}/comment": Operation(body=bodies.ChangeComment),
    "POST /api/changes/{id}/approve": Operation(body=bodies.ChangeApproval),
    "POST /api/changes/{id}/request-changes": Operation(body=bodies.ChangesWanted),
    "POST /api/changes/{id}/deny": Operation(body=bodies.Denial),
    "POST /api/spawn": Operation(configurations.Saved, bodies.Spawn),
    "GET /api/deploys": Operation(configurations.MoreDeploys, query=queries.DeploysQuery),
    f"GET {_AGENT}/deploys/{{id}}/diff": Operation(configurations.Change),
    f"POST {_AGENT}/revert": Operation(configurations.Requested, bodies.Revert),
    "GET /api/configuration/template": Operation(configurations.Template),
    "POST /api/configuration/check": Operation(configurations.Complaint, bodies.EditedFile),
    f"GET {_AGENT}/configuration": Operation(configurations.ConfigFile, query=queries.FileQuery),
    f"POST {_AGENT}/configuration/compare": Operation(configurations.Change, bodies.EditedFile),
    f"POST {_AGENT}/configuration": Operation(configurations.Saved, bodies.Configuration),
    "GET /api/tombstones": Operation(configurations.Tombstones),
    "POST /api/tombstones/{name}/revive": Operation(),
    "POST /api/tombstones/{name}/purge": Operation(body=bodies.Typed),
    "POST /api/services/broker/refresh": Operation(),
    "POST /api/services/lifecycle/refresh": Operation(),
    "POST /api/services/approvals/refresh": Operation(),
    "POST /api/services/ledger/refresh": Operation(),
    "POST /api/services/projects/refresh": Operation(),
}
"""The shapes of each route, by its method and path."""

_PARAMETER: Final = re.compile(r"\(\?P<(\w+)>((?:[^()]|\[[^]]*\])*)\)")
"""A parameter in the pattern of a path, as aiohttp makes it."""
_WORDS: Final = re.compile(r"[a-z0-9-]+(?:\|[a-z0-9-]+)*")


class Route(NamedTuple):
    """A route of the JSON interface; a parameter that stands for a few words makes several."""

    method: str
    path: str
    numbers: frozenset[str]
    """The parameters that are numbers."""
    summary: str

    @property
    def key(self) -> str:
        """The key of the route in OPERATIONS."""
        return f"{self.method} {self.path}"


def routes(app: web.Application) -> list[Route]:
    """Return the routes of the JSON interface."""
    return [route for one in app.router.routes() for route in _routes(one)]


def _routes(route: web.AbstractRoute) -> Iterator[Route]:
    resource = route.resource
    if resource is None or route.method == "HEAD":
        return
    path = resource.canonical
    if not path.startswith(("/api/", "/login/")) and route.method != "POST":
        return
    pattern = resource.get_info().get("pattern")
    parameters = dict(_PARAMETER.findall(pattern.pattern)) if pattern else {}
    words = {name: one.split("|") for name, one in parameters.items() if _WORDS.fullmatch(one)}
    numbers = frozenset(name for name, one in parameters.items() if one.startswith("\\d"))
    summary = (getdoc(route.handler) or "").partition("\n")[0]
    paths = [path]
    for name, values in words.items():
        paths = [one.replace(f"{{{name}}}", value) for one in paths for value in values]
    for one in paths:
        yield Route(route.method, one, numbers, summary)


def shape_of(path: str) -> str:
    """Return a path without the names of its parameters: no two paths may have the same one."""
    return re.sub(r"{\w+}", "{}", path)


def document(app: web.Application) -> Json:
    """Return the OpenAPI document of an application."""
    used: set[type[BaseModel]] = {shape.Error}
    for operation in OPERATIONS.values():
        used |= {one for one in (operation.answer, operation.body) if isinstance(one, type)}
    refs, schemas = models_json_schema(
        [(one, "validation") for one in sorted(used, key=repr)],
        ref_template="#/components/schemas/{model}",
    )
    known: dict[Any, Json] = {one: ref for (one, _), ref in refs.items()}
    paths: dict[str, Json] = {}
    for route in routes(app):
        operation = OPERATIONS.get(route.key, Operation(shape.Nothing))
        methods = paths.setdefault(route.path, {})
        methods[route.method.lower()] = _described(route, operation, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hyperhive's dashboard", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "header", "name": SESSION_HEADER}
            },
        },
        "security": [{"session": []}],
    }


def _described(route: Route, operation: Operation, refs: Mapping[Any, Json]) -> Json:
    if isinstance(operation.answer, str):
        content: Json = {one: {"schema": {"type": "string"}} for one in operation.answer.split()}
    else:
        content = {"application/json": {"schema": refs[operation.answer]}}
    failed = {"application/json": {"schema": refs[shape.Error]}}
    described: Json = {
        "summary": route.summary,
        "parameters": list(_parameters(route, operation)),
        "responses": {
            "200": {"description": "It was done.", "content": content},
            "default": {"description": "It was refused, or failed.", "content": failed},
        },
    }
    if route.path.startswith(("/login", HOOKS)):
        described["security"] = []
    if operation.body is not None:
        body = {"application/json": {"schema": refs[operation.body]}}
        described["requestBody"] = {"required": True, "content": body}
    return described


def _parameters(route: Route, operation: Operation) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", route.path):
        named = _PROJECT if name == "project" else _NAME
        schema = _NUMBER if name in route.numbers else named
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    query = operation.query
    if isinstance(query, type):
        query = query.model_json_schema()["properties"]
    for name, schema in query.items():
        yield {"name": name, "in": "query", "schema": schema}
