"""The JSON bodies of requests, each checked against its shape."""

from typing import Annotated, Any, Final, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.config import PUSHED, Event
from wire.errors import InvalidArgument, LimitExceeded
from wire.records.changes import PublishMode

MAX_BODY = 8 * 1024 * 1024
"""Bytes of a body: the longest message that the broker takes, however JSON escapes it."""

MAX_FILE = 128 * 1024
"""Characters of a file of a configuration; approvals takes fewer, and says so."""

MAX_LOGIN = 8192
"""Bytes of a body from somebody who is not logged in, and might send many at once."""


class Body(BaseModel):
    """The base of all bodies."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Login(Body):
    """The token of a login link."""

    token: str = Field(max_length=200)


class Nothing(Body):
    """A body that says nothing more than its path."""


class LoginPasskey(Body):
    """The answer of a passkey to a challenge, as `PublicKeyCredential.toJSON` makes it."""

    credential: dict[str, Any]


class NewPasskey(Body):
    """A new passkey, as `PublicKeyCredential.toJSON` makes it, and its name."""

    credential: dict[str, Any]
    name: str = Field(default="", max_length=64)


class OldPasskey(Body):
    """A passkey to forget."""

    id: str = Field(max_length=2000)


class PushSubscription(Body):
    """A browser's address at its push service, its keys, and the events that it wants to know."""

    endpoint: str = Field(max_length=2000)
    p256dh: str = Field(max_length=200)
    auth: str = Field(max_length=100)
    events: list[Event] = Field(max_length=len(PUSHED))


class Message(Body):
    """A message to send; the broker checks its content."""

    to: str
    body: str
    in_reply_to: int | None = None


class Messages(Body):
    """Several messages, by their ids."""

    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(min_length=1, max_length=1000)


class Approval(Body):
    """An approval of what the page showed; approvals checks that it still holds.

    With `now`, it does not wait until the agent's turn is over.
    """

    commit: str = Field(max_length=40)
    base: str | None = Field(default=None, max_length=40)
    now: bool = False


class Denial(Body):
    """A denial of what the page showed, with a note for the manager."""

    commit: str = Field(max_length=40)
    note: str = Field(default="", max_length=10_000)


Line = Annotated[int, Field(ge=0, lt=2**32)]
"""A line of a file; 0: the whole file."""


class ChangeComment(Body):
    """A comment on a change; without a path, it is about all of it. Projects checks the text."""

    text: str
    revision: Annotated[int, Field(ge=1, lt=2**32)] | None = None
    path: str = Field(default="", max_length=4096)
    line: Line = 0


class ChangeApproval(Body):
    """An approval of the revision and the base that the page showed; an empty base: none."""

    commit: str = Field(max_length=40)
    base: str = Field(max_length=40)
    how: PublishMode | None = None


class WantedChange(Body):
    """A comment that is sent together with others."""

    text: str
    path: str = Field(default="", max_length=4096)
    line: Line = 0


class ChangesWanted(Body):
    """The operator's wishes about what the page showed; projects checks the texts."""

    commit: str = Field(max_length=40)
    note: str = ""
    comments: list[WantedChange] = Field(default=[], max_length=500)


class Spawn(Body):
    """A new agent; without `config`, it has what is kept of an earlier one, or the template."""

    name: str = Field(max_length=64)
    reason: str = Field(max_length=10_000)
    config: str | None = Field(default=None, max_length=MAX_FILE)


class Revert(Body):
    """The number of a deploy to go back to."""

    to: int = Field(ge=0, lt=2**63)


class EditedFile(Body):
    """A file of a configuration, as the operator has edited it."""

    path: str = Field(max_length=2000)
    text: str = Field(max_length=MAX_FILE)


class Configuration(EditedFile):
    """A file to deploy, in the place of that of the commit `base`, which the page showed."""

    base: str = Field(max_length=40)
    reason: str = Field(default="", max_length=10_000)
    now: bool = False


class Typed(Body):
    """The name of an agent, which the operator has typed."""

    name: str = Field(max_length=64)


class Answer(Body):
    """The answer to a question; the broker checks whether it fits the question."""

    answer: list[str] = Field(min_length=1, max_length=100)
    own: bool = False
    """Whether one text may be none of the choices."""


class EgressAnswer(Body):
    """The answer about a host that was refused to an agent; the ledger checks whether it was."""

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(ge=1, le=65535)
    answer: Literal["once", "always", "deny"]


class Preview(Body):
    """A port of an agent to show."""

    port: int = Field(ge=1, le=65535)


class Cancel(Body):
    """The cancellation of a turn; with `requeue`, its messages are queued again."""

    requeue: bool = False


class Setting(Body):
    """A new value of a setting; empty for the configured one."""

    value: str = Field(default="", max_length=200)


class LoginCode(Body):
    """The code of a login page, for the login that the page showed."""

    login: int = Field(ge=0, lt=2**64)
    code: str = Field(max_length=1000)


class RunningLogin(Body):
    """The login that the page showed."""

    login: int = Field(ge=0, lt=2**64)


class Destroy(Body):
    """The end of an agent whose name was typed; with `purge`, also that of its data."""

    name: str = Field(max_length=64)
    purge: bool = False


UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _amount(value: object) -> object:
    """Return a typed limit as a number, `max` or `default`; leave the rest to the next check."""
    if not isinstance(value, str) or value in ("max", "default"):
        return value
    typed = value.removesuffix("%").strip()
    unit = UNITS.get(typed[-1:].upper(), 1)
    number = typed[:-1].strip() if unit > 1 else typed
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise ValueError(
            f"{value[:40]!r} is not a limit: give a number, a size such as 512M or 4G, "
            "`max` for no limit, or `default`"
        )
    return int(number) * unit


Amount = Annotated[
    Annotated[int, Field(ge=0, lt=2**64)] | Literal["max", "default"] | None,
    BeforeValidator(_amount),
]
"""A number, a size such as 512M, `max` for no limit, or `default` for the configured one."""


class Limits(Body):
    """Changes of an agent's limits; those that are left out stay. Lifecycle checks their bounds."""

    memory_high: Amount = None
    memory_max: Amount = None
    cpu_weight: Amount = None
    cpu_quota: Amount = None
    tasks_max: Amount = None
    io_weight: Amount = None
    disk_max: Amount = None


Spending = Annotated[int, Field(ge=0, lt=2**63)]
"""A limit of a budget; 0 for none."""


class Budget(Body):
    """The limits of an agent's budget, in millionths of a dollar and in tokens; those that are left
    out stay. With `reset`, those that were set before are dropped first."""

    day: Spending | None = None
    week: Spending | None = None
    total: Spending | None = None
    day_tokens: Spending | None = None
    week_tokens: Spending | None = None
    total_tokens: Spending | None = None
    reset: bool = False


AnyBody = TypeVar("AnyBody", bound=Body)

OPEN: Final = (Login, LoginPasskey, Nothing)
"""The bodies of requests that need no session."""


async def read(request: web.Request, shape: type[AnyBody]) -> AnyBody:
    """Return the request's body.

    Raises:
        InvalidArgument: it is not JSON, or not of this shape.
        LimitExceeded: a login is too long; it has not been read.
    """
    if shape in OPEN and not 0 <= _length(request) <= MAX_LOGIN:
        raise LimitExceeded(f"A login needs a Content-Length of at most {MAX_LOGIN} bytes.")
    if request.content_type != "application/json":
        raise InvalidArgument("The body must be JSON, with Content-Type: application/json.")
    try:
        return shape.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "The body"
        said = first["msg"].removeprefix("Value error, ")
        raise InvalidArgument(f"{field}: {said}.") from error


def _length(request: web.Request) -> int:
    """Return the length of the body in bytes, or -1 when the request does not say."""
    return -1 if request.content_length is None else request.content_length
