"""The principals of the hive, and the sets of principals that may call a method.

@method(allow=AGENTS | OPERATOR)
async def Send(...): self._broker.send(caller(), ...)

@method(allow=service("lifecycle"))
async def RegisterAgent(...): ...

caller().is_agent, caller().voice      # in a method; see wire.interface
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wire import names


class Kind(StrEnum):
    """The kinds of principals."""

    OPERATOR = "operator"
    MANAGER = "manager"
    AGENT = "agent"
    SERVICE = "service"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: an operator, an agent by its name, a service of the hive, or the gateway of an
    agent, which has the agent's name."""

    kind: Kind
    name: str

    @property
    def is_agent(self) -> bool:
        """True for an inhabitant of a container, the manager included."""
        return self.kind in (Kind.AGENT, Kind.MANAGER)

    @property
    def is_operator(self) -> bool:
        """True for the operator, and for the services that act for the operator: the dashboard for
        the one who is logged in, the assistant for a client with a token."""
        return self.kind is Kind.OPERATOR or self in (DASHBOARD, ASSISTANT)

    @property
    def voice(self) -> str:
        """The sender of its messages: an agent's name, `operator` or `system`."""
        if self.is_agent:
            return self.name
        return names.OPERATOR if self.is_operator else names.SYSTEM

    def __str__(self) -> str:
        return f"the {self.kind}" if self.name == self.kind else f"{self.kind} {self.name}"


DASHBOARD: Final = Principal(Kind.SERVICE, "dashboard")
ASSISTANT: Final = Principal(Kind.SERVICE, "assistant")
THE_OPERATOR: Final = Principal(Kind.OPERATOR, names.OPERATOR)
THE_MANAGER: Final = Principal(Kind.MANAGER, names.MANAGER)


def agent(name: str) -> Principal:
    """The principal of the agent `name` (the manager is one of its own kind)."""
    return THE_MANAGER if name == names.MANAGER else Principal(Kind.AGENT, name)


def gateway(name: str) -> Principal:
    """The principal of the gateway of the agent `name`."""
    return Principal(Kind.GATEWAY, name)


class Allow:
    """A set of principals; `|` joins two of them, `in` asks."""

    def __init__(self, description: str, test: Callable[[Principal], bool]) -> None:
        self._description = description
        self._test = test

    def __contains__(self, principal: Principal) -> bool:
        return self._test(principal)

    def __or__(self, other: "Allow") -> "Allow":
        mine, theirs = self._test, other._test
        return Allow(f"{self} or {other}", lambda p: mine(p) or theirs(p))

    def __str__(self) -> str:
        return self._description


OPERATOR: Final = Allow("the operator", lambda p: p.is_operator)
MANAGER: Final = Allow("the manager", lambda p: p.kind is Kind.MANAGER)
AGENTS: Final = Allow("an agent", lambda p: p.is_agent)
GATEWAYS: Final = Allow("a gateway", lambda p: p.kind is Kind.GATEWAY)
EVERYBODY: Final = Allow("everybody in the hive", lambda p: p.kind is not Kind.GATEWAY)
"""All but gateways, which read what hostile agents write: they may call what names GATEWAYS."""


def service(name: str) -> Allow:
    """The service `name` of the hive: lifecycle, broker, approvals, dashboard, assistant, forge,
    ledger, projects, telemetry, notify, fetch or vacuum."""
    wanted = Principal(Kind.SERVICE, name)
    return Allow(f"the service {name}", lambda p: p == wanted)
