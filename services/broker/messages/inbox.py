"""One inbox: who holds which of its messages, and who waits for the next."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from services.broker.messages.message import Message
from services.broker.messages.store import HandedOut
from wire.errors import HiveError, LimitExceeded, Stopping

MAX_LEASED: Final = 1000
"""The most messages of an inbox that may be out at a time."""
MAX_WAITING: Final = 64
"""The most calls of Receive that may wait in one inbox; the bus allows 128 a connection."""


class HandOut(Protocol):
    """How an inbox gets messages: see MessageStore.hand_out."""

    async def __call__(self, limit: int, without: Collection[int]) -> HandedOut:
        """Up to `limit` of the oldest messages that wait, but for those in `without`."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who receives: a connection by its unique name, and a future that is done once it left."""

    name: str
    left: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Lease:
    """A message that is out, without its text, and with whom."""

    message: Message
    holder: str
    last: bool
    """Whether it is not handed out again."""


class Inbox:
    """The messages to one agent (or to the operator), as far as they are out."""

    def __init__(
        self,
        name: str,
        hand_out: HandOut,
        give_back: Callable[[Sequence[Lease]], object],
        stopping: "asyncio.Future[None]",
    ) -> None:
        """`give_back` is called with what was handed out to somebody who has left meanwhile."""
        self.leases: dict[int, Lease] = {}
        # Held while a hand-out is on its way: until it ends, `leases` does not know of it.
        self.handing_out = asyncio.Lock()
        self._name = name
        self._hand_out = hand_out
        self._give_back = give_back
        self._stopping = stopping
        # Who waits, in the order they came. Only the first one's event is ever set.
        self._line: deque[asyncio.Event] = deque()

    @property
    def waiting(self) -> int:
        """The number of calls of Receive that wait."""
        return len(self._line)

    async def take(self, holder: Holder, limit: int, timeout: float) -> list[Message]:
        """Lease up to `limit` messages to `holder`, oldest first; waits until there is one.

        Ends with nothing after `timeout` seconds or when the holder leaves, and with an
        error when the broker stops or the agent is unregistered.

        Raises:
            LimitExceeded: too much is out already, or too many wait.
            Stopping, NotFound, Unavailable
        """
        if self.waiting >= MAX_WAITING:
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

    def release(self, holder: str, ids: Iterable[int] | None = None) -> list[Lease]:
        """End the leases of `holder`, all or those of `ids`, and return them."""
        wanted = list(self.leases) if ids is None else ids
        mine = [i for i in wanted if i in self.leases and self.leases[i].holder == holder]
        return [self.leases.pop(i) for i in dict.fromkeys(mine)]

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
            async with self.handing_out:
                handed = await self._lease(holder.name, min(limit, room))
                leases = _leases(holder.name, handed)
                if leases and not holder.left.done():
                    self.leases |= {lease.message.id: lease for lease in leases}
                    return handed.messages
            # Who left sees no reply: what was handed out is counted, and the next in line gets it.
            self._give_back(leases)
        return []

    async def _lease(self, holder: str, limit: int) -> HandedOut:
        handing = asyncio.ensure_future(self._hand_out(limit, self.leases.keys()))
        try:
            return await asyncio.shield(handing)
        except asyncio.CancelledError:
            # Its turn lasts until what it caused is known, or the next one's would overtake it.
            with suppress(HiveError):
                self._give_back(_leases(holder, await handing))
            raise

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


def _leases(holder: str, handed: HandedOut) -> list[Lease]:
    # Their texts would be a gigabyte, were a thousand large ones leased and never acknowledged.
    return [Lease(replace(m, body=""), holder, m.id in handed.last) for m in handed.messages]
