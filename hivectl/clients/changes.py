"""An event for each change that the broker signals to the operator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wire import names
from wire.bus import Bus


@asynccontextmanager
async def changes(bus: Bus, member: str, arg0: str | None = None) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set by each signal `member` of the broker, with `arg0` if it is given.

    A broker that starts sets the event as well: signals were missed while there was none.
    """
    changed = asyncio.Event()
    signals = await bus.on_signal(
        lambda _signal: changed.set(),
        sender=names.BROKER,
        interface=names.BROKER,
        member=member,
        **({} if arg0 is None else {"arg0": arg0}),
    )
    try:
        owner = await bus.on_owner(names.BROKER, came=lambda _owner: changed.set())
        try:
            yield changed
        finally:
            await owner.close()
    finally:
        await signals.close()
