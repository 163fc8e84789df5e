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

from services.dashboard.http import bodies, queries, shapes
from services.dashboard.http.connection import SESSION_HEADER

Json = dict[str, Any]

STREAM: Final = "text/event-stream"
FILE: Final = "application/x-ndjson text/html"

_NUMBER: Final[Json] = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
_TAILS: Final[Json] = {"type": "array", "items": {"type": "string"}, "maxItems": 32}
_EVENTS: Final = {"before": _NUMBER, "after": _NUMBER, "turn": _NUMBER, "limit": _NUMBER}
_FORM: Final[Json] = {"type": "string", "enum": ["jsonl", "html"], "default": "jsonl"}
_NAME: Final[Json] = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,8}$"}


class Operation(NamedTuple):
    """The shapes of one route."""

    answer: type[BaseModel] | str = shapes.Nothing
    """The shape of a JSON answer, or the types of another one."""
    body: type[BaseModel] | None = None
    query: Mapping[str, Json] | type[BaseModel] = {}  # noqa: RUF012 - nothing changes it


_SAID: Final = Operation(shapes.Said)
_AGENT: Final = "/api/agents/{name}"
_TURN: Final = f"{_AGENT}/turns/{{turn}}"

OPERATIONS: Final[Mapping[str, Operation]] = {
    "POST /login": Operation(shapes.Begun, bodies.Login),
    "GET /login/ways": Operation(shapes.Ways),
    "POST /login/proxy": Operation(shapes.Begun, bodies.Nothing),
    "POST /login/passkey/begin": Operation(shapes.Challenge, bodies.Nothing),
    "POST /login/passkey": Operation(shapes.Begun, bodies.LoginPasskey),
    "POST /logout": Operation(),
    "GET /api/openapi.json": Operation(shapes.Shape),
    "GET /api/session": Operation(shapes.OwnSession),
    "GET /api/sessions": Operation(shapes.Sessions),
    "POST /api/sessions/{id}/revoke": Operation(),
    "GET /api/passkeys": Operation(shapes.Passkeys),
    "POST /api/passkeys": Operation(shapes.KeptPasskey, bodies.NewPasskey),
    "POST /api/passkeys/begin": Operation(shapes.Challenge, bodies.Nothing),
    "POST /api/passkeys/remove": Operation(body=bodies.OldPasskey),
    "GET /api/push": Operation(shapes.Push),
    "POST /api/push": Operation(body=bodies.PushSubscription),
    "POST /api/push/remove": Operation(body=bodies.Nothing),
    "GET /api/state": Operation(shapes.State),
    "GET /api/events": Operation(STREAM, query={"tail": _TAILS}),
    "POST /api/messages": Operation(shapes.Sent, bodies.Message),
    "POST /api/messages/read": Operation(body=bodies.Messages),
    "GET /api/messages/{id}": Operation(shapes.WholeBody),
    "GET /api/messages/{id}/thread": Operation(shapes.History, query=queries.ThreadQuery),
    "GET /api/history": Operation(shapes.History, query=queries.HistoryQuery),
    "GET /api/reminders/{id}": Operation(shapes.WholeBody),
    "POST /api/reminders/{id}/cancel": Operation(),
    "POST /api/messages/{id}/read": Operation(),
    "POST /api/messages/{id}/requeue": Operation(),
    "POST /api/messages/{id}/drop": Operation(),
    "GET /api/questions/{id}": Operation(shapes.WholeQuestion),
    "POST /api/questions/{id}/answer": Operation(body=bodies.Answer),
    "POST /api/questions/{id}/cancel": Operation(),
    f"GET {_AGENT}/messages": Operation(shapes.Messages),
    f"GET {_AGENT}/questions": Operation(shapes.Questions),
    f"GET {_AGENT}/deploys": Operation(shapes.Deploys),
    f"GET {_AGENT}/usage": Operation(shapes.Usage),
    f"GET {_AGENT}/logs": Operation(shapes.Logs),
    f"GET {_AGENT}/egress": Operation(shapes.Hosts),
    f"POST {_AGENT}/wake": Operation(shapes.Woken),
    f"POST {_AGENT}/egress": Operation(shapes.Said, bodies.EgressAnswer),
    f"POST {_AGENT}/preview": Operation(shapes.Address, bodies.Preview),
    f"GET {_AGENT}/terminal": Operation(shapes.Offered),
    f"POST {_AGENT}/terminal": Operation(shapes.Ticket),
    f"POST {_AGENT}/start": Operation(),
    f"POST {_AGENT}/kill": Operation(),
    f"POST {_AGENT}/restart": Operation(),
    f"POST {_AGENT}/pause": Operation(),
    f"POST {_AGENT}/resume": Operation(),
    f"POST {_AGENT}/rebuild": Operation(),
    f"POST {_AGENT}/update": Operation(),
    f"POST {_AGENT}/unhold": Operation(),
    f"POST {_AGENT}/destroy": Operation(body=bodies.Destroy),
    f"POST {_AGENT}/limits": Operation(body=bodies.Limits),
    f"POST {_AGENT}/budget": Operation(body=bodies.Budget),
    f"GET {_AGENT}/events": Operation(shapes.Events, query=_EVENTS),
    f"GET {_AGENT}/events/{{seq}}": Operation(shapes.Event),
    f"GET {_AGENT}/turns": Operation(shapes.Turns),
    f"GET {_TURN}": Operation(shapes.Turn),
    f"GET {_TURN}/export": Operation(FILE, query={"form": _FORM}),
    f"GET {_AGENT}/days": Operation(shapes.Days),
    f"GET {_AGENT}/todo": Operation(shapes.Todo),
    f"POST {_AGENT}/cancel": Operation(shapes.Said, bodies.Cancel),
    f"POST {_AGENT}/compact": _SAID,
    f"POST {_AGENT}/new-session": _SAID,
    f"POST {_AGENT}/model": Operation(shapes.Said, bodies.Setting),
    f"POST {_AGENT}/effort": Operation(shapes.Said, bodies.Setting),
    f"POST {_AGENT}/login": Operation(shapes.LoginPage),
    f"POST {_AGENT}/login/code": Operation(shapes.Said, bodies.LoginCode),
    f"POST {_AGENT}/login/cancel": Operation(shapes.Said, bodies.RunningLogin),
    "GET /api/costs": Operation(shapes.Shape, query=queries.CostQuery),
    "GET /api/requests": Operation(shapes.Shape, query=queries.RequestQuery),
    "GET /api/egress": Operation(shapes.Shape, query=queries.EgressQuery),
    "GET /api/logs": Operation(shapes.Shape, query=queries.LogQuery),
    "GET /api/logs/stream": Operation(STREAM, query=queries.LogQuery),
    "GET /api/approvals": Operation(shapes.Requests, query=queries.RequestsQuery),
    "GET /api/approvals/{id}/diff": Operation(shapes.Comparison, query=queries.DiffQuery),
    "POST /api/approvals/{id}/approve": Operation(body=bodies.Approval),
    "POST /api/approvals/{id}/deny": Operation(body=bodies.Denial),
    "POST /api/approvals/{id}/withdraw": Operation(),
    "POST /api/spawn": Operation(shapes.Saved, bodies.Spawn),
    "GET /api/deploys": Operation(shapes.MoreDeploys, query=queries.DeploysQuery),
    f"GET {_AGENT}/deploys/{{id}}/diff": Operation(shapes.Change),
    f"POST {_AGENT}/revert": Operation(shapes.Requested, bodies.Revert),
    "GET /api/configuration/template": Operation(shapes.Template),
    "POST /api/configuration/check": Operation(shapes.Complaint, bodies.EditedFile),
    f"GET {_AGENT}/configuration": Operation(shapes.ConfigFile, query=queries.FileQuery),
    f"POST {_AGENT}/configuration/compare": Operation(shapes.Change, bodies.EditedFile),
    f"POST {_AGENT}/configuration": Operation(shapes.Saved, bodies.Configuration),
    "GET /api/tombstones": Operation(shapes.Tombstones),
    "POST /api/tombstones/{name}/revive": Operation(),
    "POST /api/tombstones/{name}/purge": Operation(body=bodies.Typed),
    "POST /api/services/broker/refresh": Operation(),
    "POST /api/services/lifecycle/refresh": Operation(),
    "POST /api/services/approvals/refresh": Operation(),
    "POST /api/services/ledger/refresh": Operation(),
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
    used: set[type[BaseModel]] = {shapes.Error}
    for operation in OPERATIONS.values():
        used |= {one for one in (operation.answer, operation.body) if isinstance(one, type)}
    refs, schemas = models_json_schema(
        [(one, "validation") for one in sorted(used, key=repr)],
        ref_template="#/components/schemas/{model}",
    )
    known: dict[Any, Json] = {one: ref for (one, _), ref in refs.items()}
    paths: dict[str, Json] = {}
    for route in routes(app):
        operation = OPERATIONS.get(route.key, Operation(shapes.Nothing))
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
    failed = {"application/json": {"schema": refs[shapes.Error]}}
    described: Json = {
        "summary": route.summary,
        "parameters": list(_parameters(route, operation)),
        "responses": {
            "200": {"description": "It was done.", "content": content},
            "default": {"description": "It was refused, or failed.", "content": failed},
        },
    }
    if route.path.startswith("/login"):
        described["security"] = []
    if operation.body is not None:
        body = {"application/json": {"schema": refs[operation.body]}}
        described["requestBody"] = {"required": True, "content": body}
    return described


def _parameters(route: Route, operation: Operation) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", route.path):
        schema = _NUMBER if name in route.numbers else _NAME
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    query = operation.query
    if isinstance(query, type):
        query = query.model_json_schema()["properties"]
    for name, schema in query.items():
        yield {"name": name, "in": "query", "schema": schema}
