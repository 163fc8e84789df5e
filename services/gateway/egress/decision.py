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

from services.egress import Address, Host, Rule, allowing, place
from services.gateway.egress.addresses import is_public
from services.gateway.egress.resolve import LookupFailedError
from services.gateway.egress.routes import leads_away
from services.gateway.ledger import Ledger
from services.gateway.seldom import Seldom
from services.gateway.settings import Network, Settings
from wire.errors import Conflict, HiveError, LimitExceeded

log = logging.getLogger(__name__)

QUESTIONS: Final = 4
"""Questions to the ledger at once, about names that no rule allows."""


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

    async def addresses(self, target: Target) -> list[Address]:
        """Return the addresses to which a connection to `target` may go.

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
        if allowing(settings.rules, target.host, target.port) is None:
            await self._ask(target)
        if not isinstance(target.host, str):
            return [target.host]  # a rule or the operator named the address itself
        try:
            found = await self._names.resolve(target.host)
        except LookupFailedError as error:
            raise Unreachable(f"Hyperhive cannot reach {target}: {error}.") from None
        self._check(found, target, settings.rules)
        return found

    async def _ask(self, target: Target) -> None:
        """Ask the ledger whether the operator allows a connection that no rule allows."""
        try:
            async with self._questions:
                allowed = await self._ledger.check_egress(str(target.host), target.port, "")
            asked = (
                "The operator was asked, and a message will tell you the answer (your tool "
                "request_egress tells the operator why you need it)."
            )
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
            if allowing(rules, address, target.port) is not None:
                continue
            if not is_public(address) or not leads_away(address):
                raise Refused(
                    f"Hyperhive refused {target} for {self._agent}: the name leads to {address}, "
                    "which is not an address of the public internet. Only a rule for the address "
                    f"itself allows it: {place(address, target.port)}.",
                    cause="destination_ip_prohibited",
                )
