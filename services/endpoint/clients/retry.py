"""Calls over the bus: limited in number, and repeated while the broker restarts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from wire.bus import Bus
from wire.errors import Conflict, Stopping, Unavailable
from wire.signals import Caller
from wire.types import Value

T = TypeVar("T")

CALL_SECONDS: Final = 25.0
"""Seconds that a call may take, including a restart of the broker."""

MAX_CALLS: Final = 16
"""Calls in flight at once; further calls wait. Each may hold a body of 1 MiB."""


class LimitedCaller:
    """A caller that has at most MAX_CALLS calls in flight."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._in_flight = asyncio.Semaphore(MAX_CALLS)

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Value,
        timeout: float = CALL_SECONDS,
    ) -> list[Value]:
        """Call a method and return its results; see wire.bus.Bus.call."""
        async with self._in_flight:
            return await self._bus.call(
                destination, path, interface, member, signature, *args, timeout=timeout
            )


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

        The call must be idempotent. The first repetition comes at once and activates the broker.
        Further repetitions wait until the broker owns its name again.

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


class RetryingCaller:
    """A caller that repeats each call while the broker restarts."""

    def __init__(self, caller: Caller, restarts: BrokerRestarts) -> None:
        self._caller = caller
        self._restarts = restarts

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Value,
        timeout: float = CALL_SECONDS,
    ) -> list[Value]:
        """Call a method of the broker and return its results; see wire.bus.Bus.call."""

        async def call() -> list[Value]:
            return await self._caller.call(
                destination, path, interface, member, signature, *args, timeout=timeout
            )

        return await self._restarts.retry(call, timeout)
