"""The lines of an agent from lifecycle, for operators who may not read the host's journal."""

from collections.abc import AsyncGenerator
from typing import Final

from wire.clients.lifecycle import LifecycleClient
from wire.records.lifecycle import LogEntry, LogFilter

AT_ONCE: Final = 200
"""The most lines that lifecycle returns at once."""
MOST: Final = 10_000
"""The most lines that are read at all."""


class LogLines:
    """The lines of the host's journal that match, in pages, oldest first."""

    def __init__(self, lifecycle: LifecycleClient, wanted: LogFilter) -> None:
        self._lifecycle = lifecycle
        self._wanted = wanted

    async def newest(self, most: int | None, since: int | None) -> list[LogEntry]:
        """Return the newest lines.

        Args:
            most: how many; None for all since `since`.
            since: microseconds since 1970, before which no line is returned; None for any.

        Raises:
            HiveError: lifecycle does not answer, or cannot read the journal.
        """
        found: list[LogEntry] = []
        wanted, left = self._wanted, MOST if most is None else min(most, MOST)
        while left > 0:
            page = await self._lifecycle.read_logs(wanted, min(left, AT_ONCE))
            fresh = [line for line in page if since is None or line.time >= since]
            found = fresh + found
            if len(fresh) < min(left, AT_ONCE):
                break
            left -= len(fresh)
            wanted = wanted._replace(before=page[0].cursor)
        return found

    async def follow(self, after: str) -> AsyncGenerator[LogEntry, None]:
        """Yield the lines after the one with the cursor `after`; empty: from now on."""
        while True:
            wanted = self._wanted._replace(after=after, wait=True)
            for line in await self._lifecycle.read_logs(wanted, AT_ONCE):
                after = line.cursor
                yield line
