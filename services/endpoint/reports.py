"""The reports of the harness, and their repetition to a restarted lifecycle."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from services.endpoint.delivery.held_messages import Holder
from wire.errors import HiveError
from wire.records.lifecycle import Report

log = logging.getLogger(__name__)


class Reports:
    """The merged reports of the connected harness.

    An idle harness reports nothing for minutes. A new lifecycle knows the turn state from its
    store, and trusts this state only after a report, so the reports are repeated to it from here.
    """

    def __init__(self, send: Callable[[Report], Awaitable[None]]) -> None:
        self._send = send
        self._reporter: Holder | None = None
        self._reported = Report()
        self._repetition: asyncio.Task[None] | None = None

    async def send(self, reporter: Holder, report: Report) -> None:
        """Send the report of the harness on the connection `reporter`.

        Raises:
            HiveError: lifecycle's error.
        """
        if reporter is not self._reporter:
            self._reporter, self._reported = reporter, Report()
        self._reported = _merged(self._reported, report)
        await self._send(report)

    def forget(self, reporter: Holder) -> None:
        """Forget the reports of `reporter`: its connection has ended, so they may be wrong."""
        if reporter is self._reporter:
            self._reporter, self._reported = None, Report()

    def repeat(self) -> None:
        """Repeat the reports to a new lifecycle, which has none yet."""
        if self._reported != Report():
            if self._repetition:
                self._repetition.cancel()
            repetition = self._repeat(self._reported)
            self._repetition = asyncio.get_running_loop().create_task(
                repetition, name="repeat-report"
            )

    async def close(self) -> None:
        """Cancel a repetition that is still running."""
        if self._repetition:
            self._repetition.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._repetition

    async def _repeat(self, report: Report) -> None:
        try:
            await self._send(report)
        except HiveError as error:
            log.warning("The new lifecycle refused the report: %s", error)


def _merged(earlier: Report, later: Report) -> Report:
    """Return the later report, with the earlier values that it does not replace."""
    given = {name: value for name, value in later._asdict().items() if value is not None}
    if "turn_state" in given:  # it ends the values that belong to the state before
        earlier = earlier._replace(reason=None, until=None, activity=None)
    # Lifecycle keeps this time itself, for all agents with the same credentials.
    return earlier._replace(**given)._replace(provider_limit_until=None)
