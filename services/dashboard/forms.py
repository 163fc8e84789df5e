"""What a page may send: JSON bodies, each checked against its shape."""

from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wire.errors import InvalidArgument, LimitExceeded

MAX_REQUEST = 8 * 1024 * 1024
"""Bytes of a body: the longest message the broker takes, however JSON escapes it."""

MAX_LOGIN = 4096
"""Bytes of a body from somebody who is not logged in, and might send many at once."""


class Form(BaseModel):
    """A body without fields; the others add theirs."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Login(Form):
    """The token of a login link."""

    token: str = Field(max_length=200)


class Message(Form):
    """A message to send; what it may say is for the broker to decide."""

    to: str
    body: str
    in_reply_to: int | None = None


class Approval(Form):
    """Whether the end of the agent's turn is not waited for."""

    now: bool = False


class Denial(Form):
    """Why a request is denied."""

    note: str = Field(default="", max_length=10_000)


class Answer(Form):
    """What a question is answered; whether it fits is for the broker to decide."""

    answer: list[str] = Field(min_length=1, max_length=100)


AnyForm = TypeVar("AnyForm", bound=Form)


async def read(request: web.Request, form: type[AnyForm]) -> AnyForm:
    """The request's body as `form`.

    Raises:
        InvalidArgument: it is not JSON, or not of this shape.
        LimitExceeded: a login is too long; it has not been read.
    """
    if form is Login and not 0 <= _length(request) <= MAX_LOGIN:
        raise LimitExceeded(f"A login has at most {MAX_LOGIN} bytes, and says how many.")
    if request.content_type != "application/json":
        raise InvalidArgument("The body has to be JSON (Content-Type: application/json).")
    try:
        return form.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "The body"
        raise InvalidArgument(f"{field}: {first['msg']}.") from error


def _length(request: web.Request) -> int:
    """Bytes of the body; -1 when the request does not say."""
    return -1 if request.content_length is None else request.content_length
