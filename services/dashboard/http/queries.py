"""The queries of requests, each checked against its shape."""

from typing import Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services import agentfile
from services.dashboard.clients.costs import MAX_DAYS
from services.dashboard.clients.history import MAX_ROWS
from services.dashboard.clients.projects import MAX_LISTED
from wire.errors import InvalidArgument
from wire.records.approvals import DiffBase
from wire.records.broker import MessageState
from wire.records.changes import ChangeState
from wire.records.ledger import EgressState

MAX_NUMBER = 2**53 - 1
NAME = r"^[a-z0-9][a-z0-9:_-]{0,63}$"
"""The form of the names of agents and credentials."""


class Query(BaseModel):
    """The base of all queries; a parameter that is not known is an error."""

    model_config = ConfigDict(extra="forbid")

    agent: str | None = Field(default=None, pattern=NAME)


class CostQuery(Query):
    """The sums of costs that a page wants."""

    days: int = Field(default=30, ge=1, le=MAX_DAYS)
    credential: str | None = Field(default=None, pattern=NAME)


class RequestQuery(Query):
    """The page of requests to the model API that a page wants."""

    credential: str | None = Field(default=None, pattern=NAME)
    before: int | None = Field(default=None, ge=1, le=MAX_NUMBER)


class EgressQuery(Query):
    """The hosts that a page wants."""

    state: EgressState | None = None
    hours: int | None = Field(default=None, ge=1, le=24 * 90)


class RequestsQuery(Query):
    """The page of requests for approval that a page wants."""

    before: int | None = Field(default=None, ge=1, le=MAX_NUMBER)


class DiffQuery(Query):
    """The configuration that a request is compared with."""

    base: DiffBase = DiffBase.DEPLOYED


class DeploysQuery(Query):
    """The deploys that a page wants."""

    limit: int = Field(default=100, ge=1, le=999)


class FileQuery(Query):
    """The file of a configuration that a page wants."""

    path: str = Field(default=agentfile.NAME, min_length=1, max_length=2000)


class ChangesQuery(Query):
    """The changes of projects that a page wants."""

    project: str | None = Field(default=None, pattern=NAME)
    state: ChangeState | None = None
    limit: int = Field(default=50, ge=1, le=MAX_LISTED)


class ChangeDiffQuery(Query):
    """The part of a change that a page wants; see `ChangeDiffOptions`."""

    revision: int | None = Field(default=None, ge=1, lt=2**32)
    since: int | None = Field(default=None, ge=1, lt=2**32)
    commit: str | None = Field(default=None, pattern=r"^[0-9a-f]{7,40}$")
    path: str | None = Field(default=None, min_length=1, max_length=4096)
    functions: Literal["", "1"] = ""
    """1 for whole functions around changes."""


class HistoryQuery(Query):
    """The page of messages that a page wants; times are microseconds since 1970."""

    text: str = Field(default="", max_length=256)
    sender: str | None = Field(default=None, alias="from", pattern=NAME)
    to: str | None = Field(default=None, pattern=NAME)
    kind: str | None = Field(default=None, pattern=NAME)
    state: MessageState | None = None
    since: int | None = Field(default=None, ge=0, le=MAX_NUMBER)
    until: int | None = Field(default=None, ge=0, le=MAX_NUMBER)
    before: int | None = Field(default=None, ge=0, le=MAX_NUMBER)
    after: int | None = Field(default=None, ge=0, le=MAX_NUMBER)
    limit: int = Field(default=MAX_ROWS, ge=1, le=MAX_ROWS)


class ThreadQuery(Query):
    """The page of the messages of a thread that a page wants."""

    before: int | None = Field(default=None, ge=0, le=MAX_NUMBER)
    limit: int = Field(default=MAX_ROWS, ge=1, le=MAX_ROWS)


class LogQuery(Query):
    """The lines of the journal that a page wants."""

    unit: str | None = Field(default=None, pattern=r"^[a-z0-9][a-zA-Z0-9@:_.-]{0,80}$")
    priority: int | None = Field(default=None, ge=0, le=7)
    text: str = Field(default="", max_length=200)
    before: str | None = Field(default=None, min_length=1, max_length=300)
    after: str | None = Field(default=None, max_length=300)
    inside: Literal["", "1"] = ""
    """1 for the journal inside the container of `agent`."""


Q = TypeVar("Q", bound=Query)


def read(request: web.Request, shape: type[Q]) -> Q:
    """Return the query of a request.

    Raises:
        InvalidArgument: it does not have the shape; the sentence names the parameter.
    """
    # Of a parameter that is given twice, the last one would count: refuse it instead.
    if len(request.query) != len(set(request.query)):
        raise InvalidArgument("A parameter of the address is given twice.")
    try:
        return shape.model_validate(dict(request.query))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])[:32] if first["loc"] else "query"
        raise InvalidArgument(f"The parameter {name} is wrong: {first['msg']}.") from None
