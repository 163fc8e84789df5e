"""The payload of a webhook of Forgejo or Gitea, as far as it is read.

Everything in it was written by users of the forge, or can be. Keys that are not named here are
ignored; the shapes are those of `modules/structs/hook.go` in both projects.
"""

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

MAX_USERS: Final = 100
"""Users in one list of a payload."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def _empty_for_null(value: object) -> object:
    return () if value is None else value


def _text_for_null(value: object) -> object:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_text_for_null)]


class User(_Part):
    """A user of the forge."""

    login: str = Field(default="", max_length=255)


Users = Annotated[tuple[User, ...], BeforeValidator(_empty_for_null), Field(max_length=MAX_USERS)]


class Repository(_Part):
    """A repository."""

    full_name: str = Field(max_length=512)
    private: bool = False
    internal: bool = False
    """Whether it is not private itself, and belongs to a private organization."""
    owner: User = User()

    @property
    def is_hidden(self) -> bool:
        """Whether some accounts cannot read it."""
        return self.private or self.internal


class Subject(_Part):
    """An issue or a pull request: both have these keys."""

    number: int = Field(ge=1, le=2**53)
    title: Text = ""
    body: Text = ""
    html_url: Text = ""
    user: User | None = None
    assignees: Users = ()
    requested_reviewers: Users = ()
    merged: bool | None = None


class Comment(_Part):
    """A comment."""

    body: Text = ""
    html_url: Text = ""


class Review(_Part):
    """A review of a pull request."""

    type: Text = ""
    content: Text = ""


class Payload(_Part):
    """The payload of any event; which keys it has tells its kind."""

    action: Text = ""
    sender: User | None = None
    repository: Repository | None = None
    issue: Subject | None = None
    pull_request: Subject | None = None
    comment: Comment | None = None
    review: Review | None = None
    requested_reviewer: User | None = None
    is_pull: bool = False


def parse(body: bytes) -> Payload:
    """Return the payload in `body`.

    Raises:
        ValueError: it is not valid; the text says where.
    """
    try:
        return Payload.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part)[:64] for part in first["loc"]) or "the body"
        raise ValueError(f"{where}: {first['msg']}") from None
