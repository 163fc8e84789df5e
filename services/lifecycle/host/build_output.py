"""The output of a build while it runs, from the host's journal."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from services.lifecycle.host.log_reader import LogReader, Selection
from wire.errors import HiveError
from wire.records.lifecycle import LogEntry

log = logging.getLogger(__name__)

Tell = Callable[[list[str]], None]
"""Is called with further lines of an output, oldest first."""

PATIENCE: Final = 1.0
"""Seconds. Most builds end earlier, and their output is not read."""
PACE: Final = 0.25
"""The seconds between two readings: each becomes one signal."""
MAX_LINES: Final = 200
"""The most lines of one reading."""
MAX_LINE: Final = 500
"""The most characters of one line; the rest is cut off."""
_MANAGER: Final = 1
"""The pid of systemd, which says that the unit starts."""


@contextlib.asynccontextmanager
async def followed(unit: str, tell: Tell, reader: LogReader) -> AsyncIterator[None]:
    """Call `tell` with what the processes of `unit` write to the journal, within the context."""
    since = time.time_ns() // 1000
    task = asyncio.create_task(_follow(unit, since, tell, reader), name=f"follow-{unit}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _follow(unit: str, since: int, tell: Tell, reader: LogReader) -> None:
    # Most builds have ended by then, and this task with them.
    await asyncio.sleep(PATIENCE)
    wanted = Selection(units=(unit,))
    try:
        found = await reader.newest(wanted, MAX_LINES)
        _tell([entry for entry in found if entry.time >= since], tell)
        while True:
            cursor = found[-1].cursor if found else None
            if later := await reader.after(wanted, MAX_LINES, cursor, wait=True):
                found = later
                _tell(found, tell)
            # All lines that are printed meanwhile become one signal, not one each.
            await asyncio.sleep(PACE)
    except HiveError as error:
        log.warning("cannot follow the output of %s: %s", unit, error)


def _tell(entries: Sequence[LogEntry], tell: Tell) -> None:
    if lines := [entry.message[:MAX_LINE] for entry in entries if entry.pid != _MANAGER]:
        tell(lines)
