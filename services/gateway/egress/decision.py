"""The decision about a connection: which addresses may be connected, or the sentence that refuses.

A name is allowed by a rule, or by the operator for once. It is then resolved here, and every
address of the answer is checked. The addresses that were checked are the ones that are connected:
a name server that gives another answer a moment later changes nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from services.addresses import is_public
from services.egress import Address, Host, Rule, allowing, is_own, place
from services.gateway.egress.routes import leads_away
from services.gateway.ledger import Ledger
from services.gateway.settings import Network, Settings
from services.resolve import LookupFailedError
from services.seldom import Seldom
from wire.errors import Conflict, HiveError, LimitExceeded

log = logging.getLogger(__name__)

QUESTIONS: Final = 4
"""Questions to the ledger at once, about names that no rule allows."""

ASKED: Final = (
    "The operator was asked, and a message will tell you the answer (your tool request_egress "
    "tells the operator why you need it)."
)
OUTSIDE: Final = (
    "The gateway is outside of the container, where this is another host: connect to a server in "
    "the container without the proxy, as localhost or 127.0.0.1."
)


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A connection is refused; the text is a sentence for the agent."""

    def __init__(self, sentence: str, *, cause: str, counted: bool = False) -> None:
        super().__init__(sentence)
        self.cause = cause
        """A word of RFC 9209 for the header Proxy-Status."""
        self.counted = counted
        """Whether the ledger has counted it."""


class Unreachable(Exception):  # noqa: N818 - an answer, not a fault
    """A connection is allowed, but fails; the text is a sentence for the agent."""


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a connection, as the client names it."""

    host: Host
    port: int

    def __str__(self) -> str:
        return place(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Permission:
    """The permission to connect to a target."""

    addresses: tuple[Address, ...]
    """The addresses to which the connection may go."""
    once: bool
    """Whether the operator allows this connection alone, and no rule."""


class Names(Protocol):
    """A resolver of names."""

    async def resolve(self, name: str) -> list[Address]:
        """Return the addresses of `name`.

        Raises:
            LookupFailedError: there is none.
        """


class Decision:
    """The decisions about the connections of one agent."""

    def __init__(
        self, agent: str, settings: Callable[[], Settings], ledger: Ledger, names: Names
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._ledger = ledger
        self._names = names
        self._questions = asyncio.Semaphore(QUESTIONS)
        self._complaint = Seldom()

    async def permission(self, target: Target) -> Permission:
        """Return the permission to connect to `target`.

        Raises:
            Refused: it may not be made.
            Unreachable: the name cannot be resolved.
        """
        settings = self._settings()
        if settings.network is not Network.GATEWAY:
            raise Refused(
                f"Hyperhive refused {target} for {self._agent}: its network is "
                f"{settings.network}, which does not use the proxy.",
                cause="destination_unavailable",
            )
        once = allowing(settings.rules, target.host, target.port) is None
        if once:
            await self._ask(target)
        if not isinstance(target.host, str):
            return Permission((target.host,), once)  # a rule or the operator named the address
        try:
            found = await self._names.resolve(target.host)
        except LookupFailedError as error:
            raise Unreachable(f"Hyperhive cannot reach {target}: {error}.") from None
        self._check(found, target, settings.rules)
        return Permission(tuple(found), once)

    def still_allows(self, target: Target, address: Address, *, once: bool) -> bool:
        """Return whether a connection that exists would still be allowed.

        Args:
            target: the target, as the client named it.
            address: the address of `target` that is connected.
            once: see Permission.
        """
        settings = self._settings()
        if settings.network is not Network.GATEWAY:
            return False
        if not once and allowing(settings.rules, target.host, target.port) is None:
            return False
        return not isinstance(target.host, str) or _may_lead_to(
            address, target.port, settings.rules
        )

    async def _ask(self, target: Target) -> None:
        """Ask the ledger whether the operator allows a connection that no rule allows."""
        try:
            async with self._questions:
                allowed = await self._ledger.check_egress(str(target.host), target.port, "")
            asked = OUTSIDE if is_own(target.host, self._agent) else ASKED
        except (Conflict, LimitExceeded) as error:
            # The operator denied it, or was not asked, because too many requests wait.
            allowed, asked = False, str(error)
        except HiveError as error:
            if self._complaint.due():
                log.warning("Refusals cannot be recorded: %s", error)
            allowed = False
            asked = "The operator could not be asked; try again (tool request_egress asks, too)."
        if not allowed:
            raise Refused(
                f"Hyperhive refused {target} for {self._agent}: no rule of its egress list allows "
                f"it. {asked}",
                cause="http_request_denied",
                counted=True,
            )

    def _check(self, found: Iterable[Address], target: Target, rules: tuple[Rule, ...]) -> None:
        """Check every address of a name: a single bad one refuses the name."""
        for address in found:
            if not _may_lead_to(address, target.port, rules):
                narrowest = place(address, target.port)
                remedy = f"Only a rule for the address itself allows it: {narrowest}."
                if is_own(target.host, self._agent):
                    remedy = OUTSIDE
                raise Refused(
                    f"Hyperhive refused {target} for {self._agent}: the name leads to {address}, "
                    f"which is not an address of the public internet. {remedy}",
                    cause="destination_ip_prohibited",
                )


def _may_lead_to(address: Address, port: int, rules: tuple[Rule, ...]) -> bool:
    """Return whether a name that is allowed may lead to `address`."""
    if allowing(rules, address, port) is not None:
        return True
    return is_public(address) and leads_away(address)
