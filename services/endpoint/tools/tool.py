"""The definition of a tool: its name, its arguments, its function and its audience."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from services.endpoint.clients.services import Services
from services.endpoint.delivery.held_messages import Holder
from services.endpoint.delivery.inbox import Inbox
from services.endpoint.jsonvalues import JsonObject
from services.endpoint.reports import Reports
from services.endpoint.spans import CurrentSpan
from services.endpoint.tools.arguments import Arguments
from wire import names

HARNESS_CLIENT: Final = "hyperhive-harness"
"""The client name that selects the harness's tools. It grants no rights."""


class Audience(StrEnum):
    """The kinds of callers; each sees its own tools."""

    AGENT = "agent"
    MANAGER = "manager"
    HARNESS = "harness"


MODELS: Final = frozenset({Audience.AGENT, Audience.MANAGER})
AGENT: Final = frozenset({Audience.AGENT})
MANAGER: Final = frozenset({Audience.MANAGER})
HARNESS: Final = frozenset({Audience.HARNESS})
EVERYBODY: Final = frozenset(Audience)


def audience_of(agent: str, client: str) -> Audience:
    """Return the audience of a connection.

    Args:
        agent: the agent that owns the socket.
        client: the name that the client gives itself.
    """
    if client == HARNESS_CLIENT:
        return Audience.HARNESS
    return Audience.MANAGER if agent == names.MANAGER else Audience.AGENT


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of a call: the services, and the connection that calls."""

    services: Services
    inbox: Inbox
    reports: Reports
    span: CurrentSpan
    holder: Holder
    audience: Audience
    agent: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool.

    `leased` lists the messages in the result; they are delivered when the client has read it.
    """

    value: JsonObject
    leased: list[int] = field(default_factory=list)


class LongCall(StrEnum):
    """The reasons why a call may take long; the endpoint limits the calls of each kind."""

    NONE = "none"
    MESSAGES = "messages"
    JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool."""

    name: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Context, Any], Awaitable[ToolResult]]  # Any: an instance of `arguments`
    audience: frozenset[Audience]
    long_call: LongCall = LongCall.NONE

    def describe(self) -> JsonObject:
        """Return the tool as `tools/list` shows it."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": self.arguments.schema_for_clients(),
        }
