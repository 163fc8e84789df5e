"""What a tool is: its name, what it takes, what it does, and who sees it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from services.endpoint.arguments import Arguments
from services.endpoint.hive import Hive
from services.endpoint.inbox import Inbox
from services.endpoint.leases import Scope
from services.endpoint.reports import Reports
from wire import names

HARNESS_CLIENT: Final = "hyperhive-harness"
"""The client name by which the harness asks for its own tools. It gains no right by it."""


class Audience(StrEnum):
    """For whom a connection asks."""

    AGENT = "agent"
    MANAGER = "manager"
    HARNESS = "harness"


MODELS: Final = frozenset({Audience.AGENT, Audience.MANAGER})
MANAGER: Final = frozenset({Audience.MANAGER})
HARNESS: Final = frozenset({Audience.HARNESS})
EVERYBODY: Final = frozenset(Audience)


def audience_of(agent: str, client: str) -> Audience:
    """Who sees the tools: the owner of the socket, or its harness."""
    if client == HARNESS_CLIENT:
        return Audience.HARNESS
    return Audience.MANAGER if agent == names.MANAGER else Audience.AGENT


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool works with: the hive, and the connection that calls."""

    hive: Hive
    inbox: Inbox
    reports: Reports
    scope: Scope
    audience: Audience
    agent: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool answers; `leased` are the messages that the client has once it has read this."""

    value: dict[str, Any]
    leased: list[int] = field(default_factory=list)


class Patience(StrEnum):
    """For what a call may wait long; of each kind only few may, in the whole endpoint."""

    NONE = "none"
    MESSAGES = "messages"
    JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    name: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Context, Any], Awaitable[Outcome]]
    audience: frozenset[Audience]
    patience: Patience = Patience.NONE

    def describe(self) -> dict[str, Any]:
        """The tool as tools/list shows it."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": self.arguments.schema_for_clients(),
        }
