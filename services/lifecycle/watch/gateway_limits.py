"""The limits of providers that the gateways have seen, as the ledger tells them.

Unlike the report of a harness, an agent cannot make them up: they hold to their end for all agents
whose gateways use the same credential.
"""

import logging
from typing import Final

from services.lifecycle.agents.provider_limit import SECOND
from services.lifecycle.agents.turn import now
from services.lifecycle.ledger import Ledger
from services.lifecycle.watch.provider_limits import ProviderLimits
from services.tasks import Tasks
from wire.errors import HiveError

log = logging.getLogger(__name__)

SHORT: Final = 60 * SECOND
"""Limits that end sooner hold no turn up: the gateway's answers make Claude Code wait."""


class GatewayLimits:
    """Hands the ledger's limits over, also after either of the two was away."""

    def __init__(self, ledger: Ledger, limits: ProviderLimits) -> None:
        self._ledger = ledger
        self._limits = limits
        self._tasks = Tasks()

    def ledger_appeared(self) -> None:
        """Ask a ledger that has come, or is there, for all limits."""
        self._tasks.start_detached(self._ask(), "limits of gateways")

    def changed(self, agent: str, until: int) -> None:
        """Take the limit of an agent's credential; 0 if there is none any more."""
        self._limits.gateway_limited(agent, until if until - now() >= SHORT else 0)

    async def lift(self) -> list[str]:
        """Forget all limits, in the ledger, too.

        Returns:
            The agents that waited, in the order of their names.
        """
        try:
            await self._ledger.lift_limits()
        except HiveError as error:
            log.warning("the ledger has not forgotten its limits: %s", error)
        return self._limits.lift()

    async def settle(self) -> None:
        """Wait until a ledger that has come was asked."""
        await self._tasks.wait()

    async def stop(self) -> None:
        """Ask the ledger nothing more."""
        await self._tasks.cancel()

    async def _ask(self) -> None:
        try:
            found = await self._ledger.limits()
        except HiveError as error:
            log.info("the limits of gateways are not known until the ledger comes: %s", error)
            return
        for agent, until in found.items():
            self.changed(agent, until)
