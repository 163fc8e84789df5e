"""The reservations of requests: asked for, repeated, and given back when nothing is sent."""

import asyncio
import contextlib
import logging
import time
import uuid
from functools import partial
from typing import Final

from services.gateway.api.body import Asked
from services.gateway.api.errors import NO_RETRY, ApiError
from services.gateway.ledger import Ledger
from services.gateway.seldom import Seldom
from services.gateway.settlements import Settlements
from services.tasks import Tasks
from wire.errors import (
    BudgetExhausted,
    HiveError,
    LimitExceeded,
    ProviderLimited,
    Stopping,
    Timeout,
    Unavailable,
)
from wire.records.ledger import RequestOutcome, ReserveRequest, Settlement

log = logging.getLogger(__name__)

WAIT_SECONDS: Final = 60.0
"""Seconds that a request waits for others whose reservations leave no room in a budget."""
AGAIN_SECONDS: Final = 1.0
"""Seconds until a reservation is tried again."""
AWAY_SECONDS: Final = 2
"""The seconds that a request waits for a ledger that does not answer, and after which the client
shall try again then."""


_LOST: Final = (Unavailable, Stopping, Timeout)
"""The errors after which the ledger may have made a reservation all the same."""


class Reservations:
    """The reservations of one agent's requests."""

    def __init__(self, ledger: Ledger, settlements: Settlements) -> None:
        self._ledger = ledger
        self._settlements = settlements
        self._asking = Tasks()
        self._complaint = Seldom()

    async def wait(self) -> None:
        """Wait until the ledger has answered all."""
        await self._asking.wait()

    async def reserve(self, asked: Asked, credential: str) -> int:
        """Reserve the most that a request may use; return the reservation's id.

        Raises:
            ApiError: the request must not be sent.
        """
        wanted = ReserveRequest(
            credential=credential,
            model=asked.model,
            input_tokens=asked.input_tokens,
            output_tokens=asked.output_tokens,
            key=uuid.uuid4().hex,
            web_searches=asked.web_searches,
        )
        if self._settlements.full:
            raise _away()
        try:
            return await self._ask_again(wanted)
        except BudgetExhausted as error:
            # Not 400, which Claude Code repeats with other betas.
            raise ApiError(402, str(error), NO_RETRY) from None
        except ProviderLimited as error:
            raise ApiError(429, str(error), {"Retry-After": await self._limit()}) from None
        except LimitExceeded as error:
            raise ApiError(429, str(error), {"Retry-After": "5"}) from None
        except HiveError as error:
            if self._complaint.due():
                log.warning("Requests are not sent, because they cannot be counted: %s", error)
            raise _away() from None

    async def _ask_again(self, wanted: ReserveRequest) -> int:
        """Ask the ledger, and once more when others have ended or it has started anew.

        Raises:
            HiveError: the ledger's answer in the end.
        """
        until = time.monotonic() + WAIT_SECONDS
        lost = False
        try:
            while True:
                back = self._ledger.back()  # before the call: the ledger may come back in between
                try:
                    id = await self._ask(wanted)
                except LimitExceeded:
                    lost = False
                    if time.monotonic() > until:
                        raise
                    # No event tells a gateway that requests of other agents have ended.
                    await asyncio.sleep(AGAIN_SECONDS)
                except _LOST:
                    lost = True
                    if time.monotonic() > until or not await _is_done(back, AWAY_SECONDS):
                        raise
                    # It may have been killed after it had reserved: the key finds what it has.
                else:
                    lost = False
                    return id
        except (BudgetExhausted, ProviderLimited):
            lost = False
            raise
        finally:
            if lost:
                self._settlements.release(wanted.key)

    async def _ask(self, wanted: ReserveRequest) -> int:
        """Ask the ledger; when the client goes meanwhile, give back what it reserves."""
        asking = self._asking.start(self._ledger.reserve(wanted), "reserve")
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(partial(self._give_back, wanted.key))
            raise

    def _give_back(self, key: str, asked: "asyncio.Task[int]") -> None:
        error = None if asked.cancelled() else asked.exception()
        if asked.cancelled() or isinstance(error, _LOST):
            self._settlements.release(key)
        elif error is None:
            unused = Settlement(outcome=RequestOutcome.REFUSED)
            self._settlements.settle(asked.result(), unused)

    async def _limit(self) -> str:
        """Return the seconds until the provider takes requests again."""
        try:
            until = await self._ledger.limited_until()
        except HiveError:
            return str(AWAY_SECONDS)
        return str(max(1, round(until / 1_000_000 - time.time())))


def _away() -> ApiError:
    return ApiError(
        503,
        "the ledger, which counts requests, does not answer. Try again.",
        {"Retry-After": str(AWAY_SECONDS)},
    )


async def _is_done(future: "asyncio.Future[None]", seconds: float) -> bool:
    """Return whether `future` is done within some seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.shield(future)
    return future.done()
