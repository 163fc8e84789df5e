"""Calls of the hive's services over the bus, repeated while the broker restarts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from wire import names
from wire.bus import Bus
from wire.errors import Conflict, Stopping, Unavailable
from wire.signals import DAEMON, Signal

T = TypeVar("T")

CALL_SECONDS: Final = 25.0
"""Seconds that a call may take, including a restart of the broker."""

MAX_CALLS: Final = 16
"""Calls in flight at once; further calls wait. Each may hold a body of 1 MiB."""


class ServiceCaller:
    """The caller of all services; it notices when the broker and lifecycle restart."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._broker_back = asyncio.get_running_loop().create_future()
        self.lifecycle_lost = asyncio.get_running_loop().create_future()
        """Done when the running lifecycle ends; it is then replaced by a new future."""

    async def watch(
        self, on_broker_lost: Callable[[], None], on_lifecycle_back: Callable[[], None]
    ) -> None:
        """Watch for restarts of the broker and of lifecycle."""

        def broker_changed(signal: Signal) -> None:
            _, _, owner = signal.args
            if not owner:
                on_broker_lost()
                return
            self._broker_back.set_result(None)
            self._broker_back = asyncio.get_running_loop().create_future()

        def lifecycle_changed(signal: Signal) -> None:
            _, before, owner = signal.args
            if before:
                self.lifecycle_lost.set_result(None)
                self.lifecycle_lost = asyncio.get_running_loop().create_future()
            if owner:
                on_lifecycle_back()

        for name, changed in ((names.BROKER, broker_changed), (names.LIFECYCLE, lifecycle_changed)):
            await self.bus.on_signal(
                changed,
                sender=DAEMON,
                interface=DAEMON,
                member="NameOwnerChanged",
                arg0=name,
            )

    async def call(
        self, destination: str, path: str, interface: str, member: str, *rest: Any
    ) -> Any:
        """Call a method; return its first result, or None.

        Args:
            destination: The bus name.
            path: The object path.
            interface: The interface.
            member: The method.
            rest: The signature and the arguments; empty if there are none.
        """
        signature, *args = rest or ("",)
        async with self._calls:
            values = await self.bus.call(
                destination, path, interface, member, signature, *args, timeout=CALL_SECONDS
            )
        return values[0] if values else None

    async def broker(self, member: str, *rest: Any) -> Any:
        """Call the broker; repeat the call if the broker restarts meanwhile.

        The call must be idempotent.
        """

        async def call() -> Any:
            return await self.call(names.BROKER, names.BROKER_PATH, names.BROKER, member, *rest)

        return await self.retry(call, CALL_SECONDS)

    async def agent(self, agent: str, member: str, *rest: Any) -> Any:
        """Call lifecycle's object of `agent`."""
        return await self.call(
            names.LIFECYCLE, names.agent_path(agent), names.AGENT_INTERFACE, member, *rest
        )

    async def retry(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Repeat `call` while the broker restarts, for up to `seconds`; return its result.

        The first repetition comes at once and activates the broker. Further repetitions wait until
        the broker owns its name again.

        Raises:
            HiveError: The error of the last try.
        """
        until = asyncio.get_running_loop().time() + seconds
        tries = 0
        while True:
            back = self._broker_back
            try:
                return await call()
            except Conflict as error:
                if not tries:
                    raise
                raise Conflict(
                    f"{error} The broker restarted meanwhile: this very call may have done it."
                ) from None
            except (Unavailable, Stopping):
                if self.bus.disconnected.done():
                    raise
                if tries:
                    await self._wait_for_broker(back, until)
                tries += 1

    async def _wait_for_broker(self, back: "asyncio.Future[None]", until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await asyncio.shield(back)
        except TimeoutError:
            raise Unavailable(
                "The broker does not answer. systemd restarts it when it fails: try again in a"
                " minute. Your last call may still take effect, so do not send anything twice."
            ) from None
