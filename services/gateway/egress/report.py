"""The connections of the agent, told to the ledger: the first at once, later ones summed up for a
few seconds."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from services.gateway.egress.decision import Target
from services.gateway.ledger import Ledger
from services.tasks import Tasks
from wire.errors import HiveError
from wire.records.ledger import EgressOutcome, EgressReport

log = logging.getLogger(__name__)

SECONDS: Final = 5.0
MAX_ENTRIES: Final = 1000
"""The most entries that are kept while the ledger is away; connections to others are not told."""

_Key = tuple[str, int, EgressOutcome]


@dataclass(slots=True)
class _Sum:
    connections: int = 0
    sent: int = 0
    received: int = 0


class EgressReports:
    """The connections since the last report."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._sums: dict[_Key, _Sum] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._earliest = 0.0
        """The time of the loop from which on the next report may be made."""
        self._sending = Tasks()

    def add(
        self,
        target: Target,
        outcome: EgressOutcome,
        connections: int = 1,
        *,
        sent: int = 0,
        received: int = 0,
    ) -> None:
        """Count connections that began or failed, and bytes of some that have ended."""
        key = (str(target.host), target.port, outcome)
        self._add(key, _Sum(connections, sent, received))
        self._schedule()

    async def close(self) -> None:
        """Tell the ledger the rest."""
        await self._sending.wait()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._send()

    def _schedule(self) -> None:
        if self._timer is None and self._sums:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._earliest, loop.time()), self._flush)

    def _add(self, key: _Key, more: _Sum) -> None:
        if key not in self._sums and len(self._sums) >= MAX_ENTRIES:
            return
        total = self._sums.setdefault(key, _Sum())
        total.connections += more.connections
        total.sent += more.sent
        total.received += more.received

    def _flush(self) -> None:
        self._timer = None
        self._earliest = asyncio.get_running_loop().time() + SECONDS
        self._sending.start_detached(self._send(), "egress", done=self._schedule)

    async def _send(self) -> None:
        sums, self._sums = self._sums, {}
        for key in list(sums):
            host, port, outcome = key
            total = sums[key]
            try:
                await self._ledger.report_egress(
                    EgressReport(host, port, outcome, total.connections, total.sent, total.received)
                )
            except HiveError as error:
                log.warning("The ledger does not take the report of connections: %s", error)
                break
            del sums[key]
        for key, total in sums.items():
            self._add(key, total)  # with the next report
