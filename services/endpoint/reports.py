"""What the harness says of itself, and lifecycle hears again after a restart."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from services.endpoint.leases import Scope
from wire.errors import HiveError

log = logging.getLogger(__name__)


class Reports:
    """The last report of the connected harness.

    Lifecycle keeps no turn state on disk. An idle harness reports nothing for minutes, so what
    it said is repeated to a new lifecycle from here.
    """

    def __init__(self, tell: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._tell = tell
        self._speaker: Scope | None = None
        self._said: dict[str, Any] = {}
        self._repeating: asyncio.Task[None] | None = None

    async def take(self, speaker: Scope, report: dict[str, Any]) -> None:
        """The harness on the connection `speaker` reports; raises what lifecycle answers."""
        if speaker is not self._speaker:
            self._speaker, self._said = speaker, {}
        self._said |= report
        await self._tell(report)

    def leave(self, speaker: Scope) -> None:
        """That connection is gone: nobody stands for what was said on it any more."""
        if speaker is self._speaker:
            self._speaker, self._said = None, {}

    def lifecycle_appeared(self) -> None:
        """There is a new lifecycle, which has heard nothing yet."""
        if self._said:
            if self._repeating:
                self._repeating.cancel()
            repeat = self._repeat(dict(self._said))
            self._repeating = asyncio.get_running_loop().create_task(repeat, name="repeat-report")

    async def close(self) -> None:
        """Repeat nothing any more."""
        if self._repeating:
            self._repeating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._repeating

    async def _repeat(self, report: dict[str, Any]) -> None:
        try:
            await self._tell(report)
        except HiveError as error:
            log.warning("The new lifecycle does not take the report: %s", error)
