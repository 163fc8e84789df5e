"""One inbox: the leases of its messages, and the calls of Receive that wait for the next one."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from services.broker.messages.store import HandedOut
from wire.errors import HiveError, LimitExceeded, Stopping
from wire.records.broker import Message

MAX_LEASED: Final = 1000
"""The most messages of an inbox that may be leased at a time."""
MAX_WAITING: Final = 64
"""The most calls of Receive that may wait in one inbox; the bus allows 128 a connection."""


class HandOut(Protocol):
    """The way in which an inbox gets messages: see MessageStore.hand_out."""

    async def __call__(self, limit: int, without: Collection[int], *, urgent: bool) -> HandedOut:
        """Return up to `limit` of the next queued messages that are not in `without`.

        With `urgent` only urgent ones.
        """


@dataclass(frozen=True, slots=True)
class Holder:
    """A receiving connection: its unique name, and a future that is done once it left the bus."""

    name: str
    left: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Lease:
    """A leased message, without its text, and the connection that holds it."""

    message: Message
    holder: str
    tries: int
    """How often the message was handed out since it was sent, or requeued by the operator."""


class Inbox:
    """The leased messages to one agent (or to the operator)."""

    def __init__(
        self,
        name: str,
        hand_out: HandOut,
        give_back: Callable[[Sequence[Lease]], object],
        stopping: "asyncio.Future[None]",
    ) -> None:
        """Make an inbox without leases.

        Args:
            name: the recipient.
            hand_out: takes messages from the store.
            give_back: called with leases of a connection that left during the hand-out.
            stopping: done when the broker stops.
        """
        self.leases: dict[int, Lease] = {}
        # Held while a hand-out is on its way: until it ends, `leases` does not know of it.
        self.handing_out = asyncio.Lock()
        self._name = name
        self._hand_out = hand_out
        self._give_back = give_back
        self._stopping = stopping
        # The waiting calls, in the order they came; those that wait for urgent messages alone have
        # a line of their own. Only the event of the first one of a line is ever set.
        self._line: deque[asyncio.Event] = deque()
        self._urgent_line: deque[asyncio.Event] = deque()

    @property
    def waiting(self) -> int:
        """The number of calls of Receive that wait."""
        return len(self._line) + len(self._urgent_line)

    async def take(
        self, holder: Holder, limit: int, timeout: float, *, urgent: bool = False
    ) -> list[Message]:
        """Lease up to `limit` of the next messages to `holder`; wait until there is one.

        With `urgent` only urgent messages count.

        Returns:
            The messages; none after `timeout` seconds, or when the holder leaves.

        Raises:
            LimitExceeded: too many messages are leased already, or too many calls wait.
            NotFound: the agent is not (or no longer) registered.
            Stopping: the broker stops.
            Unavailable: the store could not be used.
        """
        if self.waiting >= MAX_WAITING:
            raise LimitExceeded(
                f"{MAX_WAITING} calls of Receive already wait for messages to {self._name}, which "
                "is the maximum; use one of them."
            )
        deadline = asyncio.get_running_loop().time() + timeout
        look = asyncio.Event()
        line = self._urgent_line if urgent else self._line
        line.append(look)
        line[0].set()
        try:
            return await self._take(look, holder, limit, deadline, urgent=urgent)
        finally:
            line.remove(look)
            if line:
                line[0].set()

    def wake(self, *, urgent: bool = True) -> None:
        """Let the first waiting calls look: a message came, or the agent was unregistered.

        Args:
            urgent: whether those that wait for urgent messages look, too; they look first.
        """
        for line in (self._urgent_line, self._line) if urgent else (self._line,):
            if line:
                line[0].set()

    def release(self, holder: str, ids: Iterable[int] | None = None) -> list[Lease]:
        """End the leases of `holder`, all or those of `ids`, and return them."""
        wanted = list(self.leases) if ids is None else ids
        return [self.leases.pop(i) for i in self.leased_to(holder, wanted)]

    def leased_to(self, holder: str, ids: Iterable[int]) -> list[int]:
        """Return those of `ids` that are leased to `holder`."""
        return [
            i for i in dict.fromkeys(ids) if i in self.leases and self.leases[i].holder == holder
        ]

    async def _take(
        self,
        look: asyncio.Event,
        holder: Holder,
        limit: int,
        deadline: float,
        *,
        urgent: bool,
    ) -> list[Message]:
        while await self._wait(look, holder, deadline):
            room = MAX_LEASED - len(self.leases)
            if room <= 0:
                raise LimitExceeded(
                    f"{MAX_LEASED} messages to {self._name} are leased, which is the maximum; "
                    "acknowledge or release some of them first."
                )
            # Before the look, so that a message which comes during the look sets the event again.
            look.clear()
            async with self.handing_out:
                handed = await self._lease(holder.name, min(limit, room), urgent=urgent)
                leases = _leases(holder.name, handed)
                if leases and not holder.left.done():
                    self.leases |= {lease.message.id: lease for lease in leases}
                    return handed.messages
            # The holder left and sees no reply: the hand-out counts, and the next call gets them.
            self._give_back(leases)
        return []

    async def _lease(self, holder: str, limit: int, *, urgent: bool) -> HandedOut:
        handing = asyncio.ensure_future(self._hand_out(limit, self.leases.keys(), urgent=urgent))
        try:
            return await asyncio.shield(handing)
        except asyncio.CancelledError:
            # Its turn lasts until the hand-out has ended, or the next call would overtake it.
            with suppress(HiveError):
                self._give_back(_leases(holder, await handing))
            raise

    async def _wait(self, look: asyncio.Event, holder: Holder, deadline: float) -> bool:
        """Wait for the turn to look; return False when the deadline passed or the holder left."""
        if not look.is_set():
            timeout = deadline - asyncio.get_running_loop().time()
            turn = asyncio.ensure_future(look.wait())
            ends: set[asyncio.Future[Any]] = {turn, holder.left, self._stopping}
            try:
                await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                turn.cancel()
        if self._stopping.done():
            raise Stopping("The broker is stopping; try again.")
        return look.is_set() and not holder.left.done()


def _leases(holder: str, handed: HandedOut) -> list[Lease]:
    # Without the texts: a thousand large ones that are never acknowledged would be a gigabyte.
    return [Lease(m._replace(body=""), holder, handed.tries[m.id]) for m in handed.messages]
