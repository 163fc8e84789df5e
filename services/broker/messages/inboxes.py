"""All inboxes: which connection leases which message, and what happens when a lease ends."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from services.broker.events import Announcer
from services.broker.messages.changes import change_of
from services.broker.messages.dead_letters import DeadLetters
from services.broker.messages.inbox import Holder, Inbox, Lease
from services.broker.messages.invocations import Invocations
from services.broker.messages.store import Acknowledged, HandedOut, MessageStore
from services.broker.writes import Writes
from wire.errors import Unavailable
from wire.records.broker import Message, MessageChange, MessageState, Purged

PURGE_BATCH: Final = 250
"""The most messages that one transaction drops."""

log = logging.getLogger(__name__)


class Inboxes:
    """The leases of all messages. They are kept in memory: a restart of the broker ends them."""

    def __init__(
        self,
        store: MessageStore,
        dead_letters: DeadLetters,
        announcer: Announcer,
        writes: Writes,
        invocations: Invocations,
        is_held: Callable[[str], bool],
        *,
        tries: int,
    ) -> None:
        """Make the inboxes, in a running loop.

        Args:
            store: the messages.
            dead_letters: takes messages that came back too often.
            announcer: hears of messages that are queued again or become dead letters.
            writes: owns the tasks that store dead letters.
            invocations: the containers that run now.
            is_held: whether an inbox hands out only urgent messages of the operator and the hive.
            tries: how often a message is handed out before it becomes a dead letter; `set_tries`
                sets it for one inbox.
        """
        self._store = store
        self._dead_letters = dead_letters
        self._announcer = announcer
        self._writes = writes
        self._invocations = invocations
        self._is_held = is_held
        self._tries = tries
        self._own_tries: dict[str, int] = {}
        self._stopping = asyncio.get_running_loop().create_future()
        self._inboxes: dict[str, Inbox] = {}
        # The inboxes in which a connection has leases: when it leaves the bus, they end.
        self._held_by: defaultdict[str, set[Inbox]] = defaultdict(set)

    def __getitem__(self, name: str) -> Inbox:
        """The inbox of an agent, or of the operator."""
        if name not in self._inboxes:
            inbox = Inbox(name, partial(self._hand_out, name), self._end, self._stopping)
            self._inboxes[name] = inbox
            self._announcer.wake_on_message(name, inbox.wake)
        return self._inboxes[name]

    def stop(self) -> None:
        """End the waiting calls of Receive with Stopping; later ones end so, too."""
        if not self._stopping.done():
            self._stopping.set_result(None)

    def leased(self) -> frozenset[int]:
        """Return the ids of the messages that are leased now."""
        return frozenset(i for inbox in self._inboxes.values() for i in inbox.leases)

    def learn_tries(self, tries: Mapping[str, int]) -> None:
        """Take over the numbers that `set_tries` of an earlier broker has set."""
        self._own_tries = dict(tries)

    def own_tries(self, name: str) -> int | None:
        """Return the number that `set_tries` has set for an agent; None for the default."""
        return self._own_tries.get(name)

    async def set_tries(self, name: str, tries: int | None) -> None:
        """Set how often messages to the agent `name` are handed out; None for the default.

        Messages that were handed out as often already are parked.

        Raises:
            Unavailable: the store could not be used.
        """
        self._own_tries.pop(name, None)
        if tries is not None:
            self._own_tries[name] = tries
        inbox = self[name]
        async with inbox.handing_out:
            parked = await self._dead_letters.park_worn_out(
                name, self._tries_of(name), inbox.leases.keys()
            )
        self._announcer.announce(parked)

    async def lease(
        self, name: str, holder: Holder, limit: int, timeout: float, *, urgent: bool
    ) -> list[Message]:
        """Lease messages to `holder`: see Inbox.take."""
        inbox = self[name]
        messages = await inbox.take(holder, limit, timeout, urgent=urgent)
        if messages:
            self._watch(holder, inbox)
        return messages

    async def acknowledge(
        self, name: str, holder: str, ids: Sequence[int], *, unreceived: bool, cancelled: bool
    ) -> tuple[Acknowledged, list[int]]:
        """Acknowledge messages that no other connection leases.

        Args:
            name: the inbox.
            holder: the connection that acknowledges.
            ids: the messages.
            unreceived: whether messages may be acknowledged that were never handed out.
            cancelled: whether they become CANCELLED instead.

        Returns:
            The outcome of those that were tried, and the ids that other connections lease.

        Raises:
            Unavailable: the store could not be written.
        """
        inbox = self[name]
        if any(i not in inbox.leases for i in ids):
            # A late one. It must not end a hand-out to another connection that is on its way.
            async with inbox.handing_out:
                pass
        others = [i for i in ids if i in inbox.leases and inbox.leases[i].holder != holder]
        mine = [i for i in ids if i not in others]
        outcome = await self._store.acknowledge(
            name, mine, unreceived=unreceived, cancelled=cancelled
        )
        for i in mine:
            inbox.leases.pop(i, None)
        return outcome, others

    async def release(
        self, name: str, holder: str, ids: Sequence[int], *, reason: str, uncounted: bool = False
    ) -> None:
        """End leases of `holder`; returns when messages that came back too often are parked.

        Args:
            name: the inbox.
            holder: the connection that releases.
            ids: the messages; those that `holder` does not lease stay as they are.
            reason: why, for people; empty for not said.
            uncounted: whether the delivery does not count, as far as the store allows that.

        Raises:
            Unavailable: the store could not be written, and the leases go on.
        """
        inbox = self[name]
        mine = inbox.leased_to(holder, ids)
        if mine and reason:
            await self._store.note_reason(mine, reason)
        given_back = await self._store.give_back(mine) if mine and uncounted else frozenset()
        leases = [
            replace(lease, tries=lease.tries - (lease.message.id in given_back))
            for lease in inbox.release(holder, mine)
        ]
        parking = self._end(leases, reason=reason)
        if parking:
            await asyncio.shield(parking)

    async def retract(self, name: str, message_id: int) -> MessageChange | None:
        """Take back a message in an inbox, unless a connection leases it or it is done.

        Returns:
            The change; None if it was not taken back.

        Raises:
            Unavailable: the store could not be written.
        """
        inbox = self[name]
        # A message that is being handed out is not in `leases` yet.
        async with inbox.handing_out:
            if message_id in inbox.leases:
                return None
            change = await self._store.retract(message_id)
        if change:
            self._announcer.announce([change])
        return change

    async def purge(self, name: str, origin: str | None) -> Purged:
        """Drop the queued messages of an inbox, some at a time, so that other writers go on.

        Leased messages stay: a turn is working on them.

        Args:
            name: the inbox.
            origin: only messages in the turn of this party; None for all.

        Raises:
            Unavailable: the store could not be written; some messages may be dropped.
        """
        inbox = self[name]
        dropped, leased = 0, 0
        while True:
            # A message that is being handed out is not in `leases` yet.
            async with inbox.handing_out:
                part = await self._store.purge(name, origin, inbox.leases.keys(), PURGE_BATCH)
            self._announcer.announce(part.dropped)
            dropped, leased = dropped + len(part.dropped), part.leased
            if len(part.dropped) < PURGE_BATCH:
                return Purged(dropped, leased)

    def forget(self, name: str) -> None:
        """End the calls that wait in the inbox of an agent that was unregistered."""
        self._own_tries.pop(name, None)
        if name in self._inboxes:
            self._inboxes[name].wake()

    def holder_left(self, holder: str) -> None:
        """End all leases of a connection that has left the bus."""
        for inbox in self._held_by.pop(holder):
            self._end(inbox.release(holder))

    async def _hand_out(
        self, name: str, limit: int, without: Collection[int], *, urgent: bool
    ) -> HandedOut:
        handed = await self._store.hand_out(
            name,
            limit,
            without,
            tries=self._tries_of(name),
            invocation=self._invocations.current(name),
            urgent=urgent,
            held=self._is_held(name),
        )
        messages = [self._invocations.mark_earlier(m) for m in handed.messages]
        return replace(handed, messages=messages)

    def _watch(self, holder: Holder, inbox: Inbox) -> None:
        if holder.name not in self._held_by:
            holder.left.add_done_callback(lambda _: self.holder_left(holder.name))
        self._held_by[holder.name].add(inbox)

    def _tries_of(self, name: str) -> int:
        return self._own_tries.get(name, self._tries)

    def _is_last(self, lease: Lease) -> bool:
        return lease.tries >= self._tries_of(lease.message.recipient)

    def _end(self, leases: Sequence[Lease], *, reason: str = "") -> "asyncio.Task[None] | None":
        """Queue the messages of ended leases again; the returned task parks those out of tries.

        Nothing is handed out more often than it may be, even before that task has ended.
        """
        again = [lease.message for lease in leases if not self._is_last(lease)]
        # The hand-out that has ended is a redelivery from now on.
        self._announcer.announce(
            [
                change_of(
                    m._replace(redeliveries=m.redeliveries + 1, reason=reason or m.reason),
                    MessageState.QUEUED,
                )
                for m in again
            ]
        )
        last = [lease.message.id for lease in leases if self._is_last(lease)]
        return self._writes.start(self._park(last)) if last else None

    async def _park(self, ids: Collection[int]) -> None:
        try:
            parked = await self._dead_letters.park(ids)
        except Unavailable as error:
            log.error(
                "cannot mark messages %s as dead letters until the broker restarts: %s", ids, error
            )
            return
        self._announcer.announce(parked)
