"""An entry of `projects` in agent.toml: a project that an agent has, and what it may do with it."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StrictBool, model_validator

from services.config import Section
from wire.names import PROJECT_NAME
from wire.records.lifecycle import ProjectAccess

MAX_PROJECTS: Final = 16
MAX_PATTERNS: Final = 20

_PATTERN: Final = re.compile(r"(?![-/])[A-Za-z0-9._/+@=,*-]{1,200}(?<!/)")


def _name(value: str) -> str:
    if not PROJECT_NAME.fullmatch(value):
        raise ValueError(
            "it must be the name of a project: 1 to 32 lower-case letters, digits and inner "
            "hyphens, the first of them a letter"
        )
    return value


def _pattern(value: str) -> str:
    """Return `value` if it is a pattern of branches."""
    if not _PATTERN.fullmatch(value):
        raise ValueError(
            "it must be a branch, or a pattern such as hive/*: letters, digits and - _ . / + @ = , "
            "and * for any text"
        )
    return value


class AgentProject(Section):
    """The projects that the agent works on, at most 16: `projects = ["website"]`, or a table for
    each, if one needs more than its name. `hivectl project list` shows the projects of the host."""

    name: Annotated[str, AfterValidator(_name)]
    """The name of the project."""
    readonly: StrictBool = False
    """Whether the agent only reads the project: it hands back no changes."""
    branches: tuple[Annotated[str, AfterValidator(_pattern)], ...] = Field(
        default=(), max_length=MAX_PATTERNS
    )
    """The branches into which its changes may go, at most 20: `["main", "hive/*"]`; `*` stands for
    any text. Without it, all."""
    wake: StrictBool = False
    """Whether the agent begins a turn of its own when the branch of the project moves; otherwise it
    is told in its next turn."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, dict):
            raise ValueError("it must be the name of a project, or a table with its name")
        return value

    @model_validator(mode="after")
    def _useful(self) -> "AgentProject":
        if self.readonly and self.branches:
            raise ValueError(
                "a project that is readonly cannot have branches: no changes are handed back"
            )
        return self

    @property
    def access(self) -> ProjectAccess:
        """The entry as others see it on the bus."""
        return ProjectAccess(self.name, self.readonly, list(self.branches))
