"""Calls over the bus: limited in number, and repeated while the broker restarts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from wire.bus import Bus
from wire.caller import Call, Caller, CallerWrapper
from wire.errors import Conflict, Stopping, Unavailable
from wire.types import Value

T = TypeVar("T")

MAX_CALLS: Final = 16
"""Calls in flight at once; further calls wait. Each may hold a body of 1 MiB."""


class LimitedCaller(CallerWrapper):
    """A caller that has at most MAX_CALLS calls in flight."""

    def __init__(self, bus: Caller) -> None:
        super().__init__(bus)
        self._in_flight = asyncio.Semaphore(MAX_CALLS)

    async def around(self, call: Call, destination: str, timeout: float) -> list[Value]:
        """Make the call when there is room for it."""
        async with self._in_flight:
            return await call()


class BrokerRestarts:
    """The restarts of the broker, and the repetition of calls during a restart."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._back: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def broker_came(self) -> None:
        """Note that the broker owns its name again."""
        self._back.set_result(None)
        self._back = asyncio.get_running_loop().create_future()

    async def retry(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Repeat `call` while the broker restarts, for up to `seconds`; return its result.

        The call must be idempotent. The first repetition comes at once, and waits for a broker that
        is starting. Further repetitions wait until the broker owns its name again.

        Raises:
            HiveError: the error of the last try.
        """
        until = asyncio.get_running_loop().time() + seconds
        tries = 0
        while True:
            back = self._back
            try:
                return await call()
            except Conflict as error:
                if not tries:
                    raise
                raise Conflict(
                    f"{error} The broker restarted meanwhile: this very call may have done it."
                ) from None
            except (Unavailable, Stopping):
                if self._bus.disconnected.done():
                    raise
                if tries:
                    await _wait_for_broker(back, until)
                tries += 1


async def _wait_for_broker(back: "asyncio.Future[None]", until: float) -> None:
    try:
        async with asyncio.timeout_at(until):
            await asyncio.shield(back)
    except TimeoutError:
        raise Unavailable(
            "The broker does not answer. systemd restarts it when it fails: try again in a"
            " minute. Your last call may still take effect, so do not send anything twice."
        ) from None


class RetryingCaller(CallerWrapper):
    """A caller that repeats each call while the broker restarts."""

    def __init__(self, caller: Caller, restarts: BrokerRestarts) -> None:
        super().__init__(caller)
        self._restarts = restarts

    async def around(self, call: Call, destination: str, timeout: float) -> list[Value]:
        """Make the call, again and again for up to `timeout` seconds."""
        return await self._restarts.retry(call, timeout)
