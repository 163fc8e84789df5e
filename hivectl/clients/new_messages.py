"""Messages as they come."""

from collections.abc import AsyncGenerator

from hivectl.clients.changes import changes
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.errors import Stopping, Unavailable
from wire.records.broker import Message, MessageFilter

MAX_LISTED = 1000
"""The most messages that the broker lists at once."""


async def listed(broker: BrokerClient, wanted: MessageFilter) -> list[Message]:
    """Return all messages that match, oldest first, however many there are."""
    found: list[Message] = []
    while page := await broker.list_messages(wanted, MAX_LISTED):
        found = page + found
        if len(page) < MAX_LISTED:
            break
        wanted = wanted._replace(before=page[0].id)
    return found


async def newest(broker: BrokerClient, wanted: MessageFilter) -> int:
    """Return the number of the newest message that matches; 0 if there is none."""
    found = await broker.list_messages(wanted, 1)
    return found[-1].id if found else 0


async def follow(
    bus: Bus, broker: BrokerClient, wanted: MessageFilter, member: str, after: int | None = None
) -> AsyncGenerator[list[Message], None]:
    """Yield the messages that match as they come, oldest first.

    Args:
        bus: the connection.
        broker: the broker.
        wanted: the messages.
        member: the signal of the broker that tells of them.
        after: the number of the last message that is known; None for those from now on.

    Raises:
        Unavailable, Stopping: the broker does not answer the first time. Later, it is waited for.
    """
    # Subscribe first: a message that comes between look and wait sets the event.
    async with changes(bus, member) as changed:
        last = await newest(broker, wanted) if after is None else after
        has_answered = after is None
        while True:
            changed.clear()
            try:
                found = await listed(broker, wanted._replace(after=last or None))
            except (Unavailable, Stopping):
                if not has_answered:
                    raise
                found = []  # a broker that starts again sets the event
            has_answered = True
            if found:
                last = found[-1].id
                yield found
            else:
                await changed.wait()
