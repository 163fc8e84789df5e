"""The reservations of requests: asked for, repeated, and given back when nothing is sent."""

import asyncio
import contextlib
import logging
import time
import uuid
from typing import Final

from services.gateway.api.body import Asked
from services.gateway.api.errors import NO_RETRY, ApiError
from services.gateway.ledger import Ledger
from services.gateway.settlements import Settlements
from services.seldom import Seldom
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
from wire.records.ledger import ReserveRequest, Settlement

log = logging.getLogger(__name__)

WAIT_SECONDS: Final = 60.0
"""Seconds within which a reservation is repeated to a ledger that has started anew."""
AWAY_SECONDS: Final = 2
"""The seconds that a request waits for a ledger that does not answer, and after which the client
shall try again then."""


_LOST: Final = (Unavailable, Stopping, Timeout)
"""The errors after which the ledger may have made a reservation all the same."""


class NotReservedError(Exception):
    """The ledger made no reservation at once, so that the request must wait or not be sent."""


class Reservations:
    """The reservations of one agent's requests."""

    def __init__(self, ledger: Ledger, settlements: Settlements) -> None:
        self._ledger = ledger
        self._settlements = settlements
        self._asking = Tasks()
        self._complaint = Seldom()
        self._refused = False

    @property
    def likely(self) -> bool:
        """Whether the ledger made a reservation the last time that it was asked."""
        return not self._refused

    async def wait(self) -> None:
        """Wait until the ledger has answered all."""
        await self._asking.wait()

    def begin(self, asked: Asked, credential: str) -> "Reservation":
        """Ask for the most that a request may use.

        Raises:
            ApiError: the ledger has to take the ends of others first.
        """
        if self._settlements.full:
            raise _away()
        wanted = ReserveRequest(
            credential=credential,
            model=asked.model,
            input_tokens=asked.input_tokens,
            output_tokens=asked.output_tokens,
            key=uuid.uuid4().hex,
            web_searches=asked.web_searches,
        )
        return Reservation(self, wanted)

    def start(self, reservation: "Reservation") -> "asyncio.Future[None]":
        """Ask the ledger for a reservation; return a future that is done when the ledger may have
        started anew since."""
        back = self._ledger.back()  # before the call: the ledger may come back in between
        self._asking.start_detached(self._ask(reservation), "reserve")
        return back

    def end(self, reservation: "Reservation", usage: Settlement) -> None:
        """Tell the ledger the end of a request for which it has answered."""
        if reservation.id is not None:
            self._settlements.settle(reservation.id, usage)
        elif isinstance(reservation.error, _LOST):
            self._settlements.release(reservation.wanted.key)

    async def refusal(self, error: Exception) -> Exception:
        """Return what the client gets for an error of the ledger."""
        match error:
            case BudgetExhausted():
                # Not 400, which Claude Code repeats with other betas.
                return ApiError(402, str(error), NO_RETRY)
            case ProviderLimited():
                return ApiError(429, str(error), {"Retry-After": await self._limit()})
            case LimitExceeded():
                return ApiError(429, str(error), {"Retry-After": "5"})
            case HiveError():
                if self._complaint.due():
                    log.warning("Requests are not sent, because they cannot be counted: %s", error)
                return _away()
        return error

    async def _ask(self, reservation: "Reservation") -> None:
        try:
            reservation.answer(await self._ledger.reserve(reservation.wanted))
        except Exception as error:
            # Also one that is a bug: whoever waits for the answer raises it.
            reservation.answer(error)
        self._refused = reservation.id is None

    async def _limit(self) -> str:
        """Return the seconds until the provider takes requests again."""
        try:
            until = await self._ledger.limited_until()
        except HiveError:
            return str(AWAY_SECONDS)
        return str(max(1, round(until / 1_000_000 - time.time())))


class Reservation:
    """The reservation of one request. The ledger is being asked for it from the beginning."""

    def __init__(self, owner: Reservations, wanted: ReserveRequest) -> None:
        self.wanted: Final = wanted
        self.id: int | None = None
        """Its number, once the ledger has made it."""
        self.error: Exception | None = None
        """The ledger's last answer, if that was an error."""
        self._owner = owner
        self._answered = asyncio.Event()
        self._usage: Settlement | None = None
        self._back = owner.start(self)

    async def asked(self) -> None:
        """Wait until the call has left, so that it is under way while the request is prepared."""
        await asyncio.sleep(0)  # the call is written
        await asyncio.sleep(0)  # what was written leaves

    async def at_once(self) -> None:
        """Wait for the ledger's first answer.

        Raises:
            NotReservedError: it is an error.
        """
        await self._answered.wait()
        if self.id is None:
            raise NotReservedError

    async def wait(self) -> None:
        """Wait for the reservation. Ask once more when the ledger has started anew.

        Raises:
            ApiError: the request must not be sent.
        """
        until = time.monotonic() + WAIT_SECONDS
        while True:
            await self._answered.wait()
            if self.id is not None:
                return
            match self.error:
                case Unavailable() | Stopping() | Timeout() if (
                    time.monotonic() <= until and await _is_done(self._back, AWAY_SECONDS)
                ):
                    # It may have been killed after it had reserved: the key finds what it has.
                    pass
                case Exception() as error:
                    raise await self._owner.refusal(error) from None
            self._answered.clear()
            self._back = self._owner.start(self)

    def answer(self, answer: int | Exception) -> None:
        """Take the ledger's answer."""
        if isinstance(answer, int):
            self.id, self.error = answer, None
        else:
            self.error = answer
        self._answered.set()
        if self._usage is not None:
            self._owner.end(self, self._usage)

    def end(self, usage: Settlement) -> None:
        """Tell the ledger the end of the request, now or when it has answered."""
        self._usage = usage
        if self._answered.is_set():
            self._owner.end(self, usage)


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
