"""One inbox: who holds which of its messages, and who waits for the next."""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from services.broker.message import Message
from wire.errors import LimitExceeded, Stopping

MAX_LEASED: Final = 1000
"""The most messages of an inbox that may be out at a time."""
MAX_WAITING: Final = 64
"""The most calls of Receive that may wait in one inbox; the bus allows 128 a connection."""


class Storage(Protocol):
    """What an inbox needs of the store."""

    async def hand_out(self, recipient: str, limit: int, without: Collection[int]) -> list[Message]:
        """See Store.hand_out."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who receives: a connection by its unique name, and a future that is done once it left."""

    name: str
    left: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Lease:
    """A message that is out, and with whom."""

    message: Message
    holder: str


class Inbox:
    """The messages to one agent (or to the operator), as far as they are out."""

    def __init__(self, name: str, store: Storage, stopping: "asyncio.Future[None]") -> None:
        self.leases: dict[int, Lease] = {}
        self._name = name
        self._store = store
        self._stopping = stopping
        # Who waits, in the order they came. Only the first one's event is ever set.
        self._line: deque[asyncio.Event] = deque()

    async def take(self, holder: Holder, limit: int, timeout: float) -> list[Message]:
        """Lease up to `limit` messages to `holder`, oldest first; waits until there is one.

        Ends with nothing after `timeout` seconds or when the holder leaves, and with an
        error when the broker stops or the agent is unregistered.

        Raises:
            LimitExceeded: too much is out already, or too many wait.
            Stopping, NotFound, Unavailable
        """
        if len(self._line) >= MAX_WAITING:
            raise LimitExceeded(
                f"{MAX_WAITING} calls of Receive wait in the inbox of {self._name} already; "
                "one is enough."
            )
        deadline = asyncio.get_running_loop().time() + timeout
        look = asyncio.Event()
        self._line.append(look)
        self.wake()
        try:
            return await self._take(look, holder, limit, deadline)
        finally:
            self._line.remove(look)
            self.wake()

    def wake(self) -> None:
        """Something may have arrived (or the agent has gone): let the first in line look."""
        if self._line:
            self._line[0].set()

    def release(self, holder: str, ids: Iterable[int] | None = None) -> list[Message]:
        """End the leases of `holder`, all or those of `ids`; returns what is queued again."""
        wanted = list(self.leases) if ids is None else ids
        mine = [i for i in wanted if i in self.leases and self.leases[i].holder == holder]
        released = [self.leases.pop(i).message for i in dict.fromkeys(mine)]
        if released:
            self.wake()
        return released

    async def _take(
        self, look: asyncio.Event, holder: Holder, limit: int, deadline: float
    ) -> list[Message]:
        while await self._wait(look, holder, deadline):
            room = MAX_LEASED - len(self.leases)
            if room <= 0:
                raise LimitExceeded(
                    f"{MAX_LEASED} messages of {self._name} are out; "
                    "acknowledge or release some of them first."
                )
            # Before the look: what arrives during it is news again.
            look.clear()
            messages = await self._store.hand_out(self._name, min(limit, room), self.leases)
            if messages and not holder.left.done():
                self.leases |= {m.id: Lease(m, holder.name) for m in messages}
                return messages
            # Who left sees no reply: what was handed out is counted but not leased, and the
            # next in line gets it.
        return []

    async def _wait(self, look: asyncio.Event, holder: Holder, deadline: float) -> bool:
        """Wait for its turn to look; False when the deadline passed or the holder left."""
        if not look.is_set():
            timeout = deadline - asyncio.get_running_loop().time()
            turn = asyncio.ensure_future(look.wait())
            ends: set[asyncio.Future[Any]] = {turn, holder.left, self._stopping}
            try:
                await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                turn.cancel()
        if self._stopping.done():
            raise Stopping("The broker is stopping; ask again.")
        return look.is_set() and not holder.left.done()
