"""The answers to failed logins: slower and slower, so that guessing leads nowhere.

Nobody is locked out: a login that succeeds is answered at once, whoever fails meanwhile.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

FREE: Final = 3
"""The failures within WINDOW that are answered at once: somebody has opened an old link."""

WINDOW: Final = 300.0
"""The seconds for which a failure counts."""

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 10.0
MAX_WAITING: Final = 16
"""The failed logins whose answers may wait at once. Further ones are refused without a wait, so
that they take no memory."""


class Failures:
    """The failed logins of the last minutes, by anybody."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Count none yet; `now` is in seconds, and `sleep` waits for so many."""
        self._now = now
        self._sleep = sleep
        self._times: deque[float] = deque(maxlen=64)
        self._waiting = 0

    async def failed(self) -> None:
        """Count a failed login, and return when it may be answered."""
        now = self._now()
        while self._times and self._times[0] <= now - WINDOW:
            self._times.popleft()
        self._times.append(now)
        beyond = len(self._times) - FREE
        if beyond <= 0 or self._waiting >= MAX_WAITING:
            return
        self._waiting += 1
        try:
            # The pause is the point: it makes guessing slow.
            await self._sleep(min(FIRST_WAIT * 2.0 ** (beyond - 1), LONGEST_WAIT))
        finally:
            self._waiting -= 1
