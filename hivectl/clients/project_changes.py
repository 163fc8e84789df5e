"""The changes of projects, and how they get into their branches."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from wire import names
from wire.bus import Bus
from wire.clients.changes import ChangesClient
from wire.errors import Timeout
from wire.records.changes import ChangeState, ProjectChange


class ProjectChanges:
    """The changes of a hive."""

    def __init__(self, bus: Bus, client: ChangesClient) -> None:
        self._bus = bus
        self._client = client

    async def published(
        self, number: int, approve: Callable[[], Awaitable[None]], seconds: float
    ) -> ProjectChange:
        """Approve a change, and wait until its branch has it, or that has failed; return it.

        Args:
            number: the change.
            approve: approves it.
            seconds: how long to wait.

        Raises:
            Timeout: it is still on its way after `seconds`.
        """
        changed = asyncio.Event()
        async with AsyncExitStack() as stack:
            rule = {"sender": names.PROJECTS, "interface": names.CHANGES}
            # Subscribed first: the change may be published before the call is answered.
            subscription = await self._bus.on_signal(lambda _: changed.set(), **rule)
            stack.push_async_callback(subscription.close)
            # A service that was killed goes on when it is back.
            owner = await self._bus.on_owner(names.PROJECTS, came=lambda _: changed.set())
            stack.push_async_callback(owner.close)
            before = (await self._client.get_change(number)).change
            await approve()
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        change = (await self._client.get_change(number)).change
                        failed = change.note and change.changed != before.changed
                        if change.state is not ChangeState.APPROVED or failed:
                            return change
                        await changed.wait()
                        changed.clear()
            except TimeoutError:
                raise Timeout(
                    f"{names.change(number)} is still on its way after {seconds:g} s, and goes on. "
                    "`hivectl changes` shows its state."
                ) from None
