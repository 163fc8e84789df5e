"""Calls of the hive's services over the endpoint's bus. A restart of the broker is waited out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from wire import names
from wire.bus import Bus
from wire.errors import Conflict, Stopping, Unavailable
from wire.signals import DAEMON, Signal

T = TypeVar("T")

CALL_SECONDS: Final = 25.0
"""How long a call may take, a restart of the broker in the middle of it included."""

MAX_CALLS: Final = 16
"""Calls that are in flight at once; the others wait. They hold bodies of up to 1 MiB each."""


class Calls:
    """Calls services, and knows when the broker and lifecycle come and go."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._broker_back = asyncio.get_running_loop().create_future()
        self.lifecycle_lost = asyncio.get_running_loop().create_future()
        """Done when the lifecycle of now has ended; then it is another future."""

    async def watch(
        self, on_broker_lost: Callable[[], None], on_lifecycle_back: Callable[[], None]
    ) -> None:
        """Learn of the restarts of the broker and of lifecycle."""

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
        """The first value that the method answers, or None. `rest` is signature and arguments."""
        signature, *args = rest or ("",)
        async with self._calls:
            values = await self.bus.call(
                destination, path, interface, member, signature, *args, timeout=CALL_SECONDS
            )
        return values[0] if values else None

    async def broker(self, member: str, *rest: Any) -> Any:
        """A call of the broker, repeated when it restarts in the middle.

        It must be one that does no harm when it is done twice.
        """

        async def call() -> Any:
            return await self.call(names.BROKER, names.BROKER_PATH, names.BROKER, member, *rest)

        return await self.persist(call, CALL_SECONDS)

    async def agent(self, agent: str, member: str, *rest: Any) -> Any:
        """A call of the object that lifecycle has of `agent`."""
        return await self.call(
            names.LIFECYCLE, names.agent_path(agent), names.AGENT_INTERFACE, member, *rest
        )

    async def persist(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """`call`, again and again while the broker restarts, for up to `seconds`.

        The first repetition comes at once and activates the broker; the others wait until it owns
        its name again. Raises what the last try answered.
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
                    await self._broker_is_back(back, until)
                tries += 1

    async def _broker_is_back(self, back: "asyncio.Future[None]", until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await asyncio.shield(back)
        except TimeoutError:
            raise Unavailable(
                "The broker does not answer. It is restarted when it fails: try again in a"
                " minute, and do not send twice what may be on its way."
            ) from None
