"""The pace of a stream whose items come from an agent."""

import asyncio
import time
from typing import Final

ITEMS_A_SECOND: Final = 200
MAX_BURST: Final = 2_000
"""The items that a page gets at once after a pause: an agent that reports as fast as it can must
not keep the dashboard busy."""


class Pace:
    """The pace of one stream's items."""

    def __init__(self) -> None:
        self._left = float(MAX_BURST)
        self._at = time.monotonic()

    async def take(self) -> None:
        """Wait until there may be another item."""
        now = time.monotonic()
        self._left = min(MAX_BURST, self._left + (now - self._at) * ITEMS_A_SECOND) - 1
        self._at = now
        if self._left < 0:
            # Nothing is lost: the items stay with the agent, which is not read meanwhile.
            await asyncio.sleep(-self._left / ITEMS_A_SECOND)
