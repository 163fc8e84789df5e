"""The ends of requests, told to the ledger until it has taken them.

A reservation whose answer was lost ends, too: the ledger may have made it before it was killed, or
after the gateway had given it up.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from services.gateway.ledger import Ledger
from services.seldom import Seldom
from services.tasks import Tasks
from wire.errors import AccessDenied, HiveError, InvalidArgument, NotFound
from wire.records.ledger import Settlement

log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 10.0
"""Seconds until the call is repeated to a ledger that was too busy, and so does not start anew."""

MAX_UNTOLD: Final = 256
"""The most ends that may wait for the ledger before new requests are refused."""

_FINAL: Final = (AccessDenied, InvalidArgument, NotFound)
"""The errors that a repetition would get again."""


class Settlements:
    """The settlements that the ledger has not taken yet; `len` is how many there are.

    A request needs the ledger before it is sent, so that there are at most as many settlements as
    there are requests under way when the ledger stops. While `full`, no more requests may begin.
    """

    def __init__(self, ledger: Ledger, changed: Callable[[], None]) -> None:
        """Begin without any.

        Args:
            ledger: takes the settlements.
            changed: called when one has been taken.
        """
        self._ledger = ledger
        self._changed = changed
        self._running = Tasks()
        self._complaint = Seldom()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def full(self) -> bool:
        """Whether the ledger has to take some first."""
        return len(self) >= MAX_UNTOLD

    def settle(self, id: int, usage: Settlement) -> None:
        """Tell the ledger the end of the request `id`, now or when it is back."""
        self._tell(partial(self._ledger.settle, id, usage), f"settle-{id}")

    def release(self, key: str) -> None:
        """Tell the ledger that the request with a key is not sent, now or when it is back."""
        self._tell(partial(self._ledger.release, key), f"release-{key}")

    async def wait(self) -> None:
        """Wait until the ledger has taken all."""
        await self._running.wait()

    async def cancel(self) -> None:
        """Give up those that are left; the ledger counts them at the most that was reserved."""
        if self._running:
            log.warning("%d requests end without the ledger's answer.", len(self._running))
        await self._running.cancel()

    def _tell(self, call: Callable[[], Awaitable[None]], name: str) -> None:
        self._running.start_detached(self._repeat(call, name), name, done=self._changed)

    async def _repeat(self, call: Callable[[], Awaitable[None]], name: str) -> None:
        while True:
            back = self._ledger.back()  # before the call: the ledger may come back in between
            try:
                return await call()
            except _FINAL as error:
                return log.error(
                    "The ledger did not take the end of a request (%s): %s", name, error
                )
            except HiveError as error:
                if self._complaint.due():
                    log.warning("The ledger cannot take the ends of requests yet: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPEAT_SECONDS):
                    await asyncio.shield(back)
